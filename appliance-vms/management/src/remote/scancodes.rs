//! What a keyboard on PS/2 says, byte by byte. "Keyboard Scan Code Specification", Microsoft 2000, appendix C.

use crate::virtio::input::codes::key;

/// More of a key's code follows, or all of the Pause key's.
const PREFIX: u8 = 0xe0;
const PAUSE: u8 = 0xe1;
/// Set 2: the key is let go.
const RELEASE: u8 = 0xf0;
/// Set 1: the same, as a bit of the code.
const RELEASED: u8 = 0x80;

/// Codes of set 1, by those of set 2: what a PC's keyboard controller makes of them. IBM, "PS/2 Hardware Interface
/// Technical Reference", keyboard and auxiliary device controller. One key is beyond its end.
#[rustfmt::skip]
const TRANSLATED: [u8; 128] = [
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
];
const F7: (u8, u8) = (0x83, 0x41);

/// Linux's numbers of keys after the prefix, by their codes in set 1. Without the prefix the code itself is the
/// number (`include/uapi/linux/input-event-codes.h`).
const PREFIXED: [(u8, u16); 26] = [
    (0x48, key::UP),
    (0x50, key::DOWN),
    (0x4b, key::LEFT),
    (0x4d, key::RIGHT),
    (0x1c, key::KEYPAD_ENTER),
    (0x6a, key::BACK),
    (0x32, key::HOMEPAGE),
    (0x47, key::HOME),
    (0x5b, key::LEFT_META),
    (0x5d, key::COMPOSE),
    (0x30, key::VOLUME_UP),
    (0x2e, key::VOLUME_DOWN),
    (0x20, key::MUTE),
    (0x22, key::PLAY_PAUSE),
    (0x24, key::STOP_CD),
    (0x19, key::NEXT_SONG),
    (0x10, key::PREVIOUS_SONG),
    (0x49, key::PAGE_UP),
    (0x51, key::PAGE_DOWN),
    (0x1d, key::RIGHT_CONTROL),
    (0x35, key::KEYPAD_SLASH),
    (0x37, key::PRINT),
    (0x38, key::RIGHT_ALT),
    (0x4f, key::END),
    (0x52, key::INSERT),
    (0x53, key::DELETE),
];

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

    /// The next byte; the key that it ends, by Linux's number, and whether it is down. A key that is held is told
    /// again and again.
    pub fn byte(&mut self, byte: u8) -> Option<(u16, bool)> {
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

    fn end(&mut self, byte: u8) -> Option<(u16, bool)> {
        let prefix = core::mem::take(&mut self.prefix);
        let released = core::mem::take(&mut self.release);
        let (code, released) = match self.set {
            Set::One => (byte & !RELEASED, byte & RELEASED != 0),
            Set::Two if byte == F7.0 => (F7.1, released),
            Set::Two => (*TRANSLATED.get(usize::from(byte))?, released),
        };
        let number = if prefix {
            PREFIXED.iter().find(|known| known.0 == code)?.1
        } else {
            let number = u16::from(code);
            matches!(number, key::ESC..=key::KEYPAD_DOT | key::KEY_102ND..=key::F12).then_some(number)?
        };
        Some((number, !released))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{Key, typing};
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    fn keys(set: Set, bytes: &[u8]) -> Vec<(u16, bool)> {
        let mut scancodes = Scancodes::new(set);
        bytes.iter().filter_map(|&byte| scancodes.byte(byte)).collect()
    }

    #[test]
    fn keys_are_pressed_and_let_go() {
        let expected = [(key::UP, true), (key::ENTER, true), (key::UP, false), (key::ENTER, false)];
        assert_eq!(keys(Set::One, &[0xe0, 0x48, 0x1c, 0xe0, 0xc8, 0x9c]), expected);
        assert_eq!(keys(Set::Two, &[0xe0, 0x75, 0x5a, 0xe0, 0xf0, 0x75, 0xf0, 0x5a]), expected);
    }

    #[test]
    fn letters_are_keys_too() {
        // Shift and A, F7, F11.
        let expected = [(42, true), (30, true), (30, false), (42, false), (65, true), (key::F12 - 1, true)];
        assert_eq!(keys(Set::One, &[0x2a, 0x1e, 0x9e, 0xaa, 0x41, 0x57]), expected);
        assert_eq!(keys(Set::Two, &[0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12, 0x83, 0x78]), expected);
    }

    #[test]
    fn both_sets_have_every_key_for_typing_and_of_the_remote_control() {
        let all = |set: Set, prefixes: &[u8]| -> BTreeSet<u16> {
            let mut codes = (0..=0x83u8).filter(|code| set == Set::Two || code & RELEASED == 0);
            let every: Vec<u8> = codes.by_ref().collect();
            every.iter().flat_map(|&code| keys(set, &[prefixes, &[code]].concat())).map(|key| key.0).collect()
        };
        for set in [Set::One, Set::Two] {
            let known: BTreeSet<u16> = all(set, &[]).union(&all(set, &[PREFIX])).copied().collect();
            // KEY_LINEFEED is on no keyboard for PCs.
            for code in typing().filter(|&code| code != 101) {
                assert!(known.contains(&code), "{set:?}: {code}");
            }
            let named: BTreeSet<Key> = known.iter().filter_map(|&code| Key::from_evdev(code)).collect();
            assert_eq!(named.len(), Key::ALL.len(), "{set:?}");
        }
    }

    #[test]
    fn other_keys_are_passed_over() {
        // The shift that some keyboards put around arrows, nothing, and Pause.
        assert_eq!(keys(Set::One, &[0xe0, 0x2a, 0, 0xe0, 0, 0x01]), [(key::ESC, true)]);
        let pause_1 = [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x01];
        assert_eq!(keys(Set::One, &pause_1), [(key::ESC, true)]);
        let pause_2 = [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77, 0x76];
        assert_eq!(keys(Set::Two, &pause_2), [(key::ESC, true)]);
        // The keyboard's answers.
        assert_eq!(keys(Set::Two, &[0xfa, 0xfe, 0xaa]), []);
    }

    #[test]
    fn no_bytes_break_it() {
        for set in [Set::One, Set::Two] {
            let mut scancodes = Scancodes::new(set);
            for round in 0..=255u8 {
                let known = (0..=255u8).filter_map(|byte| scancodes.byte(byte ^ round)).count();
                assert!(known < 0x100);
            }
        }
    }
}
