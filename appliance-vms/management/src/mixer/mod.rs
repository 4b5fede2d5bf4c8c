//! The mixer: what all guests play becomes what the speaker plays.
//!
//! A piece of up to a period is mixed at a time: [`Mixer::begin`], each [`Voice`] by [`Mixer::add`], and
//! [`Mixer::end`].

// Counts of frames and 16-bit samples: whole numbers that a float holds.
#![allow(clippy::cast_precision_loss)]

mod limiter;
mod resample;

pub use limiter::Shape;

use crate::speaker::{Output, PERIOD, RATE};
use crate::virtio::sound::Frame;
use alloc::boxed::Box;
use alloc::vec::Vec;
use limiter::Limiter;
use resample::Resampler;

/// A frame while it is mixed: 1 is as loud as it gets.
type Mixed = [f32; 2];

/// What a volume in percent multiplies sound by: its square, so that each step sounds as large as another.
pub fn gain(percent: u8) -> f32 {
    let share = f32::from(percent.min(100)) / 100.0;
    share * share
}

/// What the mixer knows of a guest that plays.
pub struct Voice {
    rate: u32,
    resampler: Option<Resampler>,
    /// How loud it was at last. It begins softly, so that nothing clicks.
    gain: f32,
}

impl Voice {
    /// A guest that plays so many frames a second, 44 100 or 48 000.
    pub fn new(rate: u32) -> Self {
        Self { rate, resampler: Resampler::new(rate), gain: 0.0 }
    }

    /// Frames in a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// So many frames of the speaker's, in frames of the guest's.
    pub fn scaled(&self, frames: usize) -> u32 {
        (frames as u64 * u64::from(self.rate) / u64::from(RATE)) as u32
    }
}

/// The mixer.
pub struct Mixer {
    sum: Box<[Mixed]>,
    count: usize,
    limiter: Limiter,
    /// What a guest plays.
    raw: Vec<Frame>,
    input: Vec<Mixed>,
}

impl Default for Mixer {
    fn default() -> Self {
        Self::new()
    }
}

impl Mixer {
    /// One that has heard nothing yet.
    pub fn new() -> Self {
        Self {
            sum: alloc::vec![[0.0; 2]; PERIOD].into(),
            count: 0,
            limiter: Limiter::new(),
            raw: Vec::new(),
            input: Vec::new(),
        }
    }

    /// Begins a piece of so many frames, [`PERIOD`] at most.
    pub fn begin(&mut self, frames: usize) {
        self.count = frames.min(PERIOD);
        self.sum.fill([0.0; 2]);
    }

    /// Adds what a guest plays, which `pull` takes from it, by `gain`.
    pub fn add(&mut self, voice: &mut Voice, gain: f32, pull: impl FnOnce(&mut [Frame])) {
        let count = self.count;
        let needs = voice.resampler.as_ref().map_or(count, |resampler| resampler.needs(count));
        self.raw.clear();
        self.raw.resize(needs, [0; 2]);
        pull(&mut self.raw);
        self.input.clear();
        let scale = |sample: i32| sample as f32 / (1_u32 << 31) as f32;
        self.input.extend(self.raw.iter().map(|frame| frame.map(scale)));
        let step = (gain - voice.gain) / count.max(1) as f32;
        let mut now = voice.gain;
        let mut places = self.sum.iter_mut();
        let mut hear = |[left, right]: Mixed| {
            now += step;
            if let Some(place) = places.next() {
                place[0] += left * now;
                place[1] += right * now;
            }
        };
        match &mut voice.resampler {
            None => self.input.iter().copied().for_each(hear),
            Some(resampler) => resampler.run(&self.input, &mut hear, count),
        }
        voice.gain = gain;
    }

    /// The piece, as the speaker takes it.
    pub fn end(&mut self, shape: Shape) -> impl ExactSizeIterator<Item = Output> {
        let piece = &mut self.sum[..self.count];
        self.limiter.apply(shape, piece);
        // A number too large becomes the largest there is.
        piece.iter().map(|frame| frame.map(|sample| libm::roundf(sample * f32::from(i16::MAX)) as i16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(mixer: &mut Mixer, voices: &mut [(&mut Voice, f32, i32)], shape: Shape) -> Vec<Output> {
        mixer.begin(PERIOD);
        for (voice, gain, level) in voices {
            mixer.add(voice, *gain, |frames| frames.fill([*level, -*level]));
        }
        mixer.end(shape).collect()
    }

    #[test]
    fn one_voice_at_full_volume_is_heard_as_it_is() {
        let (mut mixer, mut voice) = (Mixer::new(), Voice::new(RATE));
        // It begins softly.
        let first = play(&mut mixer, &mut [(&mut voice, 1.0, i32::MAX)], Shape::PLAIN);
        assert!(first[0][0] < 100 && first.is_sorted_by_key(|frame| frame[0]), "{:?}", first[0]);
        let then = play(&mut mixer, &mut [(&mut voice, 1.0, 3 << 28)], Shape::PLAIN);
        assert!(then.iter().all(|frame| *frame == [12288, -12288]), "{:?}", then[0]);
    }

    #[test]
    fn two_loud_voices_do_not_overflow() {
        let (mut mixer, mut one, mut other) = (Mixer::new(), Voice::new(RATE), Voice::new(RATE));
        for _ in 0..3 {
            let voices = &mut [(&mut one, 1.0, i32::MAX), (&mut other, 1.0, i32::MAX)];
            let sum = play(&mut mixer, voices, Shape::PLAIN);
            assert!(sum.iter().all(|frame| frame[0] >= 0 && frame[1] <= 0), "a sample wraps");
            assert!(sum[PERIOD - 1][0] > 32_000);
        }
        let voices = &mut [(&mut one, 1.0, i32::MAX / 4), (&mut other, 1.0, i32::MIN / 4)];
        assert!(play(&mut mixer, voices, Shape::PLAIN).iter().all(|frame| *frame == [0, 0]));
    }

    #[test]
    fn volume_is_a_square_and_changes_without_a_step() {
        assert_eq!([0, 50, 100, 255].map(gain).map(f32::to_bits), [0.0, 0.25, 1.0, 1.0].map(f32::to_bits));
        let (mut mixer, mut voice) = (Mixer::new(), Voice::new(RATE));
        play(&mut mixer, &mut [(&mut voice, 1.0, i32::MAX / 2)], Shape::PLAIN);
        let softer = play(&mut mixer, &mut [(&mut voice, gain(0), i32::MAX / 2)], Shape::PLAIN);
        let largest = softer.windows(2).map(|two| two[0][0] - two[1][0]).max();
        assert!(largest.is_some_and(|step| step < 40), "{largest:?}");
        assert_eq!(softer[PERIOD - 1], [0, 0]);
    }

    #[test]
    fn another_rate_takes_as_many_frames_as_it_has() {
        let (mut mixer, mut voice) = (Mixer::new(), Voice::new(44_100));
        let mut taken = 0;
        for _ in 0..100 {
            mixer.begin(PERIOD);
            mixer.add(&mut voice, 1.0, |frames| {
                taken += frames.len();
                frames.fill([3 << 28; 2]);
            });
        }
        assert_eq!((taken, voice.scaled(PERIOD)), (44_100, 441));
        let heard: Vec<Output> = mixer.end(Shape::PLAIN).collect();
        assert_eq!(heard.len(), PERIOD);
        assert!(heard.iter().all(|frame| *frame == [12288; 2]), "{:?}", heard[0]);
    }
}
