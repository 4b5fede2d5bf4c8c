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
    /// The next key that was pressed (`true`) or let go, by Linux's number ([`key`]); `Pending` wakes the task when
    /// there is one.
    fn poll_key(&mut self, context: &mut Context<'_>) -> Poll<(u16, bool)>;
}

/// The keys that a keyboard has for typing, by Linux's numbers: letters, digits and signs, keys around them, the
/// keypad. They reach a guest as they are.
pub fn typing() -> impl Iterator<Item = u16> {
    (key::ESC..=key::KEYPAD_DOT).chain(key::KEY_102ND..=key::F12).chain(key::KEYPAD_ENTER..=key::DELETE)
}

/// What Linux calls each key. A key's first name is what guests get when only a remote control has the key: what
/// Debian's programs know it by that is on every keyboard, where there is one.
const NAMES: [(Key, u16); 59] = [
    (Key::Up, key::UP),
    (Key::Down, key::DOWN),
    (Key::Left, key::LEFT),
    (Key::Right, key::RIGHT),
    (Key::Ok, key::ENTER),
    (Key::Ok, key::KEYPAD_ENTER),
    (Key::Ok, key::OK),
    (Key::Ok, key::SELECT),
    (Key::Back, key::ESC),
    (Key::Back, key::BACKSPACE),
    (Key::Back, key::BACK),
    (Key::Home, key::HOMEPAGE),
    (Key::Home, key::HOME),
    (Key::Home, key::LEFT_META),
    (Key::Menu, key::COMPOSE),
    (Key::Menu, key::MENU),
    (Key::VolumeUp, key::VOLUME_UP),
    (Key::VolumeDown, key::VOLUME_DOWN),
    (Key::Mute, key::MUTE),
    (Key::PlayPause, key::PLAY_PAUSE),
    (Key::PlayPause, key::SPACE),
    (Key::Stop, key::STOP_CD),
    (Key::Stop, key::STOP),
    (Key::Next, key::NEXT_SONG),
    (Key::Next, key::NEXT),
    (Key::Previous, key::PREVIOUS_SONG),
    (Key::Previous, key::PREVIOUS),
    (Key::ChannelUp, key::PAGE_UP),
    (Key::ChannelUp, key::CHANNEL_UP),
    (Key::ChannelDown, key::PAGE_DOWN),
    (Key::ChannelDown, key::CHANNEL_DOWN),
    (Key::Digit0, key::DIGIT_0),
    (Key::Digit1, key::DIGIT_1),
    (Key::Digit2, key::DIGIT_2),
    (Key::Digit3, key::DIGIT_3),
    (Key::Digit4, key::DIGIT_4),
    (Key::Digit5, key::DIGIT_5),
    (Key::Digit6, key::DIGIT_6),
    (Key::Digit7, key::DIGIT_7),
    (Key::Digit8, key::DIGIT_8),
    (Key::Digit9, key::DIGIT_9),
    (Key::Digit0, key::NUMERIC_0),
    (Key::Digit1, key::NUMERIC_0 + 1),
    (Key::Digit2, key::NUMERIC_0 + 2),
    (Key::Digit3, key::NUMERIC_0 + 3),
    (Key::Digit4, key::NUMERIC_0 + 4),
    (Key::Digit5, key::NUMERIC_0 + 5),
    (Key::Digit6, key::NUMERIC_0 + 6),
    (Key::Digit7, key::NUMERIC_0 + 7),
    (Key::Digit8, key::NUMERIC_0 + 8),
    (Key::Digit9, key::NUMERIC_0 + 9),
    (Key::Red, key::RED),
    (Key::Green, key::GREEN),
    (Key::Yellow, key::YELLOW),
    (Key::Blue, key::BLUE),
    (Key::Red, key::F1),
    (Key::Green, key::F2),
    (Key::Yellow, key::F3),
    (Key::Blue, key::F4),
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
        NAMES.iter().find(|name| name.1 == code).map(|name| name.0)
    }

    /// What guests get for it.
    pub fn evdev(self) -> u16 {
        NAMES.iter().find(|name| name.0 == self).map_or(0, |name| name.1)
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
        let codes: BTreeSet<_> = NAMES.iter().map(|name| name.1).collect();
        assert_eq!(codes.len(), NAMES.len());
        assert_eq!(Key::from_evdev(30), None, "the letter A is not on it");
    }
}
