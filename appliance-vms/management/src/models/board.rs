//! All of a guest's devices that are on no bus, behind their ports.

use super::Request;
use super::debug_exit::DebugExit;
use super::power::Power;
use super::reset::{Reset, ResetPort};
use super::rtc::{Rtc, WallClock};
use super::uart::Uart;
use crate::bus::{Decoder, Registers};
use crate::interrupts::{Interrupts, Pin};
use crate::platform::{gsi, port};
use alloc::rc::Rc;

/// Who answers at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Uart,
    Rtc,
    Power,
    Reset(usize),
    DebugExit,
}

const RESETS: [ResetPort; 3] = [ResetPort::Keyboard, ResetPort::SystemControl, ResetPort::ResetControl];

/// A guest's board.
pub struct Board {
    ports: Decoder<Device>,
    /// First serial port.
    pub uart: Uart,
    /// Power registers and button.
    pub power: Power,
    rtc: Rtc,
    resets: [Reset; 3],
    debug_exit: DebugExit,
}

impl Board {
    /// As after power-on; with [`port::DEBUG_EXIT`] or without it.
    pub fn new(interrupts: &Rc<dyn Interrupts>, clock: Rc<dyn WallClock>, debug_exit: bool) -> Self {
        let pin = |number| Pin::new(interrupts.clone(), number);
        let resets = RESETS.map(Reset::new);
        let fixed = [(port::COM1, Device::Uart), (port::RTC, Device::Rtc), (port::POWER, Device::Power)];
        let wanted = debug_exit.then_some((port::DEBUG_EXIT, Device::DebugExit));
        let reset = resets.iter().enumerate().map(|(at, reset)| (reset.ports(), Device::Reset(at)));
        let mut ports = Decoder::new();
        for (range, device) in fixed.into_iter().chain(reset).chain(wanted) {
            // The platform's ranges are apart from each other; a test claims them all.
            let _ = ports.claim(range, device);
        }
        Self {
            ports,
            uart: Uart::new(pin(gsi::COM1)),
            power: Power::new(pin(gsi::EVENT)),
            rtc: Rtc::new(clock),
            resets,
            debug_exit: DebugExit::new(),
        }
    }

    /// An access to a port, which writes something or reads; what it reads, or 0. `None`: it is nobody's
    /// here, and PCI may be asked.
    pub fn access(&mut self, port: u64, size: u8, write: Option<u64>) -> Option<u64> {
        let (device, offset) = self.ports.find(port, size)?;
        let registers: &mut dyn Registers = match device {
            Device::Uart => &mut self.uart,
            Device::Rtc => &mut self.rtc,
            Device::Power => &mut self.power,
            Device::Reset(at) => self.resets.get_mut(at)?,
            Device::DebugExit => &mut self.debug_exit,
        };
        Some(match write {
            None => registers.read(offset, size),
            Some(value) => {
                registers.write(offset, size, value);
                0
            }
        })
    }

    /// What the guest asked for since this was called last. To be asked after each access, before it
    /// is answered: after such a write a guest expects to run no further.
    pub fn take_request(&mut self) -> Option<Request> {
        let asked = self.power.take_request().or_else(|| self.debug_exit.take_request());
        self.resets.iter_mut().fold(asked, |asked, reset| asked.or(reset.take_request()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::FakePins;

    struct Midnight;

    impl WallClock for Midnight {
        fn unix_nanos(&self) -> u64 {
            0
        }
    }

    fn board(debug_exit: bool) -> Board {
        let pins: Rc<dyn Interrupts> = Rc::new(FakePins::default());
        Board::new(&pins, Rc::new(Midnight), debug_exit)
    }

    #[test]
    fn every_device_answers_at_its_port() {
        let mut board = board(true);
        board.access(0x3f8, 1, Some(b'a'.into()));
        assert_eq!(board.uart.take_output(), b"a");
        board.access(0x70, 1, Some(0x09));
        assert_eq!(board.access(0x71, 1, None), Some(0x70), "1970");
        for (port, value, request) in [
            (0x600, 0x34, Request::PowerOff),
            (0x602, 1, Request::Reset),
            (0x64, 0xfe, Request::Reset),
            (0x92, 1, Request::Reset),
            (0xcf9, 6, Request::Reset),
            (0xf4, 16, Request::Exit(33)),
        ] {
            assert_eq!(board.access(port, 1, Some(value)), Some(0));
            assert_eq!((board.take_request(), board.take_request()), (Some(request), None));
        }
    }

    #[test]
    fn what_is_not_on_the_board_is_left_to_others() {
        let mut board = board(false);
        for (port, size) in [(0xcf8, 4), (0xcfc, 4), (0xf4, 4), (0x80, 1), (0x21, 1), (0x608, 4), (0x71, 2)] {
            assert_eq!(board.access(port, size, None), None, "{port:#x}");
        }
    }
}
