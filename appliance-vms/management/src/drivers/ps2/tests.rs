//! A controller with a keyboard, and what its owner makes of it.

use super::*;
use crate::virtio::input::codes::key;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A controller as far as it matters here.
#[derive(Default)]
struct Fake {
    config: u8,
    can_translate: bool,
    /// Whether the next byte that is given is the configuration.
    writes: bool,
    output: VecDeque<(u8, bool)>,
    /// Bytes that the keyboard was given.
    keyboard: Vec<u8>,
    dead: bool,
}

impl Fake {
    fn new(can_translate: bool) -> Self {
        let config = config::KEYBOARD_CLOCK_OFF | config::MOUSE_INTERRUPT;
        Self { config, can_translate, output: [(0x12, false)].into(), ..Self::default() }
    }
}

impl Ports for &mut Fake {
    fn status(&mut self) -> u8 {
        let busy = if self.dead { BUSY } else { 0 };
        busy | self.output.front().map_or(0, |&(_, mouse)| FULL | if mouse { MOUSES } else { 0 })
    }

    fn take(&mut self) -> u8 {
        self.output.pop_front().map_or(0, |(byte, _)| byte)
    }

    fn command(&mut self, command: u8) {
        match command {
            command::READ_CONFIG => self.output.push_back((self.config, false)),
            command::WRITE_CONFIG => self.writes = true,
            _ => {}
        }
    }

    fn give(&mut self, byte: u8) {
        if core::mem::take(&mut self.writes) {
            self.config = if self.can_translate { byte } else { byte & !config::TRANSLATE };
        } else {
            self.keyboard.push(byte);
            self.output.push_back((0xfa, false));
        }
    }
}

/// No controller.
struct Nobody;
impl Ports for Nobody {
    fn status(&mut self) -> u8 {
        NOBODY
    }
    fn take(&mut self) -> u8 {
        NOBODY
    }
    fn command(&mut self, _: u8) {}
    fn give(&mut self, _: u8) {}
}

/// One that has always another byte.
struct Endless(u8);
impl Ports for Endless {
    fn status(&mut self) -> u8 {
        FULL
    }
    fn take(&mut self) -> u8 {
        self.0
    }
    fn command(&mut self, _: u8) {}
    fn give(&mut self, _: u8) {}
}

#[test]
fn keys_come_in_the_set_that_the_controller_speaks() {
    for (can_translate, bytes) in [(true, [0x1c, 0x9c].as_slice()), (false, &[0x5a, 0xf0, 0x5a])] {
        let mut fake = Fake::new(can_translate);
        let mut keyboard = Keyboard::begin(&mut fake).expect("a keyboard");
        keyboard.ports.output.extend(bytes.iter().map(|&byte| (byte, false)));
        assert_eq!(keyboard.key(), Some((key::ENTER, true)));
        assert_eq!(keyboard.key(), Some((key::ENTER, false)));
        assert_eq!(keyboard.key(), None);
        assert_eq!(fake.keyboard, [SCAN]);
        let off = config::KEYBOARD_CLOCK_OFF | config::MOUSE_INTERRUPT;
        assert_eq!(fake.config & (config::KEYBOARD_INTERRUPT | off), config::KEYBOARD_INTERRUPT);
    }
}

#[test]
fn what_the_mouse_says_is_no_key() {
    let mut fake = Fake::new(true);
    let mut keyboard = Keyboard::begin(&mut fake).expect("a keyboard");
    keyboard.ports.output.extend([(0x1c, true), (0x01, false)]);
    assert_eq!(keyboard.key(), Some((key::ESC, true)));
}

#[test]
fn a_controller_that_is_dead_or_not_there_is_none() {
    let mut dead = Fake { dead: true, ..Fake::new(true) };
    assert!(Keyboard::begin(&mut dead).is_none());
    assert!(Keyboard::begin(Nobody).is_none());
}

#[test]
fn one_that_never_runs_dry_holds_nobody_up() {
    let mut keyboard = Keyboard::begin(Endless(0x7f)).expect("it answers");
    assert_eq!(keyboard.key(), None);
}
