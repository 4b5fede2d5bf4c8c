//! The local APIC: registers by xAPIC offset, and the fields that hv sets.
//! SDM volume 3, chapter 11 (table 11-1); APM volume 2, chapter 16.

/// A register, by its offset in the xAPIC page. In x2APIC mode it is MSR `0x800 + offset / 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u32);

impl Register {
    /// Local APIC ID; bits 31–24 in xAPIC mode, 31–0 in x2APIC mode.
    pub const ID: Self = Self(0x020);
    /// End of interrupt.
    pub const EOI: Self = Self(0x0b0);
    /// Spurious-interrupt vector, and the software enable bit.
    pub const SPURIOUS: Self = Self(0x0f0);
    /// Interrupt command, low half: writing it sends. One 64-bit register in x2APIC mode.
    pub const ICR: Self = Self(0x300);
    /// Interrupt command, high half: destination; xAPIC only.
    pub const ICR_HIGH: Self = Self(0x310);
    /// Local vector table: timer.
    pub const LVT_TIMER: Self = Self(0x320);
    /// Timer: initial count; writing starts it.
    pub const TIMER_INITIAL: Self = Self(0x380);
    /// Timer: count left.
    pub const TIMER_CURRENT: Self = Self(0x390);
    /// Timer: divisor.
    pub const TIMER_DIVIDE: Self = Self(0x3e0);

    /// The register's MSR in x2APIC mode.
    pub const fn msr(self) -> u32 {
        crate::msr::X2APIC_BASE + self.0 / 16
    }
}

/// [`Register::SPURIOUS`]: the APIC delivers interrupts.
pub const SOFTWARE_ENABLE: u32 = 1 << 8;

/// Fields of the interrupt command register. SDM 3, figure 11-12.
pub mod icr {
    /// Deliver an NMI.
    pub const NMI: u32 = 0b100 << 8;
    /// Put the CPU into wait-for-SIPI.
    pub const INIT: u32 = 0b101 << 8;
    /// Start the CPU in real mode at page `vector`.
    pub const STARTUP: u32 = 0b110 << 8;
    /// Not accepted by the destination yet; xAPIC only.
    pub const PENDING: u32 = 1 << 12;
    /// Level: assert. Always set but for the obsolete INIT de-assert.
    pub const ASSERT: u32 = 1 << 14;
    /// To everyone but this CPU.
    pub const ALL_BUT_SELF: u32 = 0b11 << 18;
}

/// Fields of [`Register::LVT_TIMER`]. SDM 3, figure 11-8.
pub mod lvt_timer {
    /// No interrupt is delivered.
    pub const MASKED: u32 = 1 << 16;
    /// Fires when the TSC passes the deadline MSR.
    pub const TSC_DEADLINE: u32 = 0b10 << 17;
}

/// [`Register::TIMER_DIVIDE`]: count the bus clock itself. SDM 3, figure 11-10.
pub const DIVIDE_BY_1: u32 = 0b1011;
