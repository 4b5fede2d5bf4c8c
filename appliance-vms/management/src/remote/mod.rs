//! The keys of a television's remote control, and what keyboards and guests call them.

mod presses;
mod scancodes;

pub use presses::{Press, Presses};
pub use scancodes::{Scancodes, Set};

use crate::virtio::input::codes::key;
use core::task::{Context, Poll};

/// A key of the remote control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Key {
    Up,
    Down,
    Left,
    Right,
    Ok,
    Back,
    /// Always leads to the launcher; no guest sees it.
    Home,
    Menu,
    VolumeUp,
    VolumeDown,
    Mute,
    PlayPause,
    Stop,
    Next,
    Previous,
    ChannelUp,
    ChannelDown,
    Digit0,
    Digit1,
    Digit2,
    Digit3,
    Digit4,
    Digit5,
    Digit6,
    Digit7,
    Digit8,
    Digit9,
    Red,
    Green,
    Yellow,
    Blue,
}

/// A keyboard, or whatever else has keys of the remote control.
pub trait Keys {
    /// The next key that was pressed (`true`) or let go; `Pending` wakes the task when there is one.
    fn poll_key(&mut self, context: &mut Context<'_>) -> Poll<(Key, bool)>;
}

/// What a key is called elsewhere.
struct Name {
    key: Key,
    /// By Linux.
    evdev: u16,
    /// By a keyboard on PS/2, in its scancode sets 1 and 2; 0xe0 in the upper byte: after that prefix.
    /// Zero: no keyboard has it.
    scancodes: [u16; 2],
}

const fn name(key: Key, evdev: u16, set_1: u16, set_2: u16) -> Name {
    Name { key, evdev, scancodes: [set_1, set_2] }
}

/// Every name. A key's first one is what guests get: what Debian's programs know a key by that is on every
/// keyboard, where there is one. Scancodes: "Keyboard Scan Code Specification", Microsoft 2000, appendix C.
const NAMES: [Name; 59] = [
    name(Key::Up, key::UP, 0xe048, 0xe075),
    name(Key::Down, key::DOWN, 0xe050, 0xe072),
    name(Key::Left, key::LEFT, 0xe04b, 0xe06b),
    name(Key::Right, key::RIGHT, 0xe04d, 0xe074),
    name(Key::Ok, key::ENTER, 0x1c, 0x5a),
    name(Key::Ok, key::KEYPAD_ENTER, 0xe01c, 0xe05a),
    name(Key::Ok, key::OK, 0, 0),
    name(Key::Ok, key::SELECT, 0, 0),
    name(Key::Back, key::ESC, 0x01, 0x76),
    name(Key::Back, key::BACKSPACE, 0x0e, 0x66),
    name(Key::Back, key::BACK, 0xe06a, 0xe038),
    name(Key::Home, key::HOMEPAGE, 0xe032, 0xe03a),
    name(Key::Home, key::HOME, 0xe047, 0xe06c),
    name(Key::Home, key::LEFT_META, 0xe05b, 0xe01f),
    name(Key::Menu, key::COMPOSE, 0xe05d, 0xe02f),
    name(Key::Menu, key::MENU, 0, 0),
    name(Key::VolumeUp, key::VOLUME_UP, 0xe030, 0xe032),
    name(Key::VolumeDown, key::VOLUME_DOWN, 0xe02e, 0xe021),
    name(Key::Mute, key::MUTE, 0xe020, 0xe023),
    name(Key::PlayPause, key::PLAY_PAUSE, 0xe022, 0xe034),
    name(Key::PlayPause, key::SPACE, 0x39, 0x29),
    name(Key::Stop, key::STOP_CD, 0xe024, 0xe03b),
    name(Key::Stop, key::STOP, 0, 0),
    name(Key::Next, key::NEXT_SONG, 0xe019, 0xe04d),
    name(Key::Next, key::NEXT, 0, 0),
    name(Key::Previous, key::PREVIOUS_SONG, 0xe010, 0xe015),
    name(Key::Previous, key::PREVIOUS, 0, 0),
    name(Key::ChannelUp, key::PAGE_UP, 0xe049, 0xe07d),
    name(Key::ChannelUp, key::CHANNEL_UP, 0, 0),
    name(Key::ChannelDown, key::PAGE_DOWN, 0xe051, 0xe07a),
    name(Key::ChannelDown, key::CHANNEL_DOWN, 0, 0),
    name(Key::Digit0, key::DIGIT_0, 0x0b, 0x45),
    name(Key::Digit1, key::DIGIT_1, 0x02, 0x16),
    name(Key::Digit2, key::DIGIT_2, 0x03, 0x1e),
    name(Key::Digit3, key::DIGIT_3, 0x04, 0x26),
    name(Key::Digit4, key::DIGIT_4, 0x05, 0x25),
    name(Key::Digit5, key::DIGIT_5, 0x06, 0x2e),
    name(Key::Digit6, key::DIGIT_6, 0x07, 0x36),
    name(Key::Digit7, key::DIGIT_7, 0x08, 0x3d),
    name(Key::Digit8, key::DIGIT_8, 0x09, 0x3e),
    name(Key::Digit9, key::DIGIT_9, 0x0a, 0x46),
    name(Key::Digit0, key::NUMERIC_0, 0, 0),
    name(Key::Digit1, key::NUMERIC_0 + 1, 0, 0),
    name(Key::Digit2, key::NUMERIC_0 + 2, 0, 0),
    name(Key::Digit3, key::NUMERIC_0 + 3, 0, 0),
    name(Key::Digit4, key::NUMERIC_0 + 4, 0, 0),
    name(Key::Digit5, key::NUMERIC_0 + 5, 0, 0),
    name(Key::Digit6, key::NUMERIC_0 + 6, 0, 0),
    name(Key::Digit7, key::NUMERIC_0 + 7, 0, 0),
    name(Key::Digit8, key::NUMERIC_0 + 8, 0, 0),
    name(Key::Digit9, key::NUMERIC_0 + 9, 0, 0),
    name(Key::Red, key::RED, 0, 0),
    name(Key::Green, key::GREEN, 0, 0),
    name(Key::Yellow, key::YELLOW, 0, 0),
    name(Key::Blue, key::BLUE, 0, 0),
    name(Key::Red, key::F1, 0x3b, 0x05),
    name(Key::Green, key::F2, 0x3c, 0x06),
    name(Key::Yellow, key::F3, 0x3d, 0x04),
    name(Key::Blue, key::F4, 0x3e, 0x0c),
];

impl Key {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::Up,
        Self::Down,
        Self::Left,
        Self::Right,
        Self::Ok,
        Self::Back,
        Self::Home,
        Self::Menu,
        Self::VolumeUp,
        Self::VolumeDown,
        Self::Mute,
        Self::PlayPause,
        Self::Stop,
        Self::Next,
        Self::Previous,
        Self::ChannelUp,
        Self::ChannelDown,
        Self::Digit0,
        Self::Digit1,
        Self::Digit2,
        Self::Digit3,
        Self::Digit4,
        Self::Digit5,
        Self::Digit6,
        Self::Digit7,
        Self::Digit8,
        Self::Digit9,
        Self::Red,
        Self::Green,
        Self::Yellow,
        Self::Blue,
    ];

    /// The key that Linux calls `code` ([`codes::key`](crate::virtio::input::codes::key)).
    pub fn from_evdev(code: u16) -> Option<Self> {
        NAMES.iter().find(|name| name.evdev == code).map(|name| name.key)
    }

    /// What guests get for it.
    pub fn evdev(self) -> u16 {
        NAMES.iter().find(|name| name.key == self).map_or(0, |name| name.evdev)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn every_key_has_a_name_and_no_name_is_two_keys() {
        for key in Key::ALL {
            assert_eq!(Key::from_evdev(key.evdev()), Some(key));
        }
        let codes: BTreeSet<_> = NAMES.iter().map(|name| name.evdev).collect();
        assert_eq!(codes.len(), NAMES.len());
        assert_eq!(Key::from_evdev(30), None, "the letter A is not on it");
    }

    #[test]
    fn a_keyboard_has_every_key() {
        for set in 0..2 {
            let codes: BTreeSet<_> =
                NAMES.iter().map(|name| name.scancodes[set]).filter(|&c| c > 0).collect();
            let named = NAMES.iter().filter(|name| name.scancodes[set] > 0);
            assert_eq!(codes.len(), named.clone().count(), "none is two keys");
            let keys: BTreeSet<_> = named.map(|name| name.key).collect();
            assert_eq!(keys.len(), Key::ALL.len());
        }
    }
}
