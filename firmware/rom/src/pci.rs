//! Numbers the buses and gives every base address a place.
//!
//! One walk, depth-first: on each bus the largest windows are placed first, then each bridge gets
//! what its own bus took. Base addresses that a 32-bit window can hold go below 4 GiB, whatever
//! they are; only larger ones go above. PCI 3.0, 6.2.5; PCI-to-PCI bridge 1.2, 3.2.5.

use crate::chipset::{self, Board};
use handoff::pci::{Config, Function, HeaderType, command, each, register};
use heapless::Vec;
use hv_abi::memory::{PAGE_SIZE, PhysRange};

/// Buses behind buses; each takes stack.
const MAX_DEPTH: usize = 8;
/// Functions and base addresses on one bus that are looked at.
const MAX_FUNCTIONS: usize = 64;
const MAX_BARS: usize = 128;
/// A 64-bit base address larger than this goes above 4 GiB if it can.
const LARGE: u64 = 128 << 20;
/// Bridges pass on I/O in units of 4 KiB and memory in units of 1 MiB.
const BRIDGE_IO_UNIT: u64 = 4 << 10;
const BRIDGE_MEMORY_UNIT: u64 = 1 << 20;

/// Registers of a bridge. PCI-to-PCI bridge 1.2, 3.2.
mod bridge {
    pub const SUBORDINATE: u8 = 0x1a;
    pub const IO: u8 = 0x1c;
    pub const MEMORY: u8 = 0x20;
    pub const PREFETCHABLE: u8 = 0x24;
    pub const PREFETCHABLE_BASE_HIGH: u8 = 0x28;
    pub const PREFETCHABLE_LIMIT_HIGH: u8 = 0x2c;
    pub const IO_HIGH: u8 = 0x30;
}

/// Addresses that are handed out, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    next: u64,
    end: u64,
}

impl Window {
    /// A window over `range`.
    pub const fn new(range: PhysRange) -> Self {
        Self { next: range.base, end: range.end() }
    }

    /// The next `len` free addresses, aligned to their length, a power of two.
    fn take(&mut self, len: u64) -> Option<u64> {
        let base = self.next.checked_next_multiple_of(len)?;
        let end = base.checked_add(len).filter(|&end| end <= self.end)?;
        self.next = end;
        Some(base)
    }

    fn align(&mut self, unit: u64) -> u64 {
        self.next = self.next.next_multiple_of(unit).min(self.end);
        self.next
    }
}

/// What there is to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// I/O ports.
    pub io: Window,
    /// Memory below 4 GiB.
    pub low: Window,
    /// Memory above 4 GiB.
    pub high: Window,
}

/// What [`assign`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Functions found.
    pub functions: u32,
    /// Base addresses, functions and bridges that there was no room for. They do not decode.
    pub left_out: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Io,
    Memory { is_64_bit: bool, prefetchable: bool },
}

/// A base address that wants a place.
#[derive(Clone, Copy, Debug)]
struct Bar {
    /// Whose it is: index on the bus.
    owner: usize,
    offset: u8,
    len: u64,
    kind: Kind,
}

/// The way from a bus up to bus 0, for interrupts: which device each bridge is.
struct Path<'p> {
    device: u8,
    up: Option<&'p Path<'p>>,
}

/// Assigns everything on and behind bus 0.
pub fn assign(config: &mut impl Config, board: Board, windows: Windows) -> Outcome {
    let mut walk = Walk { config, board, windows, last_bus: 0, outcome: Outcome::default() };
    walk.bus(0, None, 0);
    walk.outcome
}

struct Walk<'c, C> {
    config: &'c mut C,
    board: Board,
    windows: Windows,
    last_bus: u8,
    outcome: Outcome,
}

impl<C: Config> Walk<'_, C> {
    fn bus(&mut self, bus: u8, path: Option<&Path<'_>>, depth: usize) {
        let functions = self.functions(bus);
        let mut decode: Vec<u16, MAX_FUNCTIONS> = functions.iter().map(|_| chipset::DECODE).collect();
        let mut bars = Vec::<Bar, MAX_BARS>::new();
        for (owner, &function) in functions.iter().enumerate() {
            // Nothing decodes while its base addresses are measured, nor reads memory any more:
            // a reset of the CPU alone leaves devices running.
            self.config.write16(function, register::COMMAND, 0);
            self.measure(owner, function, &mut bars);
        }
        bars.sort_unstable_by_key(|bar| core::cmp::Reverse(bar.len));
        for bar in &bars {
            if !self.place(functions[bar.owner], *bar) {
                let kind = if bar.kind == Kind::Io { command::IO } else { command::MEMORY };
                decode[bar.owner] &= !kind;
                self.outcome.left_out += 1;
            }
        }
        for (&function, &decode) in functions.iter().zip(&decode) {
            self.interrupt(function, path);
            let mut on = decode;
            if HeaderType::of(self.config, function) == HeaderType::BRIDGE {
                self.bridge(function, path, depth);
                on |= command::MASTER;
            }
            self.config.write16(function, register::COMMAND, on);
        }
    }

    fn functions(&mut self, bus: u8) -> Vec<Function, MAX_FUNCTIONS> {
        let mut functions = Vec::new();
        let mut left_out = 0;
        each(self.config, bus, |config, function| {
            if !chipset::is_fixed(config, function) && functions.push(function).is_err() {
                left_out += 1;
            }
            None::<()>
        });
        self.outcome.functions += functions.len() as u32;
        self.outcome.left_out += left_out;
        functions
    }

    fn measure(&mut self, owner: usize, function: Function, bars: &mut Vec<Bar, MAX_BARS>) {
        let count = match HeaderType::of(self.config, function) {
            HeaderType::DEVICE => 6,
            HeaderType::BRIDGE => 2,
            _ => 0,
        };
        let mut index = 0;
        while index < count {
            let offset = register::BAR0 + 4 * index;
            let low = self.probe(function, offset);
            let is_64_bit = low & 0b111 == 0b100 && index + 1 < count;
            let high = if is_64_bit { self.probe(function, offset + 4) } else { u32::MAX };
            index += if is_64_bit { 2 } else { 1 };
            if low == 0 || low == u32::MAX {
                continue;
            }
            let (kind, mask) = if low & 1 == 1 {
                // The upper half may be absent (PCI 3.0, 6.2.5.1).
                (Kind::Io, !0xffff | u64::from(low & !0b11))
            } else {
                let kind = Kind::Memory { is_64_bit, prefetchable: low & 0b1000 != 0 };
                (kind, u64::from(high) << 32 | u64::from(low & !0xf))
            };
            let len = 1 << mask.trailing_zeros();
            // Whoever maps a device's registers maps whole pages: no two share one.
            let len = if kind == Kind::Io { len } else { PAGE_SIZE.max(len) };
            if bars.push(Bar { owner, offset, len, kind }).is_err() {
                self.outcome.left_out += 1;
            }
        }
    }

    /// What is left of all ones in a base address; zero afterwards.
    fn probe(&mut self, function: Function, offset: u8) -> u32 {
        self.config.write32(function, offset, u32::MAX);
        let mask = self.config.read(function, offset);
        self.config.write32(function, offset, 0);
        mask
    }

    /// Finds a place for a base address and writes it; whether there was one.
    fn place(&mut self, function: Function, bar: Bar) -> bool {
        let Windows { io, low, high } = &mut self.windows;
        let base = match bar.kind {
            Kind::Io => io.take(bar.len),
            // A bridge passes on memory above 4 GiB only as prefetchable.
            Kind::Memory { is_64_bit: true, prefetchable } if prefetchable || function.bus == 0 => {
                let (first, second) = if bar.len > LARGE { (high, low) } else { (low, high) };
                first.take(bar.len).or_else(|| second.take(bar.len))
            }
            Kind::Memory { .. } => low.take(bar.len),
        };
        let Some(base) = base else { return false };
        self.config.write32(function, bar.offset, base as u32);
        if matches!(bar.kind, Kind::Memory { is_64_bit: true, .. }) {
            self.config.write32(function, bar.offset + 4, (base >> 32) as u32);
        }
        true
    }

    /// Tells the function's driver which interrupt line its pin leads to.
    fn interrupt(&mut self, function: Function, path: Option<&Path<'_>>) {
        let pin = (self.config.read(function, register::INTERRUPT) >> 8) as u8;
        if !(1..=4).contains(&pin) {
            return;
        }
        // Each bridge passes pins on, turned by the device's number (bridge 1.2, 9.1).
        let (mut device, mut pin, mut path) = (function.device, pin - 1, path);
        while let Some(step) = path {
            pin = (pin + device) % 4;
            (device, path) = (step.device, step.up);
        }
        self.config.write8(function, register::INTERRUPT, self.board.interrupt_line(device, pin));
    }

    fn bridge(&mut self, function: Function, up: Option<&Path<'_>>, depth: usize) {
        let windows = &mut self.windows;
        let io = windows.io.align(BRIDGE_IO_UNIT);
        let low = windows.low.align(BRIDGE_MEMORY_UNIT);
        let high = windows.high.align(BRIDGE_MEMORY_UNIT);
        if depth < MAX_DEPTH && self.last_bus < u8::MAX {
            self.last_bus += 1;
            let secondary = self.last_bus;
            // Until all behind is numbered, everything above goes through here.
            let buses = u32::from_le_bytes([function.bus, secondary, 0xff, 0]);
            self.config.write32(function, register::BUSES, buses);
            self.bus(secondary, Some(&Path { device: function.device, up }), depth + 1);
            self.config.write8(function, bridge::SUBORDINATE, self.last_bus);
        } else {
            self.config.write32(function, register::BUSES, 0);
            self.outcome.left_out += 1;
        }
        let windows = &mut self.windows;
        let io_end = windows.io.align(BRIDGE_IO_UNIT);
        let low_end = windows.low.align(BRIDGE_MEMORY_UNIT);
        let high_end = windows.high.align(BRIDGE_MEMORY_UNIT);
        self.pass_on(function, (io, io_end), (low, low_end), (high, high_end));
    }

    /// Opens a bridge for three ranges (first, one past the last). A range that is empty closes:
    /// its last address then lies before its first, at the other end of what can be said.
    fn pass_on(&mut self, function: Function, io: (u64, u64), low: (u64, u64), high: (u64, u64)) {
        let closed = (u64::MAX, 0);
        let range = |(first, end): (u64, u64)| if first < end { (first, end - 1) } else { closed };
        let halves = |(first, last): (u64, u64)| (first >> 16 & 0xfff0) as u32 | last as u32 & 0xfff0_0000;
        let (first, last) = range(io);
        let io = (first >> 8 & 0xf0) as u16 | last as u16 & 0xf000;
        self.config.write16(function, bridge::IO, io);
        self.config.write32(function, bridge::IO_HIGH, 0);
        self.config.write32(function, bridge::MEMORY, halves(range(low)));
        let (first, last) = range(high);
        self.config.write32(function, bridge::PREFETCHABLE, halves((first, last)));
        self.config.write32(function, bridge::PREFETCHABLE_BASE_HIGH, (first >> 32) as u32);
        self.config.write32(function, bridge::PREFETCHABLE_LIMIT_HIGH, (last >> 32) as u32);
    }
}

#[cfg(test)]
pub(crate) mod tests;
