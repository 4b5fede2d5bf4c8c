//! Puts kernels into a guest's RAM, and says how its first vCPU begins.
//!
//! Files come through [`Source`], piece by piece, from wherever they lie; none is held in memory as a
//! whole. What a file says is checked before it is believed.

mod elf;
mod error;
#[cfg(test)]
mod fuzz;
mod linux;
mod multiboot;
mod pvh;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;

pub use error::LoadError;

use crate::block::BlockError;
use crate::executor::give_way;
use crate::memory::GuestMemory;
use crate::platform::{EXTENDED, LOADER, LOW_RAM_END, MapKind, Ram};
use alloc::boxed::Box;
use alloc::vec;
use core::future::Future;
use core::pin::Pin;
use hv_abi::appliance::Format;
use hv_abi::manifest::{self, StartMode, StartState};
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A read on its way.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<(), BlockError>> + 'a>>;

/// A file.
#[allow(clippy::len_without_is_empty)] // a file that is empty is no special one
pub trait Source {
    /// Its bytes.
    fn len(&self) -> u64;
    /// Reads from `offset` on; what is asked for is inside the file.
    fn read_at<'a>(&'a self, offset: u64, into: &'a mut [u8]) -> Reading<'a>;
}

/// What is to run.
#[derive(Clone, Copy)]
pub struct Program<'a> {
    /// How it is entered.
    pub format: Format,
    /// The kernel.
    pub kernel: &'a dyn Source,
    /// The initrd, or first module; without bytes it is none.
    pub initrd: Option<&'a dyn Source>,
    /// Command line, without the file name that some formats begin it with.
    pub cmdline: &'a str,
}

/// Where it is to run.
#[derive(Clone, Copy)]
pub struct Guest<'a> {
    /// Its RAM.
    pub memory: &'a dyn GuestMemory,
    /// Where that is.
    pub ram: Ram,
    /// Address of the ACPI root pointer ([`crate::acpi`]), 0 = none.
    pub rsdp: u64,
}

/// An entry of the memory map as INT 15h, E820 has it. ACPI 6.5, 15.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct E820Entry {
    base: U64, // 0
    len: U64,  // 8
    kind: U32, // 16
}

const _: () = assert!(size_of::<E820Entry>() == 20);

impl From<(PhysRange, MapKind)> for E820Entry {
    fn from((range, kind): (PhysRange, MapKind)) -> Self {
        Self { base: U64::new(range.base), len: U64::new(range.len), kind: U32::new(kind as u32) }
    }
}

/// Bytes that are copied or cleared at once.
const CHUNK: u64 = 64 << 10;

/// What the loaders leave in [`LOADER`]: boot information.
const BOOT_INFO: u64 = LOADER.base;
/// Page tables for the first 4 GiB: one of the fourth level, one of the third, four of the second.
const PAGE_TABLES: u64 = BOOT_INFO + PAGE_SIZE;
/// The first stack's end; the page below it.
const STACK_END: u64 = PAGE_TABLES + 7 * PAGE_SIZE;
/// The command line, up to the end of [`LOADER`].
const COMMAND_LINE: u64 = STACK_END;
/// Most bytes of a command line, without the zero after it.
const MAX_COMMAND_LINE: usize = (LOADER.base + LOADER.len - COMMAND_LINE) as usize - 1;

/// Puts a program into a guest's RAM.
///
/// # Errors
/// [`LoadError`]; then the RAM holds parts of it.
pub async fn load(program: &Program<'_>, guest: &Guest<'_>) -> Result<StartState, LoadError> {
    match program.format {
        Format::Linux => linux::load(program, guest).await,
        Format::Pvh => pvh::load(program, guest).await,
        Format::Multiboot => multiboot::load(program, guest).await,
    }
}

impl Program<'_> {
    /// The initrd with its bytes, if there are any.
    fn initrd(&self) -> Option<(&dyn Source, u64)> {
        self.initrd.map(|initrd| (initrd, initrd.len())).filter(|(_, len)| *len != 0)
    }
}

/// A part of a kernel: bytes of its file, and the room that begins with them and goes on with zeroes.
#[derive(Clone, Copy)]
struct Part {
    offset: u64,
    len: u64,
    to: PhysRange,
}

/// Reads from a file, whose end may come before.
async fn read(
    what: &'static str,
    source: &dyn Source,
    offset: u64,
    into: &mut [u8],
) -> Result<(), LoadError> {
    let (needs, has) = (offset.saturating_add(into.len() as u64), source.len());
    if needs > has {
        return Err(LoadError::CutShort { what, needs, has });
    }
    source.read_at(offset, into).await.map_err(|error| LoadError::Unreadable { what, error })
}

impl Guest<'_> {
    /// Copies a part of a file into RAM, as much as there is room.
    async fn copy(
        &self,
        what: &'static str,
        source: &dyn Source,
        mut offset: u64,
        to: PhysRange,
    ) -> Result<(), LoadError> {
        let mut buffer = vec![0; to.len.min(CHUNK) as usize];
        for piece in chunks(to) {
            let into = buffer.get_mut(..piece.len as usize).unwrap_or_default();
            read(what, source, offset, into).await?;
            self.memory.write(piece.base, into)?;
            offset = offset.saturating_add(piece.len);
        }
        Ok(())
    }

    /// Whether a part of a kernel can lie there.
    fn check_room(&self, to: PhysRange) -> Result<(), LoadError> {
        let ram_end = self.ram.low();
        if to.base.checked_add(to.len).is_none() {
            return Err(LoadError::OutsideRam(to));
        }
        if !self.ram.usable().any(|range| range.contains(to)) {
            let more_would_help = to.base >= EXTENDED && to.end() <= LOW_RAM_END;
            let too_little = LoadError::TooLittleRam { needs: to, ram_end };
            return Err(if more_would_help { too_little } else { LoadError::OutsideRam(to) });
        }
        if to.overlaps(LOADER) { Err(LoadError::OnLoader(to)) } else { Ok(()) }
    }

    /// Puts a part of a kernel where it belongs.
    async fn put(&self, kernel: &dyn Source, part: Part) -> Result<(), LoadError> {
        let Part { offset, len, to } = part;
        if len > to.len {
            return Err(LoadError::NotAKernel {
                wanted: "kernel that can be loaded",
                why: "a part of it is larger in its file than in memory",
            });
        }
        self.check_room(to)?;
        self.copy("kernel", kernel, offset, PhysRange::new(to.base, len)).await?;
        let zeroes = PhysRange::new(to.base.saturating_add(len), to.len - len);
        let buffer = vec![0; zeroes.len.min(CHUNK) as usize];
        for piece in chunks(zeroes) {
            self.memory.write(piece.base, buffer.get(..piece.len as usize).unwrap_or_default())?;
            // Clearing a gigabyte takes longer than a task may hold the CPU.
            give_way().await;
        }
        Ok(())
    }

    /// Puts the initrd, if there is one, on the pages after the end of the kernel.
    async fn put_module(&self, program: &Program<'_>, end: u64) -> Result<Option<PhysRange>, LoadError> {
        let Some((initrd, bytes)) = program.initrd() else { return Ok(None) };
        // The end is in RAM.
        let base = end.max(EXTENDED).next_multiple_of(PAGE_SIZE);
        let room = self.ram.low().saturating_sub(base);
        if bytes > room {
            return Err(LoadError::InitrdTooLarge { bytes, room });
        }
        let range = PhysRange::new(base, bytes);
        self.copy("initrd", initrd, 0, range).await?;
        Ok(Some(range))
    }

    /// Puts the command line where it belongs, behind `prefix`, and a zero after it.
    fn put_command_line(&self, prefix: &str, cmdline: &str, most: usize) -> Result<(), LoadError> {
        let bytes = [prefix.as_bytes(), cmdline.as_bytes(), &[0]].concat();
        let most = most.min(MAX_COMMAND_LINE);
        if bytes.len() - 1 > most {
            return Err(LoadError::CommandLineTooLong { bytes: bytes.len() - 1, most });
        }
        Ok(self.memory.write(COMMAND_LINE, &bytes)?)
    }
}

/// A range in pieces of at most [`CHUNK`] bytes.
fn chunks(range: PhysRange) -> impl Iterator<Item = PhysRange> {
    (0..range.len.div_ceil(CHUNK)).map(move |number| {
        let done = number * CHUNK;
        PhysRange::new(range.base.saturating_add(done), CHUNK.min(range.len - done))
    })
}

/// A start, with registers RAX, RBX, RSI, RDI.
const fn start(mode: StartMode, rip: u64, registers: [u64; 4]) -> StartState {
    let cr3 = if mode.0 == StartMode::LONG.0 { PAGE_TABLES } else { 0 };
    StartState { version: manifest::VERSION, mode, rip, rsp: STACK_END, cr3, registers }
}
