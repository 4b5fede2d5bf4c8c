//! Time, by the time stamp counter.

use crate::cpu;
#[cfg(feature = "bare-metal")]
use crate::{apic, interrupts};

/// Ticks that are surely longer than a millisecond and not longer than ten, on every PC.
const ABOUT_A_MILLISECOND: u64 = 5_000_000;

/// Waits until something holds, for at most about so many milliseconds; whether it does.
pub fn wait(milliseconds: u64, mut holds: impl FnMut() -> bool) -> bool {
    let start = cpu::ticks();
    while !holds() {
        if cpu::ticks().wrapping_sub(start) > milliseconds * ABOUT_A_MILLISECOND {
            return holds();
        }
        core::hint::spin_loop();
    }
    true
}

/// Sleeps for about so many milliseconds, by the local APIC's timer (its deadline: SDM volume 3, 11.5.4.1).
#[cfg(feature = "bare-metal")]
pub fn sleep(milliseconds: u64) {
    const DEADLINE: u32 = 0x6e0;
    const BY_DEADLINE: u32 = 2 << 17;
    apic::enable();
    apic::write(apic::LVT_TIMER, interrupts::VECTOR | BY_DEADLINE);
    let before = interrupts::count();
    cpu::write_msr(DEADLINE, cpu::ticks() + milliseconds * ABOUT_A_MILLISECOND);
    cpu::sleep_until(|| interrupts::count() != before);
}
