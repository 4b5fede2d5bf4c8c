//! Sleep, reset and events of hardware-reduced ACPI. ACPI 6.5, 4.8.3.6 (reset), 4.8.3.7 (sleep),
//! 5.6.9 (generic event device; its register is our own, and the DSDT says how it is read).

use super::Request;
use crate::bus::{Registers, bytewise_read, bytewise_write};
use crate::interrupts::Pin;

/// The registers, of one byte each; offsets from the first.
pub mod register {
    use crate::platform;

    /// Sleep type in bits 4–2, and bit 5 to sleep now.
    pub const SLEEP_CONTROL: u64 = 0;
    /// Bit 7 says that it woke, and is never set: S5 wakes by starting anew.
    pub const SLEEP_STATUS: u64 = 1;
    /// [`RESET_VALUE`] resets.
    pub const RESET: u64 = 2;
    /// What happened; reading forgets it.
    pub const EVENTS: u64 = 4;
    /// What resets.
    pub const RESET_VALUE: u8 = 1;

    /// The port of a register.
    pub const fn port(register: u64) -> u64 {
        platform::port::POWER.base + register
    }
}

/// The sleep type of S5, which is all the sleep there is.
pub const S5: u8 = 5;
/// Event: the power button was pressed.
pub const EVENT_BUTTON: u8 = 1 << 0;

const SLEEP_ENABLE: u8 = 1 << 5;
const SLEEP_TYPE_SHIFT: u8 = 2;
const SLEEP_TYPE: u8 = 0b111;

/// A guest's power registers.
pub struct Power {
    pin: Pin,
    events: u8,
    request: Option<Request>,
}

impl Power {
    /// As after power-on; `pin` is [`crate::platform::gsi::EVENT`].
    pub fn new(pin: Pin) -> Self {
        Self { pin, events: 0, request: None }
    }

    /// Presses the power button: the guest is asked to switch itself off.
    pub fn press_button(&mut self) {
        self.events |= EVENT_BUTTON;
        self.pin.set(true);
    }

    /// What the guest asked for since this was called last.
    pub fn take_request(&mut self) -> Option<Request> {
        self.request.take()
    }

    fn read_byte(&mut self, offset: u64) -> u8 {
        match offset {
            register::EVENTS => {
                self.pin.set(false);
                core::mem::take(&mut self.events)
            }
            _ => 0,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        let sleeps = value & SLEEP_ENABLE != 0 && value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE == S5;
        match offset {
            register::SLEEP_CONTROL if sleeps => self.request = Some(Request::PowerOff),
            register::RESET if value == register::RESET_VALUE => self.request = Some(Request::Reset),
            _ => {}
        }
    }
}

impl Registers for Power {
    fn read(&mut self, offset: u64, size: u8) -> u64 {
        bytewise_read(offset, size, |offset| self.read_byte(offset))
    }

    fn write(&mut self, offset: u64, size: u8, value: u64) {
        bytewise_write(offset, size, value, |offset, byte| self.write_byte(offset, byte));
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::platform::gsi;
    use crate::testkit::FakePins;
    use std::rc::Rc;

    fn power() -> (Rc<FakePins>, Power) {
        let pins = Rc::new(FakePins::default());
        (pins.clone(), Power::new(Pin::new(pins, gsi::EVENT)))
    }

    #[test]
    fn sleeping_in_s5_switches_off() {
        let (_, mut power) = power();
        // What Linux's acpi_hw_extended_sleep writes.
        power.write(register::SLEEP_STATUS, 1, 0x80);
        assert_eq!(power.take_request(), None);
        power.write(register::SLEEP_CONTROL, 1, 5 << 2 | 0x20);
        assert_eq!(power.take_request(), Some(Request::PowerOff));
        assert_eq!(power.take_request(), None);
    }

    #[test]
    fn other_sleep_is_not_slept() {
        let (_, mut power) = power();
        for value in (0..=0xff).filter(|value| *value & 0x3c != 0x34) {
            power.write(register::SLEEP_CONTROL, 1, value);
            assert_eq!(power.take_request(), None, "{value:#x}");
        }
    }

    #[test]
    fn the_reset_value_resets() {
        let (_, mut power) = power();
        power.write(register::RESET, 1, 0);
        assert_eq!(power.take_request(), None);
        power.write(register::RESET, 1, 1);
        assert_eq!(power.take_request(), Some(Request::Reset));
    }

    #[test]
    fn a_pressed_button_holds_the_pin_until_the_event_is_read() {
        let (pins, mut power) = power();
        power.press_button();
        power.press_button();
        assert_eq!(pins.take(), [(gsi::EVENT, true)]);
        assert_eq!(power.read(register::EVENTS, 1), 1);
        assert_eq!(pins.take(), [(gsi::EVENT, false)]);
        assert_eq!(power.read(register::EVENTS, 1), 0);
        assert!(pins.take().is_empty());
    }
}
