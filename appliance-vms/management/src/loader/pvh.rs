//! PVH kernels: ELF with Xen's note, entered in 32-bit protected mode.
//! Xen, docs/misc/pvh.pandoc; the structures: xen/include/public/arch-x86/hvm/start_info.h.

use super::elf::Elf;
use super::{BOOT_INFO, COMMAND_LINE, Guest, LoadError, MAX_COMMAND_LINE, Program, start};
use alloc::vec::Vec;
use hv_abi::manifest::{StartMode, StartState};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes, Unaligned};

const WANTED: &str = "PVH kernel";
/// The note's owner and type: a 32-bit physical entry point (`XEN_ELFNOTE_PHYS32_ENTRY`).
const NOTE: (&[u8], u64) = (b"Xen\0", 18);
const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;

/// `hvm_start_info`.
#[repr(C)]
#[derive(IntoBytes, Immutable, Unaligned)]
struct StartInfo {
    magic: U32,          // 0
    version: U32,        // 4
    flags: U32,          // 8
    modules: U32,        // 12
    module_list: U64,    // 16
    command_line: U64,   // 24
    rsdp: U64,           // 32
    memory_map: U64,     // 40
    memory_entries: U32, // 48
    reserved: U32,       // 52
}

const _: () = assert!(size_of::<StartInfo>() == 56);

/// `hvm_modlist_entry`.
#[repr(C)]
#[derive(IntoBytes, Immutable, Unaligned)]
struct Module {
    base: U64,         // 0
    len: U64,          // 8
    command_line: U64, // 16
    reserved: U64,     // 24
}

const _: () = assert!(size_of::<Module>() == 32);

/// `hvm_memmap_table_entry`; kinds are E820's.
#[repr(C)]
#[derive(IntoBytes, Immutable, Unaligned)]
struct MemoryEntry {
    base: U64,     // 0
    len: U64,      // 8
    kind: U32,     // 16
    reserved: U32, // 20
}

const _: () = assert!(size_of::<MemoryEntry>() == 24);

/// Where they lie.
const MEMORY_MAP: u64 = BOOT_INFO + 0x100;
const MODULES: u64 = BOOT_INFO + 0x400;

/// Puts a kernel, its module and what it is told into the guest's RAM.
pub(super) async fn load(program: &Program<'_>, guest: &Guest<'_>) -> Result<StartState, LoadError> {
    let no = |why| LoadError::NotAKernel { wanted: WANTED, why };
    let elf = Elf::read(program, WANTED).await?;
    let note = elf.note(program, NOTE.0, NOTE.1).await?.ok_or(no("it has no note with a PVH entry point"))?;
    // Four bytes, or eight of which the upper ones are zero.
    let entry = note
        .iter()
        .rev()
        .try_fold(0u64, |entry, byte| entry.checked_mul(256).map(|entry| entry | u64::from(*byte)));
    let entry = entry.filter(|entry| *entry <= u32::MAX.into()).and_then(|entry| elf.physical_entry(entry));
    let entry = entry.ok_or(no("its entry point is in none of its segments"))?;
    guest.put_command_line("", program.cmdline, MAX_COMMAND_LINE)?;
    let end = elf.load(program, guest).await?;
    let module = guest.put_module(program, end).await?;
    let map: Vec<MemoryEntry> = guest
        .ram
        .map()
        .map(|(range, kind)| MemoryEntry {
            base: U64::new(range.base),
            len: U64::new(range.len),
            kind: U32::new(kind as u32),
            reserved: U32::ZERO,
        })
        .collect();
    let info = StartInfo {
        magic: U32::new(MAGIC),
        version: U32::new(VERSION),
        flags: U32::ZERO,
        modules: U32::new(module.is_some().into()),
        module_list: U64::new(if module.is_some() { MODULES } else { 0 }),
        command_line: U64::new(COMMAND_LINE),
        rsdp: U64::new(guest.rsdp),
        memory_map: U64::new(MEMORY_MAP),
        memory_entries: U32::new(map.len() as u32),
        reserved: U32::ZERO,
    };
    if let Some(range) = module {
        let (base, len) = (U64::new(range.base), U64::new(range.len));
        let module = Module { base, len, command_line: U64::ZERO, reserved: U64::ZERO };
        guest.memory.write(MODULES, module.as_bytes())?;
    }
    guest.memory.write(MEMORY_MAP, map.as_bytes())?;
    guest.memory.write(BOOT_INFO, info.as_bytes())?;
    Ok(start(StartMode::FLAT_32, entry, [0, BOOT_INFO, 0, 0]))
}
