//! Doorbells: writes that set an event, and that nobody waits for.

use crate::vcpu::DeviceAccess;
use heapless::Vec;
use hv_abi::hypercall::Status;
use hv_abi::ioreq::{EVENTS, NO_EVENT, PORT};

/// Most doorbells of a VM: one a queue.
pub const MAX_DOORBELLS: usize = 128;
/// Most bytes of one: a page.
const MAX_BYTES: u64 = 4096;

#[derive(Clone, Copy, Debug)]
struct Doorbell {
    /// First address, with [`PORT`] for a port.
    first: u64,
    last: u64,
    event: u32,
}

/// A VM's doorbells, lowest address first, apart from each other.
#[derive(Debug, Default)]
pub struct Doorbells(Vec<Doorbell, MAX_DOORBELLS>);

impl Doorbells {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Puts one at `bytes` bytes from `address` ([`PORT`]: a port), or takes away the one that begins
    /// there if `event` is [`NO_EVENT`].
    ///
    /// # Errors
    /// `BAD_ARGUMENT`: no bytes or more than a page, beyond the last address or port, on another
    /// doorbell, an event there is not; `NO_SUCH_THING`: nothing to take away; `NO_ROOM`.
    pub fn set(&mut self, address: u64, bytes: u64, event: u32) -> Result<(), Status> {
        let at = self.0.partition_point(|bell| bell.first < address);
        if event == NO_EVENT {
            if self.0.get(at).is_none_or(|bell| bell.first != address) {
                return Err(Status::NO_SUCH_THING);
            }
            self.0.remove(at);
            return Ok(());
        }
        let limit = if address & PORT != 0 { PORT | 0xffff } else { PORT - 1 };
        let last = address.checked_add(bytes.wrapping_sub(1)).filter(|&last| last <= limit);
        let Some(last) = last.filter(|_| (1..=MAX_BYTES).contains(&bytes) && event < EVENTS) else {
            return Err(Status::BAD_ARGUMENT);
        };
        let below = at.checked_sub(1).and_then(|below| self.0.get(below));
        if below.is_some_and(|bell| bell.last >= address)
            || self.0.get(at).is_some_and(|bell| bell.first <= last)
        {
            return Err(Status::BAD_ARGUMENT);
        }
        self.0.insert(at, Doorbell { first: address, last, event }).map_err(|_| Status::NO_ROOM)
    }

    /// The event of an access, if it rings one.
    pub fn event(&self, access: &DeviceAccess) -> Option<u32> {
        access.write?;
        let address = access.address | if access.is_port { PORT } else { 0 };
        let at = self.0.partition_point(|bell| bell.last < address);
        self.0.get(at).filter(|bell| bell.first <= address).map(|bell| bell.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(is_port: bool, address: u64) -> DeviceAccess {
        DeviceAccess { is_port, address, size: 4, write: Some(1) }
    }

    #[test]
    fn a_write_rings_and_a_read_does_not() {
        let mut bells = Doorbells::new();
        for (address, event) in [(0xe000_3004, 2), (0xe000_3000, 1), (PORT | 0xc050, 3)] {
            assert_eq!(bells.set(address, 4, event), Ok(()));
        }
        let rings = |is_port, address| bells.event(&write(is_port, address));
        assert_eq!([rings(false, 0xe000_3000), rings(false, 0xe000_3007)], [Some(1), Some(2)]);
        assert_eq!([rings(false, 0xe000_2fff), rings(false, 0xe000_3008)], [None, None]);
        assert_eq!([rings(true, 0xc050), rings(false, 0xc050)], [Some(3), None]);
        assert_eq!(bells.event(&DeviceAccess { write: None, ..write(false, 0xe000_3000) }), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_changes_nothing() {
        let mut bells = Doorbells::new();
        assert_eq!(bells.set(0x1000, 0x10, 7), Ok(()));
        for (address, bytes, event) in [
            (0x2000, 0, 1),
            (0x2000, 4097, 1),
            (0x2000, 4, EVENTS),
            (PORT - 2, 4, 1),
            (u64::MAX, 4, 1),
            (PORT | 0xfffe, 4, 1),
            (0x100f, 1, 1),
            (0xff8, 9, 1),
        ] {
            assert_eq!(bells.set(address, bytes, event), Err(Status::BAD_ARGUMENT), "{address:#x}");
        }
        assert_eq!(bells.set(0x1004, 1, NO_EVENT), Err(Status::NO_SUCH_THING));
        assert_eq!(bells.event(&write(false, 0x100f)), Some(7));
        assert_eq!(bells.set(0x1000, 0, NO_EVENT), Ok(()));
        assert_eq!(bells.event(&write(false, 0x100f)), None);
    }

    #[test]
    fn there_is_a_last_one() {
        let mut bells = Doorbells::new();
        for at in 0..MAX_DOORBELLS as u64 {
            assert_eq!(bells.set(at * 4, 4, 0), Ok(()));
        }
        assert_eq!(bells.set(0x10_0000, 4, 0), Err(Status::NO_ROOM));
    }
}
