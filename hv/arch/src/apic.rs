//! The host's local APIC: x2APIC where the CPU has it, else the xAPIC page.
//! SDM volume 3, chapter 11.

use crate::cpu::{read_msr, write_msr};
use hv_abi::boot::DIRECT_MAP;
use hv_core::features::Features;
use hv_defs::apic::{DIVIDE_BY_1, Register, SOFTWARE_ENABLE, icr, lvt_timer};
use hv_defs::msr::{self, apic_base};

/// Vector of spurious interrupts; its low four bits must be ones on old CPUs (SDM 3, 11.9).
pub const SPURIOUS_VECTOR: u8 = 0xff;
/// Vector of the APIC timer.
pub const TIMER_VECTOR: u8 = 0xf0;
/// Vector of "look at your mail".
pub const KICK_VECTOR: u8 = 0xf1;

/// How the registers are reached; the same on every CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalApic {
    /// As MSRs.
    X2,
    /// In the page at this virtual address.
    X(u64),
}

impl LocalApic {
    /// Which it is on this machine, whose xAPIC page is at physical address `page`.
    pub fn choose(features: &Features, page: u64) -> Self {
        if features.bits.x2apic { Self::X2 } else { Self::X(DIRECT_MAP + page) }
    }

    /// Switches this CPU's APIC on: software enabled, the timer masked. It is never switched off.
    ///
    /// # Safety
    /// The xAPIC page, if that is used, is mapped as a device; the caller's CPU is ready for
    /// [`SPURIOUS_VECTOR`].
    pub unsafe fn enable(self) {
        // SAFETY: every CPU that hv runs on has the register; a mode once entered is kept, as the
        // manual asks (SDM 3, 11.12.5).
        unsafe {
            let mode = if self == Self::X2 { apic_base::X2APIC } else { 0 };
            write_msr(msr::APIC_BASE, read_msr(msr::APIC_BASE) | apic_base::ENABLED | mode);
        }
        self.write(Register::SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
        self.write(Register::TIMER_DIVIDE, DIVIDE_BY_1);
        self.write(Register::LVT_TIMER, lvt_timer::MASKED | u32::from(TIMER_VECTOR));
    }

    /// This CPU's APIC ID.
    pub fn id(self) -> u32 {
        let id = self.read(Register::ID);
        if self == Self::X2 { id } else { id >> 24 }
    }

    /// Tells the APIC that the interrupt has been handled.
    pub fn end_of_interrupt(self) {
        self.write(Register::EOI, 0);
    }

    /// Starts the timer from `count` ticks, masked, and answers what is left after `wait`.
    pub fn count_down(self, count: u32, wait: impl FnOnce()) -> u32 {
        self.write(Register::TIMER_INITIAL, count);
        wait();
        let left = self.read(Register::TIMER_CURRENT);
        self.write(Register::TIMER_INITIAL, 0);
        left
    }

    /// Has the timer interrupt in `ticks` of its own, at least 1.
    pub fn arm_timer(self, ticks: u32) {
        self.write(Register::LVT_TIMER, u32::from(TIMER_VECTOR));
        self.write(Register::TIMER_INITIAL, ticks.max(1));
    }

    /// Tells a CPU to look at its mail.
    pub fn send_kick(self, to: u32) {
        self.send(to, u32::from(KICK_VECTOR) | icr::ASSERT);
    }

    /// Sends INIT to a CPU.
    pub fn send_init(self, to: u32) {
        self.send(to, icr::INIT | icr::ASSERT);
    }

    /// Sends STARTUP to a CPU that waits for it: it starts in real mode at page `page`.
    pub fn send_startup(self, to: u32, page: u8) {
        self.send(to, icr::STARTUP | icr::ASSERT | u32::from(page));
    }

    /// Sends an NMI to every other CPU.
    pub fn send_nmi_to_others(self) {
        self.send(0, icr::NMI | icr::ASSERT | icr::ALL_BUT_SELF);
    }

    fn send(self, to: u32, command: u32) {
        match self {
            // SAFETY: the command register exists in x2APIC mode; the callers above build commands.
            Self::X2 => unsafe { write_msr(Register::ICR.msr(), u64::from(to) << 32 | u64::from(command)) },
            Self::X(_) => {
                self.wait_until_sent();
                self.write(Register::ICR_HIGH, to << 24);
                self.write(Register::ICR, command);
                self.wait_until_sent();
            }
        }
    }

    /// Waits for the previous command to be accepted. Bounded: a command nobody accepts is lost,
    /// and whoever sent it has a time-out of its own.
    fn wait_until_sent(self) {
        for _ in 0..100_000 {
            if self.read(Register::ICR) & icr::PENDING == 0 {
                break;
            }
            core::hint::spin_loop();
        }
    }

    fn read(self, register: Register) -> u32 {
        match self {
            // SAFETY: registers of `hv_defs::apic` exist in x2APIC mode.
            Self::X2 => unsafe { read_msr(register.msr()) as u32 },
            // SAFETY: `enable`'s caller promised the page.
            Self::X(page) => unsafe { at(page, register).read_volatile() },
        }
    }

    fn write(self, register: Register, value: u32) {
        match self {
            // SAFETY: as for `read`.
            Self::X2 => unsafe { write_msr(register.msr(), u64::from(value)) },
            // SAFETY: as for `read`.
            Self::X(page) => unsafe { at(page, register).write_volatile(value) },
        }
    }
}

fn at(page: u64, register: Register) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut(page as usize + register.0 as usize)
}
