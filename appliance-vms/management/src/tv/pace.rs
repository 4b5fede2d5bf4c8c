//! When a picture is drawn: as soon as something changes, but no more than sixty times a second.

/// Milliseconds between two pictures at least.
pub const FRAME: u64 = 1000 / 60;
/// Milliseconds between two pictures in a tile at least: it is to be seen that something moves.
pub const GLIMPSE: u64 = 100;
/// Milliseconds of a minute.
const MINUTE: u64 = 60_000;

/// How long the first picture waits for what the house is like, in milliseconds.
pub const PATIENCE: u64 = 2000;

/// Keeps the pace of pictures, and counts how long no key was pressed. Times are milliseconds of any
/// clock.
#[derive(Debug)]
pub struct Pace {
    /// Something is to be seen that is not yet.
    stale: bool,
    /// When the last picture was begun.
    drawn: Option<u64>,
    /// There is no picture before then.
    earliest: u64,
    /// Something moves that is seen in a tile, and when that was last drawn.
    moved: bool,
    glimpsed: Option<u64>,
    /// When a key was last pressed.
    touched: u64,
    /// It was told since then that nobody has.
    idle_told: bool,
}

impl Pace {
    /// Nothing was drawn yet, and nothing is until it is known what the house is like.
    pub const fn new(now: u64) -> Self {
        Self {
            stale: true,
            drawn: None,
            earliest: now + PATIENCE,
            moved: false,
            glimpsed: None,
            touched: now,
            idle_told: false,
        }
    }

    /// It is known what the house is like.
    pub fn known(&mut self) {
        self.earliest = 0;
    }

    /// Something changes.
    pub fn stale(&mut self) {
        self.stale = true;
    }

    /// Something moves that is seen in a tile.
    pub fn moved(&mut self) {
        self.moved = true;
    }

    /// Whether tiles are to be drawn anew; then they are.
    pub fn glimpse(&mut self, now: u64) -> bool {
        let due = self.moved && self.next_glimpse() <= now;
        if due {
            (self.moved, self.glimpsed) = (false, Some(now));
        }
        due
    }

    /// A key was pressed.
    pub fn touched(&mut self, now: u64) {
        (self.touched, self.idle_told) = (now, false);
    }

    /// Whether a picture is due; then it is drawn from now on.
    pub fn draw(&mut self, now: u64) -> bool {
        let due = self.stale && self.next() <= now;
        if due {
            (self.stale, self.drawn) = (false, Some(now));
        }
        due
    }

    /// Whether no key was pressed for so many minutes; told once. 0 minutes are for ever.
    pub fn is_idle(&mut self, minutes: u8, now: u64) -> bool {
        let idle = self.idle_at(minutes).is_some_and(|at| at <= now);
        self.idle_told |= idle;
        idle
    }

    /// When [`Pace::draw`], [`Pace::glimpse`] or [`Pace::is_idle`] has something new to say.
    pub fn deadline(&self, minutes: u8) -> Option<u64> {
        let picture = self.stale.then(|| self.next());
        let glimpse = self.moved.then(|| self.next_glimpse());
        picture.into_iter().chain(glimpse).chain(self.idle_at(minutes)).min()
    }

    fn next(&self) -> u64 {
        self.drawn.map_or(self.earliest, |drawn| drawn + FRAME)
    }

    fn next_glimpse(&self) -> u64 {
        self.glimpsed.map_or(0, |glimpsed| glimpsed + GLIMPSE)
    }

    fn idle_at(&self, minutes: u8) -> Option<u64> {
        (minutes > 0 && !self.idle_told).then(|| self.touched + u64::from(minutes) * MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_keep_their_distance_and_none_is_drawn_for_nothing() {
        let mut pace = Pace::new(0);
        assert_eq!((pace.draw(0), pace.deadline(0)), (false, Some(PATIENCE)));
        pace.known();
        assert_eq!(pace.deadline(0), Some(0));
        assert!(pace.draw(5));
        assert_eq!((pace.draw(100), pace.deadline(0)), (false, None));
        pace.stale();
        assert!(pace.draw(100));
        pace.stale();
        assert_eq!((pace.draw(101), pace.deadline(0)), (false, Some(100 + FRAME)));
        assert!(pace.draw(100 + FRAME));
    }

    #[test]
    fn tiles_are_drawn_ten_times_a_second() {
        let mut pace = Pace::new(0);
        assert!(pace.draw(PATIENCE) && !pace.glimpse(0));
        pace.moved();
        assert!(pace.glimpse(5) && !pace.glimpse(5));
        pace.moved();
        assert_eq!((pace.glimpse(50), pace.deadline(0)), (false, Some(5 + GLIMPSE)));
        assert!(pace.glimpse(5 + GLIMPSE));
        assert_eq!(pace.deadline(0), None);
    }

    #[test]
    fn idleness_is_told_once() {
        let mut pace = Pace::new(0);
        pace.known();
        assert!(pace.draw(0));
        assert!(!pace.is_idle(10, 10 * MINUTE - 1));
        assert_eq!(pace.deadline(10), Some(10 * MINUTE));
        assert!(pace.is_idle(10, 10 * MINUTE));
        assert_eq!((pace.is_idle(10, 99 * MINUTE), pace.deadline(10)), (false, None));
        pace.touched(100 * MINUTE);
        assert_eq!(pace.deadline(10), Some(110 * MINUTE));
        assert_eq!(pace.deadline(0), None, "0 is never");
        assert!(!pace.is_idle(0, u64::MAX));
    }
}
