//! Time: the TSC, at the rate that hv tells in CPUID, and the deadline that ends sleep.

use core::arch::x86_64::{__cpuid, _rdtsc};
use hv_defs::kvm::LEAF_RATES;
use hv_defs::msr::TSC_DEADLINE;
use management::executor::Clock;
use x86_64::registers::model_specific::Msr;

/// Bits of a fraction in [`Timer::scale`].
const FRACTION: u32 = 32;

/// The clock: nanoseconds of the TSC, which hv starts at 0 with the VM.
#[derive(Clone, Copy)]
pub struct Timer {
    /// Nanoseconds a tick, with [`FRACTION`] bits behind the point.
    scale: u64,
}

impl Timer {
    /// Reads the rate from CPUID.
    pub fn new() -> Self {
        let khz = u64::from(__cpuid(LEAF_RATES).eax);
        assert!(khz > 0, "hv does not tell the TSC's rate");
        Self { scale: (1_000_000 << FRACTION) / khz }
    }

    /// Has an interrupt come when the clock shows `deadline`, or none.
    pub fn arm(self, deadline: Option<u64>) {
        // 0 disarms (SDM 3, 11.5.4.1). Rounded up: who is woken early only sleeps again.
        let ticks = deadline.map_or(0, |nanos| {
            let ticks = (u128::from(nanos) << FRACTION).div_ceil(u128::from(self.scale)) + 1;
            u64::try_from(ticks).unwrap_or(u64::MAX)
        });
        // SAFETY: the timer is in deadline mode (`apic::switch_on`).
        unsafe { Msr::new(TSC_DEADLINE).write(ticks) };
    }
}

impl Clock for Timer {
    fn now(&self) -> u64 {
        // SAFETY: reading the counter has no effect.
        let ticks = unsafe { _rdtsc() };
        ((u128::from(ticks) * u128::from(self.scale)) >> FRACTION) as u64
    }
}
