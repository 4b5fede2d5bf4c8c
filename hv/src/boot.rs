//! From a door to a machine that hv owns.
//!
//! First on what the door left ([`take_over`]): find out what there is, refuse what can't be run
//! on. Then on hv's own page tables and stack ([`start`]): the other CPUs, and ready.

use crate::machine::{self, Machine};
use crate::refusal::{refuse, refuse_machine, sentence};
use crate::{core_loop, devices, drill, event, idle, log, memory, panic, screen, smp, vm};
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::boot::{BootInfo, DIRECT_MAP, Framebuffer};
use hv_abi::memory::{MemoryKind, PAGE_SIZE, PhysRange};
use hv_arch::apic::LocalApic;
use hv_arch::memory_types::MemoryTypes;
use hv_arch::percpu::{self, FAULT_STACKS, MAX_CPUS};
use hv_arch::xstate::Kept;
use hv_arch::{cpu, timer, traps};
use hv_core::acpi::{self, PhysicalMemory};
use hv_core::features::Features;
use hv_core::memory::{Owner, layout};
use hv_core::options::{KNOWN, Options};
use hv_core::policy::cpuid::LEAF_XSAVE;
use hv_core::policy::xcr;
use hv_core::virtualization;
use spin::Mutex;
use x86_64::instructions::port::Port;

/// Least RAM of any use, in bytes. hv and the management VM take 128 MiB at most; a machine that
/// is said to have that much has a little less once its firmware took its share.
const LEAST_MEMORY: u64 = 112 << 20;

/// A computer with too little memory is refused.
fn refuse_little_memory(boot: &BootInfo) {
    let ram = ram_bytes(boot);
    if ram < LEAST_MEMORY {
        let what = sentence(format_args!(
            "Hearth needs 128 MiB of memory, and this computer has {} MiB for it.",
            ram >> 20
        ));
        refuse(boot.door, &what, "Give the machine more memory.");
    }
}

/// Runs on the door's page tables and stack.
pub fn take_over(boot: &BootInfo) -> ! {
    // SAFETY: hv is alone on the machine.
    unsafe { log::open() };
    if let Err(what) = boot.check() {
        refuse(boot.door, what, "Please report this: it is a fault in Hearth.");
    }
    // SAFETY: as above; the screen is in the door's direct map, and `memory::take` keeps it there.
    unsafe { screen::open(boot.framebuffer) };
    // SAFETY: the first CPU, interrupts off, no other runs.
    unsafe {
        percpu::install(0, 0, [0; FAULT_STACKS]);
        traps::install(panic::on_trap, false);
    }
    silence_legacy_interrupts();

    let features = Features::read(&cpu::cpuid);
    let platform = acpi::read(&DoorMemory(boot), boot.rsdp);
    let pm_timer = platform.as_ref().ok().and_then(|platform| platform.pm_timer);
    let Some((clock, source)) = timer::find_tsc(features.tsc_khz, pm_timer) else {
        let what = "This computer has no timer that Hearth can measure time with.";
        refuse(boot.door, what, "Hearth needs an ACPI PM timer or a PIT.");
    };
    log::set_clock(clock);
    describe(boot, &features);
    let options = Options::parse(boot.command_line.as_str(), |word| {
        event!(Warn, "hv.option", unknown = word, known = KNOWN);
    });
    event!(Info, "hv.timer", tsc_khz = clock.khz(), source = source.name());

    // SAFETY: `permission` reads the registers of a vendor only where CPUID names that vendor.
    let permission = virtualization::permission(&features, |number| unsafe { cpu::read_msr(number) })
        .unwrap_or_else(|why| refuse_machine(boot.door, &why));
    refuse_little_memory(boot);
    let platform = platform.unwrap_or_else(|fault| {
        let what = sentence(format_args!("Hearth can't find this computer's processors: {fault}."));
        refuse(boot.door, &what, "Hearth needs firmware with ACPI tables.");
    });

    let cpus = platform.cpus.len().clamp(1, MAX_CPUS);
    let apic = LocalApic::choose(&features, platform.local_apic);
    let tables = devices::find(boot);
    let own = memory::take(boot, &features, cpus, platform.local_apic, &tables).unwrap_or_else(|fault| {
        let what = sentence(format_args!("Hearth can't set up its own memory: {fault}."));
        refuse(boot.door, &what, "Please report this with the machine's model.");
    });
    cpu::set_control_registers(&features);
    // SAFETY: the tables map hv's image, its stacks and the direct map, where all that is used
    // from here on lies. This function's frame is on the door's stack, which is in the direct map.
    unsafe { own.space.activate() };
    let kept = Kept::choose(&features, register_states(&features));
    let machine = machine::set(Machine {
        features,
        platform,
        clock,
        apic,
        space: own.space,
        permission,
        memory_types: MemoryTypes::read(),
        options,
        command_line: boot.command_line.clone(),
        cpus,
        door_tsc: boot.entry_tsc,
        kept,
        wall: AtomicU64::new(0),
        screen: boot.framebuffer.usable().unwrap_or(Framebuffer::NONE),
        ram: ram_bytes(boot),
        top_of_ram: boot.memory.top_of_ram(),
        apic_khz: AtomicU64::new(0),
        frames: Mutex::new(own.frames),
        module: boot.module,
        memory: Mutex::new(own.owners),
    });
    smp::prepare(own.start_space, own.start_page);
    free_landing(machine, boot);
    // SAFETY: the stack was mapped for this CPU alone.
    unsafe { cpu::continue_on(layout::stacks(0)[0].top, start) }
}

/// Runs on hv's own page tables and stack.
extern "C" fn start() -> ! {
    let machine = machine::get().expect("take_over made it");
    let host = smp::adopt(machine, 0);
    // SAFETY: `adopt` gave this CPU its fault stacks; no other runs yet.
    unsafe { traps::install(panic::on_trap, true) };
    hv_core::emulate::prepare();
    let Some(apic_khz) = timer::find_apic_khz(machine.apic, machine.clock) else {
        panic!("the local APIC's timer does not count");
    };
    machine.apic_khz.store(apic_khz, Ordering::Relaxed);
    event!(Info, "hv.apic", id = machine.apic.id(), khz = apic_khz, x2apic = machine.apic == LocalApic::X2);
    devices::adopt(machine.apic.id());
    smp::start_others(machine);
    event!(Info, "hv.cpus", online = percpu::online(), vendor = machine.features.vendor);
    for (range, owner) in machine.memory.lock().ranges() {
        event!(Debug, "hv.owner", range = range, owner = owner);
    }
    event!(Info, "hv.ready", tsc = cpu::tsc(), door_tsc = machine.door_tsc);
    idle::greet(machine);
    if !machine.module.is_empty()
        && let Err(fault) = vm::management::start(machine, machine.module)
    {
        event!(Error, "vm.refused", vm = "management", what = fault);
    }
    drill::run(machine.options);
    core_loop::run(machine, host)
}

/// Register states that a guest may have, by where each ends in the XSAVE area.
fn register_states(features: &Features) -> u64 {
    xcr::supported(features.xcr0, |state| {
        let place = cpu::cpuid(LEAF_XSAVE, state);
        place.eax.saturating_add(place.ebx)
    })
}

/// Says what the door told.
fn describe(boot: &BootInfo, features: &Features) {
    event!(Info, "boot.door", door = boot.door, version = env!("CARGO_PKG_VERSION"));
    let screen = match boot.framebuffer.usable() {
        Some(Framebuffer { width, height, .. }) => sentence(format_args!("{width}x{height}")),
        None => sentence(format_args!("none")),
    };
    let rsdp = format_args!("{:#x}", boot.rsdp);
    let options = boot.command_line.as_str();
    event!(Info, "boot.info", rsdp = rsdp, framebuffer = screen, image = boot.image, options = options);
    event!(
        Info,
        "hv.memory",
        usable_kib = ram_bytes(boot) >> 10,
        top = format_args!("{:#x}", boot.memory.top_of_ram()),
        regions = boot.memory.regions().len()
    );
    for region in boot.memory.regions() {
        event!(Debug, "boot.region", range = region.range, kind = region.kind.name());
    }
    let mut there = heapless::String::<256>::new();
    for (name, _) in features.bits.list().filter(|row| row.1) {
        let separator = if there.is_empty() { "" } else { "," };
        // The names are fewer and shorter than the string is long.
        let _ = there.push_str(separator).and_then(|()| there.push_str(name));
    }
    event!(
        Info,
        "hv.cpu",
        vendor = features.vendor,
        model = features.model,
        physical_bits = features.physical_bits,
        features = there
    );
}

/// RAM that is hv's to give out, or hv's own already.
fn ram_bytes(boot: &BootInfo) -> u64 {
    boot.memory.total(MemoryKind::USABLE) + boot.memory.total(MemoryKind::LANDING)
}

/// The image stays where it landed, and so does the management VM's program, which may have to start
/// again; the rest of the landing has served.
fn free_landing(machine: &Machine, boot: &BootInfo) {
    let kept_end = boot.image.end().max(boot.module.end().next_multiple_of(PAGE_SIZE));
    let rest = PhysRange::new(kept_end, boot.landing.end().saturating_sub(kept_end));
    // The stack in use is in there: nothing is claimed before `start` has left it.
    let freed = machine.memory.lock().give(rest, Owner::Hypervisor, Owner::Free);
    if let Err(error) = freed {
        event!(Warn, "hv.memory", landing = rest, kept = error);
    }
}

/// Masks both PICs: whatever the firmware had them deliver, hv does not take it.
/// Intel 8259A data sheet, OCW1.
fn silence_legacy_interrupts() {
    for port in [0x21, 0xa1] {
        // SAFETY: the ports are the PICs' masks, or nothing on a machine without PICs.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
}

/// Physical memory through the door's direct map: RAM, the firmware's tables, and the BIOS area.
struct DoorMemory<'a>(&'a BootInfo);

impl PhysicalMemory for DoorMemory<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        const BIOS: PhysRange = PhysRange::new(0xe_0000, 0x2_0000);
        let wanted = PhysRange::new(address, buffer.len() as u64);
        let mapped = self.0.memory.top_of_ram().max(1 << 32);
        let regions = self.0.memory.regions().iter().map(|region| region.range);
        let known = regions.chain([BIOS]).any(|range| range.contains(wanted)) && wanted.end() <= mapped;
        if known {
            let at = core::ptr::with_exposed_provenance::<u8>((DIRECT_MAP + address) as usize);
            // SAFETY: the door mapped it, and nobody writes there.
            unsafe { at.copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len()) };
        }
        known
    }
}
