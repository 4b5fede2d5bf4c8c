//! Configuration space of a function: a type 0 header and a list of capabilities (PCI 3.0, 6.1–6.7).

use super::bytes;

/// COMMAND: the function's memory BARs answer.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// COMMAND: the function may read and write memory, and send messages.
pub const COMMAND_MASTER: u16 = 1 << 2;
/// COMMAND: the interrupt pin is off.
const COMMAND_PIN_OFF: u16 = 1 << 10;
/// STATUS: there are capabilities.
const STATUS_CAPABILITIES: u8 = 1 << 4;

/// Bytes of a function's configuration space. It has no extended one: reads there are all ones, as of a
/// conventional function behind PCI Express.
const SIZE: usize = 256;
/// First byte after the header.
const CAPABILITIES: u8 = 0x40;
const COMMAND: usize = 0x04;
const BARS: usize = 0x10;
const CACHE_LINE: usize = 0x0c;
const CAPABILITY_POINTER: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;

/// What a function says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device, by the vendor's numbers.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class, subclass and programming interface, 8 bits each (PCI 3.0, appendix D).
    pub class: u32,
    /// Vendor and device of the board.
    pub subsystem: (u16, u16),
}

/// A memory BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Bytes: a power of two, at least 16, at most 2 GiB.
    pub size: u64,
    /// Its address has 64 bits, and it takes up the next BAR too.
    pub wide: bool,
}

/// Configuration space: its bytes, and which of their bits can be written.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; SIZE],
    writable: [u8; SIZE],
    bars: [Option<Bar>; 6],
    /// Where the pointer to the next capability goes, and where the next capability.
    link: usize,
    free: u8,
}

impl ConfigSpace {
    /// A header without BARs or capabilities.
    pub fn new(identity: &Identity) -> Self {
        let mut config = Self {
            bytes: [0; SIZE],
            writable: [0; SIZE],
            bars: [None; 6],
            link: CAPABILITY_POINTER,
            free: CAPABILITIES,
        };
        config.put(0x00, &identity.vendor.to_le_bytes());
        config.put(0x02, &identity.device.to_le_bytes());
        config.put(0x08, &(identity.class << 8 | u32::from(identity.revision)).to_le_bytes());
        config.put(0x2c, &identity.subsystem.0.to_le_bytes());
        config.put(0x2e, &identity.subsystem.1.to_le_bytes());
        let command = COMMAND_MEMORY | COMMAND_MASTER | COMMAND_PIN_OFF;
        config.allow(COMMAND, &command.to_le_bytes());
        config.allow(CACHE_LINE, &[0xff]);
        config.allow(INTERRUPT_LINE, &[0xff]);
        config
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes.iter_mut().skip(at).zip(bytes).for_each(|(into, &from)| *into = from);
    }

    fn allow(&mut self, at: usize, bits: &[u8]) {
        self.writable.iter_mut().skip(at).zip(bits).for_each(|(into, &from)| *into = from);
    }

    /// With a memory BAR of `bar` number `index`. A number that there is not changes nothing.
    #[must_use]
    pub fn with_bar(mut self, index: usize, bar: Bar) -> Self {
        let Some(place) = self.bars.get_mut(index) else { return self };
        *place = Some(bar);
        let at = BARS + 4 * index;
        // Sizing (6.2.5.1): bits below the size are zero and stay so.
        let mask = !(bar.size - 1);
        if bar.wide {
            self.put(at, &[0b100]);
            self.allow(at, &mask.to_le_bytes());
        } else {
            self.allow(at, &(mask as u32).to_le_bytes());
        }
        self
    }

    /// Adds a capability of number `id`: `body` comes after its number and link, and of it the bits of
    /// `writable` can be written. Where the capability begins; `None`: there is no room.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> Option<u8> {
        let at = self.free;
        let len = (2 + body.len()).next_multiple_of(4);
        let end = usize::from(at) + len;
        self.free = u8::try_from(end).ok()?;
        self.put(self.link, &[at]);
        self.put(usize::from(at), &[id, 0]);
        self.put(usize::from(at) + 2, body);
        self.allow(usize::from(at) + 2, writable);
        self.link = usize::from(at) + 1;
        self.put(COMMAND + 2, &[STATUS_CAPABILITIES]);
        Some(at)
    }

    /// Reads; what is beyond the end is all ones.
    pub fn read(&self, offset: u64, size: u8) -> u64 {
        bytes::read(&self.bytes, offset, size)
    }

    /// Writes the bits that can be written.
    pub fn write(&mut self, offset: u64, size: u8, value: u64) {
        let writable = self.writable;
        let mask = |index: usize| writable.get(index).copied().unwrap_or(0);
        bytes::write(&mut self.bytes, mask, offset, size, value);
    }

    /// Writes whatever bits the guest may or may not write.
    pub(crate) fn set(&mut self, offset: u64, size: u8, value: u64) {
        bytes::write(&mut self.bytes, |_| 0xff, offset, size, value);
    }

    /// Whether all bits of `bits` are set in COMMAND.
    pub fn allows(&self, bits: u16) -> bool {
        self.read(COMMAND as u64, 2) as u16 & bits == bits
    }

    /// A BAR by its number.
    pub fn bar(&self, index: usize) -> Option<Bar> {
        self.bars.get(index).copied().flatten()
    }

    /// Where a BAR is, if the function's memory answers.
    pub fn bar_address(&self, index: usize) -> Option<u64> {
        let bar = self.bar(index).filter(|_| self.allows(COMMAND_MEMORY))?;
        let size = if bar.wide { 8 } else { 4 };
        Some(self.read((BARS + 4 * index) as u64, size) & !(bar.size - 1))
    }

    /// Puts a BAR at an address.
    pub fn place_bar(&mut self, index: usize, address: u64) {
        if let Some(bar) = self.bar(index) {
            self.write((BARS + 4 * index) as u64, if bar.wide { 8 } else { 4 }, address);
        }
    }

    /// All that can be written is zero, as after power-on.
    pub fn reset(&mut self) {
        self.bytes.iter_mut().zip(&self.writable).for_each(|(byte, writable)| *byte &= !writable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ConfigSpace {
        let identity = Identity {
            vendor: 0x1af4,
            device: 0x1042,
            revision: 1,
            class: 0x01_00_00,
            subsystem: (0x1af4, 0x40),
        };
        ConfigSpace::new(&identity)
            .with_bar(0, Bar { size: 0x4000, wide: true })
            .with_bar(2, Bar { size: 0x1000, wide: false })
    }

    #[test]
    fn the_header_says_what_it_is() {
        let config = config();
        assert_eq!(config.read(0, 4), 0x1042_1af4);
        assert_eq!(config.read(8, 4), 0x0100_0001);
        assert_eq!(config.read(0x2c, 4), 0x0040_1af4);
        assert_eq!(config.read(0xe, 1), 0);
        assert_eq!(config.read(0x100, 4), 0xffff_ffff);
        assert_eq!(config.read(0xfe, 4), 0xffff_0000);
    }

    #[test]
    fn bars_tell_their_size_and_move() {
        let mut config = config();
        for bar in 0..4 {
            config.write(0x10 + 4 * bar, 4, 0xffff_ffff);
        }
        let read: [u64; 4] = core::array::from_fn(|bar| config.read(0x10 + 4 * bar as u64, 4));
        assert_eq!(read, [0xffff_c004, 0xffff_ffff, 0xffff_f000, 0]);
        config.place_bar(0, 0x8_1234_4000);
        config.place_bar(2, 0xe000_1000);
        assert_eq!(config.bar_address(0), None);
        config.write(4, 2, u64::from(COMMAND_MEMORY));
        assert_eq!([config.bar_address(0), config.bar_address(2)], [Some(0x8_1234_4000), Some(0xe000_1000)]);
        assert_eq!([config.bar_address(1), config.bar_address(6)], [None, None]);
    }

    #[test]
    fn capabilities_are_a_list_until_there_is_no_room() {
        let mut config = config();
        assert_eq!(config.add_capability(0x11, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[0, 0xc0]), Some(0x40));
        assert_eq!(config.add_capability(9, &[7], &[]), Some(0x4c));
        assert_eq!(config.read(6, 2), 0x10);
        assert_eq!([config.read(0x34, 1), config.read(0x41, 1), config.read(0x4d, 1)], [0x40, 0x4c, 0]);
        config.write(0x40, 4, 0xffff_ffff);
        assert_eq!(config.read(0x40, 4), 0xc201_4c11);
        config.reset();
        assert_eq!(config.read(0x40, 4), 0x0201_4c11);
        assert_eq!(config.add_capability(9, &[0; 200], &[]), None);
        assert_eq!(config.add_capability(9, &[0; 172], &[]), None);
    }
}
