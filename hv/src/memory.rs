//! hv takes its memory: one piece for page tables and stacks, one page for starting CPUs.

use derive_more::{Display, From};
use hv_abi::boot::{BootInfo, DIRECT_MAP};
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use hv_arch::address_space::AddressSpace;
use hv_core::features::Features;
use hv_core::memory::layout::{self, STACKS_PER_CPU};
use hv_core::memory::{Frames, Owner, OwnershipError, OwnershipMap};
use hv_defs::apic::io;
use hv_defs::paging::{MapError, Mapping, PageSize, Rights};

/// What hv has set up for itself.
pub struct OwnMemory {
    /// Who has which memory.
    pub owners: OwnershipMap,
    /// Page tables of all that hv uses.
    pub space: AddressSpace,
    /// The same, and the start page at its physical address.
    pub start_space: AddressSpace,
    /// The page below 1 MiB that other CPUs start in.
    pub start_page: PhysRange,
    /// What is left of hv's own memory.
    pub frames: Frames,
}

/// Why memory could not be set up.
#[derive(Display, From)]
pub enum Fault {
    /// A claim was refused.
    Ownership(OwnershipError),
    /// The page tables could not be made.
    #[display("page tables can't be built ({_0:?})")]
    Tables(MapError),
}

/// Below this, because CPUs start in real mode.
const REAL_MODE: PhysRange = PhysRange::new(PAGE_SIZE, (1 << 20) - PAGE_SIZE);
/// Below this, because a starting CPU loads its page tables from 32-bit code.
const LOW: PhysRange = PhysRange::new(1 << 20, (1 << 32) - (1 << 20));

/// Claims hv's memory and builds its page tables; they are not used yet. `messages` are the pages with
/// the devices' message tables.
///
/// # Errors
/// [`Fault`].
pub fn take(
    boot: &BootInfo,
    features: &Features,
    cpus: usize,
    local_apic: u64,
    messages: &[PhysRange],
) -> Result<OwnMemory, Fault> {
    let largest = if features.bits.gib_pages { PageSize::OneGib } else { PageSize::TwoMib };
    let mut owners = OwnershipMap::new(&boot.memory)?;
    let start_page = owners.claim(PAGE_SIZE, PAGE_SIZE, REAL_MODE, Owner::Hypervisor)?;
    let own = layout::own_memory(&boot.memory, largest, cpus, messages.len());
    let pool = owners.claim(own.next_multiple_of(PAGE_SIZE), PAGE_SIZE, LOW, Owner::Hypervisor)?;
    let mut frames = Frames::new(pool);

    let no_frames = Fault::Tables(MapError::NoTable);
    let stacks = frames.take(cpus as u64 * layout::STACK_PAGES).ok_or(no_frames)?;
    let mappings = layout::direct_map(&boot.memory, boot.image, largest)
        .chain(image(boot.image))
        .chain(stack_mappings(cpus, stacks))
        .chain(devices(boot, local_apic, messages));
    // SAFETY: the pool was claimed for hv alone; the direct map holds it, now and in `mappings`.
    let space = unsafe { AddressSpace::build(&mut frames, mappings)? };
    let start = Mapping {
        virt: start_page.base,
        phys: start_page.base,
        len: PAGE_SIZE,
        rights: Rights::Transition,
        largest: PageSize::FourKib,
    };
    // SAFETY: as above; hv maps nothing in the low half.
    let start_space = unsafe { space.with(&mut frames, start)? };
    Ok(OwnMemory { owners, space, start_space, start_page, frames })
}

unsafe extern "C" {
    // From `hv.ld`; only the addresses mean anything.
    static image_start: u8;
    static text_end: u8;
    static rodata_end: u8;
    static image_end: u8;
}

/// Code is executed, constants are read, data is written: nothing is both written and executed.
fn image(at: PhysRange) -> impl Iterator<Item = Mapping> {
    let start = (&raw const image_start).addr() as u64;
    let parts = [
        (start, (&raw const text_end).addr() as u64, Rights::ReadExecute),
        ((&raw const text_end).addr() as u64, (&raw const rodata_end).addr() as u64, Rights::Read),
        ((&raw const rodata_end).addr() as u64, (&raw const image_end).addr() as u64, Rights::ReadWrite),
    ];
    parts.into_iter().map(move |(from, to, rights)| Mapping {
        virt: from,
        phys: at.base + (from - start),
        len: to - from,
        rights,
        largest: PageSize::FourKib,
    })
}

fn stack_mappings(cpus: usize, frames: PhysRange) -> impl Iterator<Item = Mapping> {
    let mut next = frames.base;
    (0..cpus * STACKS_PER_CPU).map(move |at| {
        let stack = layout::stacks(at / STACKS_PER_CPU)[at % STACKS_PER_CPU];
        let len = stack.top - stack.bottom;
        let phys = next;
        next += len;
        Mapping { virt: stack.bottom, phys, len, rights: Rights::ReadWrite, largest: PageSize::FourKib }
    })
}

/// The pages of the local APIC and the I/O APIC, the framebuffer and message tables, where the direct map would have them.
fn devices(boot: &BootInfo, local_apic: u64, messages: &[PhysRange]) -> impl Iterator<Item = Mapping> {
    let screen = boot.framebuffer.usable().map(|screen| screen.range);
    let apics = [local_apic, io::PAGE].map(|page| PhysRange::new(page, PAGE_SIZE));
    apics.into_iter().chain(screen).chain(messages.iter().copied()).map(|range| {
        let base = range.base / PAGE_SIZE * PAGE_SIZE;
        Mapping {
            virt: DIRECT_MAP + base,
            phys: base,
            len: range.end().next_multiple_of(PAGE_SIZE) - base,
            rights: Rights::Device,
            largest: PageSize::TwoMib,
        }
    })
}
