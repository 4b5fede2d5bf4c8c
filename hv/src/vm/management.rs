//! The management VM: hv cuts it by itself, from the program in the payload.

use super::create::{Claims, Cut, Fault, move_in};
use super::place::{self, MANAGEMENT};
use super::pool::pointer;
use super::{calls, events};
use crate::machine::Machine;
use crate::{devices, event};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use hv_abi::boot::DIRECT_MAP;
use hv_abi::ioreq::NO_EVENT;
use hv_abi::log::Hex;
use hv_abi::manifest::{self, GRANULE, MAX_VCPUS, StartMode, StartState};
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use hv_abi::payload::{Header, Segment};
use hv_arch::address_space::AddressSpace;
use hv_arch::guest_ram::{GuestRam, Piece};
use hv_arch::{cpu, percpu};
use hv_core::lifecycle::Step;
use hv_core::manifest::{Name, Wanted};
use hv_core::memory::{Frames, Owner};
use hv_core::sched::Class;
use hv_defs::paging::{Mapping, PageSize, Rights, tables_needed};

/// Its RAM, without its low memory.
const RAM: u64 = 64 << 20;
/// Its low memory: where its other CPUs start.
const LOW_RAM: u64 = 64 << 10;
/// Stack that it starts on.
const STACK: u64 = 64 << 10;
/// Where the command line is in the page that is handed over.
const TEXT: u64 = 0x800;
/// The keyboard's controller, and the machine's clock, by whose time of day the box goes.
const PORTS: [u16; 4] = [0x60, 0x64, 0x70, 0x71];
/// Devices are looked for between these; everything else up to the end of RAM is memory.
const DEVICES: PhysRange = PhysRange::new(0xc000_0000, 0x4000_0000);
/// Nanoseconds: a life that is shorter tells that the program can't live here.
const SHORT_LIFE: u64 = 10_000_000_000;
/// After so many of those in a row it is not started again.
const MAX_SHORT_LIVES: u32 = 5;
/// Tables for its windows on devices.
const DEVICE_TABLES: u64 = 64;

/// Cuts and starts it from the program in `module`, with a vCPU for each core.
///
/// Its guest-physical addresses are host-physical ones. Its first vCPU starts in long mode on page
/// tables that map everything where it is, and the program where it is linked; RDI = its handover.
///
/// # Errors
/// [`Fault`]; then there is none.
pub fn start(machine: &'static Machine, module: PhysRange) -> Result<(), Fault> {
    let header = header(module)?;
    let place = place::get(MANAGEMENT).ok_or(Fault::Full)?;
    let (low_window, window) =
        (PhysRange::new(PAGE_SIZE, (1 << 20) - PAGE_SIZE), PhysRange::new(1 << 20, (1 << 32) - (1 << 20)));
    let mut claims = Claims::new(&machine.memory);
    let low = claims.memory(LOW_RAM, PAGE_SIZE, low_window, Owner::Vm(0))?;
    let main = claims.memory(RAM, GRANULE, window, Owner::Vm(0))?;
    let pieces = [low, main].map(|host| Piece { guest: host.base, host });
    // SAFETY: claimed for this VM just now, for good, and RAM is in the direct map.
    let ram = unsafe { GuestRam::new(pieces) };
    let cpus = percpu::online().min(MAX_VCPUS);
    let state = load(machine, module, &header, &ram, cpus)?;
    let wanted = Wanted {
        name: Name::try_from("management").unwrap_or_default(),
        class: Class::Urgent,
        ram: heapless::Vec::new(),
        cores: (0..cpus as u32).map(Some).collect(),
        io_page: None,
        io_event: NO_EVENT,
        end_event: NO_EVENT,
    };
    let more_tables = tables_needed(machine.top_of_ram, PageSize::TwoMib) + DEVICE_TABLES;
    let cut = Cut {
        machine,
        id: MANAGEMENT,
        place,
        wanted: &wanted,
        ram,
        io_page: None,
        ports: &PORTS,
        more_tables,
    };
    let vm = cut.cut(&mut claims)?;
    vm.reset(&state);
    event!(Info, "vm.start", vm = vm.name, sha256 = Hex(&header.digest), cpus = cpus);
    devices::on_event(events::set);
    move_in(vm, &wanted, claims);
    // It was just created.
    let _ = place.step(Step::Start);
    place.call_all();
    Ok(())
}

/// It ended by itself, and is to be started again.
static ENDED: AtomicBool = AtomicBool::new(false);
/// How often its program was put into its RAM.
static LIVES: AtomicU32 = AtomicU32::new(0);
/// Lives in a row that were shorter than [`SHORT_LIFE`].
static SHORT_LIVES: AtomicU32 = AtomicU32::new(0);

/// It has ended by itself: the next core that has no guest in it starts it again.
pub fn has_ended() {
    ENDED.store(true, Ordering::Release);
}

/// Starts it again if it has ended. A core calls this between turns.
#[inline]
pub fn revive(machine: &'static Machine) {
    if ENDED.load(Ordering::Relaxed)
        && ENDED.swap(false, Ordering::AcqRel)
        && let Err(fault) = start_again(machine)
    {
        event!(Error, "vm.refused", vm = "management", what = fault);
    }
}

/// The same VM with its program as it came in the payload. Whatever it had going is stopped first: other
/// VMs, because nobody answers them, and devices, because they would write into the new program's memory.
fn start_again(machine: &Machine) -> Result<(), Fault> {
    let place = place::get(MANAGEMENT).ok_or(Fault::Full)?;
    let home = place.vm.read();
    let vm = home.as_deref().ok_or(Fault::Full)?;
    vm.settle();
    calls::stop_all();
    devices::quiet();
    events::direct(None);
    let short = vm.nanos(cpu::tsc()) < SHORT_LIFE;
    let lives = if short { SHORT_LIVES.load(Ordering::Relaxed) + 1 } else { 0 };
    SHORT_LIVES.store(lives, Ordering::Relaxed);
    if lives >= MAX_SHORT_LIVES {
        return Err(Fault::NoProgram("it ends again and again, soon after it was started"));
    }
    let header = header(machine.module)?;
    let state = load(machine, machine.module, &header, &vm.ram, vm.bodies.len())?;
    vm.reset(&state);
    event!(Info, "vm.start", vm = vm.name, sha256 = Hex(&header.digest), cpus = vm.bodies.len());
    place.step(Step::Start).map_err(|_| Fault::Full)?;
    place.call_all();
    Ok(())
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
        && header.memory_len <= RAM / 2;
    if sound { Ok(header) } else { Err(Fault::NoProgram("its program's header makes no sense")) }
}

/// Puts the program, its first page tables and its stack into its RAM, and clears the rest. No vCPU of it
/// has a turn.
fn load(
    machine: &Machine,
    module: PhysRange,
    header: &Header,
    ram: &GuestRam,
    cpus: usize,
) -> Result<StartState, Fault> {
    let mut pieces = ram.pieces().map(|piece| piece.host);
    let (low, ram) = pieces.next().zip(pieces.next()).ok_or(Fault::NoFrames)?;
    for range in [low, ram] {
        // SAFETY: the RAM of a VM that does not run.
        unsafe { pointer::<u8>(range).write_bytes(0, range.len as usize) };
    }
    let from =
        core::ptr::with_exposed_provenance::<u8>((DIRECT_MAP + module.base) as usize + size_of::<Header>());
    let to = core::ptr::with_exposed_provenance_mut::<u8>((DIRECT_MAP + ram.base) as usize);
    // SAFETY: `header` saw that the image lies in the module and fits the RAM, which is the VM's.
    unsafe { to.copy_from_nonoverlapping(from, header.image_len as usize) };
    let after = header.memory_len.next_multiple_of(PAGE_SIZE);
    let mut frames = Frames::new(PhysRange::new(ram.base + after, ram.len - after));
    let stack = frames.take(STACK / PAGE_SIZE).ok_or(Fault::NoFrames)?;
    let handover = frames.take(1).ok_or(Fault::NoFrames)?;
    let end = machine.top_of_ram.next_multiple_of(1 << 30).max(DEVICES.end());
    let largest = if machine.features.bits.gib_pages { PageSize::OneGib } else { PageSize::TwoMib };
    let whole =
        |base: u64, end: u64, rights| Mapping { virt: base, phys: base, len: end - base, rights, largest };
    let everything = [
        whole(0, DEVICES.base, Rights::Transition),
        whole(DEVICES.base, DEVICES.end(), Rights::Device),
        whole(DEVICES.end(), end, Rights::Transition),
    ];
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
    let mappings = everything.into_iter().chain(image);
    // SAFETY: the frames are in the VM's RAM, which is in the direct map and not in use yet.
    let space = unsafe { AddressSpace::build(&mut frames, mappings)? };
    let text = machine.command_line.as_str();
    let text_at = handover.base + TEXT;
    let screen = machine.screen;
    let words = [
        cpus as u64,
        ram.base,
        ram.len,
        low.base,
        low.len,
        space.root(),
        frames.left().base,
        end,
        text_at,
        text.len() as u64,
        LIVES.fetch_add(1, Ordering::Relaxed).into(),
        screen.range.base,
        screen.range.len,
        u64::from(screen.width) | u64::from(screen.height) << 32,
        u64::from(screen.stride) | u64::from(screen.format.0) << 32,
        machine.ram,
    ];
    // SAFETY: a page of the VM's RAM, with room for both.
    unsafe {
        pointer::<[u64; 16]>(handover).write(words);
        pointer::<u8>(PhysRange::new(text_at, PAGE_SIZE - TEXT))
            .copy_from_nonoverlapping(text.as_ptr(), text.len());
    }
    Ok(StartState {
        version: manifest::VERSION,
        mode: StartMode::LONG,
        rip: header.entry,
        rsp: stack.end() - 8,
        cr3: space.root(),
        registers: [0, 0, 0, handover.base],
    })
}
