//! Model-specific registers by number. SDM volume 4; APM volume 2, appendix A.

/// APIC base address and enable bits. SDM 3, 11.4.4.
pub const APIC_BASE: u32 = 0x1b;
/// Intel: what firmware has locked on or off. SDM 3, 24.7; volume 4, table 2-2.
pub const FEATURE_CONTROL: u32 = 0x3a;
/// Which memory type a physical address has when no range names it. SDM 3, 12.11.2.1.
pub const MTRR_DEFAULT_TYPE: u32 = 0x2ff;
/// Memory types that page-table entries choose from. SDM 3, 12.12.2.
pub const PAT: u32 = 0x277;
/// Deadline of the local APIC timer, in TSC ticks. SDM 3, 11.5.4.1.
pub const TSC_DEADLINE: u32 = 0x6e0;
/// First x2APIC register; register at xAPIC offset `o` is `X2APIC_BASE + o / 16`. SDM 3, 11.12.1.2.
pub const X2APIC_BASE: u32 = 0x800;
/// Extended features: long mode, no-execute, SVM. APM 2, 3.1.7.
pub const EFER: u32 = 0xc000_0080;
/// Base of GS, where per-CPU data is found. APM 2, 4.5.3.
pub const GS_BASE: u32 = 0xc000_0101;
/// Restrictions of speculation. SDM 4, table 2-2; APM 2, 3.2.9.
pub const SPEC_CTRL: u32 = 0x48;
/// AMD: whether SVM may be switched on. APM 2, 15.30.1.
pub const VM_CR: u32 = 0xc001_0114;

/// Bits of [`FEATURE_CONTROL`].
pub mod feature_control {
    /// The register is locked until reset.
    pub const LOCKED: u64 = 1 << 0;
    /// VMXON is allowed outside SMX operation.
    pub const VMX: u64 = 1 << 2;
}

/// Bits of [`VM_CR`].
pub mod vm_cr {
    /// EFER.SVME can't be set.
    pub const SVM_DISABLED: u64 = 1 << 4;
    /// `SVM_DISABLED` can't be changed until reset (or without the key).
    pub const LOCKED: u64 = 1 << 3;
}

/// Bits of [`EFER`].
pub mod efer {
    /// SYSCALL and SYSRET work.
    pub const SYSCALL_ENABLE: u64 = 1 << 0;
    /// Long mode is wanted once paging is on.
    pub const LONG_MODE_ENABLE: u64 = 1 << 8;
    /// Long mode is on.
    pub const LONG_MODE_ACTIVE: u64 = 1 << 10;
    /// SVM's instructions work.
    pub const SVM_ENABLE: u64 = 1 << 12;
    /// Page-table entries may forbid execution.
    pub const NO_EXECUTE_ENABLE: u64 = 1 << 11;
    /// FXSAVE leaves the SSE registers out in 64-bit kernel code.
    pub const FAST_FXSAVE: u64 = 1 << 14;
    /// AMD: indirect branches are restricted whenever the privilege level rises.
    pub const AUTOMATIC_IBRS: u64 = 1 << 21;
}

/// Bits of [`APIC_BASE`].
pub mod apic_base {
    /// This CPU started the machine.
    pub const BOOT_CPU: u64 = 1 << 8;
    /// The APIC's registers are MSRs.
    pub const X2APIC: u64 = 1 << 10;
    /// The APIC is on.
    pub const ENABLED: u64 = 1 << 11;
    /// Bits 12 and up: physical address of the xAPIC page.
    pub const ADDRESS: u64 = !0xfff;
}

/// AMD: physical address of the page that VMRUN saves the host to. APM 2, 15.30.4.
pub const VM_HSAVE_PA: u32 = 0xc001_0117;

/// What the memory-type ranges can do. SDM 3, 12.11.1.
pub const MTRR_CAPABILITIES: u32 = 0xfe;
/// First of the variable ranges: base and mask of each in turn. SDM 3, 12.11.2.3.
pub const MTRR_VARIABLE: u32 = 0x200;
/// Types of the first 512 KiB, in eight parts. SDM 3, 12.11.2.2.
pub const MTRR_FIXED_64K: u32 = 0x250;
/// First of two: types of 0x80000 to 0xbffff, in parts of 16 KiB.
pub const MTRR_FIXED_16K: u32 = 0x258;
/// First of eight: types of 0xc0000 to 0xfffff, in parts of 4 KiB.
pub const MTRR_FIXED_4K: u32 = 0x268;

/// What `RDTSCP` and `RDPID` answer in ECX. SDM 3, 18.17.2.
pub const TSC_AUX: u32 = 0xc000_0103;
