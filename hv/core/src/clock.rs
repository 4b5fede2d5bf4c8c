//! Time: how a counter of known rate gives the rate of one that is not known.

/// Ticks a second of the ACPI PM timer. ACPI 6.5, 4.8.3.3.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// Ticks a second of the PIT. Intel 8254 data sheet; 14.31818 MHz / 12.
pub const PIT_HZ: u64 = 1_193_182;

/// Ticks that a counter of `bits` bits made from `start` to `now`, if it wrapped at most once.
pub const fn elapsed(start: u32, now: u32, bits: u32) -> u64 {
    let mask = if bits >= 32 { u32::MAX } else { (1 << bits) - 1 };
    (now.wrapping_sub(start) & mask) as u64
}

/// The rate, in ticks a millisecond, of a counter that made `ticks` while a reference of
/// `reference_hz` made `reference_ticks`. `None` when either did not move.
pub const fn rate_khz(ticks: u64, reference_ticks: u64, reference_hz: u64) -> Option<u64> {
    if ticks == 0 || reference_ticks == 0 {
        return None;
    }
    let khz = ticks as u128 * reference_hz as u128 / (reference_ticks as u128 * 1000);
    if khz == 0 || khz > u64::MAX as u128 { None } else { Some(khz as u64) }
}

/// A time stamp counter of known rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tsc {
    khz: u64,
}

impl Tsc {
    /// A counter of `khz` ticks a millisecond; at least 1.
    pub const fn new(khz: u64) -> Self {
        Self { khz: if khz == 0 { 1 } else { khz } }
    }

    /// Ticks a millisecond.
    pub const fn khz(self) -> u64 {
        self.khz
    }

    /// Microseconds that `ticks` take, rounded down.
    pub const fn micros(self, ticks: u64) -> u64 {
        (ticks as u128 * 1000 / self.khz as u128) as u64
    }

    /// Ticks in `nanos`, rounded up.
    pub const fn ticks_of_nanos(self, nanos: u64) -> u64 {
        (nanos as u128 * self.khz as u128).div_ceil(1_000_000) as u64
    }

    /// Ticks in `micros`, rounded up.
    pub const fn ticks(self, micros: u64) -> u64 {
        (micros as u128 * self.khz as u128).div_ceil(1000) as u64
    }
}

/// How many ticks of one counter go into those of another: two rates, without a division each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio(u64);

impl Ratio {
    /// For a counter of `to` ticks while another makes `from`; both in the same unit.
    pub const fn new(to: u64, from: u64) -> Self {
        let ratio = ((to as u128) << 32) / if from == 0 { 1 } else { from } as u128;
        Self(if ratio > u64::MAX as u128 { u64::MAX } else { ratio as u64 })
    }

    /// The ticks that `ticks` of the other are, rounded up: at most one too many in 2³².
    pub const fn of(self, ticks: u64) -> u64 {
        let exact = (ticks as u128 * self.0 as u128) >> 32;
        if exact >= u64::MAX as u128 { u64::MAX } else { exact as u64 + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_may_wrap_once() {
        assert_eq!(elapsed(5, 9, 24), 4);
        assert_eq!(elapsed(0xff_fffe, 1, 24), 3);
        assert_eq!(elapsed(u32::MAX, 0, 32), 1);
        // The bits above a 24-bit counter's width are not part of it.
        assert_eq!(elapsed(0xab00_0005, 0xcd00_0007, 24), 2);
    }

    #[test]
    fn a_rate_is_measured_and_a_dead_counter_noticed() {
        assert_eq!(rate_khz(30_000_000, PM_TIMER_HZ / 100, PM_TIMER_HZ), Some(3_000_037));
        assert_eq!(rate_khz(0, 10, PM_TIMER_HZ), None);
        assert_eq!(rate_khz(10, 0, PM_TIMER_HZ), None);
        assert_eq!(rate_khz(1, u64::MAX, 1), None);
    }

    #[test]
    fn ticks_of_one_counter_become_anothers() {
        let ratio = Ratio::new(62_500, 3_000_000);
        for ticks in [0, 48, 1_000_000, 3_000_000_000] {
            let exact = ticks / 48;
            assert!((exact..=exact + 2).contains(&ratio.of(ticks)), "{ticks}");
        }
        assert_eq!(Ratio::new(u64::MAX, 1).of(u64::MAX), u64::MAX);
        assert!(Ratio::new(5, 0).of(1) >= 5);
    }

    #[test]
    fn ticks_and_microseconds_agree_for_years() {
        let tsc = Tsc::new(3_000_000);
        let ten_years = 10 * 365 * 86_400 * 1_000_000;
        assert_eq!(tsc.micros(tsc.ticks(ten_years)), ten_years);
        assert_eq!(Tsc::new(0).micros(5), 5000);
    }

    #[test]
    fn time_is_never_more_than_has_passed_and_waiting_never_less() {
        let tsc = Tsc::new(3_000_037);
        assert_eq!((tsc.khz(), tsc.micros(3_000_036), tsc.micros(3_000_038)), (3_000_037, 999, 1000));
        assert_eq!(
            (tsc.ticks_of_nanos(0), tsc.ticks_of_nanos(1), tsc.ticks_of_nanos(1_000_000)),
            (0, 4, 3_000_037)
        );
        // A century at 5 GHz, and a counter that was never measured.
        assert_eq!(Tsc::new(5_000_000).micros(u64::MAX), 3_689_348_814_741_910);
        assert_eq!(Tsc::new(0).micros(7), 7000);
    }
}
