//! The local APIC: registers by xAPIC offset, and the fields that hv sets.
//! SDM volume 3, chapter 11 (table 11-1); APM volume 2, chapter 16.

/// A register, by its offset in the xAPIC page. In x2APIC mode it is MSR `0x800 + offset / 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u32);

impl Register {
    /// Local APIC ID; bits 31–24 in xAPIC mode, 31–0 in x2APIC mode.
    pub const ID: Self = Self(0x020);
    /// Version, and the number of local vector table entries less one.
    pub const VERSION: Self = Self(0x030);
    /// Task priority.
    pub const TASK_PRIORITY: Self = Self(0x080);
    /// Arbitration priority; xAPIC only.
    pub const ARBITRATION_PRIORITY: Self = Self(0x090);
    /// Processor priority: the higher of the task's and of the interrupt in service.
    pub const PROCESSOR_PRIORITY: Self = Self(0x0a0);
    /// End of interrupt.
    pub const EOI: Self = Self(0x0b0);
    /// Remote read; xAPIC only.
    pub const REMOTE_READ: Self = Self(0x0c0);
    /// Logical destination.
    pub const LOGICAL_DESTINATION: Self = Self(0x0d0);
    /// How logical destinations are read: bits 31–28, all ones = flat, 0 = cluster; xAPIC only.
    pub const DESTINATION_FORMAT: Self = Self(0x0e0);
    /// Spurious-interrupt vector, and the software enable bit.
    pub const SPURIOUS: Self = Self(0x0f0);
    /// First of eight: vectors in service.
    pub const IN_SERVICE: Self = Self(0x100);
    /// First of eight: vectors whose end must be told to the I/O APICs.
    pub const TRIGGER_MODE: Self = Self(0x180);
    /// First of eight: vectors requested.
    pub const REQUEST: Self = Self(0x200);
    /// Errors since the write before the last.
    pub const ERROR_STATUS: Self = Self(0x280);
    /// Interrupt command, low half: writing it sends. One 64-bit register in x2APIC mode.
    pub const ICR: Self = Self(0x300);
    /// Interrupt command, high half: destination; xAPIC only.
    pub const ICR_HIGH: Self = Self(0x310);
    /// Local vector table: timer.
    pub const LVT_TIMER: Self = Self(0x320);
    /// Local vector table: thermal sensor.
    pub const LVT_THERMAL: Self = Self(0x330);
    /// Local vector table: performance counters.
    pub const LVT_PERFORMANCE: Self = Self(0x340);
    /// Local vector table: pin LINT0.
    pub const LVT_LINT0: Self = Self(0x350);
    /// Local vector table: pin LINT1.
    pub const LVT_LINT1: Self = Self(0x360);
    /// Local vector table: errors.
    pub const LVT_ERROR: Self = Self(0x370);
    /// Timer: initial count; writing starts it.
    pub const TIMER_INITIAL: Self = Self(0x380);
    /// Timer: count left.
    pub const TIMER_CURRENT: Self = Self(0x390);
    /// Timer: divisor.
    pub const TIMER_DIVIDE: Self = Self(0x3e0);
    /// Interrupt to this CPU; x2APIC only.
    pub const SELF_IPI: Self = Self(0x3f0);

    /// The register's MSR in x2APIC mode.
    pub const fn msr(self) -> u32 {
        crate::msr::X2APIC_BASE + self.0 / 16
    }
}

/// [`Register::SPURIOUS`]: the APIC delivers interrupts.
pub const SOFTWARE_ENABLE: u32 = 1 << 8;

/// Fields of the interrupt command register. SDM 3, figure 11-12.
pub mod icr {
    /// Where the three bits of the delivery mode are.
    pub const MODE_SHIFT: u32 = 8;
    /// The destination is a logical one.
    pub const LOGICAL: u32 = 1 << 11;
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
    /// Level triggered; means something for INIT de-assert only.
    pub const LEVEL: u32 = 1 << 15;
    /// Instead of the destination: two bits, of which 0 says that there is none.
    pub const SHORTHAND_SHIFT: u32 = 18;
    /// To everyone but this CPU.
    pub const ALL_BUT_SELF: u32 = 0b11 << 18;
}

/// Fields of [`Register::LVT_TIMER`]. SDM 3, figure 11-8.
pub mod lvt_timer {
    /// No interrupt is delivered; at the same bit in every entry of the table.
    pub const MASKED: u32 = 1 << 16;
    /// Where the two bits of the mode are.
    pub const MODE_SHIFT: u32 = 17;
    /// Starts again when the count reaches 0.
    pub const PERIODIC: u32 = 0b01 << 17;
    /// Fires when the TSC passes the deadline MSR.
    pub const TSC_DEADLINE: u32 = 0b10 << 17;
}

/// [`Register::TIMER_DIVIDE`]: count the bus clock itself. SDM 3, figure 11-10.
pub const DIVIDE_BY_1: u32 = 0b1011;

/// Bits of [`Register::ERROR_STATUS`]. SDM 3, figure 11-9.
pub mod error {
    /// An interrupt with a vector below 16 was to be sent.
    pub const SEND_ILLEGAL_VECTOR: u32 = 1 << 5;
    /// An interrupt with a vector below 16 arrived.
    pub const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
    /// A reserved register of the xAPIC page was touched.
    pub const ILLEGAL_REGISTER: u32 = 1 << 7;
}

/// The I/O APIC: its page, its indirect registers, its redirection entries.
/// Intel 82093AA data sheet, 3.0 to 3.2; the EOI register: ICH9 data sheet, 13.5.
pub mod io {
    /// Where the page is on every PC.
    pub const PAGE: u64 = 0xfec0_0000;
    /// Offset of the register that says which one `WINDOW` shows.
    pub const SELECT: u64 = 0x00;
    /// Offset of the window.
    pub const WINDOW: u64 = 0x10;
    /// Offset of the EOI register (version 0x20): writing a vector ends that interrupt.
    pub const EOI: u64 = 0x40;
    /// Indirect register: ID, in bits 27–24.
    pub const ID: u8 = 0;
    /// Indirect register: version, and number of pins less one in bits 23–16.
    pub const VERSION: u8 = 1;
    /// Indirect register: arbitration ID, which is the ID.
    pub const ARBITRATION: u8 = 2;
    /// First indirect register of the redirection table; two for each pin, low half first.
    pub const TABLE: u8 = 0x10;
    /// Redirection entry: level-triggered interrupt accepted, its end not seen yet.
    pub const REMOTE_IRR: u64 = 1 << 14;
    /// Redirection entry: level triggered.
    pub const LEVEL: u64 = 1 << 15;
    /// Redirection entry: no interrupt is sent.
    pub const MASKED: u64 = 1 << 16;
}
