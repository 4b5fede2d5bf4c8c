//! Time, by the time stamp counter.

use crate::cpu;

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
