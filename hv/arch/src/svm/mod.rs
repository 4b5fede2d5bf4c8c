//! AMD-V: the vendor seam of `hv-core` on the secure virtual machine. APM 2, chapter 15.

mod decode;
mod vcpu;

pub use vcpu::Vcpu;

use crate::cpu::{cpuid, read_msr, write_msr};
use core::arch::{asm, global_asm};
use hv_abi::boot::DIRECT_MAP;
use hv_defs::msr::{self, efer};
use hv_defs::svm::{Abilities, IO_MAP_BYTES, LEAF, msr_map};

global_asm!(include_str!("world_switch.S"), options(att_syntax));

/// Pages of its own that each physical CPU needs: the host save area and a control block for what
/// VMSAVE keeps.
pub const PAGES_PER_CPU: u64 = 2;

/// What one physical CPU has set aside; given to [`Vcpu::enter_on`].
#[derive(Clone, Copy, Debug)]
pub struct HostArea {
    /// Physical address of the block that holds the host's FS, GS, TR and so on.
    own_block: u64,
    abilities: Abilities,
}

/// Switches SVM on for the CPU that runs this.
///
/// # Safety
/// `pages` is the physical address of [`PAGES_PER_CPU`] pages for this CPU alone, in the direct
/// map. SVM is there and not disabled. Called after the CPU's own descriptor tables and per-CPU
/// data are in place: they are what comes back after each turn of a guest.
pub unsafe fn enable(pages: u64) -> HostArea {
    let own_block = pages + 4096;
    // SAFETY: the registers exist where SVM does; the pages are the caller's gift.
    unsafe {
        write_msr(msr::EFER, read_msr(msr::EFER) | efer::SVM_ENABLE);
        write_msr(msr::VM_HSAVE_PA, pages);
        asm!("vmsave rax", in("rax") own_block, options(nostack));
    }
    HostArea { own_block, abilities: Abilities(cpuid(LEAF, 0).edx) }
}

/// The permission maps that all virtual machines share.
#[derive(Clone, Copy, Debug)]
pub struct PermissionMaps {
    io: u64,
    msr: u64,
}

impl PermissionMaps {
    /// Pages that the maps take.
    pub const PAGES: u64 = ((IO_MAP_BYTES + msr_map::BYTES) / 4096) as u64;

    /// Every port but `ports` is intercepted, and every MSR but those that the guest may read or write without
    /// anybody's help: `(number, read, write)`.
    ///
    /// # Safety
    /// `pages` is the physical address of [`PermissionMaps::PAGES`] pages for this alone, in the
    /// direct map.
    pub unsafe fn build(pages: u64, ports: &[u16], open: impl Iterator<Item = (u32, bool, bool)>) -> Self {
        let at = core::ptr::with_exposed_provenance_mut::<u8>((DIRECT_MAP + pages) as usize);
        let maps = Self { io: pages, msr: pages + IO_MAP_BYTES as u64 };
        // SAFETY: the pages are the caller's gift; nobody reads them yet.
        let bytes = unsafe { core::slice::from_raw_parts_mut(at, IO_MAP_BYTES + msr_map::BYTES) };
        bytes.fill(0xff);
        for port in ports.iter().map(|&port| usize::from(port)) {
            bytes[port / 8] &= !(1 << (port % 8));
        }
        let msr_bytes = &mut bytes[IO_MAP_BYTES..];
        for (number, read, write) in open {
            let Some(bit) = msr_map::bit(number) else { continue };
            for (bit, allowed) in [(bit, read), (bit + 1, write)] {
                if allowed {
                    msr_bytes[bit / 8] &= !(1 << (bit % 8));
                }
            }
        }
        maps
    }
}
