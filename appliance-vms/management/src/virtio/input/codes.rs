//! The numbers of Linux's input events (`include/uapi/linux/input-event-codes.h`), which virtio-input
//! speaks (virtio 1.2, 5.8): those that remotes, keyboards for them and pads have.

/// Kinds of events.
pub mod kind {
    /// Where a report ends.
    pub const SYN: u16 = 0x00;
    /// Keys and buttons: 1 is down, 0 is up.
    pub const KEY: u16 = 0x01;
    /// Movement.
    pub const REL: u16 = 0x02;
    /// Positions.
    pub const ABS: u16 = 0x03;
    /// Lights, which the guest sets.
    pub const LED: u16 = 0x11;
    /// Keys that are held repeat; the guest does that by itself.
    pub const REP: u16 = 0x14;
}

/// The end of a report (a [`kind::SYN`]).
pub const SYN_REPORT: u16 = 0;
/// How a guest's keys repeat (a [`kind::REP`]): after what time, and how often.
pub const REP_DELAY: u16 = 0;
/// See [`REP_DELAY`].
pub const REP_PERIOD: u16 = 1;
/// Most lights of a device.
pub const LED_COUNT: u16 = 16;
/// Where numbers of keys and axes end.
pub const KEY_COUNT: u16 = 0x300;
/// See [`KEY_COUNT`].
pub const ABS_COUNT: u16 = 0x40;

/// Keys (a [`kind::KEY`]).
#[allow(missing_docs, reason = "their names are Linux's and say it all")]
pub mod key {
    pub const ESC: u16 = 1;
    pub const DIGIT_1: u16 = 2;
    pub const DIGIT_2: u16 = 3;
    pub const DIGIT_3: u16 = 4;
    pub const DIGIT_4: u16 = 5;
    pub const DIGIT_5: u16 = 6;
    pub const DIGIT_6: u16 = 7;
    pub const DIGIT_7: u16 = 8;
    pub const DIGIT_8: u16 = 9;
    pub const DIGIT_9: u16 = 10;
    pub const DIGIT_0: u16 = 11;
    pub const BACKSPACE: u16 = 14;
    pub const ENTER: u16 = 28;
    pub const SPACE: u16 = 57;
    pub const F1: u16 = 59;
    pub const F2: u16 = 60;
    pub const F3: u16 = 61;
    pub const F4: u16 = 62;
    pub const KEYPAD_DOT: u16 = 83;
    pub const KEY_102ND: u16 = 86;
    pub const F12: u16 = 88;
    pub const KEYPAD_ENTER: u16 = 96;
    pub const RIGHT_CONTROL: u16 = 97;
    pub const KEYPAD_SLASH: u16 = 98;
    pub const PRINT: u16 = 99;
    pub const RIGHT_ALT: u16 = 100;
    pub const HOME: u16 = 102;
    pub const UP: u16 = 103;
    pub const PAGE_UP: u16 = 104;
    pub const LEFT: u16 = 105;
    pub const RIGHT: u16 = 106;
    pub const END: u16 = 107;
    pub const DOWN: u16 = 108;
    pub const PAGE_DOWN: u16 = 109;
    pub const INSERT: u16 = 110;
    pub const DELETE: u16 = 111;
    pub const MUTE: u16 = 113;
    pub const VOLUME_DOWN: u16 = 114;
    pub const VOLUME_UP: u16 = 115;
    pub const LEFT_META: u16 = 125;
    pub const COMPOSE: u16 = 127;
    pub const STOP: u16 = 128;
    pub const MENU: u16 = 139;
    pub const BACK: u16 = 158;
    pub const NEXT_SONG: u16 = 163;
    pub const PLAY_PAUSE: u16 = 164;
    pub const PREVIOUS_SONG: u16 = 165;
    pub const STOP_CD: u16 = 166;
    pub const HOMEPAGE: u16 = 172;
    pub const OK: u16 = 0x160;
    pub const SELECT: u16 = 0x161;
    pub const RED: u16 = 0x18e;
    pub const GREEN: u16 = 0x18f;
    pub const YELLOW: u16 = 0x190;
    pub const BLUE: u16 = 0x191;
    pub const CHANNEL_UP: u16 = 0x192;
    pub const CHANNEL_DOWN: u16 = 0x193;
    pub const NEXT: u16 = 0x197;
    pub const PREVIOUS: u16 = 0x19c;
    /// The digit 0 of a keypad for numbers; 1 to 9 follow.
    pub const NUMERIC_0: u16 = 0x200;
}

/// Buttons of a pad (a [`kind::KEY`]), by where they are (Linux, `Documentation/input/gamepad.rst`).
#[allow(missing_docs, reason = "their names are Linux's and say it all")]
pub mod button {
    pub const SOUTH: u16 = 0x130;
    pub const EAST: u16 = 0x131;
    pub const NORTH: u16 = 0x133;
    pub const WEST: u16 = 0x134;
    pub const LEFT_SHOULDER: u16 = 0x136;
    pub const RIGHT_SHOULDER: u16 = 0x137;
    pub const SELECT: u16 = 0x13a;
    pub const START: u16 = 0x13b;
    pub const MODE: u16 = 0x13c;
    pub const LEFT_STICK: u16 = 0x13d;
    pub const RIGHT_STICK: u16 = 0x13e;
}

/// Axes of a pad (a [`kind::ABS`]): sticks, triggers and the cross.
#[allow(missing_docs, reason = "their names are Linux's and say it all")]
pub mod axis {
    pub const X: u16 = 0x00;
    pub const Y: u16 = 0x01;
    pub const Z: u16 = 0x02;
    pub const RX: u16 = 0x03;
    pub const RY: u16 = 0x04;
    pub const RZ: u16 = 0x05;
    pub const HAT_X: u16 = 0x10;
    pub const HAT_Y: u16 = 0x11;
}
