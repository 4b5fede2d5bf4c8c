//! Stand-ins for a machine, for tests.

extern crate std;
#[path = "../../../tests/fuzz/run.rs"]
pub(crate) mod run;

pub(crate) use run::Run;

use crate::interrupts::Interrupts;
use crate::memory::{GuestMemory, HostRange, NotRam};
use crate::platform::Ram;
use core::cell::RefCell;
use hv_abi::memory::PhysRange;
use std::collections::BTreeMap;
use std::string::String;
use std::vec;
use std::vec::Vec;

const PAGE: u64 = 4096;
/// What is in RAM that nobody wrote: nothing to rely on.
const STALE: u8 = 0xa5;

/// A guest's RAM, of which only what was written takes room.
pub(crate) struct FakeRam {
    ram: Ram,
    pages: RefCell<BTreeMap<u64, [u8; PAGE as usize]>>,
}

impl FakeRam {
    /// So much, with something in it that nobody may rely on.
    pub fn new(ram: Ram) -> Self {
        Self { ram, pages: RefCell::default() }
    }

    fn check(&self, address: u64, len: u64) -> Result<(), NotRam> {
        let range = PhysRange::new(address, len);
        let inside = self.ram.pieces().iter().any(|piece| piece.contains(range));
        let wraps = address.checked_add(len).is_none();
        if inside && !wraps { Ok(()) } else { Err(NotRam { address, len }) }
    }

    /// The parts of a range in each page: page, offset in it, offset in the range, bytes.
    fn parts(address: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
        let mut done = 0;
        core::iter::from_fn(move || {
            let at = address + done as u64;
            let part = (PAGE - at % PAGE).min((len - done) as u64) as usize;
            done += part;
            (part != 0).then_some((at / PAGE, (at % PAGE) as usize, done - part, part))
        })
    }

    /// Bytes from an address on.
    pub fn bytes(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read(address, &mut bytes).expect("RAM");
        bytes
    }

    /// Four bytes.
    pub fn u32(&self, address: u64) -> u32 {
        u32::from_le_bytes(self.bytes(address, 4).try_into().expect("four bytes"))
    }

    /// Eight bytes.
    pub fn u64(&self, address: u64) -> u64 {
        u64::from_le_bytes(self.bytes(address, 8).try_into().expect("eight bytes"))
    }

    /// The text that begins there and ends before a zero.
    pub fn text(&self, address: u64) -> String {
        let bytes = (address..).map(|at| self.bytes(at, 1)[0]).take_while(|byte| *byte != 0);
        String::from_utf8(bytes.collect()).expect("UTF-8")
    }
}

impl GuestMemory for FakeRam {
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), NotRam> {
        self.check(address, into.len() as u64)?;
        let pages = self.pages.borrow();
        for (page, offset, at, len) in Self::parts(address, into.len()) {
            let page = pages.get(&page).unwrap_or(&[STALE; PAGE as usize]);
            into[at..at + len].copy_from_slice(&page[offset..offset + len]);
        }
        Ok(())
    }

    fn write(&self, address: u64, from: &[u8]) -> Result<(), NotRam> {
        self.check(address, from.len() as u64)?;
        let mut pages = self.pages.borrow_mut();
        for (page, offset, at, len) in Self::parts(address, from.len()) {
            let page = pages.entry(page).or_insert([STALE; PAGE as usize]);
            page[offset..offset + len].copy_from_slice(&from[at..at + len]);
        }
        Ok(())
    }

    fn load_u16(&self, address: u64) -> Result<u16, NotRam> {
        let mut bytes = [0; 2];
        self.read(address, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn store_u16(&self, address: u64, value: u16) -> Result<(), NotRam> {
        self.write(address, &value.to_le_bytes())
    }

    fn host(&self, address: u64, len: u64) -> Result<HostRange, NotRam> {
        self.check(address, len)?;
        Ok(HostRange { address, len })
    }
}

/// An interrupt controller that keeps what reaches its pins.
#[derive(Default)]
pub(crate) struct FakePins(pub RefCell<Vec<(u8, bool)>>);

impl FakePins {
    /// What has reached the pins since it was asked.
    pub fn take(&self) -> Vec<(u8, bool)> {
        self.0.take()
    }
}

impl Interrupts for FakePins {
    fn message(&self, _: u64, _: u32) {}

    fn pin(&self, pin: u8, level: bool) {
        self.0.borrow_mut().push((pin, level));
    }
}

/// Random numbers (splitmix64): the same ones every time.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// One of `0..limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// One of as many places.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}
