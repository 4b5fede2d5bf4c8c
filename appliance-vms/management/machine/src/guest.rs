//! A guest, as its device models reach it: its RAM and its interrupts.

use crate::dma::copy;
use crate::hypercall::{self, Outcome};
use core::sync::atomic::{AtomicU16, Ordering};
use hv_abi::manifest::MAX_PIECES;
use management::interrupts::Interrupts;
use management::memory::{GuestMemory, HostRange, NotRam};

/// A piece of a guest's RAM.
#[derive(Clone, Copy, Default)]
struct Piece {
    guest: u64,
    host: u64,
    len: u64,
}

/// Windows on a guest's RAM. The guest writes it at any time, so it is never a reference: what is
/// copied is copied by string instructions, which the compiler knows nothing of.
///
/// Once the guest is destroyed, what is behind the windows reads all ones.
#[derive(Clone, Copy)]
pub struct GuestRam {
    pieces: [Piece; MAX_PIECES],
}

impl GuestRam {
    /// Windows on these pieces (guest-physical base, bytes) of the RAM of a VM: its manifest's.
    ///
    /// # Errors
    /// They are not what it was cut from.
    pub fn new(vm: u64, ram: impl IntoIterator<Item = (u64, u64)>) -> Outcome<Self> {
        let mut pieces = [Piece::default(); MAX_PIECES];
        let ram = ram.into_iter().filter(|piece| piece.1 != 0);
        for (place, (guest, len)) in pieces.iter_mut().zip(ram) {
            *place = Piece { guest, host: hypercall::window(vm, guest, len)?, len };
        }
        Ok(Self { pieces })
    }

    fn find(&self, address: u64, len: u64) -> Result<u64, NotRam> {
        let host = self.pieces.iter().find_map(|piece| {
            let offset = address.checked_sub(piece.guest)?;
            let end = offset.checked_add(len)?;
            (end <= piece.len).then_some(piece.host + offset)
        });
        host.ok_or(NotRam { address, len })
    }

    fn word(&self, address: u64) -> Result<&AtomicU16, NotRam> {
        let host = self.find(address, 2)?;
        if !address.is_multiple_of(2) {
            return Err(NotRam { address, len: 2 });
        }
        // SAFETY: aligned, and RAM of the guest's by `find`: hv maps it where it is. Everybody's
        // accesses to it are atomic, or of a guest and so none of this program's.
        Ok(unsafe { AtomicU16::from_ptr(core::ptr::with_exposed_provenance_mut(host as usize)) })
    }
}

impl GuestMemory for GuestRam {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), NotRam> {
        let host = self.find(address, into.len() as u64)?;
        let to = into.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the guest's RAM by `find`, and a slice of this program's.
        unsafe { copy(host, to, into.len()) };
        Ok(())
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), NotRam> {
        let host = self.find(address, from.len() as u64)?;
        let at = from.as_ptr().expose_provenance() as u64;
        // SAFETY: as for `read`.
        unsafe { copy(at, host, from.len()) };
        Ok(())
    }

    fn load_u16(&self, address: u64) -> Result<u16, NotRam> {
        self.word(address).map(|word| word.load(Ordering::Acquire))
    }

    fn store_u16(&self, address: u64, value: u16) -> Result<(), NotRam> {
        self.word(address).map(|word| word.store(value, Ordering::Release))
    }

    fn host(&self, address: u64, len: u64) -> Result<HostRange, NotRam> {
        self.find(address, len).map(|address| HostRange { address, len })
    }
}

/// Interrupts of a guest.
#[derive(Clone, Copy)]
pub struct Lines {
    /// The guest.
    pub vm: u64,
}

impl Interrupts for Lines {
    fn message(&self, address: u64, data: u32) {
        // What the guest has programmed may be no message, and then nothing comes, as in a machine. A
        // guest that is gone needs none.
        let _ = hypercall::message(self.vm, address, data);
    }

    fn pin(&self, pin: u8, level: bool) {
        // As above.
        let _ = hypercall::pin(self.vm, pin, level);
    }
}
