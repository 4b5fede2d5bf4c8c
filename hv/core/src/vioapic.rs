//! The virtual I/O APIC: 24 pins, version 0x20. Intel 82093AA data sheet; its EOI register: ICH9
//! data sheet, 13.5.
//!
//! A pin's level is whether it asserts its interrupt: the polarity bit is kept and not looked at.
//! Edges on a masked pin are lost, as the data sheet says. Only fixed and lowest-priority
//! interrupts can be level triggered; NMI and INIT are edges, SMI and ExtINT are lost (guests have
//! no system management mode and no PIC).

#[cfg(test)]
mod tests;

use crate::vlapic::{Destination, Message, Trigger, part};
use hv_defs::apic::io;

/// How many pins it has.
pub const PINS: usize = 24;

const VERSION: u32 = (PINS as u32 - 1) << 16 | 0x20;
/// Bits of a redirection entry that the guest can write: all but delivery status, remote IRR and
/// the reserved ones. Bits 55–49 are bits 14–8 of the destination (`KVM_FEATURE_MSI_EXT_DEST_ID`).
const WRITABLE: u64 = 0xfffe_0000_0001_afff;

/// The state of one I/O APIC.
#[derive(Clone, Debug)]
pub struct Vioapic {
    select: u8,
    id: u8,
    /// Redirection entries without their read-only bits.
    entries: [u64; PINS],
    /// Pins that are asserted.
    asserted: u32,
    /// Pins whose remote IRR is set.
    in_service: u32,
}

/// The numbers of the pins among `bits`, lowest first.
fn each(bits: u32) -> impl Iterator<Item = usize> {
    let mut left = bits & ((1 << PINS) - 1);
    core::iter::from_fn(move || {
        let pin = (left != 0).then(|| left.trailing_zeros() as usize)?;
        left &= left - 1;
        Some(pin)
    })
}

/// What an entry sends.
fn message(entry: u64) -> Option<Message> {
    let id = (entry >> 56 | (entry >> 49 & 0x7f) << 8) as u32;
    Message::from_device(Destination::narrow(id, entry >> 11 & 1 == 1), entry as u32)
}

/// Level triggered, in a delivery mode that can be.
fn is_level(entry: u64) -> bool {
    message(entry).is_some_and(|message| message.trigger == Trigger::Level)
}

impl Default for Vioapic {
    fn default() -> Self {
        Self::new()
    }
}

impl Vioapic {
    /// As after power-on: every pin masked.
    pub const fn new() -> Self {
        Self { select: 0, id: 0, entries: [io::MASKED; PINS], asserted: 0, in_service: 0 }
    }

    /// A pin changes, or stays. A pin there is not is ignored.
    pub fn set_pin(&mut self, pin: usize, level: bool) -> Option<Message> {
        let entry = *self.entries.get(pin)?;
        let bit = 1 << pin;
        let rises = level && self.asserted & bit == 0;
        self.asserted = if level { self.asserted | bit } else { self.asserted & !bit };
        if is_level(entry) {
            return message(entry).filter(|_| self.ready(bit) != 0);
        }
        message(entry).filter(|_| rises && entry & io::MASKED == 0)
    }

    /// A level-triggered interrupt has ended at a local APIC: pins that are still asserted send
    /// again.
    pub fn end_of_interrupt(&mut self, vector: u8) -> impl Iterator<Item = Message> {
        let pins = self.end(vector);
        self.messages(pins)
    }

    fn messages(&self, pins: u32) -> impl Iterator<Item = Message> {
        each(pins).filter_map(|pin| message(self.entries[pin]))
    }

    fn end(&mut self, vector: u8) -> u32 {
        let of_vector = each(self.in_service).filter(|&pin| self.entries[pin] as u8 == vector);
        let ended = of_vector.fold(0, |pins, pin| pins | 1 << pin);
        self.in_service &= !ended;
        self.ready(ended)
    }

    /// Reads the page at `offset`; `size` is 1, 2, 4 or 8 bytes.
    pub fn read(&self, offset: u64, size: u8) -> u64 {
        let register = match offset & !0xf {
            io::SELECT => u32::from(self.select),
            io::WINDOW => self.read_selected(),
            _ => 0,
        };
        part(register, offset, size)
    }

    /// Writes the page. The window takes writes of at least 32 bits, the others of any size.
    pub fn write(&mut self, offset: u64, size: u8, value: u64) -> impl Iterator<Item = Message> {
        let pins = match offset {
            io::SELECT => {
                self.select = value as u8;
                0
            }
            io::WINDOW if size >= 4 => self.write_selected(value as u32),
            io::EOI => self.end(value as u8),
            _ => 0,
        };
        self.messages(pins)
    }

    /// The pin whose entry is selected, and whether it is the entry's upper half.
    fn selected_pin(&self) -> Option<(usize, bool)> {
        let half = usize::from(self.select.checked_sub(io::TABLE)?);
        (half / 2 < PINS).then_some((half / 2, half % 2 == 1))
    }

    fn read_selected(&self) -> u32 {
        match (self.select, self.selected_pin()) {
            (_, Some((pin, high))) => {
                let remote = if self.in_service >> pin & 1 == 1 { io::REMOTE_IRR } else { 0 };
                ((self.entries[pin] | remote) >> if high { 32 } else { 0 }) as u32
            }
            (io::ID | io::ARBITRATION, _) => u32::from(self.id) << 24,
            (io::VERSION, _) => VERSION,
            _ => 0,
        }
    }

    fn write_selected(&mut self, value: u32) -> u32 {
        let Some((pin, high)) = self.selected_pin() else {
            if self.select == io::ID {
                self.id = (value >> 24) as u8 & 0xf;
            }
            return 0;
        };
        let old = self.entries[pin];
        let value = u64::from(value);
        let new = if high { old & 0xffff_ffff | value << 32 } else { old & !0xffff_ffff | value };
        self.entries[pin] = new & WRITABLE;
        // Turning a pin to edge ends what was in service: kernels do that where they have no
        // EOI register.
        if !is_level(new) {
            self.in_service &= !(1 << pin);
        }
        self.ready(1 << pin)
    }

    /// Level-triggered pins among `pins` that are asserted, unmasked and not in service: they go
    /// into service, and must send.
    fn ready(&mut self, pins: u32) -> u32 {
        let ready = each(pins & self.asserted & !self.in_service)
            .filter(|&pin| self.entries[pin] & io::MASKED == 0 && is_level(self.entries[pin]));
        let sent = ready.fold(0, |pins, pin| pins | 1 << pin);
        self.in_service |= sent;
        sent
    }
}
