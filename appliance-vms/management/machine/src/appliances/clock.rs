//! The time of day, for guests' clocks: the machine's own clock, read once, and counted on from there.

use crate::hypercall;
use crate::log::event;
use core::arch::asm;
use management::executor::Handle;
use management::models::rtc::{WallClock, seconds_of};

const SECOND: u64 = 1_000_000_000;

/// The box's clock.
#[derive(Clone)]
pub struct Clock {
    handle: Handle,
    /// Nanoseconds since 1970 when the executor's clock began.
    began: u64,
}

impl Clock {
    /// Reads the machine's clock, and tells hv what time it is. Without one, the time counts from 1970.
    pub fn set(handle: &Handle) -> Self {
        let now = seconds_of(read).and_then(|seconds| u64::try_from(seconds).ok());
        let began = now.map_or(0, |now| (now * SECOND).saturating_sub(handle.now()));
        if let Err(refused) = hypercall::set_time(began + handle.now()) {
            event!(Warn, "mgmt.trouble", what = "hv does not take the time of day", why = refused);
        }
        event!(Info, "mgmt.clock", unix = now.unwrap_or_default(), known = now.is_some());
        Self { handle: handle.clone(), began }
    }
}

impl WallClock for Clock {
    fn unix_nanos(&self) -> u64 {
        self.began + self.handle.now()
    }
}

/// A register of the machine's clock: its number to port 0x70, with NMIs let through, its value from 0x71.
fn read(index: u8) -> u8 {
    let value: u8;
    // SAFETY: hv lets this VM have the two ports, and reading the clock changes nothing.
    unsafe {
        asm!("out 0x70, al", "in al, 0x71", inlateout("al") index & 0x7f => value, options(nomem, nostack));
    }
    value
}
