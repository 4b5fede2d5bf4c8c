//! Every MSR that a guest has. SDM 4; APM 2, appendix A; Linux, Documentation/virt/kvm/x86/msr.rst.
//!
//! An MSR that is not here is #GP, and counted. Firmware-like registers that stock kernels read
//! without expecting a fault read as a machine that needs no quirk. Not here on purpose: MPERF and
//! APERF (CPUID says there are none), MCG_CTL and the banks (MCG_CAP does), VM_HSAVE_PA (no SVM), KVM's
//! asynchronous faults, steal time and poll control (not offered), and LS_CFG, where kernels look for
//! a switch against speculation: a pretended one would leave them open.

use super::Action::{
    ApicBase, Barrier, Checked, Constant, Efer, GeneralProtection, Ignore, Kept, KvmClock, KvmWallClock,
    Mtrr, PvEoi, Tsc, TscAdjust, TscDeadline,
};
use super::Needs::{Amd, Barriers, Has, Nothing, SpecCtrl};
use super::{Action, Native, Needs, Slot};
use crate::cpu::{Register, SegmentName};
use crate::policy::cpuid::Feature;

/// A run of MSRs that are treated alike.
pub(super) struct Row {
    pub first: u32,
    pub last: u32,
    pub needs: Needs,
    pub read: Action,
    pub write: Action,
}

const fn rows(first: u32, last: u32, needs: Needs, read: Action, write: Action) -> Row {
    Row { first, last, needs, read, write }
}

const fn row(number: u32, needs: Needs, read: Action, write: Action) -> Row {
    rows(number, number, needs, read, write)
}

const fn own(register: Register) -> Action {
    Action::Native(Native::Register(register))
}

const GP: Action = GeneralProtection;
const ZERO: Action = Constant(0);
const DROP: Action = Ignore(!0);
const FS: Action = Action::Native(Native::Base(SegmentName::Fs));
const GS: Action = Action::Native(Native::Base(SegmentName::Gs));
const DEBUG: Action = Checked(Register::DebugCtl);
const SPEC: Action = Checked(Register::SpecCtrl);
const MISC: Action = Kept(Slot::MiscEnable);
const AUX: Action = Kept(Slot::TscAux);

/// Revision 1, where AMD keeps it (low half) and where Intel does (high half): microcode is the
/// host's business.
const REVISION: Action = Constant(1 << 32 | 1);

/// In order of their numbers.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    //   number         needed           read                write               name: why
    row (0x0000_0010,   Nothing,         Tsc,                Tsc),               // TSC: a write moves the offset and TSC_ADJUST
    row (0x0000_0011,   Nothing,         KvmWallClock,       KvmWallClock),      // KVM wall clock, old number
    row (0x0000_0012,   Nothing,         KvmClock,           KvmClock),          // KVM system time, old number
    row (0x0000_0017,   Nothing,         ZERO,               GP),                // PLATFORM_ID: Intel microcode loaders read it
    row (0x0000_001b,   Nothing,         ApicBase,           ApicBase),          // APIC_BASE
    row (0x0000_003a,   Nothing,         Constant(1),        GP),                // FEATURE_CONTROL: locked, nothing allowed
    row (0x0000_003b,   Nothing,         TscAdjust,          TscAdjust),         // TSC_ADJUST: shown by CPUID whatever the host has
    row (0x0000_0048,   SpecCtrl,        SPEC,               SPEC),              // SPEC_CTRL: as CPUID says
    row (0x0000_0049,   Barriers,        GP,                 Barrier),           // PRED_CMD: write-only
    row (0x0000_0079,   Nothing,         GP,                 DROP),              // BIOS_UPDT_TRIG: an update is taken and changes nothing
    row (0x0000_008b,   Nothing,         REVISION,           DROP),              // BIOS_SIGN_ID, AMD's PATCH_LEVEL
    row (0x0000_00ce,   Nothing,         ZERO,               GP),                // PLATFORM_INFO: no ratios, no CPUID faulting
    row (0x0000_00fe,   Nothing,         Mtrr,               Mtrr),              // MTRRCAP
    row (0x0000_0174,   Nothing,         own(Register::SysenterCs),  own(Register::SysenterCs)),
    row (0x0000_0175,   Nothing,         own(Register::SysenterEsp), own(Register::SysenterEsp)),
    row (0x0000_0176,   Nothing,         own(Register::SysenterEip), own(Register::SysenterEip)),
    row (0x0000_0179,   Nothing,         ZERO,               GP),                // MCG_CAP: no banks, so no MC*_CTL (0x400 …) either
    row (0x0000_017a,   Nothing,         ZERO,               DROP),              // MCG_STATUS: cleared by kernels, never set
    rows(0x0000_0198, 0x0000_019c, Nothing, ZERO,            DROP),              // PERF_STATUS to THERM_STATUS: one speed, always cool
    row (0x0000_01a0,   Nothing,         MISC,               MISC),              // MISC_ENABLE: kept, means nothing
    row (0x0000_01d9,   Nothing,         DEBUG,              DEBUG),             // DEBUGCTL
    rows(0x0000_01db, 0x0000_01de, Nothing, ZERO,            GP),                // last branch and last exception: none recorded
    rows(0x0000_0200, 0x0000_020f, Nothing, Mtrr,            Mtrr),              // MTRRphysBase0 to MTRRphysMask7
    row (0x0000_0250,   Nothing,         Mtrr,               Mtrr),              // MTRRfix64K
    rows(0x0000_0258, 0x0000_0259, Nothing, Mtrr,            Mtrr),              // MTRRfix16K
    rows(0x0000_0268, 0x0000_026f, Nothing, Mtrr,            Mtrr),              // MTRRfix4K
    row (0x0000_0277,   Nothing,         Checked(Register::Pat), Checked(Register::Pat)), // PAT
    row (0x0000_02ff,   Nothing,         Mtrr,               Mtrr),              // MTRRdefType
    row (0x0000_06e0,   Nothing,         TscDeadline,        TscDeadline),       // TSC_DEADLINE
    row (0x0000_0da0,   Has(Feature::XSAVES), ZERO,          Ignore(0)),         // XSS: XSAVES has no states of its own here
    row (0x4b56_4d00,   Nothing,         KvmWallClock,       KvmWallClock),      // KVM wall clock
    row (0x4b56_4d01,   Nothing,         KvmClock,           KvmClock),          // KVM system time
    row (0x4b56_4d04,   Nothing,         PvEoi,              PvEoi),             // KVM end of interrupt
    row (0xc000_0080,   Nothing,         Efer,               Efer),              // EFER: SVME in it is hv's
    row (0xc000_0081,   Has(Feature::LM), own(Register::Star),   own(Register::Star)),
    row (0xc000_0082,   Has(Feature::LM), own(Register::Lstar),  own(Register::Lstar)),
    row (0xc000_0083,   Has(Feature::LM), own(Register::Cstar),  own(Register::Cstar)),
    row (0xc000_0084,   Has(Feature::LM), own(Register::Sfmask), own(Register::Sfmask)),
    row (0xc000_0100,   Has(Feature::LM), FS,                FS),                // FS.base
    row (0xc000_0101,   Has(Feature::LM), GS,                GS),                // GS.base
    row (0xc000_0102,   Has(Feature::LM), own(Register::KernelGsBase), own(Register::KernelGsBase)),
    row (0xc000_0103,   Has(Feature::RDTSCP), AUX,           AUX),               // TSC_AUX
    rows(0xc001_0000, 0xc001_0007, Amd,  ZERO,               DROP),              // PerfEvtSel0–3, PerfCtr0–3: architectural on AMD, count nothing
    row (0xc001_0010,   Amd,             ZERO,               DROP),              // SYSCFG: no fixed-range DRAM bits, no memory encryption
    row (0xc001_0015,   Amd,             Constant(1 << 24),  DROP),              // HWCR: the TSC runs at P0's rate
    rows(0xc001_001a, 0xc001_001d, Amd,  ZERO,               DROP),              // TOP_MEM, IORR, TOP_MEM2: the memory map says it
    row (0xc001_001f,   Amd,             ZERO,               DROP),              // NB_CFG: kernels set its extended-PCI bit
    row (0xc001_0055,   Amd,             ZERO,               DROP),              // INT_PENDING: no C1E
    row (0xc001_0058,   Amd,             ZERO,               DROP),              // MMIO configuration base: ACPI says where it is
    rows(0xc001_0061, 0xc001_006b, Amd,  ZERO,               DROP),              // P-state limit, control, status, definitions: none
    rows(0xc001_0112, 0xc001_0113, Amd,  ZERO,               DROP),              // SMM_ADDR, SMM_MASK: no SMM memory
    row (0xc001_0114,   Amd,             Constant(0x18),     DROP),              // VM_CR: SVM disabled, and locked so
    row (0xc001_0115,   Amd,             ZERO,               DROP),              // IGNNE
    rows(0xc001_0140, 0xc001_0141, Amd,  ZERO,               DROP),              // OSVW: length 0, so kernels go by the family
    rows(0xc001_1021, 0xc001_1028, Amd,  ZERO,               DROP),              // IC_CFG, DC_CFG, TW_CFG, FP_CFG …: errata work-arounds are the host's
    row (0xc001_1029,   Amd,             Constant(1 << 1),   DROP),              // DE_CFG: LFENCE serialises
    rows(0xc001_102a, 0xc001_102c, Amd,  ZERO,               DROP),              // CU_CFG2, CU_CFG3, EX_CFG
];
