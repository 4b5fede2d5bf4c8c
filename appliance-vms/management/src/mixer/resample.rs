//! From a guest's rate to the speaker's: 44 100 frames a second become 48 000.
//!
//! Between two frames of the input lie 160 places, and the output takes every 147th: for each place there is
//! a filter of 16 taps, a sinc under a Blackman window (J. O. Smith, "Digital Audio Resampling", ccrma).

use super::Mixed;
use crate::speaker::RATE;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::f32::consts::PI;

/// Places between two frames of the input, and frames of it that a frame of the output is made of.
const PLACES: usize = 160;
const TAPS: usize = 16;
/// Of the input's band, this much passes: the rest is where the filter falls.
const PASSES: f32 = 0.94;

/// A filter for each place.
type Filters = [[f32; TAPS]; PLACES];

/// Turns one rate into the other; the sound comes out [`TAPS`]` / 2` frames later.
pub(super) struct Resampler {
    filters: Box<Filters>,
    /// Places from one frame of the output to the next.
    step: usize,
    /// Where the next one is, after the first frame that is kept.
    place: usize,
    kept: Vec<Mixed>,
}

impl Resampler {
    /// For a rate up to the speaker's, of which the fraction is a number of places; `None`: for the
    /// speaker's own, which needs none, or for another one.
    pub fn new(rate: u32) -> Option<Self> {
        let places = u64::from(rate) * PLACES as u64;
        let fits = rate > 0 && rate < RATE && places.is_multiple_of(u64::from(RATE));
        fits.then(|| Self {
            filters: filters(),
            step: (places / u64::from(RATE)) as usize,
            place: 0,
            kept: alloc::vec![[0.0; 2]; TAPS],
        })
    }

    /// How many frames of the input so many of the output take.
    pub fn needs(&self, output: usize) -> usize {
        (self.place + output * self.step) / PLACES
    }

    /// Makes the output of as many frames of the input as it [needs](Resampler::needs).
    pub fn run(&mut self, input: &[Mixed], mut each: impl FnMut(Mixed), output: usize) {
        self.kept.extend_from_slice(input);
        for _ in 0..output {
            let from = self.place / PLACES;
            let around = self.kept.get(from..).unwrap_or_default();
            let mut frame = [0.0; 2];
            for (&[left, right], tap) in around.iter().zip(&self.filters[self.place % PLACES]) {
                frame[0] += left * tap;
                frame[1] += right * tap;
            }
            each(frame);
            self.place += self.step;
        }
        let done = (self.place / PLACES).min(self.kept.len());
        self.kept.drain(..done);
        self.place %= PLACES;
    }
}

/// All places' filters; each leaves a constant as it is.
fn filters() -> Box<Filters> {
    let mut filters = Box::new([[0.0; TAPS]; PLACES]);
    for (place, filter) in filters.iter_mut().enumerate() {
        let middle = (TAPS / 2 - 1) as f32 + place as f32 / PLACES as f32;
        for (at, tap) in filter.iter_mut().enumerate() {
            let distance = at as f32 - middle;
            *tap = sinc(distance * PASSES) * blackman(distance / (TAPS / 2) as f32);
        }
        let sum: f32 = filter.iter().sum();
        for tap in filter.iter_mut() {
            *tap /= sum;
        }
    }
    filters
}

fn sinc(x: f32) -> f32 {
    if x == 0.0 { 1.0 } else { libm::sinf(PI * x) / (PI * x) }
}

/// 1 in the middle, 0 at -1 and at 1 and beyond.
fn blackman(x: f32) -> f32 {
    if x.abs() >= 1.0 { 0.0 } else { 0.42 + 0.5 * libm::cosf(PI * x) + 0.08 * libm::cosf(2.0 * PI * x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sine of `hertz` at `rate`, from frame `from` on.
    fn sine(hertz: f32, rate: f32, from: usize, count: usize) -> Vec<Mixed> {
        let angle = |at: usize| 2.0 * PI * (hertz * at as f32 / rate).fract();
        (from..from + count).map(|at| [libm::sinf(angle(at)), 0.5]).collect()
    }

    #[test]
    fn a_sine_keeps_its_pitch_and_its_height() {
        let mut resampler = Resampler::new(44_100).expect("a rate that fits");
        let (mut from, mut all) = (0, Vec::new());
        // In pieces that are no multiple of anything.
        for count in [480, 1, 479, 333, 480, 7].into_iter().cycle().take(60) {
            let needs = resampler.needs(count);
            resampler.run(&sine(1000.0, 44_100.0, from, needs), |frame| all.push(frame), count);
            from += needs;
        }
        // Frame 0 of the input is TAPS - (TAPS / 2 - 1) frames behind the first that is made.
        let late = (TAPS / 2 + 1) as f32 * 48_000.0 / 44_100.0;
        for (at, frame) in all.iter().enumerate().skip(100) {
            let wanted = libm::sinf(2.0 * PI * (1000.0 * (at as f32 - late) / 48_000.0).fract());
            assert!((frame[0] - wanted).abs() < 0.003, "frame {at} is {} and not {wanted}", frame[0]);
            assert!((frame[1] - 0.5).abs() < 1e-5, "the other side is {}", frame[1]);
        }
        assert_eq!(from, all.len() * 147 / 160, "it takes as much as the rates say");
    }

    #[test]
    fn the_speakers_own_rate_needs_nothing() {
        assert!([0, 44_101, RATE, 96_000].iter().all(|&rate| Resampler::new(rate).is_none()));
    }
}
