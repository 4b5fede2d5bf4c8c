//! Configuration space of PCI functions. "PCI" is the PCI Local Bus Specification 3.0, "PCIe" the PCI
//! Express Base Specification 5.0.

/// Bytes of configuration space that every function has.
pub const CONFIG_SIZE: usize = 256;

/// Registers of the header, by offset. PCI 6.1, figure 6-1; PCI-to-PCI bridge 1.2, 3.2.
pub mod register {
    /// Vendor in bits 0–15, device in 16–31.
    pub const ID: u8 = 0x00;
    /// 16 bits: [`super::command`].
    pub const COMMAND: u8 = 0x04;
    /// 16 bits; written ones clear: [`super::STATUS_CAPABILITIES`].
    pub const STATUS: u8 = 0x06;
    /// Revision in bits 0–7, interface 8–15, subclass 16–23, class 24–31.
    pub const CLASS: u8 = 0x08;
    /// 8 bits: layout of the rest, and [`super::MULTI_FUNCTION`].
    pub const HEADER_TYPE: u8 = 0x0e;
    /// The first of six base addresses.
    pub const BAR0: u8 = 0x10;
    /// 8 bits, of a bridge: the bus behind it.
    pub const SECONDARY_BUS: u8 = 0x19;
    /// Where the expansion ROM is.
    pub const ROM: u8 = 0x30;
    /// 8 bits: where the first capability is.
    pub const CAPABILITIES: u8 = 0x34;
    /// The first byte after the header.
    pub const FIRST_FREE: u8 = 0x40;
}

/// Bits of the command register. PCI 6.2.2.
pub mod command {
    /// Answers on its I/O ports.
    pub const IO: u32 = 1 << 0;
    /// Answers in memory space.
    pub const MEMORY: u32 = 1 << 1;
    /// May read and write memory by itself.
    pub const MASTER: u32 = 1 << 2;
    /// Does not pull its interrupt line.
    pub const NO_LINE: u32 = 1 << 10;
}

/// Bit of the status register: there is a list of capabilities. PCI 6.2.3.
pub const STATUS_CAPABILITIES: u32 = 1 << 4;
/// Bit of the header type: there are functions besides number 0. PCI 6.2.1.
pub const MULTI_FUNCTION: u32 = 1 << 7;

/// Bits of a base address. PCI 6.2.5.1.
pub mod bar {
    /// It is of I/O ports.
    pub const IO: u32 = 1 << 0;
    /// Which kind of memory address it is.
    pub const TYPE: u32 = 0b11 << 1;
    /// That kind: 64 bits, the upper half in the next base address.
    pub const WIDE: u32 = 0b10 << 1;
    /// What is not address.
    pub const FLAGS: u32 = 0xf;
}

/// Identifiers of capabilities. PCI Code and ID Assignment Specification 1.11, 2.
pub mod capability {
    /// Power management (PCI Power Management 1.2, 3.2). State in bits 0–1 of the word at 4.
    pub const POWER: u8 = 0x01;
    /// Message-signalled interrupts: [`super::msi`].
    pub const MSI: u8 = 0x05;
    /// PCI Express (PCIe 7.5.3). Bit 15 of the word at 8 resets the function.
    pub const EXPRESS: u8 = 0x10;
    /// Messages from a table: [`super::msix`].
    pub const MSIX: u8 = 0x11;
    /// Advanced features (ECN of 2006). Bit 0 of the word at 4 resets the function.
    pub const ADVANCED: u8 = 0x13;
}

/// The MSI capability. PCI 6.8.1: control at 2, address at 4, then the upper half of the address if
/// it is wide, data, and with masks a word of them and one of what is pending.
pub mod msi {
    /// Control: messages are sent.
    pub const ENABLE: u32 = 1 << 0;
    /// Control: how many messages, as a power of two.
    pub const COUNT: u32 = 0b111 << 4;
    /// Control: the address has 64 bits.
    pub const WIDE: u32 = 1 << 7;
    /// Control: there are masks.
    pub const MASKS: u32 = 1 << 8;
}

/// The MSI-X capability. PCI 6.8.2: control at 2, where the table is at 4.
pub mod msix {
    /// Control: entries of the table, less one.
    pub const LAST_ENTRY: u32 = 0x7ff;
    /// Control: all entries are masked.
    pub const MASK_ALL: u32 = 1 << 14;
    /// Control: messages are sent.
    pub const ENABLE: u32 = 1 << 15;
    /// Where the table is: number of the base address; the rest is the offset.
    pub const BAR: u32 = 0b111;
    /// Bytes of an entry: address, upper half, data, control.
    pub const ENTRY: u64 = 16;
    /// Control of an entry: it is masked.
    pub const MASKED: u32 = 1 << 0;
}
