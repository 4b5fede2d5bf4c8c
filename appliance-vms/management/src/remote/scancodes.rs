//! What a keyboard on PS/2 says, byte by byte.

use super::{Key, NAMES};

/// More of a key's code follows, or all of the Pause key's.
const PREFIX: u8 = 0xe0;
const PAUSE: u8 = 0xe1;
/// Set 2: the key is let go.
const RELEASE: u8 = 0xf0;
/// Set 1: the same, as a bit of the code.
const RELEASED: u8 = 0x80;

/// How a keyboard names its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// What a PC's keyboard controller makes of set 2.
    One,
    /// What keyboards speak by themselves.
    Two,
}

/// Makes keys of a keyboard's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Scancodes {
    set: Set,
    prefix: bool,
    release: bool,
    /// Bytes of the Pause key that are still to come.
    skip: u8,
}

impl Scancodes {
    /// For a keyboard that speaks `set`, from between two keys on.
    pub fn new(set: Set) -> Self {
        Self { set, prefix: false, release: false, skip: 0 }
    }

    /// The next byte; the key that it ends, if the remote control has that key, and whether it is down. A
    /// key that is held is told again and again.
    pub fn byte(&mut self, byte: u8) -> Option<(Key, bool)> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        match (self.set, byte) {
            (_, PREFIX) => self.prefix = true,
            // It is let go as soon as it is pressed, all in six bytes or in eight.
            (Set::One, PAUSE) => self.skip = 5,
            (Set::Two, PAUSE) => self.skip = 7,
            (Set::Two, RELEASE) => self.release = true,
            _ => return self.end(byte),
        }
        None
    }

    fn end(&mut self, byte: u8) -> Option<(Key, bool)> {
        let prefix = if core::mem::take(&mut self.prefix) { u16::from(PREFIX) << 8 } else { 0 };
        let released = core::mem::take(&mut self.release);
        let (set, code, released) = match self.set {
            Set::One => (0, byte & !RELEASED, byte & RELEASED != 0),
            Set::Two => (1, byte, released),
        };
        let code = prefix | u16::from(code);
        let name = NAMES.iter().find(|name| code != 0 && name.scancodes[set] == code)?;
        Some((name.key, !released))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn keys(set: Set, bytes: &[u8]) -> Vec<(Key, bool)> {
        let mut scancodes = Scancodes::new(set);
        bytes.iter().filter_map(|&byte| scancodes.byte(byte)).collect()
    }

    #[test]
    fn keys_are_pressed_and_let_go() {
        let expected = [(Key::Up, true), (Key::Ok, true), (Key::Up, false), (Key::Ok, false)];
        assert_eq!(keys(Set::One, &[0xe0, 0x48, 0x1c, 0xe0, 0xc8, 0x9c]), expected);
        assert_eq!(keys(Set::Two, &[0xe0, 0x75, 0x5a, 0xe0, 0xf0, 0x75, 0xf0, 0x5a]), expected);
    }

    #[test]
    fn other_keys_are_passed_over() {
        // A, the shift that some keyboards put around arrows, Pause, and nothing.
        assert_eq!(keys(Set::One, &[0x1e, 0x9e, 0xe0, 0x2a, 0, 0xe0, 0, 0x01]), [(Key::Back, true)]);
        let pause_1 = [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x01];
        assert_eq!(keys(Set::One, &pause_1), [(Key::Back, true)]);
        let pause_2 = [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77, 0x76];
        assert_eq!(keys(Set::Two, &pause_2), [(Key::Back, true)]);
        // The keypad's arrow is a digit, and not on the remote control.
        assert_eq!(keys(Set::Two, &[0x75, 0xf0, 0x75]), []);
    }

    #[test]
    fn no_bytes_break_it() {
        for set in [Set::One, Set::Two] {
            let mut scancodes = Scancodes::new(set);
            for round in 0..=255u8 {
                let known = (0..=255u8).filter_map(|byte| scancodes.byte(byte ^ round)).count();
                assert!(known < 0x80);
            }
        }
    }
}
