//! What a driver may ask of an input device before it listens to it (virtio 1.2, 5.8.4).

use super::codes::{ABS_COUNT, KEY_COUNT, LED_COUNT, REP_DELAY, REP_PERIOD, axis, button, kind};
use crate::remote;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes of an answer (the union of `struct virtio_input_config`).
pub(super) const ANSWER: usize = 128;

/// What can be selected (5.8.4, `enum virtio_input_config_select`).
mod select {
    pub const NAME: u8 = 0x01;
    pub const SERIAL: u8 = 0x02;
    pub const IDS: u8 = 0x03;
    pub const PROPERTIES: u8 = 0x10;
    pub const EVENTS: u8 = 0x11;
    pub const AXIS: u8 = 0x12;
}

/// Linux's number for a bus that is none of hardware (BUS_VIRTUAL).
const BUS_VIRTUAL: u16 = 0x06;

/// Numbers that programs know a device by (`struct virtio_input_devids`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Linux's number of the bus it is on.
    pub bus: u16,
    /// Its maker.
    pub vendor: u16,
    /// Its kind, of the maker's.
    pub product: u16,
    /// Its version.
    pub version: u16,
}

/// Where an axis goes (`struct virtio_input_absinfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Its number ([`axis`]).
    pub code: u16,
    /// Least value.
    pub min: i32,
    /// Greatest value.
    pub max: i32,
    /// Changes up to this are noise.
    pub fuzz: i32,
    /// Values up to this from the middle are the middle.
    pub flat: i32,
}

/// What an input device is and what it can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name, of which the first 128 bytes count.
    pub name: String,
    /// Its serial number, of which the first 128 bytes count.
    pub serial: String,
    /// Its numbers.
    pub ids: Ids,
    /// Its properties: Linux's `INPUT_PROP_` numbers, below 1024.
    pub properties: Vec<u16>,
    /// Its keys and buttons, below [`KEY_COUNT`].
    pub keys: Vec<u16>,
    /// How it moves, below 1024.
    pub movements: Vec<u16>,
    /// Its axes, below [`ABS_COUNT`].
    pub axes: Vec<Axis>,
    /// Its lights, below [`LED_COUNT`].
    pub lights: Vec<u16>,
    /// Keys that are held repeat.
    pub repeats: bool,
}

impl Description {
    /// The remote control of a television, which may be a keyboard: all that [`remote::Key`] has, and keys for
    /// typing.
    pub fn remote(serial: &str) -> Self {
        Self {
            name: "Hearth remote control".into(),
            serial: serial.into(),
            ids: Ids { bus: BUS_VIRTUAL, vendor: 0, product: 1, version: 1 },
            properties: Vec::new(),
            keys: remote::Key::ALL.iter().map(|key| key.evdev()).chain(remote::typing()).collect(),
            movements: Vec::new(),
            axes: Vec::new(),
            lights: Vec::new(),
            repeats: true,
        }
    }

    /// A pad with two sticks, two triggers, a cross and eleven buttons, laid out as Linux has it for all.
    pub fn gamepad(serial: &str) -> Self {
        let stick = |code| Axis { code, min: -0x8000, max: 0x7fff, fuzz: 16, flat: 128 };
        let trigger = |code| Axis { code, min: 0, max: 255, fuzz: 0, flat: 0 };
        let cross = |code| Axis { code, min: -1, max: 1, fuzz: 0, flat: 0 };
        Self {
            name: "Hearth gamepad".into(),
            ids: Ids { bus: BUS_VIRTUAL, vendor: 0, product: 2, version: 1 },
            keys: vec![
                button::SOUTH,
                button::EAST,
                button::NORTH,
                button::WEST,
                button::LEFT_SHOULDER,
                button::RIGHT_SHOULDER,
                button::SELECT,
                button::START,
                button::MODE,
                button::LEFT_STICK,
                button::RIGHT_STICK,
            ],
            axes: vec![
                stick(axis::X),
                stick(axis::Y),
                trigger(axis::Z),
                stick(axis::RX),
                stick(axis::RY),
                trigger(axis::RZ),
                cross(axis::HAT_X),
                cross(axis::HAT_Y),
            ],
            repeats: false,
            ..Self::remote(serial)
        }
    }

    /// Whether the device has this to say.
    pub(super) fn has(&self, event_kind: u16, code: u16) -> bool {
        match event_kind {
            kind::KEY => code < KEY_COUNT && self.keys.contains(&code),
            kind::REL => self.movements.contains(&code),
            kind::ABS => code < ABS_COUNT && self.axes.iter().any(|axis| axis.code == code),
            kind::LED => code < LED_COUNT && self.lights.contains(&code),
            _ => false,
        }
    }

    /// The answer to a question; nothing to one that the device has no answer to.
    pub(super) fn answer(&self, select: u8, subselect: u8) -> Vec<u8> {
        let mut bytes = match (select, subselect) {
            (select::NAME, 0) => self.name.as_bytes().to_vec(),
            (select::SERIAL, 0) => self.serial.as_bytes().to_vec(),
            (select::IDS, 0) => {
                let Ids { bus, vendor, product, version } = self.ids;
                [bus, vendor, product, version].into_iter().flat_map(u16::to_le_bytes).collect()
            }
            (select::PROPERTIES, 0) => bits(self.properties.iter().copied()),
            (select::EVENTS, _) => self.codes(subselect.into()),
            (select::AXIS, _) => self.axis(subselect.into()),
            _ => Vec::new(),
        };
        bytes.truncate(ANSWER);
        bytes
    }

    /// The codes that there are of a kind, as bits.
    fn codes(&self, event_kind: u16) -> Vec<u8> {
        match event_kind {
            kind::KEY => bits(self.keys.iter().copied()),
            kind::REL => bits(self.movements.iter().copied()),
            kind::ABS => bits(self.axes.iter().map(|axis| axis.code)),
            kind::LED => bits(self.lights.iter().copied()),
            kind::REP if self.repeats => bits([REP_DELAY, REP_PERIOD].into_iter()),
            _ => Vec::new(),
        }
    }

    /// Minimum, maximum, fuzz, flat, resolution, which is not known.
    fn axis(&self, code: u16) -> Vec<u8> {
        let axis = self.axes.iter().find(|axis| axis.code == code);
        let values = axis.map(|axis| [axis.min, axis.max, axis.fuzz, axis.flat, 0]);
        values.into_iter().flatten().flat_map(i32::to_le_bytes).collect()
    }
}

/// Numbers as bits, in as few bytes as there must be.
fn bits(numbers: impl Iterator<Item = u16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in numbers.filter(|&number| usize::from(number) < 8 * ANSWER) {
        let at = usize::from(number / 8);
        if bytes.len() <= at {
            bytes.resize(at + 1, 0);
        }
        bytes[at] |= 1 << (number % 8);
    }
    bytes
}
