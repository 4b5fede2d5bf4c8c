//! The keyboard on PS/2 on this machine: the library's driver on the controller's two ports.

use crate::hypercall::{self, Refused};
use core::task::{Context, Poll};
use hv_abi::device::{BOARD, KEYBOARD};
use management::drivers::ps2;
use management::executor::{Event, Handle};
use management::remote::Keys;
use x86_64::instructions::port::Port;

const DATA: u16 = 0x60;
const CONTROL: u16 = 0x64;

/// The controller.
struct Controller;

impl ps2::Ports for Controller {
    fn status(&mut self) -> u8 {
        // SAFETY: hv lets this VM have the ports, and only this driver uses them.
        unsafe { Port::new(CONTROL).read() }
    }

    fn take(&mut self) -> u8 {
        // SAFETY: as above.
        unsafe { Port::new(DATA).read() }
    }

    fn command(&mut self, command: u8) {
        // SAFETY: as above.
        unsafe { Port::new(CONTROL).write(command) };
    }

    fn give(&mut self, byte: u8) {
        // SAFETY: as above.
        unsafe { Port::new(DATA).write(byte) };
    }
}

/// A keyboard.
pub struct Keyboard {
    interrupt: Event,
    keyboard: ps2::Keyboard<Controller>,
}

impl Keyboard {
    /// Sets it up; `None`: there is no controller, or there is no event left.
    ///
    /// # Errors
    /// hv does not route its interrupt.
    pub fn begin(handle: &Handle) -> Result<Option<Self>, Refused> {
        let Some(interrupt) = handle.event() else { return Ok(None) };
        // First: what comes before its interrupt does would wait for the next key.
        hypercall::bind(BOARD, KEYBOARD, Some(interrupt.number()))?;
        let keyboard = ps2::Keyboard::begin(Controller);
        if keyboard.is_none() {
            hypercall::bind(BOARD, KEYBOARD, None)?;
        }
        Ok(keyboard.map(|keyboard| Self { interrupt, keyboard }))
    }
}

impl Keys for Keyboard {
    fn poll_key(&mut self, context: &mut Context<'_>) -> Poll<(u16, bool)> {
        loop {
            if let Some(key) = self.keyboard.key() {
                return Poll::Ready(key);
            }
            if self.interrupt.poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
