//! From the rom door's ELF file and a payload to `hearth.rom`.
//!
//! ```text
//! rom_base     0xff …                      erased flash
//!              payload                     16-byte aligned
//!              door                        the part that runs in RAM, flat
//!              reset                       16-bit start, as linked: the last bytes below 4 GiB
//!   0xffff_ff80  directory                 within the reset part, where the door left room
//!   0xffff_fff0  reset vector
//! ```

use anyhow::{Context, Result, bail, ensure};
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;
use hv_abi::flash::{DIRECTORY_ADDRESS, Directory, MAGIC, MAX_ROM};
use zerocopy::IntoBytes;

/// The first address that flash does not reach.
const TOP: u64 = 1 << 32;
/// What lies above this is the reset part; everything else runs in RAM.
const RESET_FLOOR: u64 = TOP - (64 << 10);
/// First instruction fetched (Intel SDM volume 3, 10.1.4; AMD APM volume 2, 14.1.3).
const RESET_VECTOR: u64 = TOP - 16;
/// An erased byte of NOR flash.
const ERASED: u8 = 0xff;
/// Sizes of flash chips that QEMU (multiples of 64 KiB) and Bochs (64 KiB to 2 MiB) both take.
const SIZES: [u64; 4] = [256 << 10, 512 << 10, 1 << 20, MAX_ROM];

/// The rom door, taken apart.
struct Door {
    /// Bytes at the top of flash, and where they start.
    reset: Vec<u8>,
    reset_base: u64,
    /// Bytes to copy to RAM, where to, and how many to clear after them.
    program: Vec<u8>,
    ram: u32,
    clear: u32,
    entry: u32,
}

/// Makes the flash image.
///
/// # Errors
/// The first rule that the door's file breaks, or the arithmetic when it does not fit.
pub fn assemble(door: &[u8], payload: &[u8]) -> Result<Vec<u8>> {
    let door = take_apart(door).context("in the rom door's ELF file")?;
    let program_base = (door.reset_base - door.program.len() as u64) & !15;
    let payload_base = (program_base - payload.len() as u64) & !15;
    let needed = TOP - payload_base;
    let Some(rom_len) = SIZES.into_iter().find(|&size| needed <= size) else {
        bail!(
            "hearth.rom would be {needed} bytes: payload {} + rom door {} + reset part {} + gaps; the most is \
             {MAX_ROM} (Bochs takes no larger); next: make one of them smaller",
            payload.len(),
            door.program.len(),
            TOP - door.reset_base
        );
    };
    let rom_base = TOP - rom_len;
    let directory = Directory {
        magic: MAGIC,
        rom_base: rom_base as u32,
        rom_len: rom_len as u32,
        door_base: program_base as u32,
        door_len: door.program.len() as u32,
        door_ram: door.ram,
        door_entry: door.entry,
        door_clear: door.clear,
        payload_base: payload_base as u32,
        payload_len: payload.len() as u32,
        reserved: 0,
    };
    let mut rom = vec![ERASED; rom_len as usize];
    for (address, bytes) in [
        (payload_base, payload),
        (program_base, &door.program),
        (door.reset_base, &door.reset),
        (u64::from(DIRECTORY_ADDRESS), directory.as_bytes()),
    ] {
        let at = (address - rom_base) as usize;
        rom[at..at + bytes.len()].copy_from_slice(bytes);
    }
    Ok(rom)
}

fn take_apart(file: &[u8]) -> Result<Door> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).context("it cannot be read")?;
    let all = elf.segments().context("it has no program headers")?;
    let loads = all.iter().filter(|part| part.p_type == PT_LOAD && part.p_memsz > 0);
    let (flash, ram): (Vec<_>, Vec<_>) = loads.partition(|part| part.p_paddr >= RESET_FLOOR);
    let (reset_base, reset) = flatten(&elf, &flash, |part| part.p_paddr).context("its reset part")?;
    ensure!(reset_base + reset.len() as u64 <= TOP, "its reset part reaches past 4 GiB");
    check_top(reset_base, &reset)?;

    let (ram_base, mut program) = flatten(&elf, &ram, |part| part.p_vaddr).context("its part in RAM")?;
    program.resize(program.len().next_multiple_of(4), 0);
    ensure!(ram_base % 4 == 0, "its part in RAM starts at {ram_base:#x}, not at a multiple of 4");
    let file_end = ram_base + program.len() as u64;
    let memory_end = ram.iter().map(|part| part.p_vaddr.saturating_add(part.p_memsz)).max().unwrap_or(0);
    ensure!(memory_end <= RESET_FLOOR, "its part in RAM reaches {memory_end:#x}, into flash");
    let entry = elf.ehdr.e_entry;
    ensure!((ram_base..file_end).contains(&entry), "its entry point {entry:#x} is not in its part in RAM");
    Ok(Door {
        reset,
        reset_base,
        program,
        ram: ram_base as u32,
        clear: memory_end.saturating_sub(file_end).next_multiple_of(4) as u32,
        entry: entry as u32,
    })
}

/// The bytes of these parts as they lie in memory, and the address of the first.
fn flatten(
    elf: &ElfBytes<'_, LittleEndian>,
    parts: &[ProgramHeader],
    address: impl Fn(&ProgramHeader) -> u64,
) -> Result<(u64, Vec<u8>)> {
    let base = parts.iter().map(&address).min().context("there is none")?;
    let mut flat = Vec::new();
    for part in parts.iter().filter(|part| part.p_filesz > 0) {
        let data = elf.segment_data(part).context("it is cut short")?;
        let at = address(part) - base;
        ensure!(at + data.len() as u64 <= MAX_ROM, "it spans more than {MAX_ROM} bytes from {base:#x}");
        let (at, end) = (at as usize, at as usize + data.len());
        flat.resize(flat.len().max(end), 0);
        flat[at..end].copy_from_slice(data);
    }
    Ok((base, flat))
}

/// The reset vector must be there, and the directory's place free.
fn check_top(base: u64, reset: &[u8]) -> Result<()> {
    let byte = |address: u64| address.checked_sub(base).and_then(|at| reset.get(at as usize)).copied();
    let blank = |byte: u8| byte == 0 || byte == ERASED;
    ensure!(
        byte(RESET_VECTOR).is_some_and(|byte| !blank(byte)),
        "there is no instruction at the reset vector {RESET_VECTOR:#x}"
    );
    let directory = u64::from(DIRECTORY_ADDRESS);
    let taken =
        (directory..directory + size_of::<Directory>() as u64).find(|&at| !byte(at).is_none_or(blank));
    match taken {
        Some(at) => bail!("it has code or data at {at:#x}, where the flash directory goes"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
