//! The one loop: what has happened, a turn for the tasks, and sleep.
//!
//! Interrupts are off but while the CPU sleeps, so nothing happens between the last look and the sleep
//! that would not end it.

use crate::events;
use crate::log::event;
use crate::timer::Timer;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use management::executor::{Clock, Executor, MOST_HELD, Rest};

static WAKE_UPS: AtomicU64 = AtomicU64::new(0);

/// How often the CPU has slept and been woken.
pub fn wake_ups() -> u64 {
    WAKE_UPS.load(Ordering::Relaxed)
}

/// Runs the executor for good.
pub fn for_good(executor: &Executor, timer: Timer) -> ! {
    let mut armed = None;
    let mut longest = MOST_HELD;
    loop {
        events::take(|number| executor.signal(number));
        let rest = executor.turn();
        let load = executor.load();
        if load.longest > longest {
            longest = load.longest;
            event!(Debug, "mgmt.slow", task = load.longest_task, micros = longest / 1000);
        }
        let deadline = match rest {
            Rest::None => continue,
            Rest::Until(deadline) => Some(deadline),
            Rest::Forever => None,
        };
        if deadline != armed {
            timer.arm(deadline);
            armed = deadline;
        }
        sleep();
        WAKE_UPS.fetch_add(1, Ordering::Relaxed);
        // A deadline that has passed has fired.
        armed = armed.filter(|&deadline| timer.now() < deadline);
    }
}

/// Sleeps until an interrupt. One that waits already ends it at once: `sti` lets none in before `hlt`
/// (SDM 2, STI).
fn sleep() {
    // SAFETY: the handlers end the interrupt and do nothing else (`traps.S`).
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}
