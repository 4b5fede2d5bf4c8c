//! Where the box's sound goes: a sound card, or nobody.

/// Frames in a second.
pub const RATE: u32 = 48_000;
/// Frames of a period: how often a speaker asks for more, 10 ms.
pub const PERIOD: usize = 480;
/// Frames that are written before they are heard: how late whoever writes may be, 80 ms.
pub const AHEAD: usize = 8 * PERIOD;
/// Nanoseconds of a period.
pub const PERIOD_NANOS: u64 = 10_000_000;

/// What a speaker takes: left and right.
pub type Output = [i16; 2];

/// Something that plays [`RATE`] frames a second. Times are nanoseconds of any clock.
pub trait Speaker {
    /// Begins: silence is heard until something is written.
    fn start(&mut self, now: u64);
    /// Ends at once.
    fn stop(&mut self);
    /// How many frames it takes now, to be [`AHEAD`] again.
    fn room(&mut self, now: u64) -> usize;
    /// Takes frames, as many as there is room for.
    fn write(&mut self, frames: &[Output]);
    /// How often it had played all it was given before it was given more.
    fn dry(&self) -> u64;
    /// Its interrupt has come.
    fn acknowledge(&mut self) {}
}

/// Keeps time where there is no sound card, so that players go on.
#[derive(Debug, Default)]
pub struct Nobody {
    began: u64,
    written: u64,
    dry: u64,
}

/// How many frames are played in so many nanoseconds.
pub(crate) const fn frames(nanos: u64) -> u64 {
    (nanos as u128 * RATE as u128 / 1_000_000_000) as u64
}

impl Speaker for Nobody {
    fn start(&mut self, now: u64) {
        (self.began, self.written) = (now, 0);
    }

    fn stop(&mut self) {}

    fn room(&mut self, now: u64) -> usize {
        let played = frames(now.saturating_sub(self.began));
        if played > self.written {
            self.dry += u64::from(self.written > 0);
            self.written = played;
        }
        // At most `AHEAD`.
        (played + AHEAD as u64 - self.written) as usize
    }

    fn write(&mut self, frames: &[Output]) {
        self.written += frames.len() as u64;
    }

    fn dry(&self) -> u64 {
        self.dry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_as_much_as_a_speaker_would() {
        let mut nobody = Nobody::default();
        nobody.start(5_000_000_000);
        assert_eq!(nobody.room(5_000_000_000), AHEAD);
        nobody.write(&[[0; 2]; AHEAD]);
        assert_eq!(nobody.room(5_000_000_000), 0);
        assert_eq!(nobody.room(5_000_000_000 + PERIOD_NANOS), PERIOD);
        assert_eq!((nobody.room(5_080_000_000), nobody.dry()), (AHEAD, 0));
        assert_eq!((nobody.room(9_000_000_000), nobody.dry()), (AHEAD, 1));
        nobody.start(20_000_000_000);
        assert_eq!((nobody.room(20_000_000_000), nobody.dry()), (AHEAD, 1));
    }
}
