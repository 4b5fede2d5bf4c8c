//! Multiboot 1 kernels, entered in 32-bit protected mode. Multiboot Specification 0.6.96.

use super::elf::Elf;
use super::{
    BOOT_INFO, COMMAND_LINE, E820Entry, Guest, LoadError, MAX_COMMAND_LINE, Part, Program, read, start,
};
use crate::platform::{CONVENTIONAL_END, EXTENDED};
use alloc::vec;
use alloc::vec::Vec;
use hv_abi::manifest::{StartMode, StartState};
use hv_abi::memory::PhysRange;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const WANTED: &str = "Multiboot kernel";
const MAGIC: u32 = 0x1bad_b002;
/// In EAX at the entry. 3.2.
const LOADER_MAGIC: u64 = 0x2bad_b002;
/// The header is in the first so many bytes, at a multiple of four. 3.1.
const SEARCHED: u64 = 8192;
/// What a kernel may ask for and get: modules on pages, and memory sizes. Of the lower half, it must
/// not be started if it asks for more; the upper half may be ignored. 3.1.2.
const KNOWN_WISHES: u32 = 0b11;
const MUST_KNOW: u32 = 0xffff;
/// The header's address fields count, and not ELF's.
const ADDRESSES: u32 = 1 << 16;
/// What the command line begins with: the kernel's file name.
const FILE_NAME: &str = "kernel";

/// The header. 3.1.1.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct Header {
    magic: U32,       // 0
    flags: U32,       // 4
    checksum: U32,    // 8
    own_address: U32, // 12
    load: U32,        // 16
    load_end: U32,    // 20
    bss_end: U32,     // 24
    entry: U32,       // 28
}

const _: () = assert!(size_of::<Header>() == 32);
/// Bytes that every header has.
const SHORT_HEADER: usize = 12;

/// What the kernel is told. 3.3.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct Info {
    flags: U32,            // 0
    mem_lower: U32,        // 4, KiB
    mem_upper: U32,        // 8, KiB
    boot_device: U32,      // 12
    cmdline: U32,          // 16
    mods_count: U32,       // 20
    mods_addr: U32,        // 24
    syms: [U32; 4],        // 28
    mmap_length: U32,      // 44
    mmap_addr: U32,        // 48
    drives: [U32; 2],      // 52
    config_table: U32,     // 60
    boot_loader_name: U32, // 64
    rest: [U32; 12],       // 68
}

const _: () = assert!(size_of::<Info>() == 116);

/// Which of its fields count: memory sizes, command line, modules, memory map, loader's name.
const FIELDS: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;

/// A module: start, end, string, zero. 3.3.
type Module = [U32; 4];

/// An entry of the memory map, behind its size without this field. 3.3.
#[repr(C)]
#[derive(IntoBytes, Immutable, Unaligned)]
struct MapEntry {
    size: U32,
    entry: E820Entry,
}

/// Where they lie.
const MAP: u64 = BOOT_INFO + 0x100;
const MODULES: u64 = BOOT_INFO + 0x400;
const MODULE_NAME: (u64, &[u8]) = (BOOT_INFO + 0x480, b"initrd\0");
const LOADER_NAME: (u64, &[u8]) = (BOOT_INFO + 0x4c0, b"Hearth\0");

/// Puts a kernel, its module and what it is told into the guest's RAM.
pub(super) async fn load(program: &Program<'_>, guest: &Guest<'_>) -> Result<StartState, LoadError> {
    let (header, offset) = find_header(program).await?;
    let flags = header.flags.get();
    if flags & MUST_KNOW & !KNOWN_WISHES != 0 {
        return Err(LoadError::Unsupported("a Multiboot feature beside modules on pages and memory sizes"));
    }
    let separator = if program.cmdline.is_empty() { "" } else { " " };
    guest.put_command_line(&[FILE_NAME, separator].concat(), program.cmdline, MAX_COMMAND_LINE)?;
    let (entry, end) = if flags & ADDRESSES != 0 {
        let part = addressed(&header, offset, program.kernel.len())?;
        guest.put(program.kernel, part).await?;
        let entry = Some(u64::from(header.entry.get()));
        (entry.filter(|entry| part.to.contains(PhysRange::new(*entry, 1))), part.to.end())
    } else {
        let elf = Elf::read(program, WANTED).await?;
        (elf.entry(), elf.load(program, guest).await?)
    };
    let entry = entry.filter(|entry| *entry < end).ok_or(LoadError::NotAKernel {
        wanted: WANTED,
        why: "its entry point is in none of its parts below 4 GiB",
    })?;
    let module = guest.put_module(program, end).await?;
    put_info(guest, module)?;
    Ok(start(StartMode::FLAT_32, entry, [LOADER_MAGIC, BOOT_INFO, 0, 0]))
}

/// The header, and where it is in the file.
async fn find_header(program: &Program<'_>) -> Result<(Header, u64), LoadError> {
    let mut bytes = vec![0; program.kernel.len().min(SEARCHED) as usize];
    read("kernel", program.kernel, 0, &mut bytes).await?;
    let found = (0..bytes.len()).step_by(4).find_map(|offset| {
        let mut header = Header::read_from_bytes(&[0; size_of::<Header>()]).ok()?;
        let there = bytes.get(offset..)?;
        // Without its address fields it may end with the file.
        let len = there.len().min(size_of::<Header>());
        header.as_mut_bytes().get_mut(..len)?.copy_from_slice(there.get(..len)?);
        let sum = [header.magic, header.flags, header.checksum].map(U32::get).into_iter();
        let sums = sum.fold(0, u32::wrapping_add) == 0;
        (len >= SHORT_HEADER && header.magic.get() == MAGIC && sums).then_some((header, offset as u64))
    });
    found
        .ok_or(LoadError::NotAKernel { wanted: WANTED, why: "it has no Multiboot header in its first 8 KiB" })
}

/// What is loaded by the header's address fields. 3.1.3.
fn addressed(header: &Header, offset: u64, file: u64) -> Result<Part, LoadError> {
    let no = LoadError::NotAKernel { wanted: WANTED, why: "the addresses in its header make no sense" };
    let [load, at] = [header.load, header.own_address].map(|field| u64::from(field.get()));
    let [load_end, bss_end] = [header.load_end, header.bss_end].map(|field| u64::from(field.get()));
    let before = at.checked_sub(load).ok_or(no)?;
    let offset = offset.checked_sub(before).ok_or(no)?;
    // 0 = to the end of the file, and no memory beyond what is loaded.
    let load_end = if load_end == 0 { load.saturating_add(file.saturating_sub(offset)) } else { load_end };
    let end = if bss_end == 0 { load_end } else { bss_end };
    let len = load_end.checked_sub(load).ok_or(no)?;
    let needs = end.checked_sub(load).filter(|needs| *needs >= len).ok_or(no)?;
    Ok(Part { offset, len, to: PhysRange::new(load, needs) })
}

fn put_info(guest: &Guest<'_>, module: Option<PhysRange>) -> Result<(), LoadError> {
    // All of it is below 4 GiB.
    let short = |address: u64| U32::new(address as u32);
    let map: Vec<MapEntry> = guest
        .ram
        .map()
        .map(|part| MapEntry { size: U32::new(size_of::<E820Entry>() as u32), entry: part.into() })
        .collect();
    let upper = guest.ram.usable().find(|range| range.base == EXTENDED).map_or(0, |range| range.len);
    let info = Info {
        flags: U32::new(FIELDS),
        mem_lower: short(CONVENTIONAL_END >> 10),
        mem_upper: short(upper >> 10),
        boot_device: U32::ZERO,
        cmdline: short(COMMAND_LINE),
        mods_count: U32::new(module.is_some().into()),
        mods_addr: short(MODULES),
        syms: [U32::ZERO; 4],
        mmap_length: short(map.as_bytes().len() as u64),
        mmap_addr: short(MAP),
        drives: [U32::ZERO; 2],
        config_table: U32::ZERO,
        boot_loader_name: short(LOADER_NAME.0),
        rest: [U32::ZERO; 12],
    };
    if let Some(range) = module {
        let module: Module = [short(range.base), short(range.end()), short(MODULE_NAME.0), U32::ZERO];
        guest.memory.write(MODULES, module.as_bytes())?;
    }
    guest.memory.write(MODULE_NAME.0, MODULE_NAME.1)?;
    guest.memory.write(LOADER_NAME.0, LOADER_NAME.1)?;
    guest.memory.write(MAP, map.as_bytes())?;
    Ok(guest.memory.write(BOOT_INFO, info.as_bytes())?)
}
