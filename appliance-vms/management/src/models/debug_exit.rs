//! isa-debug-exit: a port whose write ends the virtual machine with a status, for kernels that test.
//! QEMU, docs: "-device isa-debug-exit".

use super::Request;
use crate::bus::Registers;

/// The port, for appliances that ask for it.
#[derive(Default)]
pub struct DebugExit {
    request: Option<Request>,
}

impl DebugExit {
    /// Nothing written yet.
    pub const fn new() -> Self {
        Self { request: None }
    }

    /// What the guest asked for since this was called last.
    pub fn take_request(&mut self) -> Option<Request> {
        self.request.take()
    }
}

impl Registers for DebugExit {
    fn read(&mut self, _: u64, _: u8) -> u64 {
        0
    }

    /// Any size, at any of its ports: the status is twice the value and one, so never 0.
    fn write(&mut self, _: u64, size: u8, value: u64) {
        let value = value & crate::bus::nobody(size.min(4));
        self.request = Some(Request::Exit(value * 2 + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_ends_with_twice_its_value_and_one() {
        let mut port = DebugExit::new();
        for (size, value, status) in [
            (4, 0, 1),
            (4, 0x10, 0x21),
            (1, 0x1ff, 0x1ff),
            (4, u64::MAX, 0x1_ffff_ffff),
            (8, u64::MAX, 0x1_ffff_ffff),
        ] {
            port.write(0, size, value);
            assert_eq!(port.take_request(), Some(Request::Exit(status)));
            assert_eq!(port.take_request(), None);
        }
    }
}
