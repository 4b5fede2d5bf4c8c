//! One function: what it has, and which bits of it stay as they are.

use super::{Address, Bus};
use hv_abi::device::{BARS, DeviceInfo};
use hv_abi::memory::PhysRange;
use hv_defs::pci::{CONFIG_SIZE, STATUS_CAPABILITIES, bar, capability, command, msi, msix, register};

/// Capabilities that fit behind the header: a longer list is a circle.
const MAX_CAPABILITIES: usize = (CONFIG_SIZE - register::FIRST_FREE as usize) / 4;
/// Bits of the command register that are the owner's.
const OWNERS: u32 = command::IO | command::MEMORY | command::MASTER | command::NO_LINE;

/// How a function's interrupts are sent as messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Messages {
    /// It can't.
    None,
    /// One, from the MSI capability.
    Msi {
        /// Offset of the capability.
        at: u8,
    },
    /// Several, from a table.
    MsiX {
        /// Offset of the capability.
        at: u8,
        /// The table.
        table: PhysRange,
    },
}

/// A function that can be handed out.
#[derive(Clone, Debug)]
pub struct Device {
    /// What its owner is told.
    pub info: DeviceInfo,
    /// How its interrupts are sent.
    pub messages: Messages,
    /// Bits of configuration space that stay as they are, whatever its owner writes.
    kept: [u32; CONFIG_SIZE / 4],
}

impl Device {
    /// Looks at a function. Its base addresses are measured while it does not decode them, and its
    /// messages are switched off. A range that `lawful` denies is not one.
    pub(super) fn examine(bus: &mut impl Bus, address: Address, lawful: &impl Fn(PhysRange) -> bool) -> Self {
        let id = bus.read(address, register::ID, 4);
        let info = DeviceInfo {
            address: u32::from(address.0),
            ids: [id as u16, (id >> 16) as u16],
            class: bus.read(address, register::CLASS, 4),
            ..DeviceInfo::default()
        };
        let mut device = Self { info, messages: Messages::None, kept: [0; CONFIG_SIZE / 4] };
        device.keep(register::COMMAND, &[!OWNERS & 0xffff]);
        device.keep(register::BAR0, &[u32::MAX; BARS]);
        device.keep(register::ROM, &[u32::MAX]);
        device.measure(bus, lawful);
        device.capabilities(bus);
        device
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        Address(self.info.address as u16)
    }

    /// Leaves it without messages: its table can't be reached.
    pub(super) fn silence(&mut self) {
        self.messages = Messages::None;
        self.info.messages = 0;
    }

    /// What its owner reads there; `None`: there is no such register.
    pub fn read(&self, bus: &mut impl Bus, offset: u64, size: u64) -> Option<u32> {
        let (offset, size) = register_at(offset, size)?;
        Some(bus.read(self.address(), offset, size))
    }

    /// Writes for its owner, but for what hv keeps; `None`: there is no such register.
    pub fn write(&self, bus: &mut impl Bus, offset: u64, size: u64, value: u32) -> Option<()> {
        let (offset, size) = register_at(offset, size)?;
        let all = u32::MAX >> (32 - 8 * u32::from(size));
        let kept = self.kept[usize::from(offset / 4)] >> (8 * u32::from(offset % 4)) & all;
        if kept != all {
            let old = if kept == 0 { 0 } else { bus.read(self.address(), offset, size) };
            bus.write(self.address(), offset, size, (value & !kept | old & kept) & all);
        }
        Some(())
    }

    /// Keeps these bits of the registers from `at` on.
    fn keep(&mut self, at: u8, bits: &[u32]) {
        for (kept, bits) in self.kept.iter_mut().skip(usize::from(at / 4)).zip(bits) {
            *kept |= bits;
        }
    }

    /// Finds out where and how large the base addresses are. PCI 3.0, 6.2.5.1, implementation note.
    fn measure(&mut self, bus: &mut impl Bus, lawful: &impl Fn(PhysRange) -> bool) {
        let address = self.address();
        let decoding = bus.read(address, register::COMMAND, 2);
        bus.write(address, register::COMMAND, 2, decoding & !(command::IO | command::MEMORY));
        let mut index = 0;
        while index < BARS {
            let at = register::BAR0 + 4 * index as u8;
            let low = bus.read(address, at, 4);
            let is_wide = low & (bar::IO | bar::TYPE) == bar::WIDE && index + 1 < BARS;
            if low & bar::IO == 0 {
                let (base, len) = measure_one(bus, address, at, is_wide);
                let sound = len.is_power_of_two() && base != 0 && base.is_multiple_of(len);
                let range = PhysRange::new(base, len);
                if sound && base.checked_add(len).is_some() && lawful(range) {
                    self.info.bars[index] = range;
                }
            }
            index += 1 + usize::from(is_wide);
        }
        bus.write(address, register::COMMAND, 2, decoding);
    }

    /// Goes through the capabilities, and keeps of each what is hv's: messages, and whatever would
    /// reset the base addresses (PCIe 6.6.2; PCI Power Management 1.2, 5.4).
    fn capabilities(&mut self, bus: &mut impl Bus) {
        let address = self.address();
        if bus.read(address, register::STATUS, 2) & STATUS_CAPABILITIES == 0 {
            return;
        }
        let mut at = bus.read(address, register::CAPABILITIES, 1) as u8 & !3;
        for _ in 0..MAX_CAPABILITIES {
            if at < register::FIRST_FREE {
                return;
            }
            let head = bus.read(address, at, 4);
            match head as u8 {
                capability::MSI => self.take_msi(bus, at, head >> 16),
                capability::MSIX => self.take_msix(bus, at, head >> 16),
                capability::POWER => self.keep(at, &[0, 0b11]),
                capability::EXPRESS => self.keep(at, &[0, 0, 1 << 15]),
                capability::ADVANCED => self.keep(at, &[0, 1]),
                _ => {}
            }
            at = (head >> 8) as u8 & !3;
        }
    }

    fn take_msi(&mut self, bus: &mut impl Bus, at: u8, control: u32) {
        bus.write(self.address(), at + 2, 2, control & !msi::ENABLE);
        let masks = if control & msi::MASKS == 0 { 0 } else { 2 };
        let words = 3 + usize::from(control & msi::WIDE != 0) + masks;
        self.keep(at, &[u32::MAX; 6][..words]);
        let fits = usize::from(at) + 4 * words <= CONFIG_SIZE;
        if fits && self.messages == Messages::None {
            self.messages = Messages::Msi { at };
            self.info.messages = 1;
        }
    }

    fn take_msix(&mut self, bus: &mut impl Bus, at: u8, control: u32) {
        bus.write(self.address(), at + 2, 2, control & !msix::ENABLE);
        self.keep(at, &[u32::MAX; 3]);
        if usize::from(at) + 12 > CONFIG_SIZE {
            return;
        }
        let place = bus.read(self.address(), at + 4, 4);
        let entries = (control & msix::LAST_ENTRY) + 1;
        let bar = self.info.bars.get((place & msix::BAR) as usize).copied().unwrap_or_default();
        let base = bar.base.saturating_add(u64::from(place & !msix::BAR));
        let table = PhysRange::new(base, u64::from(entries) * msix::ENTRY);
        if bar.contains(table) {
            self.messages = Messages::MsiX { at, table };
            self.info.messages = entries;
        }
    }
}

/// The base address at `at`, and its size as the bits tell that can't be written.
fn measure_one(bus: &mut impl Bus, address: Address, at: u8, is_wide: bool) -> (u64, u64) {
    let (base, mask) = measure_half(bus, address, at);
    let (base_high, mask_high) = if is_wide { measure_half(bus, address, at + 4) } else { (0, u32::MAX) };
    let join = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low & !bar::FLAGS);
    (join(base_high, base), (!join(mask_high, mask)).wrapping_add(1))
}

/// What is in the register, and which of its bits can be written; it stays as it was.
fn measure_half(bus: &mut impl Bus, address: Address, at: u8) -> (u32, u32) {
    let old = bus.read(address, at, 4);
    bus.write(address, at, 4, u32::MAX);
    let mask = bus.read(address, at, 4);
    bus.write(address, at, 4, old);
    (old, mask)
}

/// Offset and size of an access, if it is of 1, 2 or 4 bytes that belong together.
fn register_at(offset: u64, size: u64) -> Option<(u8, u8)> {
    let lawful = matches!(size, 1 | 2 | 4) && offset.is_multiple_of(size) && offset < CONFIG_SIZE as u64;
    lawful.then_some((offset as u8, size as u8))
}
