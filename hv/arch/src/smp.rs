//! Starts the other CPUs. SDM volume 3, 9.4.4: INIT, wait 10 ms, STARTUP, and a second one for
//! those that slept through the first.

use crate::address_space::AddressSpace;
use crate::apic::LocalApic;
use crate::timer::{spin, spin_until};
use core::arch::global_asm;
use hv_abi::boot::DIRECT_MAP;
use hv_abi::memory::PhysRange;
use hv_core::clock::Tsc;

global_asm!(include_str!("trampoline.S"), options(att_syntax));

unsafe extern "C" {
    static ap_trampoline: u8;
    static ap_trampoline_end: u8;
    static ap_parameters: u8;
    static ap_long_mode: u8;
    static ap_gdt: u8;
}

/// What the trampoline is told; as at `ap_parameters` in `trampoline.S`.
#[repr(C)]
struct Parameters {
    root: u64,
    stack: u64,
    argument: u64,
    entry: u64,
    gdt_limit: u16,
    gdt_base: [u16; 2],
    reserved_0: u16,
    far_offset: u32,
    far_selector: u16,
    reserved_1: u16,
}

const _: () = assert!(size_of::<Parameters>() == 48);

/// Where a started CPU goes on: 64-bit code, on its own stack, with `argument`.
pub type Entry = extern "C" fn(argument: u64) -> !;

/// How long a CPU may take to say that it runs; generous, for emulators on busy machines.
const START_MICROS: u64 = 1_000_000;

/// The page that started CPUs begin in.
pub struct Trampoline {
    page: PhysRange,
    root: u64,
}

impl Trampoline {
    /// Puts the code into `page`. `space` maps all of hv, and the page at its physical address.
    ///
    /// # Panics
    /// When the page or the tables are where a starting CPU can't reach them.
    ///
    /// # Safety
    /// `page` is one page of RAM below 1 MiB that is hv's alone, also in the direct map; `space`'s
    /// root is below 4 GiB.
    pub unsafe fn install(page: PhysRange, space: &AddressSpace) -> Self {
        let start = &raw const ap_trampoline;
        let len = (&raw const ap_trampoline_end).addr() - start.addr();
        assert!(len as u64 <= page.len && page.end() <= 1 << 20 && space.root() < 1 << 32);
        let to = core::ptr::with_exposed_provenance_mut::<u8>((DIRECT_MAP + page.base) as usize);
        // SAFETY: the code is in hv's image, the page the caller's gift; they do not overlap.
        unsafe { to.copy_from_nonoverlapping(start, len) };
        Self { page, root: space.root() }
    }

    /// Starts one CPU and waits until `running` says that it runs. Answers whether it does.
    ///
    /// # Safety
    /// `stack` is the upper end of a stack for that CPU alone; only one CPU is started at a time.
    pub unsafe fn start(
        &self,
        apic: LocalApic,
        clock: Tsc,
        apic_id: u32,
        (stack, argument, entry): (u64, u64, Entry),
        running: impl Fn() -> bool,
    ) -> bool {
        let offset = |symbol: *const u8| symbol.addr() - (&raw const ap_trampoline).addr();
        let address = |symbol: *const u8| self.page.base as u32 + offset(symbol) as u32;
        let gdt = address(&raw const ap_gdt);
        let parameters = Parameters {
            root: self.root,
            stack,
            argument,
            entry: entry as usize as u64,
            gdt_limit: 3 * 8 - 1,
            gdt_base: [gdt as u16, (gdt >> 16) as u16],
            reserved_0: 0,
            far_offset: address(&raw const ap_long_mode),
            far_selector: 0x08,
            reserved_1: 0,
        };
        let at = (DIRECT_MAP + self.page.base) as usize + offset(&raw const ap_parameters);
        let to = core::ptr::with_exposed_provenance_mut::<Parameters>(at);
        // SAFETY: inside the page, 8-byte aligned by `.balign`; no CPU runs there now. Volatile,
        // because another CPU reads it.
        unsafe { to.write_volatile(parameters) };

        apic.send_init(apic_id);
        spin(clock, 10_000);
        apic.send_startup(apic_id, (self.page.base >> 12) as u8);
        if spin_until(clock, 10_000, &running) {
            return true;
        }
        apic.send_startup(apic_id, (self.page.base >> 12) as u8);
        spin_until(clock, START_MICROS, running)
    }
}
