//! What a guest that knows KVM finds: leaves, features, MSRs and shared structures.
//! Linux, Documentation/virt/kvm/x86: cpuid.rst and msr.rst.

/// First of the hypervisor's CPUID leaves; its highest leaf in EAX, the signature in EBX, ECX, EDX.
pub const LEAF_SIGNATURE: u32 = 0x4000_0000;
/// Features in EAX, hints in EDX.
pub const LEAF_FEATURES: u32 = 0x4000_0001;
/// TSC and APIC timer rates in kHz, in EAX and EBX; the highest leaf.
pub const LEAF_RATES: u32 = 0x4000_0010;
/// "KVMKVMKVM" and three zeros, in EBX, ECX, EDX.
pub const SIGNATURE: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x0000_004d];

/// Features, as in [`LEAF_FEATURES`].
pub mod feature {
    /// Port accesses need no delay.
    pub const NO_IO_DELAY: u32 = 1 << 1;
    /// kvmclock at the MSRs of [`super::SYSTEM_TIME`] and [`super::WALL_CLOCK`].
    pub const CLOCK_SOURCE_2: u32 = 1 << 3;
    /// An end of interrupt may be told through memory.
    pub const PV_EOI: u32 = 1 << 6;
    /// One hypercall sends an IPI to many.
    pub const PV_SEND_IPI: u32 = 1 << 11;
    /// The clock never runs backwards across CPUs, if its own flag says so too.
    pub const CLOCK_SOURCE_STABLE: u32 = 1 << 24;
    /// kvmclock at the old MSRs.
    pub const CLOCK_SOURCE: u32 = 1 << 0;
}

/// Where the wall clock at the VM's start is to be written.
pub const WALL_CLOCK: u32 = 0x4b56_4d00;
/// Where this CPU's clock is to be written, and whether it is.
pub const SYSTEM_TIME: u32 = 0x4b56_4d01;
/// Where this CPU's end-of-interrupt word is, and whether it is used.
pub const PV_EOI: u32 = 0x4b56_4d04;
/// [`WALL_CLOCK`], at its first number.
pub const WALL_CLOCK_OLD: u32 = 0x11;
/// [`SYSTEM_TIME`], at its first number.
pub const SYSTEM_TIME_OLD: u32 = 0x12;
/// [`SYSTEM_TIME`], [`PV_EOI`]: bit 0, the address is in use.
pub const ENABLED: u64 = 1 << 0;

/// Flags in a CPU's clock.
pub mod clock_flag {
    /// All CPUs' clocks agree: the guest need not compare them.
    pub const STABLE: u8 = 1 << 0;
    /// The VM was paused; the guest clears it.
    pub const PAUSED: u8 = 1 << 1;
}
