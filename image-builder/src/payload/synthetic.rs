//! ELF files made by hand, for tests (System V ABI, "Object Files").

use elf::abi::{EM_X86_64, ET_EXEC, PT_LOAD};

/// One part of a made-up program.
#[derive(Clone)]
pub struct Part {
    pub vaddr: u64,
    pub paddr: u64,
    pub flags: u32,
    pub data: Vec<u8>,
    /// Bytes in memory; at least those of `data`.
    pub memory: u64,
}

impl Part {
    /// A part that lies where it is linked, with nothing but `data` in it.
    pub fn new(address: u64, flags: u32, data: &[u8]) -> Self {
        Self { vaddr: address, paddr: address, flags, data: data.to_vec(), memory: data.len() as u64 }
    }

    /// The same with zeroes after it, `memory` bytes in all.
    pub fn in_memory(mut self, memory: u64) -> Self {
        self.memory = memory;
        self
    }
}

/// A program of these parts.
pub fn elf(entry: u64, parts: &[Part]) -> Vec<u8> {
    let table = 64 + 56 * parts.len();
    let mut file = Vec::new();
    file.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    file.extend([0; 8]);
    file.extend(ET_EXEC.to_le_bytes());
    file.extend(EM_X86_64.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend(entry.to_le_bytes());
    file.extend(64u64.to_le_bytes()); // program headers
    file.extend(0u64.to_le_bytes()); // no section headers
    file.extend(0u32.to_le_bytes());
    for half in [64, 56, parts.len() as u16, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let mut offset = table as u64;
    for part in parts {
        file.extend(PT_LOAD.to_le_bytes());
        file.extend(part.flags.to_le_bytes());
        for word in [offset, part.vaddr, part.paddr, part.data.len() as u64, part.memory, 4096] {
            file.extend(word.to_le_bytes());
        }
        offset += part.data.len() as u64;
    }
    for part in parts {
        file.extend(&part.data);
    }
    file
}
