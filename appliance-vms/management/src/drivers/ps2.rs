//! The keyboard on PS/2, behind the controller that every PC had. IBM, "PS/2 Hardware Interface Technical
//! Reference", keyboard and auxiliary device controller.

#[cfg(test)]
mod tests;

use crate::remote::{Scancodes, Set};

/// The controller's ports.
pub trait Ports {
    /// Reads the status register (port 0x64).
    fn status(&mut self) -> u8;
    /// Takes the byte that waits (port 0x60).
    fn take(&mut self) -> u8;
    /// Gives the controller a command (port 0x64).
    fn command(&mut self, command: u8);
    /// Gives a byte to the last command or to the keyboard (port 0x60).
    fn give(&mut self, byte: u8);
}

/// Status: a byte waits to be taken.
const FULL: u8 = 1 << 0;
/// Status: the controller has not worked on the last byte yet.
const BUSY: u8 = 1 << 1;
/// Status: the byte that waits is the mouse's.
const MOUSES: u8 = 1 << 5;
/// What a port reads that is none.
const NOBODY: u8 = 0xff;

/// Commands to the controller.
mod command {
    pub const READ_CONFIG: u8 = 0x20;
    pub const WRITE_CONFIG: u8 = 0x60;
    pub const MOUSE_OFF: u8 = 0xa7;
    pub const KEYBOARD_OFF: u8 = 0xad;
    pub const KEYBOARD_ON: u8 = 0xae;
}

/// Bits of the configuration.
mod config {
    pub const KEYBOARD_INTERRUPT: u8 = 1 << 0;
    pub const MOUSE_INTERRUPT: u8 = 1 << 1;
    pub const KEYBOARD_CLOCK_OFF: u8 = 1 << 4;
    pub const MOUSE_CLOCK_OFF: u8 = 1 << 5;
    pub const TRANSLATE: u8 = 1 << 6;
}

/// To the keyboard: send keys.
const SCAN: u8 = 0xf4;
/// How often the controller is looked at before it counts as dead: about a millisecond on any bus.
const LOOKS: usize = 1000;
/// Most bytes that are taken at once: more than a controller and a keyboard keep.
const MOST: usize = 64;

/// A keyboard.
pub struct Keyboard<P> {
    ports: P,
    scancodes: Scancodes,
}

impl<P: Ports> Keyboard<P> {
    /// Sets the controller up: keys are sent, and each byte interrupts; the mouse is off. `None`: there is
    /// no controller, or it does not answer.
    pub fn begin(mut ports: P) -> Option<Self> {
        if ports.status() == NOBODY {
            return None;
        }
        command(&mut ports, command::KEYBOARD_OFF)?;
        command(&mut ports, command::MOUSE_OFF)?;
        // What waits from before is nobody's.
        for _ in 0..MOST {
            if ports.status() & FULL == 0 {
                break;
            }
            ports.take();
        }
        command(&mut ports, command::READ_CONFIG)?;
        let found = answer(&mut ports)?;
        let off = config::KEYBOARD_CLOCK_OFF | config::MOUSE_INTERRUPT;
        let on = config::KEYBOARD_INTERRUPT | config::MOUSE_CLOCK_OFF | config::TRANSLATE;
        command(&mut ports, command::WRITE_CONFIG)?;
        give(&mut ports, found & !off | on)?;
        // Not every controller can translate.
        command(&mut ports, command::READ_CONFIG)?;
        let set = if answer(&mut ports)? & config::TRANSLATE == 0 { Set::Two } else { Set::One };
        command(&mut ports, command::KEYBOARD_ON)?;
        give(&mut ports, SCAN)?;
        Some(Self { ports, scancodes: Scancodes::new(set) })
    }

    /// The next key that was pressed or let go, of those that wait, by Linux's number.
    pub fn key(&mut self) -> Option<(u16, bool)> {
        for _ in 0..MOST {
            let status = self.ports.status();
            if status & FULL == 0 || status == NOBODY {
                return None;
            }
            let byte = self.ports.take();
            // The keyboard's answers (0xfa, 0xfe) are no key's code in either set.
            let key = if status & MOUSES == 0 { self.scancodes.byte(byte) } else { None };
            if key.is_some() {
                return key;
            }
        }
        None
    }
}

/// Waits until the controller takes a byte; `None`: it does not.
fn ready(ports: &mut impl Ports) -> Option<()> {
    (0..LOOKS).any(|_| ports.status() & BUSY == 0).then_some(())
}

fn command(ports: &mut impl Ports, command: u8) -> Option<()> {
    ready(ports)?;
    ports.command(command);
    Some(())
}

fn give(ports: &mut impl Ports, byte: u8) -> Option<()> {
    ready(ports)?;
    ports.give(byte);
    Some(())
}

/// The controller's answer to the last command.
fn answer(ports: &mut impl Ports) -> Option<u8> {
    (0..LOOKS).any(|_| ports.status() & FULL != 0).then(|| ports.take())
}
