//! What the television counts of itself, so that it can be told how well it keeps up. Times are nanoseconds of
//! any clock.

use ui::tv::VmId;

/// How long a guest is watched before it is told what was seen of it, and how long each time after.
const TELL: u64 = 10_000_000_000;

/// A movement of the interface that a key has set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Motion {
    /// Pictures.
    pub frames: u32,
    /// From the first one to the last one.
    pub span: u64,
    /// The longest time between two of them.
    pub longest: u64,
    /// The longest time from a key to the next picture.
    pub answer: u64,
}

/// A while of a guest's picture on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Whose.
    pub vm: VmId,
    /// How many different pictures.
    pub frames: u32,
    /// How long.
    pub span: u64,
}

/// Counts pictures.
#[derive(Debug, Default)]
pub struct Record {
    /// The first key that no picture has followed yet.
    asked: Option<u64>,
    /// What moves, and when its last picture was there.
    motion: Option<(Motion, u64)>,
    /// What is watched, and since when.
    watched: Option<(Watched, u64)>,
}

impl Record {
    /// A key changes what is to be seen.
    pub fn key(&mut self, now: u64) {
        self.asked.get_or_insert(now);
    }

    /// A picture of the interface is on the screen, another one than before.
    pub fn drawn(&mut self, now: u64) {
        let answer = self.asked.take().map(|asked| now.saturating_sub(asked));
        if let Some((motion, last)) = &mut self.motion {
            let since = now.saturating_sub(*last);
            motion.frames += 1;
            motion.span += since;
            motion.longest = motion.longest.max(since);
            motion.answer = motion.answer.max(answer.unwrap_or_default());
            *last = now;
        } else if let Some(answer) = answer {
            self.motion = Some((Motion { frames: 1, span: 0, longest: 0, answer }, now));
        }
    }

    /// Nothing moves by itself any more: how it went, if a key has set it off.
    pub fn still(&mut self) -> Option<Motion> {
        self.motion.take().map(|(motion, _)| motion)
    }

    /// A guest's picture is on the screen, or (`None`) none is. What is to be told of a guest now.
    pub fn watched(&mut self, vm: Option<VmId>, now: u64) -> Option<Watched> {
        let before = self.watched.take();
        let told = before.and_then(|(mut watched, since)| {
            let stays = vm == Some(watched.vm);
            watched.frames += u32::from(stays);
            watched.span = now.saturating_sub(since);
            if stays && watched.span < TELL {
                self.watched = Some((watched, since));
                return None;
            }
            Some(watched)
        });
        if self.watched.is_none() {
            self.watched = vm.map(|vm| (Watched { vm, frames: 0, span: 0 }, now));
        }
        told.filter(|watched| watched.frames > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_movement_is_told_when_it_ends() {
        let mut record = Record::default();
        record.drawn(5);
        assert_eq!(record.still(), None, "no key has set that off");
        record.key(100);
        record.key(108);
        record.drawn(110);
        record.drawn(130);
        record.key(131);
        record.drawn(145);
        assert_eq!(record.still(), Some(Motion { frames: 3, span: 35, longest: 20, answer: 14 }));
        record.key(200);
        record.drawn(203);
        assert_eq!(record.still(), Some(Motion { frames: 1, span: 0, longest: 0, answer: 3 }));
        assert_eq!(record.still(), None);
    }

    #[test]
    fn what_is_watched_is_told_from_time_to_time_and_at_its_end() {
        let (one, other) = (VmId(1), VmId(2));
        let mut record = Record::default();
        assert_eq!(record.watched(Some(one), 0), None);
        assert_eq!(record.watched(Some(one), 5), None);
        assert_eq!(record.watched(Some(one), TELL), Some(Watched { vm: one, frames: 2, span: TELL }));
        assert_eq!(record.watched(Some(one), TELL + 4), None);
        let end = Some(Watched { vm: one, frames: 1, span: 6 });
        assert_eq!(record.watched(Some(other), TELL + 6), end);
        assert_eq!(record.watched(None, TELL + 7), None, "nothing was new");
        assert_eq!(record.watched(None, TELL + 8), None);
    }
}
