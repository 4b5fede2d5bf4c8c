//! What kind of machine a guest sees: CPUID, MSRs, control registers and ports, as tables.
//!
//! A [`Policy`] is made once for a VM, from the host's CPUID. It is the same CPU, minus what hv does
//! not give, plus what hv gives by itself. Everything else here follows from the CPUID that the
//! guest is shown: which bits of CR4, EFER, XCR0 and SPEC_CTRL exist, and which MSRs.

pub mod control;
pub mod cpuid;
pub mod msr;
pub mod tsc;
pub mod xcr;

use crate::features::Vendor;
use crate::pm_timer;
use core::ops::RangeInclusive;
use cpuid::Cpuid;
use raw_cpuid::CpuIdResult;

/// Ports that hv answers itself: the ACPI PM timer. Every other access is an I/O request.
pub const PORTS: &[RangeInclusive<u16>] = &[pm_timer::PORT..=pm_timer::PORT + 3];
/// Rate of the virtual APIC's timer before its divider, in kHz; CPUID tells the guest.
pub const APIC_BUS_KHZ: u32 = 1_000_000;

/// The guest asked for what a CPU refuses: it gets #GP(0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneralProtection;

/// What is particular to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Virtual CPUs, at least 1; their APIC ids count from 0.
    pub cpus: u8,
    /// Rate of its TSC.
    pub tsc_khz: u32,
}

/// All of a VM's rules.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What CPUID answers.
    pub cpuid: Cpuid,
    /// Who made the CPU.
    pub vendor: Vendor,
    /// Bits of a guest-physical address.
    pub physical_bits: u8,
    /// Bits of CR4 that the guest may set.
    pub cr4: u64,
    /// The CPU would let the guest set CR4 bits that it is not shown, so CR4 writes must be
    /// intercepted. Where that is not so the CPU itself decides as [`Policy::check_cr4`] does, and
    /// an intercept would be lost time.
    pub intercept_cr4: bool,
    /// Bits of EFER that the guest may set, but for LMA.
    pub efer: u64,
    /// Bits of XCR0 that the guest may set.
    pub xcr0: u64,
    /// Bits of SPEC_CTRL that the guest may set; none: there is no such register.
    pub spec_ctrl: u64,
    /// Barriers that a write to PRED_CMD may ask for; none: there is no such register.
    pub barriers: u64,
}

impl Policy {
    /// The rules for a VM on the host whose CPUID is read by `host(leaf, subleaf)`.
    pub fn new(host: impl Fn(u32, u32) -> CpuIdResult, machine: Machine) -> Self {
        let host = cpuid::Host::new(&host);
        let cpuid = Cpuid::new(&host, machine);
        let shown = |table| control::bits(table, |feature| cpuid.has(feature));
        let possible = control::bits(control::CR4, |feature| host.has(feature));
        Self {
            vendor: host.vendor,
            physical_bits: cpuid.physical_bits(),
            cr4: shown(control::CR4),
            intercept_cr4: possible & !shown(control::CR4) != 0,
            efer: shown(control::EFER),
            xcr0: cpuid.xcr0(),
            spec_ctrl: shown(control::SPEC_CTRL),
            barriers: shown(control::BARRIERS),
            cpuid,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
