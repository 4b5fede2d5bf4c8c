//! A sound card that is not there: registers, rings, and one codec as QEMU's `hda-output`, with a mixer more.

// A row for each question, also where two have the same answer.
#![allow(clippy::match_same_arms)]

use super::layout::{RESPONSE, REWIND, register, stream, verb};
use crate::drivers::fake::Ram;
use crate::drivers::registers::{DeviceRegisters, PackedRegisters};
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// Streams in; the stream out comes after them.
pub(super) const INPUTS: u64 = 4;
const OUT: u64 = register::STREAMS + INPUTS * register::STREAM;
/// The codec's number.
pub(super) const CODEC: u32 = 2;

pub(super) struct FakeCard {
    ram: Ram,
    registers: RefCell<BTreeMap<u64, u32>>,
    /// What the codec was told, beside questions: node and verb.
    pub(super) told: RefCell<Vec<(u32, u32)>>,
    pub(super) gone: Cell<bool>,
    /// Its reset never ends.
    pub(super) stuck: Cell<bool>,
    /// The codec says nothing.
    pub(super) mute: Cell<bool>,
    /// The plug is for something digital.
    pub(super) digital: Cell<bool>,
    /// Before each response comes one that nobody asked for.
    pub(super) chatty: Cell<bool>,
}

impl FakeCard {
    pub(super) fn new(ram: &Ram) -> Rc<Self> {
        let registers = [
            (register::GCAP, 0x4401),
            (register::GCTL, 1),
            (register::CORBSIZE, 0x42),
            (register::RIRBSIZE, 0x42),
        ];
        Rc::new(Self {
            ram: ram.clone(),
            registers: RefCell::new(registers.into()),
            told: RefCell::default(),
            gone: Cell::default(),
            stuck: Cell::default(),
            mute: Cell::default(),
            digital: Cell::default(),
            chatty: Cell::default(),
        })
    }

    pub(super) fn get(&self, at: u64) -> u32 {
        if self.gone.get() { u32::MAX } else { self.registers.borrow().get(&at).copied().unwrap_or(0) }
    }

    fn set(&self, at: u64, value: u32) {
        self.registers.borrow_mut().insert(at, value);
    }

    fn address(&self, low: u64) -> u64 {
        u64::from(self.get(low)) | u64::from(self.get(low + 4)) << 32
    }

    /// Plays frames; what is heard, as bytes.
    pub(super) fn play(&self, frames: usize) -> Vec<u8> {
        assert!(self.get(OUT) & stream::RUN != 0, "it does not run");
        let (list, last) = (self.address(OUT + stream::BDPL), self.get(OUT + stream::LVI));
        let mut buffer = Vec::new();
        for entry in 0..=u64::from(last) {
            let bytes = self.ram.get(list + entry * 16, 16);
            let address = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            assert_eq!(bytes[12..], [1, 0, 0, 0], "a period that interrupts nobody");
            buffer
                .extend(self.ram.get(address, u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize));
        }
        assert_eq!(buffer.len(), self.get(OUT + stream::CBL) as usize);
        let at = self.get(OUT + stream::LPIB) as usize;
        self.set(OUT + stream::LPIB, ((at + frames * 4) % buffer.len()) as u32);
        self.set(OUT + stream::STS, 4);
        (0..frames * 4).map(|byte| buffer[(at + byte) % buffer.len()]).collect()
    }

    fn run_commands(&self) {
        let last = self.get(register::CORBWP);
        while self.get(register::CORBCTL) & 2 != 0 && self.get(register::CORBRP) != last {
            let next = (self.get(register::CORBRP) + 1) % 256;
            self.set(register::CORBRP, next);
            let at = self.address(register::CORBLBASE) + u64::from(next) * 4;
            let command = u32::from_le_bytes(self.ram.get(at, 4).try_into().unwrap());
            assert_eq!(self.get(register::RIRBSTS), 0, "the last response was not acknowledged");
            if self.mute.get() || command >> 28 != CODEC {
                continue;
            }
            if self.chatty.get() {
                self.respond(0xdead_beef, 1 << 4);
            }
            self.respond(self.answer(command >> 20 & 0xff, command & 0xf_ffff), 0);
        }
    }

    fn respond(&self, response: u32, kind: u32) {
        let next = (self.get(register::RIRBWP) + 1) % 256;
        let at = self.address(register::RIRBLBASE) + u64::from(next) * 8;
        self.ram.put(at, &response.to_le_bytes());
        self.ram.put(at + 4, &(kind | CODEC).to_le_bytes());
        self.set(register::RIRBWP, next);
        self.set(register::RIRBSTS, RESPONSE.into());
    }

    /// Node 1 is the group; 2 a converter, 3 a mixer that hears the range from 1 to 2, 4 a plug that hears 5
    /// and 3, and 5 something else.
    fn answer(&self, node: u32, verb: u32) -> u32 {
        let digital = u32::from(self.digital.get()) << 9;
        match (node, verb) {
            (0, 0xf_0004) => 1 << 16 | 1,
            (1, 0xf_0004) => 2 << 16 | 4,
            (1, 0xf_0005) => 1,
            (1, 0xf_0012) => 0x33,
            (2, 0xf_0009) => 0b1100,
            (2, 0xf_0012) => 0x4a4a,
            (3, 0xf_0009) => 2 << 20 | 1 << 8 | 0b1010,
            (3, 0xf_000d) => 0x17,
            (3, 0xf_000e) => 2,
            (3, 0xf_0200) => 0x8201,
            (4, 0xf_0009) => 4 << 20 | 1 << 8 | 0b100 | digital,
            (4, 0xf_000c) => 1 << 4 | 1 << 16,
            (4, 0xf_000e) => 2,
            (4, 0xf_0200) => 0x0305,
            (4, 0xf_1c00) => 2 << 20,
            (5, 0xf_0009) => 6 << 20,
            (_, question) if question & verb::GET_PARAMETER == verb::GET_PARAMETER => 0,
            _ => {
                self.told.borrow_mut().push((node, verb));
                0
            }
        }
    }
}

impl DeviceRegisters for Rc<FakeCard> {
    fn read(&self, offset: u64) -> u32 {
        self.get(offset)
    }

    fn write(&self, offset: u64, value: u32) {
        match offset {
            register::GCTL if self.stuck.get() => {}
            register::GCTL => {
                self.set(offset, value);
                self.set(register::STATESTS, value << CODEC);
            }
            // The reset of a stream is over before it can be seen.
            OUT => self.set(offset, value & !stream::RESET),
            _ => self.set(offset, value),
        }
    }

    fn read_wide(&self, _: u64) -> u64 {
        panic!("the card has no 64-bit registers")
    }

    fn write_wide(&self, _: u64, _: u64) {
        panic!("the card has no 64-bit registers")
    }
}

impl PackedRegisters for Rc<FakeCard> {
    fn read_byte(&self, offset: u64) -> u8 {
        self.get(offset) as u8
    }

    fn write_byte(&self, offset: u64, value: u8) {
        match offset {
            register::CORBSIZE | register::RIRBSIZE => assert_eq!(value, 2, "not the largest ring"),
            _ if [register::RIRBSTS, OUT + stream::STS].contains(&offset) => {
                self.set(offset, self.get(offset) & !u32::from(value));
            }
            _ => self.set(offset, value.into()),
        }
    }

    fn read_half(&self, offset: u64) -> u16 {
        self.get(offset) as u16
    }

    fn write_half(&self, offset: u64, value: u16) {
        let value = if offset == register::RIRBWP && value == REWIND { 0 } else { value };
        self.set(offset, value.into());
        if offset == register::CORBWP {
            self.run_commands();
        }
    }
}
