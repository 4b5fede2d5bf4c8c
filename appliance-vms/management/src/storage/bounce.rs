//! A disk that takes any memory: what the disk itself does not take goes through memory that it does.
//!
//! Guests cut their buffers as they like. NVMe wants pages that are filled (base specification 1.4,
//! section 4.3), a virtio disk no more pieces than its queue has room for. Both refuse the rest
//! ([`BlockError::Unsupported`]), which is rare enough that copying it costs nobody anything.

use super::bytes::Bounce;
use crate::block::{BlockDevice, BlockError, Geometry, Operation, Pending, SECTOR};
use crate::drivers::dma::Dma;
use crate::memory::HostRange;
use alloc::boxed::Box;
use alloc::rc::Rc;

/// A disk whose requests may have their memory in any pieces.
pub struct AnyMemory {
    disk: Rc<dyn BlockDevice>,
    dma: Rc<dyn Dma>,
}

impl AnyMemory {
    /// `disk`, with memory from `dma` for as long as a request takes that it refuses.
    pub fn new(disk: Rc<dyn BlockDevice>, dma: Rc<dyn Dma>) -> Self {
        Self { disk, dma }
    }

    /// Carries a read or write out piece by piece; which blocks it has reached when it fails, nobody knows.
    async fn bounce(
        &self,
        operation: Operation,
        sector: u64,
        memory: &[HostRange],
    ) -> Result<(), BlockError> {
        let block = u64::from(self.disk.geometry().block).max(SECTOR);
        let all = memory.iter().try_fold(0_u64, |sum, range| sum.checked_add(range.len));
        let all =
            all.filter(|bytes| *bytes > 0 && bytes.is_multiple_of(block)).ok_or(BlockError::OutOfRange)?;
        let start = sector.checked_mul(SECTOR).ok_or(BlockError::OutOfRange)?;
        // Without memory for it the disk can't be asked.
        let mut bounce = Bounce::new(&*self.dma, all, block).ok_or(BlockError::Device)?;
        let most = bounce.len(block) as u64;
        let mut done = 0;
        while done < all {
            let len = most.min(all - done);
            let offset = start.checked_add(done).ok_or(BlockError::OutOfRange)?;
            if operation == Operation::Write {
                each(memory, done, len, |at, range| bounce.memory.fill(at, range));
            }
            bounce = bounce.transfer(&*self.disk, operation, offset, len as usize).await?;
            if operation == Operation::Read {
                each(memory, done, len, |at, range| bounce.memory.drain(at, range));
            }
            done += len;
        }
        Ok(())
    }
}

/// The pieces that have bytes `skip` to `skip + len` of `memory`, each with its place among those.
fn each(memory: &[HostRange], skip: u64, len: u64, mut what: impl FnMut(usize, HostRange)) {
    let (mut skip, mut at) = (skip, 0);
    for range in memory {
        let before = skip.min(range.len);
        skip -= before;
        let piece = (range.len - before).min(len - at);
        if piece > 0 {
            what(at as usize, HostRange { address: range.address.wrapping_add(before), len: piece });
            at += piece;
        }
    }
}

impl BlockDevice for AnyMemory {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    /// Of a request that the disk refused, what is left when nobody waits for it any more is not
    /// carried out.
    fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a> {
        let begun = self.disk.request(operation, sector, memory);
        if !matches!(operation, Operation::Read | Operation::Write) {
            return begun;
        }
        Box::pin(async move {
            match begun.await {
                Err(BlockError::Unsupported) => self.bounce(operation, sector, memory).await,
                result => result,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeDisk, Silent};
    use super::*;
    use crate::drivers::fake::{RAM, Ram, now};
    use crate::testkit::Random;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::cell::Cell;
    use core::future::ready;
    use core::task::{Context, Waker};

    /// Where the guest's RAM begins in these tests, behind all that is lent.
    const GUEST: u64 = RAM + (128 << 10);

    /// A disk that takes but one piece of memory, at the start of a page.
    struct Fussy {
        disk: Rc<dyn BlockDevice>,
        refused: Cell<u32>,
    }

    impl Fussy {
        fn new(disk: Rc<dyn BlockDevice>) -> Rc<Self> {
            Rc::new(Self { disk, refused: Cell::default() })
        }
    }

    impl BlockDevice for Fussy {
        fn geometry(&self) -> Geometry {
            self.disk.geometry()
        }

        fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a> {
            if memory.len() < 2 && memory.iter().all(|range| range.address.is_multiple_of(4096)) {
                return self.disk.request(operation, sector, memory);
            }
            self.refused.set(self.refused.get() + 1);
            Box::pin(ready(Err(BlockError::Unsupported)))
        }
    }

    fn bench(block: u32) -> (Rc<FakeDisk>, Rc<Fussy>, AnyMemory) {
        let disk = FakeDisk::new(1 << 20, block);
        let fussy = Fussy::new(disk.clone());
        let any = AnyMemory::new(fussy.clone(), Rc::new(disk.ram.clone()));
        (disk, fussy, any)
    }

    /// Cuts `len` bytes of the guest's RAM into odd pieces.
    fn cut(random: &mut Random, mut len: u64) -> Vec<HostRange> {
        let (mut pieces, mut address) = (Vec::new(), GUEST);
        while len > 0 {
            let piece = (random.index(9000) as u64).min(len);
            address += random.index(700) as u64;
            pieces.push(HostRange { address, len: piece });
            address += piece;
            len -= piece;
        }
        pieces
    }

    #[test]
    fn any_pieces_read_what_was_written_in_others() {
        for block in [512, 4096] {
            let (disk, fussy, any) = bench(block);
            let ram = &disk.ram;
            let mut random = Random(u64::from(block));
            let len = 40 << 10;
            for round in 0..30_u8 {
                let sector = 8 * random.index(100) as u64;
                let from = cut(&mut random, len);
                let mut content = Vec::new();
                for piece in &from {
                    let bytes: Vec<u8> = (0..piece.len).map(|at| (at as u8).wrapping_mul(round)).collect();
                    ram.put(piece.address, &bytes);
                    content.extend(bytes);
                }
                assert_eq!(now(any.request(Operation::Write, sector, &from)), Ok(()));
                assert!(disk.get((sector * SECTOR) as usize, len as usize) == content);
                let to = cut(&mut random, len);
                assert_eq!(now(any.request(Operation::Read, sector, &to)), Ok(()));
                let read = to.iter().flat_map(|piece| ram.get(piece.address, piece.len as usize));
                assert!(read.collect::<Vec<u8>>() == content);
            }
            assert_eq!((fussy.refused.get(), ram.lent.get()), (60, 0));
        }
    }

    #[test]
    fn a_long_request_takes_several_turns() {
        let (disk, _, any) = bench(512);
        let content: Vec<u8> = (0..200_u32 << 10).map(|at| (at / 3) as u8).collect();
        disk.put(512, &content);
        // The same memory again and again: the last piece is what stays.
        let pieces = vec![HostRange { address: GUEST + 4, len: 2048 }; 100];
        assert_eq!(now(any.request(Operation::Read, 1, &pieces)), Ok(()));
        assert_eq!(disk.ram.get(GUEST + 4, 2048), content[198 << 10..]);
    }

    #[test]
    fn what_the_disk_takes_goes_there_as_it_is() {
        let (_, fussy, any) = bench(512);
        let page = [HostRange { address: RAM, len: 4096 }];
        assert_eq!(now(any.request(Operation::Read, 0, &page)), Ok(()));
        assert_eq!(now(any.request(Operation::Flush, 0, &[])), Ok(()));
        assert_eq!(fussy.refused.get(), 0);
        assert_eq!(any.geometry(), fussy.geometry());
    }

    #[test]
    fn nonsense_and_failures_end_the_request() {
        let (disk, fussy, any) = bench(4096);
        let odd = |len| [HostRange { address: RAM + 1, len }, HostRange { address: RAM, len: 0 }];
        for len in [0, 512, 4097, u64::MAX] {
            assert_eq!(now(any.request(Operation::Read, 0, &odd(len))), Err(BlockError::OutOfRange));
        }
        let far = now(any.request(Operation::Read, u64::MAX / 2, &odd(4096)));
        assert_eq!(far, Err(BlockError::OutOfRange));
        disk.fail.set(true);
        assert_eq!(now(any.request(Operation::Write, 0, &odd(4096))), Err(BlockError::Device));
        let poor = AnyMemory::new(fussy, Rc::new(Ram::new(0)));
        assert_eq!(now(poor.request(Operation::Write, 0, &odd(4096))), Err(BlockError::Device));
    }

    #[test]
    fn memory_stays_the_disks_when_nobody_waits() {
        let ram = Ram::new(1 << 20);
        let any = AnyMemory::new(Fussy::new(Rc::new(Silent)), Rc::new(ram.clone()));
        let pieces = [HostRange { address: RAM, len: 256 }; 2];
        let mut request = any.request(Operation::Read, 0, &pieces);
        assert!(request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(request);
        assert_eq!(ram.lent.get(), 512);
    }
}
