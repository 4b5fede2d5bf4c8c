//! The ports by which kernels reset a PC when ACPI tells them no better: the keyboard controller's
//! reset pulse, port 0x92, and the chipset's reset control.

use super::Request;
use crate::bus::{Registers, nobody};
use crate::platform::port;

/// Keyboard controller: pulses its output 0, the reset line. IBM PC/AT technical reference, 1-49.
const PULSE_RESET: u8 = 0xfe;
/// Port 0x92: A20 passes. ICH9 data sheet, 13.7.3.
const A20: u8 = 1 << 1;
/// Port 0x92: resets when it rises.
const FAST_RESET: u8 = 1 << 0;
/// Reset control: resets when it rises. ICH9 data sheet, 13.7.5.
const RESET_CPU: u8 = 1 << 2;
/// Reset control: what can be written beside that.
const RESET_KIND: u8 = 1 << 1 | 1 << 3;

/// One of the ports; each is a device of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetPort {
    /// [`port::KEYBOARD_COMMAND`]. Reads say that both buffers are empty: there is no keyboard, and
    /// who waits before the pulse waits no longer.
    Keyboard,
    /// [`port::SYSTEM_CONTROL`].
    SystemControl,
    /// [`port::RESET_CONTROL`].
    ResetControl,
}

/// A port that resets.
pub struct Reset {
    which: ResetPort,
    value: u8,
    request: Option<Request>,
}

impl Reset {
    /// As after power-on.
    pub const fn new(which: ResetPort) -> Self {
        let value = if matches!(which, ResetPort::SystemControl) { A20 } else { 0 };
        Self { which, value, request: None }
    }

    /// Its range of ports.
    pub const fn ports(&self) -> hv_abi::memory::PhysRange {
        match self.which {
            ResetPort::Keyboard => port::KEYBOARD_COMMAND,
            ResetPort::SystemControl => port::SYSTEM_CONTROL,
            ResetPort::ResetControl => port::RESET_CONTROL,
        }
    }

    /// What the guest asked for since this was called last.
    pub fn take_request(&mut self) -> Option<Request> {
        self.request.take()
    }
}

impl Registers for Reset {
    fn read(&mut self, offset: u64, size: u8) -> u64 {
        if offset == 0 && size == 1 { self.value.into() } else { nobody(size) }
    }

    fn write(&mut self, offset: u64, _: u8, value: u64) {
        if offset != 0 {
            return;
        }
        let (before, value) = (self.value, value as u8);
        let rises = |bit: u8| value & !before & bit != 0;
        let resets = match self.which {
            ResetPort::Keyboard => value == PULSE_RESET,
            ResetPort::SystemControl => rises(FAST_RESET),
            ResetPort::ResetControl => rises(RESET_CPU),
        };
        self.value = match self.which {
            ResetPort::Keyboard => 0,
            ResetPort::SystemControl => value & FAST_RESET | A20,
            ResetPort::ResetControl => value & (RESET_KIND | RESET_CPU),
        };
        if resets {
            self.request = Some(Request::Reset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resets(which: ResetPort, values: &[u64]) -> bool {
        let mut port = Reset::new(which);
        for value in values {
            port.write(0, 1, *value);
        }
        port.take_request() == Some(Request::Reset) && port.take_request().is_none()
    }

    #[test]
    fn each_port_resets_by_its_own_rule() {
        assert!(resets(ResetPort::Keyboard, &[0xfe]));
        assert!(!resets(ResetPort::Keyboard, &[0xd1, 0xdf, 0xff]));
        // As Linux does it: native_machine_emergency_restart, BOOT_CF9_FORCE.
        assert!(resets(ResetPort::ResetControl, &[0x02, 0x06]));
        assert!(!resets(ResetPort::ResetControl, &[0x02, 0x0a]));
        assert!(resets(ResetPort::SystemControl, &[0x02, 0x03]));
        assert!(!resets(ResetPort::SystemControl, &[0x02]));
    }

    #[test]
    fn they_read_as_kernels_wait_for() {
        let mut keyboard = Reset::new(ResetPort::Keyboard);
        keyboard.write(0, 1, 0xd1);
        assert_eq!(keyboard.read(0, 1) & 2, 0, "its input buffer is empty");
        let mut control = Reset::new(ResetPort::SystemControl);
        control.write(0, 1, 0);
        assert_eq!((control.read(0, 1), control.read(0, 2)), (2, 0xffff));
    }
}
