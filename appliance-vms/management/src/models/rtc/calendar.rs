//! Seconds since 1970 as a date, and back: the Gregorian calendar, in both directions of time.

const DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const ERA: i64 = 146_097;
/// Days from 1 March of year 0, where leap days are at the end of years, to 1 January 1970.
const EPOCH: i64 = 719_468;

/// A second of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// 0 to 59.
    pub second: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 1 = Sunday, to 7.
    pub weekday: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 to 12.
    pub month: u8,
    /// Of the common era.
    pub year: i64,
}

impl Moment {
    /// The moment so many seconds after 1970 began; before it, if negative.
    #[allow(clippy::cast_sign_loss)] // remainders of a Euclidean division have no sign
    pub const fn from_unix(seconds: i64) -> Self {
        let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let march = days + EPOCH;
        let (era, day_of_era) = (march.div_euclid(ERA), march.rem_euclid(ERA));
        // Leap days that have been, taken out of the days, leave years of 365.
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // From March on, five months have 153 days.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Self {
            second: (rest % 60) as u8,
            minute: (rest / 60 % 60) as u8,
            hour: (rest / 3600) as u8,
            // 1 January 1970 was a Thursday.
            weekday: ((days + 4).rem_euclid(7) + 1) as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            month: month as u8,
            year: era * 400 + year_of_era + if month <= 2 { 1 } else { 0 },
        }
    }

    /// The seconds from 1970 to it; its day of the week means nothing.
    pub const fn unix(&self) -> i64 {
        let (month, year) = (self.month as i64, self.year - if self.month <= 2 { 1 } else { 0 });
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + self.day as i64 - 1;
        let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * ERA + day_of_era - EPOCH;
        days * DAY + self.hour as i64 * 3600 + self.minute as i64 * 60 + self.second as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: i64) -> (i64, u8, u8, u8) {
        let Moment { year, month, day, weekday, .. } = Moment::from_unix(seconds);
        (year, month, day, weekday)
    }

    #[test]
    fn days_that_are_known() {
        assert_eq!(date(0), (1970, 1, 1, 5));
        assert_eq!(date(-1), (1969, 12, 31, 4));
        assert_eq!(date(951_782_400), (2000, 2, 29, 3));
        assert_eq!(date(4_107_542_400), (2100, 3, 1, 2));
        assert_eq!(date(1_795_564_800), (2026, 11, 25, 4));
    }

    #[test]
    fn every_day_of_a_thousand_years_comes_back_and_follows_the_one_before() {
        let mut before = date(-200 * 365 * DAY);
        for day in -200 * 365 + 1..800 * 365 {
            let seconds = day * DAY + 86_399;
            assert_eq!(Moment::from_unix(seconds).unix(), seconds);
            let now = date(seconds);
            assert!(now > before && now.3 == before.3 % 7 + 1, "{before:?} {now:?}");
            assert!(now.2 == before.2 + 1 || now.2 == 1 && before.2 >= 28);
            before = now;
        }
    }
}
