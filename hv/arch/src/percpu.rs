//! What each CPU has of its own: descriptor tables, and its place in the list of CPUs.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use hv_defs::msr;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::tss::TaskStateSegment;

/// Most CPUs that hv runs on.
pub const MAX_CPUS: usize = 64;

/// Stacks that the CPU switches to by itself, by index in the TSS (SDM 3, 7.14.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultStack {
    /// Double fault: the stack in use may be the reason.
    DoubleFault = 0,
    /// Non-maskable interrupt: may come at any instruction.
    Nmi = 1,
    /// Machine check: likewise.
    MachineCheck = 2,
}

/// How many [`FaultStack`]s there are.
pub const FAULT_STACKS: usize = 3;

/// One CPU's own data. GS points at it.
#[repr(C)]
pub struct PerCpu {
    /// Position in the list of CPUs; 0 is the one that started the machine.
    index: AtomicU32,
    apic_id: AtomicU32,
    tables: UnsafeCell<Tables>,
}

struct Tables {
    gdt: GlobalDescriptorTable,
    tss: TaskStateSegment,
}

// SAFETY: the tables are written once, by their own CPU, in `install`; the rest is atomic.
unsafe impl Sync for PerCpu {}

static CPUS: [PerCpu; MAX_CPUS] = [const { PerCpu::new() }; MAX_CPUS];
static ONLINE: AtomicUsize = AtomicUsize::new(0);

impl PerCpu {
    const fn new() -> Self {
        let tables = Tables { gdt: GlobalDescriptorTable::new(), tss: TaskStateSegment::new() };
        Self { index: AtomicU32::new(0), apic_id: AtomicU32::new(0), tables: UnsafeCell::new(tables) }
    }

    /// Position in the list of CPUs; 0 is the one that started the machine.
    pub fn index(&self) -> u32 {
        self.index.load(Ordering::Relaxed)
    }

    /// The CPU's local APIC ID.
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Ordering::Relaxed)
    }
}

/// Gives this CPU its descriptor tables, with `fault_stacks` (upper ends), and its data.
///
/// # Safety
/// Called once by each CPU, with an `index` below [`MAX_CPUS`] that no other CPU has; for the
/// first CPU again when it has its final stacks. Interrupts are off.
pub unsafe fn install(index: usize, apic_id: u32, fault_stacks: [u64; FAULT_STACKS]) {
    let cpu = &CPUS[index];
    cpu.index.store(index as u32, Ordering::Relaxed);
    cpu.apic_id.store(apic_id, Ordering::Relaxed);
    // SAFETY: only this CPU touches its tables, here, with interrupts off.
    let tables = unsafe { &mut *cpu.tables.get() };
    // The TSS is packed, so the list is copied out and in.
    let mut stacks = tables.tss.interrupt_stack_table;
    for (slot, top) in stacks.iter_mut().zip(fault_stacks) {
        *slot = VirtAddr::new(top);
    }
    tables.tss.interrupt_stack_table = stacks;
    tables.gdt = GlobalDescriptorTable::new();
    let code = tables.gdt.append(Descriptor::kernel_code_segment());
    let data = tables.gdt.append(Descriptor::kernel_data_segment());
    // SAFETY: the TSS is in a static, so it lives as long as the descriptor.
    let tss = tables.gdt.append(unsafe { Descriptor::tss_segment_unchecked(&raw const tables.tss) });
    // SAFETY: the table is in a static; the selectors are those just made. Loading FS and GS
    // clears their bases, so GS gets its base last.
    unsafe {
        tables.gdt.load_unsafe();
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(data);
        ES::set_reg(data);
        FS::set_reg(data);
        GS::set_reg(data);
        load_tss(tss);
        crate::cpu::write_msr(msr::GS_BASE, core::ptr::from_ref(cpu) as u64);
    }
}

/// This CPU's data.
///
/// Before [`install`] GS is whatever the door left; hv's entry calls that first.
pub fn this() -> &'static PerCpu {
    // SAFETY: `install` set the base to an element of a static.
    unsafe { &*core::ptr::with_exposed_provenance(crate::cpu::read_msr(msr::GS_BASE) as usize) }
}

/// Counts this CPU as running.
pub fn count_online() {
    ONLINE.fetch_add(1, Ordering::Release);
}

/// How many CPUs run.
pub fn online() -> usize {
    ONLINE.load(Ordering::Acquire)
}
