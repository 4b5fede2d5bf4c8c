//! What the loader tells.

use crate::memory::{bytes, load, load_64, text};

/// In EAX of a kernel that was loaded as Multiboot. Multiboot Specification 0.6.96, 3.2.
const MULTIBOOT: u32 = 0x2bad_b002;
/// At the beginning of PVH's `start_info`. Xen, public/arch-x86/hvm/start_info.h.
const PVH: u32 = 0x336e_c578;

/// How the kernel was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Multiboot 1.
    Multiboot,
    /// PVH.
    Pvh,
}

/// What the loader tells, from either protocol.
#[derive(Clone, Copy)]
pub struct Boot {
    /// Which one it was.
    pub protocol: Protocol,
    info: u64,
}

/// A range of the memory map.
#[derive(Clone, Copy)]
pub struct Range {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// 1 = RAM to use.
    pub kind: u32,
}

impl Boot {
    /// From EAX and EBX at the entry; `None`: the loader speaks neither.
    pub fn new(magic: u32, info: u64) -> Option<Self> {
        let protocol = match magic {
            MULTIBOOT => Protocol::Multiboot,
            PVH => Protocol::Pvh,
            _ => return None,
        };
        Some(Self { protocol, info })
    }

    fn word(&self, offset: u64) -> u64 {
        u64::from(load::<u32>(self.info + offset))
    }

    fn long(&self, offset: u64) -> u64 {
        load_64(self.info + offset)
    }

    /// Multiboot's flags: which fields count. 3.3.
    pub fn flags(&self) -> u64 {
        self.word(0)
    }

    /// Multiboot's sizes of the memory below 640 KiB and from 1 MiB on, in KiB.
    pub fn sizes(&self) -> [u64; 2] {
        [self.word(4), self.word(8)]
    }

    /// The root pointer that PVH names.
    pub fn rsdp(&self) -> u64 {
        self.long(32)
    }

    /// The command line.
    pub fn command_line(&self) -> &'static str {
        text(match self.protocol {
            Protocol::Multiboot => self.word(16),
            Protocol::Pvh => self.long(24),
        })
    }

    /// The value of an option on the command line; `key` ends with `=`.
    pub fn option(&self, key: &str) -> Option<&'static str> {
        self.command_line().split_whitespace().find_map(|word| word.strip_prefix(key))
    }

    /// The same as a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.option(key)?.parse().ok()
    }

    /// The first module, if there is one.
    pub fn module(&self) -> Option<&'static [u8]> {
        let (count, list) = match self.protocol {
            Protocol::Multiboot => (self.word(20), self.word(24)),
            Protocol::Pvh => (self.word(12), self.long(16)),
        };
        let (base, len) = match self.protocol {
            _ if count == 0 => return None,
            Protocol::Multiboot => {
                let [base, end] = load::<[u32; 2]>(list).map(u64::from);
                (base, end - base)
            }
            Protocol::Pvh => (load_64(list), load_64(list + 8)),
        };
        Some(bytes(base, len as usize))
    }

    /// The memory map.
    pub fn map(&self) -> impl Iterator<Item = Range> + use<> {
        let (mut at, end) = match self.protocol {
            Protocol::Multiboot => (self.word(48), self.word(48) + self.word(44)),
            Protocol::Pvh => (self.long(40), self.long(40) + 24 * self.word(48)),
        };
        let protocol = self.protocol;
        core::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            // Multiboot's entries begin with their size without that field.
            let (entry, next) = match protocol {
                Protocol::Multiboot => (at + 4, at + 4 + u64::from(load::<u32>(at))),
                Protocol::Pvh => (at, at + 24),
            };
            at = next;
            Some(Range { base: load_64(entry), len: load_64(entry + 8), kind: load(entry + 16) })
        })
    }

    /// One past the last byte of RAM below 4 GiB.
    pub fn ram_end(&self) -> u64 {
        let low = self.map().filter(|range| range.kind == 1 && range.base < 1 << 32);
        low.map(|range| range.base + range.len).max().unwrap_or(0)
    }
}
