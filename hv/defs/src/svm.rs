//! AMD's secure virtual machine: the control block, intercepts and exit codes.
//! APM 2, chapter 15; layout: appendix B; exit codes: appendix C.

/// A virtual machine control block: one page, first the control area, then the state save area.
#[repr(C, align(4096))]
pub struct Vmcb {
    /// What the hypervisor says. APM 2, table B-1.
    pub control: Control,
    /// The guest's registers. APM 2, table B-2.
    pub state: StateSave,
    reserved: [u8; 0xc00 - size_of::<StateSave>()],
}

const _: () = assert!(size_of::<Vmcb>() == 4096);
const _: () = assert!(core::mem::offset_of!(Vmcb, state) == 0x400);

/// Control area.
#[repr(C)]
#[derive(Clone, Debug)]
#[allow(missing_docs)] // names are the manual's
pub struct Control {
    /* 000 */ pub intercept_cr_read: u16,
    /* 002 */ pub intercept_cr_write: u16,
    /* 004 */ pub intercept_dr_read: u16,
    /* 006 */ pub intercept_dr_write: u16,
    /* 008 */ pub intercept_exceptions: u32,
    /* 00c */ pub intercept_1: u32,
    /* 010 */ pub intercept_2: u32,
    /* 014 */ pub intercept_3: u32,
    /* 018 */ reserved_018: [u8; 0x3c - 0x18],
    /* 03c */ pub pause_filter_threshold: u16,
    /* 03e */ pub pause_filter_count: u16,
    /* 040 */ pub io_permission_map: u64,
    /* 048 */ pub msr_permission_map: u64,
    /* 050 */ pub tsc_offset: u64,
    /* 058 */ pub asid: u32,
    /* 05c */ pub tlb_control: u32,
    /* 060 */ pub virtual_interrupt: u64,
    /* 068 */ pub interrupt_shadow: u64,
    /* 070 */ pub exit_code: u64,
    /* 078 */ pub exit_info_1: u64,
    /* 080 */ pub exit_info_2: u64,
    /* 088 */ pub exit_int_info: u64,
    /* 090 */ pub nested_paging: u64,
    /* 098 */ reserved_098: [u8; 0xa8 - 0x98],
    /* 0a8 */ pub event_injection: u64,
    /* 0b0 */ pub nested_cr3: u64,
    /* 0b8 */ pub lbr_virtualization: u64,
    /* 0c0 */ pub clean: u64,
    /* 0c8 */ pub next_rip: u64,
    /* 0d0 */ pub fetched_bytes: u8,
    /* 0d1 */ pub instruction_bytes: [u8; 15],
    /* 0e0 */ reserved_0e0: [u8; 0x400 - 0xe0],
}

const _: () = assert!(size_of::<Control>() == 0x400);

/// A segment register as the control block keeps it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct SegmentRegister {
    pub selector: u16,
    pub attributes: u16,
    pub limit: u32,
    pub base: u64,
}

/// State save area, from offset 0x400 of the block.
#[repr(C)]
#[derive(Clone, Debug)]
#[allow(missing_docs)] // names are the manual's
pub struct StateSave {
    /// ES CS SS DS FS GS GDTR LDTR IDTR TR.
    /* 000 */
    pub segments: [SegmentRegister; 10],
    /* 0a0 */ reserved_0a0: [u8; 0xcb - 0xa0],
    /* 0cb */ pub cpl: u8,
    /* 0cc */ reserved_0cc: u32,
    /* 0d0 */ pub efer: u64,
    /* 0d8 */ reserved_0d8: [u8; 0x148 - 0xd8],
    /* 148 */ pub cr4: u64,
    /* 150 */ pub cr3: u64,
    /* 158 */ pub cr0: u64,
    /* 160 */ pub dr7: u64,
    /* 168 */ pub dr6: u64,
    /* 170 */ pub rflags: u64,
    /* 178 */ pub rip: u64,
    /* 180 */ reserved_180: [u8; 0x1d8 - 0x180],
    /* 1d8 */ pub rsp: u64,
    /* 1e0 */ reserved_1e0: [u8; 0x1f8 - 0x1e0],
    /* 1f8 */ pub rax: u64,
    /* 200 */ pub star: u64,
    /* 208 */ pub lstar: u64,
    /* 210 */ pub cstar: u64,
    /* 218 */ pub sfmask: u64,
    /* 220 */ pub kernel_gs_base: u64,
    /* 228 */ pub sysenter_cs: u64,
    /* 230 */ pub sysenter_esp: u64,
    /* 238 */ pub sysenter_eip: u64,
    /* 240 */ pub cr2: u64,
    /* 248 */ reserved_248: [u8; 0x268 - 0x248],
    /* 268 */ pub pat: u64,
    /* 270 */ pub debug_control: u64,
    /* 278 */ pub last_branch: [u64; 4],
    /* 298 */ reserved_298: [u8; 0x2e0 - 0x298],
    /* 2e0 */ pub spec_ctrl: u64,
}

const _: () = assert!(size_of::<StateSave>() == 0x2e8);
const _: () = assert!(core::mem::offset_of!(StateSave, efer) == 0xd0);
const _: () = assert!(core::mem::offset_of!(StateSave, cr4) == 0x148);
const _: () = assert!(core::mem::offset_of!(StateSave, rsp) == 0x1d8);
const _: () = assert!(core::mem::offset_of!(StateSave, rax) == 0x1f8);
const _: () = assert!(core::mem::offset_of!(StateSave, pat) == 0x268);
const _: () = assert!(core::mem::offset_of!(StateSave, spec_ctrl) == 0x2e0);

/// What of SVM a processor has beyond the least: EDX of CPUID leaf [`LEAF`]. APM 3, E.4.9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities(pub u32);

/// The CPUID leaf of [`Abilities`].
pub const LEAF: u32 = 0x8000_000a;

impl Abilities {
    /// The control block may say what has not changed. APM 2, 15.15.
    const CLEAN_BITS: u32 = 1 << 5;
    /// The TLB entries of one guest can be flushed. APM 2, 15.16.1.
    const FLUSH_BY_ASID: u32 = 1 << 6;
    /// Not every PAUSE is an exit. APM 2, 15.14.4.
    const PAUSE_FILTER: u32 = 1 << 10;
    /// PAUSEs far apart are not counted together. APM 2, 15.14.4.
    const PAUSE_THRESHOLD: u32 = 1 << 12;
    /// The control block has the guest's SPEC_CTRL, and VMRUN switches it. APM 2, 15.36.18.
    const SPEC_CTRL: u32 = 1 << 20;

    const fn has(self, ability: u32) -> bool {
        self.0 & ability != 0
    }

    /// [`Control::clean`] after an exit: nothing has changed, if the processor wants to know.
    pub const fn all_clean(self) -> u64 {
        if self.has(Self::CLEAN_BITS) { clean::ALL } else { 0 }
    }

    /// [`Control::tlb_control`] to have one guest's translations forgotten.
    pub const fn flush(self) -> u32 {
        if self.has(Self::FLUSH_BY_ASID) { TLB_FLUSH_GUEST } else { TLB_FLUSH_ALL }
    }

    /// [`Control::pause_filter_count`] and [`Control::pause_filter_threshold`]: an exit after so many
    /// PAUSEs that follow one another within so many cycles. The figures are KVM's (svm.c): a lock
    /// that is held by somebody who runs is free again well before.
    pub const fn pause_filter(self) -> (u16, u16) {
        let count = if self.has(Self::PAUSE_FILTER) { 3000 } else { 0 };
        (count, if self.has(Self::PAUSE_THRESHOLD) { 128 } else { 0 })
    }

    /// Whether VMRUN and #VMEXIT exchange SPEC_CTRL.
    pub const fn switches_spec_ctrl(self) -> bool {
        self.has(Self::SPEC_CTRL)
    }
}

/// Bits of [`Control::clean`]: what VMRUN may take from the last turn. APM 2, 15.15.3.
#[allow(missing_docs)] // names are the manual's
pub mod clean {
    /// Intercepts, TSC offset, pause filter.
    pub const INTERCEPTS: u64 = 1 << 0;
    pub const PERMISSION_MAPS: u64 = 1 << 1;
    pub const ASID: u64 = 1 << 2;
    /// The virtual interrupt and task priority.
    pub const VIRTUAL_INTERRUPT: u64 = 1 << 3;
    /// Nested CR3, and PAT.
    pub const NESTED_PAGING: u64 = 1 << 4;
    /// CR0, CR3, CR4, EFER.
    pub const CONTROL_REGISTERS: u64 = 1 << 5;
    /// DR6, DR7.
    pub const DEBUG_REGISTERS: u64 = 1 << 6;
    /// GDTR, IDTR.
    pub const DESCRIPTOR_TABLES: u64 = 1 << 7;
    /// CS, DS, SS, ES and the privilege level.
    pub const SEGMENTS: u64 = 1 << 8;
    pub const CR2: u64 = 1 << 9;
    /// DEBUGCTL and the last-branch records.
    pub const LAST_BRANCH: u64 = 1 << 10;
    /// All of these.
    pub const ALL: u64 = (1 << 11) - 1;
}

/// Bits of [`Control::intercept_1`]. APM 2, table B-1, offset 00Ch.
#[allow(missing_docs)]
pub mod intercept_1 {
    pub const INTR: u32 = 1 << 0;
    pub const NMI: u32 = 1 << 1;
    pub const SMI: u32 = 1 << 2;
    pub const INIT: u32 = 1 << 3;
    pub const VIRTUAL_INTERRUPT: u32 = 1 << 4;
    pub const RDPMC: u32 = 1 << 15;
    pub const CPUID: u32 = 1 << 18;
    pub const RSM: u32 = 1 << 19;
    pub const IRET: u32 = 1 << 20;
    pub const INVD: u32 = 1 << 22;
    pub const PAUSE: u32 = 1 << 23;
    pub const HLT: u32 = 1 << 24;
    pub const INVLPGA: u32 = 1 << 26;
    pub const IO: u32 = 1 << 27;
    pub const MSR: u32 = 1 << 28;
    pub const TASK_SWITCH: u32 = 1 << 29;
    pub const FERR_FREEZE: u32 = 1 << 30;
    pub const SHUTDOWN: u32 = 1 << 31;
}

/// Bits of [`Control::intercept_2`]. APM 2, table B-1, offset 010h.
#[allow(missing_docs)]
pub mod intercept_2 {
    pub const VMRUN: u32 = 1 << 0;
    pub const VMMCALL: u32 = 1 << 1;
    pub const VMLOAD: u32 = 1 << 2;
    pub const VMSAVE: u32 = 1 << 3;
    pub const STGI: u32 = 1 << 4;
    pub const CLGI: u32 = 1 << 5;
    pub const SKINIT: u32 = 1 << 6;
    pub const WBINVD: u32 = 1 << 9;
    pub const MONITOR: u32 = 1 << 10;
    pub const MWAIT: u32 = 1 << 11;
    pub const MWAIT_ARMED: u32 = 1 << 12;
    pub const XSETBV: u32 = 1 << 13;
    pub const RDPRU: u32 = 1 << 14;
}

/// Fields of [`Control::virtual_interrupt`]. APM 2, 15.21.
pub mod virtual_interrupt {
    /// A virtual interrupt is pending: used only to learn when the guest could take one.
    pub const PENDING: u64 = 1 << 8;
    /// Its priority.
    pub const PRIORITY: u64 = 0xf << PRIORITY_SHIFT;
    /// Where its priority is: bits 19–16.
    pub const PRIORITY_SHIFT: u64 = 16;
    /// The guest's IF masks virtual interrupts only; the host's masks physical ones.
    pub const MASKING: u64 = 1 << 24;
}

/// [`Control::tlb_control`]: flush everything. APM 2, 15.16.1.
pub const TLB_FLUSH_ALL: u32 = 1;
/// [`Control::tlb_control`]: flush this guest's entries; with the flush-by-ASID feature.
pub const TLB_FLUSH_GUEST: u32 = 3;

/// Fields of [`Control::event_injection`] and [`Control::exit_int_info`]. APM 2, 15.20.
pub mod event {
    /// Bits 10–8: what it is.
    pub const TYPE_MASK: u64 = 7 << 8;
    /// External or virtual interrupt.
    pub const INTERRUPT: u64 = 0 << 8;
    /// NMI.
    pub const NMI: u64 = 2 << 8;
    /// Exception.
    pub const EXCEPTION: u64 = 3 << 8;
    /// `INT n`.
    pub const SOFTWARE: u64 = 4 << 8;
    /// There is an error code, in bits 63–32.
    pub const ERROR_VALID: u64 = 1 << 11;
    /// There is an event.
    pub const VALID: u64 = 1 << 31;
}

/// Exit codes. APM 2, table C-1.
#[allow(missing_docs)] // names are the manual's
pub mod exit {
    pub const CR0_READ: u32 = 0x000;
    pub const CR0_WRITE: u32 = 0x010;
    pub const DR0_READ: u32 = 0x020;
    pub const DR0_WRITE: u32 = 0x030;
    pub const EXCEPTION_0: u32 = 0x040;
    pub const INTR: u32 = 0x060;
    pub const NMI: u32 = 0x061;
    pub const SMI: u32 = 0x062;
    pub const INIT: u32 = 0x063;
    pub const VINTR: u32 = 0x064;
    pub const RDTSC: u32 = 0x06e;
    pub const RDPMC: u32 = 0x06f;
    pub const CPUID: u32 = 0x072;
    pub const RSM: u32 = 0x073;
    pub const IRET: u32 = 0x074;
    pub const INVD: u32 = 0x076;
    pub const PAUSE: u32 = 0x077;
    pub const HLT: u32 = 0x078;
    pub const INVLPGA: u32 = 0x07a;
    pub const IO: u32 = 0x07b;
    pub const MSR: u32 = 0x07c;
    pub const TASK_SWITCH: u32 = 0x07d;
    pub const FERR_FREEZE: u32 = 0x07e;
    pub const SHUTDOWN: u32 = 0x07f;
    pub const VMRUN: u32 = 0x080;
    pub const VMMCALL: u32 = 0x081;
    pub const SKINIT: u32 = 0x086;
    pub const RDTSCP: u32 = 0x087;
    pub const WBINVD: u32 = 0x089;
    pub const MONITOR: u32 = 0x08a;
    pub const MWAIT: u32 = 0x08b;
    pub const MWAIT_ARMED: u32 = 0x08c;
    pub const XSETBV: u32 = 0x08d;
    pub const RDPRU: u32 = 0x08e;
    pub const NESTED_PAGE_FAULT: u32 = 0x400;
    /// The control block was refused. Compared in 32 bits: some emulators write no more.
    pub const INVALID: u32 = 0xffff_ffff;
}

/// Bits of EXITINFO1 of an I/O exit. APM 2, 15.10.2.
pub mod io_info {
    /// `IN`.
    pub const IN: u64 = 1 << 0;
    /// `INS`, `OUTS`.
    pub const STRING: u64 = 1 << 2;
    /// `REP`.
    pub const REPEAT: u64 = 1 << 3;
    /// Bits 6–4: 1, 2 or 4 bytes.
    pub const SIZE_SHIFT: u64 = 4;
    /// Bits 31–16: the port.
    pub const PORT_SHIFT: u64 = 16;
}

/// Bits of EXITINFO1 of a nested page fault. APM 2, 15.25.6.
pub mod nested_fault {
    /// There is a mapping.
    pub const PRESENT: u64 = 1 << 0;
    /// It was a write.
    pub const WRITE: u64 = 1 << 1;
    /// It was an instruction fetch.
    pub const FETCH: u64 = 1 << 4;
    /// It happened while the guest's page tables were walked.
    pub const IN_PAGE_WALK: u64 = 1 << 33;
}

/// MSR permission map: three ranges of 2 KiB, two bits an MSR (read, write). APM 2, 15.11.
pub mod msr_map {
    /// Bytes of the map.
    pub const BYTES: usize = 8192;

    /// The bit that intercepts reading `msr`, if the map covers it; the next one is for writing.
    pub const fn bit(msr: u32) -> Option<usize> {
        let (first, base) = match msr {
            0..=0x1fff => (0, 0),
            0xc000_0000..=0xc000_1fff => (0xc000_0000, 0x2000),
            0xc001_0000..=0xc001_1fff => (0xc001_0000, 0x4000),
            _ => return None,
        };
        Some((base + (msr - first) as usize) * 2)
    }
}

/// Bytes of the I/O permission map. APM 2, 15.10.1.
pub const IO_MAP_BYTES: usize = 12 << 10;

#[cfg(test)]
mod tests {
    use super::msr_map::bit;
    use super::{Abilities, TLB_FLUSH_ALL, TLB_FLUSH_GUEST};

    #[test]
    fn only_what_cpuid_shows_is_used() {
        // QEMU 7.2 shows nested paging (and with +vgif that), nothing else.
        for poor in [
            Abilities(0),
            Abilities(1),
            Abilities(1 << 16 | 1),
            Abilities(!(1 << 5 | 1 << 6 | 1 << 10 | 1 << 12 | 1 << 20)),
        ] {
            assert_eq!((poor.all_clean(), poor.flush(), poor.pause_filter()), (0, TLB_FLUSH_ALL, (0, 0)));
            assert!(!poor.switches_spec_ctrl());
        }
        assert_eq!(Abilities(1 << 5).all_clean(), 0x7ff);
        assert_eq!(Abilities(1 << 6).flush(), TLB_FLUSH_GUEST);
        assert_eq!(Abilities(1 << 10).pause_filter(), (3000, 0));
        assert_eq!(Abilities(1 << 10 | 1 << 12).pause_filter(), (3000, 128));
        assert!(Abilities(1 << 20).switches_spec_ctrl());
    }

    #[test]
    fn the_msr_map_has_its_three_ranges() {
        assert_eq!(bit(0), Some(0));
        assert_eq!(bit(0x1fff), Some(0x3ffe));
        assert_eq!(bit(0x2000), None);
        assert_eq!(bit(0xc000_0080), Some(0x800 * 8 + 0x100));
        assert_eq!(bit(0xc001_0000), Some(0x1000 * 8));
        assert_eq!(bit(0xc001_2000), None);
    }
}
