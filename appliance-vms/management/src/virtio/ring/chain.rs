//! Buffers of a request, as the driver has chained them.

use super::Fault;
use crate::memory::{GuestMemory, HostRange};
use alloc::vec::Vec;

/// One piece of a driver's memory; nobody has checked yet that it is RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub len: u32,
}

/// Pieces of a driver's memory that follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buffers(Vec<Buffer>);

/// A request: what the driver has to say, and where it wants the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name in the ring: the number of its first descriptor.
    pub head: u16,
    /// What the device reads.
    pub readable: Buffers,
    /// What the device writes.
    pub writable: Buffers,
    /// How many descriptors had to be read for it.
    pub descriptors: u16,
}

impl Buffers {
    pub(super) fn push(&mut self, buffer: Buffer) {
        // A buffer of no bytes is allowed, and says nothing.
        if buffer.len > 0 {
            self.0.push(buffer);
        }
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|buffer| u64::from(buffer.len)).sum()
    }

    /// Takes the first `len` bytes away, or all there are.
    #[must_use]
    pub fn take(&mut self, mut len: u64) -> Self {
        let mut whole = 0;
        let mut taken = Vec::new();
        for buffer in &mut self.0 {
            if u64::from(buffer.len) > len {
                let part = len as u32;
                if part > 0 {
                    taken.push(Buffer { address: buffer.address, len: part });
                    buffer.address = buffer.address.wrapping_add(len);
                    buffer.len -= part;
                }
                break;
            }
            taken.push(*buffer);
            len -= u64::from(buffer.len);
            whole += 1;
        }
        self.0.drain(..whole);
        Self(taken)
    }

    /// Copies the first bytes to `into`, as many as there are and fit; how many those were.
    ///
    /// # Errors
    /// [`Fault::NotRam`].
    pub fn read(&self, memory: &dyn GuestMemory, into: &mut [u8]) -> Result<usize, Fault> {
        let mut done = 0;
        for buffer in &self.0 {
            let part = (buffer.len as usize).min(into.len() - done);
            if part == 0 {
                break;
            }
            memory.read(buffer.address, &mut into[done..done + part])?;
            done += part;
        }
        Ok(done)
    }

    /// Copies `from` to the first bytes, as many as there are and fit; how many those were.
    ///
    /// # Errors
    /// [`Fault::NotRam`]; something may have been written.
    pub fn write(&self, memory: &dyn GuestMemory, from: &[u8]) -> Result<usize, Fault> {
        let mut done = 0;
        for buffer in &self.0 {
            let part = (buffer.len as usize).min(from.len() - done);
            if part == 0 {
                break;
            }
            memory.write(buffer.address, &from[done..done + part])?;
            done += part;
        }
        Ok(done)
    }

    /// Where the pieces are for a physical device.
    ///
    /// # Errors
    /// [`Fault::NotRam`].
    pub fn host(&self, memory: &dyn GuestMemory) -> Result<Vec<HostRange>, Fault> {
        let host = |buffer: &Buffer| memory.host(buffer.address, u64::from(buffer.len)).map_err(Fault::from);
        self.0.iter().map(host).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::testkit::FakeMemory;

    fn buffers(pieces: &[(u64, u32)]) -> Buffers {
        let mut buffers = Buffers::default();
        for &(address, len) in pieces {
            buffers.push(Buffer { address, len });
        }
        buffers
    }

    #[test]
    fn they_are_cut_anywhere() {
        let mut all = buffers(&[(0x1000, 4), (0x2000, 0), (0x3000, 8)]);
        assert_eq!(all.len(), 12);
        assert_eq!(all.take(0), buffers(&[]));
        assert_eq!(all.take(6), buffers(&[(0x1000, 4), (0x3000, 2)]));
        assert_eq!(all, buffers(&[(0x3002, 6)]));
        assert_eq!(all.take(6), buffers(&[(0x3002, 6)]));
        assert_eq!(all.take(1), buffers(&[]));
    }

    #[test]
    fn they_are_read_and_written_across_pieces() {
        let memory = FakeMemory::new(0x4000);
        let all = buffers(&[(0x1000, 3), (0x2000, 5)]);
        assert_eq!(all.write(&memory, b"abcdefghij"), Ok(8));
        let mut text = [0; 4];
        assert_eq!(all.read(&memory, &mut text), Ok(4));
        assert_eq!(&text, b"abcd");
        assert_eq!(all.host(&memory).map(|ranges| ranges.len()), Ok(2));
        assert!(matches!(buffers(&[(0x3fff, 2)]).read(&memory, &mut text), Err(Fault::NotRam(_))));
        assert!(matches!(buffers(&[(u64::MAX, 2)]).host(&memory), Err(Fault::NotRam(_))));
    }
}
