//! A card that is not there: its side of registers and rings.

use super::Model;
use super::layout::{control, register};
use crate::drivers::fake::Ram;
use crate::drivers::registers::DeviceRegisters;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

pub(super) const EEPROM: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

pub(super) struct FakeCard {
    ram: Ram,
    model: Model,
    registers: RefCell<BTreeMap<u64, u32>>,
    /// Frames on the cable.
    pub(super) sent: RefCell<Vec<Vec<u8>>>,
    pub(super) link: Cell<bool>,
    pub(super) gone: Cell<bool>,
    /// Its reset never ends.
    pub(super) stuck: Cell<bool>,
    /// It sends nothing.
    pub(super) deaf: Cell<bool>,
    /// It has an EEPROM.
    pub(super) eeprom: Cell<bool>,
    pub(super) resets: Cell<u32>,
}

impl FakeCard {
    pub(super) fn new(ram: &Ram, model: Model) -> Rc<Self> {
        Rc::new(Self {
            ram: ram.clone(),
            model,
            registers: RefCell::default(),
            sent: RefCell::default(),
            link: Cell::new(true),
            gone: Cell::default(),
            stuck: Cell::default(),
            deaf: Cell::default(),
            eeprom: Cell::new(true),
            resets: Cell::default(),
        })
    }

    pub(super) fn get(&self, register: u64) -> u32 {
        self.registers.borrow().get(&register).copied().unwrap_or(0)
    }

    fn set(&self, register: u64, value: u32) {
        self.registers.borrow_mut().insert(register, value);
    }

    fn wide(&self, low: u64) -> u64 {
        u64::from(self.get(low)) | u64::from(self.get(low + 4)) << 32
    }

    /// A frame comes in, in as many buffers as it needs; `false`: there is no buffer left.
    pub(super) fn receive(&self, frame: &[u8], errors: u8) -> bool {
        assert!(self.get(register::RCTL) & 2 != 0, "the receiver is off");
        let pieces: Vec<_> = frame.chunks(2048).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let head = self.get(register::RDH);
            if head == self.get(register::RDT) {
                return false;
            }
            let descriptor = self.wide(register::RDBAL) + u64::from(head) * 16;
            let buffer = u64::from_le_bytes(self.ram.get(descriptor, 8).try_into().unwrap());
            assert_eq!(self.ram.get(descriptor + 12, 1), [0], "a buffer that was not given back");
            self.ram.put(buffer, piece);
            self.ram.put(descriptor + 8, &(piece.len() as u16).to_le_bytes());
            let end = u8::from(at + 1 == pieces.len()) << 1;
            self.ram.put(descriptor + 12, &[1 | end, errors]);
            self.set(register::RDH, (head + 1) % (self.get(register::RDLEN) / 16));
        }
        true
    }

    fn transmit(&self) {
        assert!(self.get(register::TCTL) & 2 != 0, "the transmitter is off");
        while !self.deaf.get() && self.get(register::TDH) != self.get(register::TDT) {
            let head = self.get(register::TDH);
            let descriptor = self.wide(register::TDBAL) + u64::from(head) * 16;
            let bytes = self.ram.get(descriptor, 16);
            let buffer = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let len = u16::from_le_bytes([bytes[8], bytes[9]]);
            assert_eq!((bytes[11], bytes[12]), (0b1011, 0));
            self.sent.borrow_mut().push(self.ram.get(buffer, len.into()));
            self.ram.put(descriptor + 12, &[1]);
            self.set(register::TDH, (head + 1) % (self.get(register::TDLEN) / 16));
        }
    }

    fn read_eeprom(&self, value: u32) {
        let (shift, done) = if self.model == Model::I82540em { (8, 1 << 4) } else { (2, 1 << 1) };
        let word = (value >> shift & 0xff) as usize;
        let data = u32::from(EEPROM[word * 2]) | u32::from(EEPROM[word * 2 + 1]) << 8;
        if self.eeprom.get() {
            self.set(register::EERD, data << 16 | done);
        }
    }
}

impl DeviceRegisters for Rc<FakeCard> {
    fn read(&self, offset: u64) -> u32 {
        match offset {
            _ if self.gone.get() => u32::MAX,
            register::STATUS => u32::from(self.link.get()) << 1,
            _ => self.get(offset),
        }
    }

    fn write(&self, offset: u64, value: u32) {
        match offset {
            register::CTRL if value & control::RESET != 0 => {
                self.resets.set(self.resets.get() + 1);
                let filters = [register::RAL, register::RAH].map(|at| (at, self.get(at)));
                let left = if self.stuck.get() { control::RESET } else { 0 };
                *self.registers.borrow_mut() = filters.into_iter().chain([(register::CTRL, left)]).collect();
            }
            register::EERD => self.read_eeprom(value),
            register::IMS => self.set(offset, self.get(offset) | value),
            register::IMC => self.set(register::IMS, self.get(register::IMS) & !value),
            _ => {
                self.set(offset, value);
                if offset == register::TDT && value != self.get(register::TDH) {
                    self.transmit();
                }
            }
        }
    }

    fn read_wide(&self, _: u64) -> u64 {
        panic!("the card has no 64-bit registers")
    }

    fn write_wide(&self, _: u64, _: u64) {
        panic!("the card has no 64-bit registers")
    }
}
