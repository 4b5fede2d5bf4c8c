//! Runs QEMU's table loader: a script of 128-byte commands that says which files of the firmware
//! configuration device to place in memory, and where to put their addresses and checksums.
//! QEMU, hw/acpi/bios-linker-loader.c; all numbers are little-endian.
//!
//! Two passes: [`memory_needed`] adds up the files, [`run`] places them in one block. The script's
//! wish to have a file below 1 MiB (for BIOS callers that search there) is not granted: hv is told
//! where the root pointer is.

use super::checksum;
use handoff::{Refusal, Result};
use heapless::Vec;
use hv_abi::memory::PhysRange;

/// The script's own name.
pub const SCRIPT: &str = "etc/table-loader";
/// The file that is the root pointer (ACPI 6.5, 5.2.5.3).
const ROOT: &str = "etc/acpi/rsdp";
/// Bytes of a command.
const COMMAND: usize = 128;
/// Bytes of a file's name, zero-filled.
const NAME: usize = 56;
/// Most files of a script; QEMU 7.2 uses 3 to 6.
const MAX_FILES: usize = 32;
/// The largest alignment that is granted.
const MAX_ALIGN: u32 = 1 << 20;

/// The device that has the files.
pub trait Files {
    /// How long a file is, if it exists.
    fn len(&mut self, name: &str) -> Option<u32>;
    /// Reads the whole of a file; `buffer` is as long as it is.
    fn read(&mut self, name: &str, buffer: &mut [u8]);
    /// Writes `bytes` into a file at `offset`; whether the device took them.
    fn write(&mut self, name: &str, offset: u32, bytes: &[u8]) -> bool;
}

/// What a script left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where the root pointer is.
    pub root: u64,
    /// The device was told where a file is: it will write there while the machine runs.
    pub device_writes: bool,
}

const BROKEN: Refusal = Refusal {
    what: "The ACPI tables that this virtual machine hands out can't be put together.",
    remedy: "Use another version of QEMU, or start Hearth from a disk with hearth.img.",
};

/// A command, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command<'s> {
    /// Place a file.
    Allocate { file: &'s str, align: u32 },
    /// Add the address of `source` to the number at `offset` of `target`.
    AddPointer { target: &'s str, source: &'s str, offset: u32, size: u8 },
    /// Make a range of a file add up to zero by its byte at `offset`.
    AddChecksum { file: &'s str, offset: u32, start: u32, len: u32 },
    /// Write the address of `source`, plus `plus`, into the device's file `target` at `offset`.
    WritePointer { target: &'s str, source: &'s str, offset: u32, plus: u32, size: u8 },
    /// Padding, or a command of a newer QEMU, which is to be ignored.
    Other,
}

impl<'s> Command<'s> {
    /// Where the fields of a command that start with names are.
    const FIRST: usize = 4;
    const SECOND: usize = Self::FIRST + NAME;
    const THIRD: usize = Self::SECOND + NAME;

    fn parse(bytes: &'s [u8; COMMAND]) -> Result<Self> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let name = |at: usize| {
            let field = &bytes[at..at + NAME];
            let end = field.iter().position(|&byte| byte == 0).ok_or(BROKEN)?;
            core::str::from_utf8(&field[..end]).map_err(|_| BROKEN)
        };
        Ok(match number(0) {
            1 => Self::Allocate { file: name(Self::FIRST)?, align: number(Self::SECOND) },
            2 => Self::AddPointer {
                target: name(Self::FIRST)?,
                source: name(Self::SECOND)?,
                offset: number(Self::THIRD),
                size: bytes[Self::THIRD + 4],
            },
            3 => Self::AddChecksum {
                file: name(Self::FIRST)?,
                offset: number(Self::SECOND),
                start: number(Self::SECOND + 4),
                len: number(Self::SECOND + 8),
            },
            4 => Self::WritePointer {
                target: name(Self::FIRST)?,
                source: name(Self::SECOND)?,
                offset: number(Self::THIRD),
                plus: number(Self::THIRD + 4),
                size: bytes[Self::THIRD + 8],
            },
            _ => Self::Other,
        })
    }
}

fn commands(script: &[u8]) -> impl Iterator<Item = Result<Command<'_>>> {
    script.as_chunks::<COMMAND>().0.iter().map(Command::parse)
}

/// How far a file must move from `at` to be aligned.
fn aligned(at: u64, align: u32) -> Result<u64> {
    let align = align.max(1);
    if align.is_power_of_two() && align <= MAX_ALIGN {
        at.checked_next_multiple_of(align.into()).ok_or(BROKEN)
    } else {
        Err(BROKEN)
    }
}

/// Bytes of memory that the script's files take, wherever they are placed.
///
/// # Errors
/// A [`Refusal`] when the script names a file that there is not, or an odd alignment.
pub fn memory_needed(script: &[u8], files: &mut impl Files) -> Result<u64> {
    commands(script).try_fold(0, |sum, command| match command? {
        Command::Allocate { file, align } => {
            let len = files.len(file).ok_or(BROKEN)?;
            Ok(sum + u64::from(len) + aligned(1, align)? - 1)
        }
        _ => Ok(sum),
    })
}

/// Runs the script over `block`, which starts at the physical address `base`.
///
/// # Errors
/// A [`Refusal`] when a command reaches outside the files, or there is no root pointer.
pub fn run(script: &[u8], files: &mut impl Files, block: &mut [u8], base: u64) -> Result<Placed> {
    let mut run = Run { block, base, used: 0, placed: Vec::new(), device_writes: false };
    for command in commands(script) {
        run.step(command?, files)?;
    }
    let root = run.find(ROOT)?.base;
    Ok(Placed { root, device_writes: run.device_writes })
}

struct Run<'s, 'b> {
    block: &'b mut [u8],
    base: u64,
    used: u64,
    placed: Vec<(&'s str, PhysRange), MAX_FILES>,
    device_writes: bool,
}

impl<'s> Run<'s, '_> {
    fn step(&mut self, command: Command<'s>, files: &mut impl Files) -> Result<()> {
        match command {
            Command::Allocate { file, align } => self.allocate(file, align, files),
            Command::AddPointer { target, source, offset, size } => {
                let address = self.find(source)?.base;
                let field = self.bytes(target, offset, size.into())?;
                let mut number = [0; 8];
                number.get_mut(..field.len()).ok_or(BROKEN)?.copy_from_slice(field);
                let sum = u64::from_le_bytes(number).checked_add(address).ok_or(BROKEN)?;
                field.copy_from_slice(&pointer(sum, size)?[..size.into()]);
                Ok(())
            }
            Command::AddChecksum { file, offset, start, len } => {
                let missing = checksum(self.bytes(file, start, len)?);
                let byte = &mut self.bytes(file, offset, 1)?[0];
                *byte = byte.wrapping_add(missing);
                Ok(())
            }
            Command::WritePointer { target, source, offset, plus, size } => {
                let source = self.find(source)?;
                if u64::from(plus) >= source.len {
                    return Err(BROKEN);
                }
                let address = pointer(source.base + u64::from(plus), size)?;
                self.device_writes = true;
                files.write(target, offset, &address[..size.into()]).then_some(()).ok_or(BROKEN)
            }
            Command::Other => Ok(()),
        }
    }

    fn allocate(&mut self, file: &'s str, align: u32, files: &mut impl Files) -> Result<()> {
        let len = files.len(file).ok_or(BROKEN)?;
        let start = aligned(self.base + self.used, align)?;
        let range = PhysRange::new(start, len.into());
        if self.find(file).is_ok() || self.placed.push((file, range)).is_err() {
            return Err(BROKEN);
        }
        self.used = range.end() - self.base;
        files.read(file, self.bytes(file, 0, len)?);
        Ok(())
    }

    fn find(&self, file: &str) -> Result<PhysRange> {
        self.placed.iter().find(|(name, _)| *name == file).map(|&(_, range)| range).ok_or(BROKEN)
    }

    /// `len` bytes of a placed file from `offset`.
    fn bytes(&mut self, file: &str, offset: u32, len: u32) -> Result<&mut [u8]> {
        let file = self.find(file)?;
        let wanted = PhysRange::new(file.base + u64::from(offset), len.into());
        if !file.contains(wanted) {
            return Err(BROKEN);
        }
        let start = (wanted.base - self.base) as usize;
        self.block.get_mut(start..start + len as usize).ok_or(BROKEN)
    }
}

/// An address as a number of `size` bytes, if that can hold it; the bytes behind are zero.
fn pointer(address: u64, size: u8) -> Result<[u8; 8]> {
    let fits = match size {
        1 | 2 | 4 => address >> (8 * size) == 0,
        8 => true,
        _ => false,
    };
    if fits { Ok(address.to_le_bytes()) } else { Err(BROKEN) }
}

#[cfg(test)]
mod tests;
