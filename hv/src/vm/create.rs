//! Cutting a VM: memory, page tables, vCPUs, and the cores that they live on.

use super::{Body, MAX_VMS, Slot, State, VMS, Vm};
use crate::core_loop::{self, Resident};
use crate::event;
use crate::machine::Machine;
use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use heapless::String;
use hv_abi::boot::DIRECT_MAP;
use hv_abi::manifest::{GRANULE, StartMode, StartState};
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use hv_abi::payload::{Header, Segment};
use hv_arch::address_space::AddressSpace;
use hv_arch::guest_ram::{GuestRam, Piece};
use hv_arch::{cpu, svm, xstate};
use hv_core::kvmclock::Scale;
use hv_core::memory::{Frames, Owner, OwnershipError};
use hv_core::policy::{self, Policy};
use hv_core::sched::Class;
use hv_core::vcpu::Vcpu;
use hv_core::vioapic::Vioapic;
use hv_defs::paging::{MapError, Mapping, PageSize, Rights};
use spin::Mutex;

/// RAM of the management VM, without its low memory.
const MANAGEMENT_RAM: u64 = 32 << 20;
/// Low memory of the management VM: where its other CPUs start.
const LOW_RAM: u64 = 64 << 10;
/// Stack that the management VM starts on.
const STACK: u64 = 64 << 10;

/// Why a VM could not be cut.
pub enum Fault {
    /// Memory.
    Ownership(OwnershipError),
    /// Page tables.
    Tables(MapError),
    /// hv's own memory for VMs is used up.
    NoFrames,
    /// What should run in it is not a program.
    NoProgram(&'static str),
    /// There are as many VMs as hv can keep, or a core is home to as many vCPUs as it can be.
    Full,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ownership(error) => error.fmt(f),
            Self::Tables(error) => write!(f, "its page tables can't be built ({error:?})"),
            Self::NoFrames => f.write_str("hv has no memory of its own left for it"),
            Self::NoProgram(why) => f.write_str(why),
            Self::Full => f.write_str("hv has no place for another virtual machine"),
        }
    }
}

impl From<OwnershipError> for Fault {
    fn from(error: OwnershipError) -> Self {
        Self::Ownership(error)
    }
}

impl From<MapError> for Fault {
    fn from(error: MapError) -> Self {
        Self::Tables(error)
    }
}

/// Cuts and starts the management VM from the program in `module`, with a vCPU for each core.
///
/// Its guest-physical addresses are host-physical ones. Its first vCPU starts in long mode, with all of
/// its RAM mapped where it is and the program where it is linked; RDI = a [`Handover`] in its RAM.
///
/// # Errors
/// [`Fault`]; what was claimed until then stays hv's.
pub fn management(machine: &'static Machine, module: PhysRange) -> Result<&'static Vm, Fault> {
    let header = header(module)?;
    let mut owners = machine.memory.lock();
    let low =
        owners.claim(LOW_RAM, PAGE_SIZE, PhysRange::new(PAGE_SIZE, (1 << 20) - PAGE_SIZE), Owner::Vm(0))?;
    let main = owners.claim(
        MANAGEMENT_RAM,
        GRANULE,
        PhysRange::new(1 << 20, (1 << 32) - (1 << 20)),
        Owner::Vm(0),
    )?;
    drop(owners);
    let pieces = [low, main].map(|host| Piece { guest: host.base, host });
    // SAFETY: claimed for this VM just now, and RAM is in the direct map.
    let ram = unsafe { GuestRam::new(pieces) };
    clear(low);
    clear(main);
    let start = load(machine, module, &header, main, low)?;
    cut(machine, "management", Class::Urgent, machine.cpus, ram, &start)
}

fn header(module: PhysRange) -> Result<Header, Fault> {
    use zerocopy::FromBytes;
    let at = core::ptr::with_exposed_provenance::<u8>((DIRECT_MAP + module.base) as usize);
    if module.len < size_of::<Header>() as u64 {
        return Err(Fault::NoProgram("its program is cut short"));
    }
    // SAFETY: the module is in the landing, which is hv's and in the direct map.
    let bytes = unsafe { core::slice::from_raw_parts(at, size_of::<Header>()) };
    let header = Header::read_from_bytes(bytes).map_err(|_| Fault::NoProgram("its program has no header"))?;
    let room = module.len - size_of::<Header>() as u64;
    let sound = header.magic == hv_abi::payload::MAGIC
        && header.stored_len == header.image_len
        && header.image_len <= header.memory_len
        && header.image_len <= room
        && header.memory_len <= MANAGEMENT_RAM / 2;
    if sound { Ok(header) } else { Err(Fault::NoProgram("its program's header makes no sense")) }
}

fn clear(range: PhysRange) {
    let at = core::ptr::with_exposed_provenance_mut::<u8>((DIRECT_MAP + range.base) as usize);
    // SAFETY: the range was claimed for a VM that does not run yet.
    unsafe { at.write_bytes(0, range.len as usize) };
}

/// Puts the program, its first page tables and its stack into its RAM.
fn load(
    machine: &Machine,
    module: PhysRange,
    header: &Header,
    ram: PhysRange,
    low: PhysRange,
) -> Result<StartState, Fault> {
    let from =
        core::ptr::with_exposed_provenance::<u8>((DIRECT_MAP + module.base) as usize + size_of::<Header>());
    let to = core::ptr::with_exposed_provenance_mut::<u8>((DIRECT_MAP + ram.base) as usize);
    // SAFETY: `header` saw that the image lies in the module and fits the RAM, which is the VM's.
    unsafe { to.copy_from_nonoverlapping(from, header.image_len as usize) };
    let after = header.memory_len.next_multiple_of(PAGE_SIZE);
    let mut frames = Frames::new(PhysRange::new(ram.base + after, ram.len - after));
    let stack = frames.take(STACK / PAGE_SIZE).ok_or(Fault::NoFrames)?;
    let handover = frames.take(1).ok_or(Fault::NoFrames)?;
    let whole = |range: PhysRange| Mapping {
        virt: range.base,
        phys: range.base,
        len: range.len,
        rights: Rights::Transition,
        largest: PageSize::TwoMib,
    };
    // Devices are looked for below 4 GiB: the APICs' pages, and what is assigned later.
    let devices = Mapping { rights: Rights::Device, ..whole(PhysRange::new(0xc000_0000, 0x4000_0000)) };
    let image = header.segments().map(|segment| Mapping {
        virt: header.virtual_base + u64::from(segment.offset),
        phys: ram.base + u64::from(segment.offset),
        len: u64::from(segment.len),
        rights: match segment.rights {
            Segment::EXECUTE => Rights::ReadExecute,
            Segment::WRITE => Rights::ReadWrite,
            _ => Rights::Read,
        },
        largest: PageSize::FourKib,
    });
    let mappings = [whole(low), whole(ram), devices].into_iter().chain(image);
    // SAFETY: the frames are in the VM's RAM, which is in the direct map and not in use yet.
    let space = unsafe { AddressSpace::build(&mut frames, mappings)? };
    let at = core::ptr::with_exposed_provenance_mut::<[u64; 8]>((DIRECT_MAP + handover.base) as usize);
    let words =
        [machine.cpus as u64, ram.base, ram.len, low.base, low.len, space.root(), frames.left().base, 0];
    // SAFETY: a page of the VM's RAM.
    unsafe { at.write(words) };
    Ok(StartState {
        version: hv_abi::manifest::VERSION,
        mode: StartMode::LONG,
        rip: header.entry,
        rsp: stack.end() - 8,
        cr3: space.root(),
        registers: [0, 0, 0, handover.base],
    })
}

/// Makes the VM and gives its vCPUs to cores, one after the other.
fn cut(
    machine: &'static Machine,
    name: &str,
    class: Class,
    cpus: usize,
    ram: GuestRam,
    start: &StartState,
) -> Result<&'static Vm, Fault> {
    let id = VMS.iter().position(|vm| vm.get().is_none()).filter(|&id| id < MAX_VMS).ok_or(Fault::Full)?;
    let khz = u32::try_from(machine.clock.khz()).unwrap_or(u32::MAX);
    let policy = Policy::new(cpu::cpuid, policy::Machine { cpus: cpus as u8, tsc_khz: khz });
    let mut frames = machine.frames.lock();
    let nested = nested(&mut frames, &ram, &machine.features)?;
    let maps = frames.take(svm::PermissionMaps::PAGES).ok_or(Fault::NoFrames)?;
    // SAFETY: pages of hv's own, taken for this.
    let maps = unsafe { svm::PermissionMaps::build(maps.base, policy.open_msrs()) };
    let slots = slots(&mut frames, cpus)?;
    let tsc_start = cpu::tsc();
    // QEMU lets a guest set reserved bits of CR4, and then refuses to run it (7.2, VMRUN's checks).
    let intercept_cr4 = policy.intercept_cr4 || machine.features.bits.nested;
    for (index, slot) in slots.iter().enumerate() {
        let block = frames.take(svm::Vcpu::PAGES).ok_or(Fault::NoFrames)?;
        let area = frames.take(xstate::BYTES as u64 / PAGE_SIZE).ok_or(Fault::NoFrames)?;
        let area = core::ptr::with_exposed_provenance_mut((DIRECT_MAP + area.base) as usize);
        // SAFETY: pages of hv's own, taken for this; the nested tables give the guest its RAM only.
        let (mut hardware, registers) = unsafe {
            let asid = 1 + (id * 64 + index) as u32;
            (svm::Vcpu::new(block.base, nested, maps, asid, intercept_cr4), xstate::State::new(area))
        };
        let mut vcpu = Vcpu::new(&mut hardware, index as u32, &policy, tsc_start, &slot.mailbox);
        if index == 0 {
            vcpu.start(&mut hardware, start);
        }
        // SAFETY: no core knows the slot yet.
        unsafe { slot.fill(Body { vcpu, hardware, registers }) };
    }
    let vm = Vm {
        id,
        name: String::try_from(name).unwrap_or_default(),
        class,
        policy,
        ram,
        tsc_start,
        scale: Scale::new(khz),
        ioapic: Mutex::new(Vioapic::new()),
        slots,
        state: AtomicU8::new(State::Running as u8),
        last_lowest: AtomicU32::new(0),
    };
    let vm: &'static Vm = place(&mut frames, vm).ok_or(Fault::NoFrames)?;
    drop(frames);
    VMS[id].call_once(|| vm);
    event!(Info, "vm.start", vm = vm.name, cpus = cpus);
    let housed = slots
        .iter()
        .enumerate()
        .all(|(index, slot)| core_loop::house(slot.core.load(Ordering::Relaxed), Resident { vm, index }));
    if !housed {
        return Err(Fault::Full);
    }
    Ok(vm)
}

/// Nested page tables: the VM's RAM, and nothing else.
fn nested(frames: &mut Frames, ram: &GuestRam, features: &hv_core::features::Features) -> Result<u64, Fault> {
    let largest = if features.bits.gib_pages { PageSize::OneGib } else { PageSize::TwoMib };
    let mappings = ram.pieces().map(|piece| Mapping {
        virt: piece.guest,
        phys: piece.host.base,
        len: piece.host.len,
        rights: Rights::Guest,
        largest,
    });
    // SAFETY: the frames are hv's own, in the direct map.
    let space = unsafe { AddressSpace::build(frames, mappings)? };
    Ok(space.root())
}

/// Places for vCPUs, spread over the cores.
fn slots(frames: &mut Frames, cpus: usize) -> Result<&'static [Slot], Fault> {
    let cores = hv_arch::percpu::online();
    let bytes = size_of::<Slot>() * cpus;
    let pages = frames.take((bytes as u64).div_ceil(PAGE_SIZE)).ok_or(Fault::NoFrames)?;
    let at = core::ptr::with_exposed_provenance_mut::<Slot>((DIRECT_MAP + pages.base) as usize);
    for index in 0..cpus {
        // SAFETY: the pages are large enough and hv's own, taken for this.
        unsafe { at.add(index).write(Slot::new((index % cores) as u32)) };
    }
    // SAFETY: all of them were just written; they live as long as hv.
    Ok(unsafe { core::slice::from_raw_parts(at, cpus) })
}

/// Puts a value into pages of hv's own, for good.
fn place<T>(frames: &mut Frames, value: T) -> Option<&'static T> {
    let pages = frames.take((size_of::<T>() as u64).div_ceil(PAGE_SIZE))?;
    let at = core::ptr::with_exposed_provenance_mut::<T>((DIRECT_MAP + pages.base) as usize);
    // SAFETY: the pages are hv's own, large enough, page-aligned, taken for this.
    unsafe {
        at.write(value);
        Some(&*at)
    }
}
