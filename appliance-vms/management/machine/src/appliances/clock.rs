//! The time of day, for guests' clocks.

use management::executor::Handle;
use management::models::rtc::WallClock;

/// Time since the box was switched on, counted from 1970: nobody has told the box what time it is.
pub struct SinceStart(pub Handle);

impl WallClock for SinceStart {
    fn unix_nanos(&self) -> u64 {
        self.0.now()
    }
}
