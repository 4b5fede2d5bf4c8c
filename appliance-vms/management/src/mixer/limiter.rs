//! What is too loud for the speaker is softer instead of cut off.

use super::Mixed;

/// How much of what is missing of the full loudness comes back in a piece of 10 ms.
const RECOVERY: f32 = 0.02;

/// How the sum of all sound is heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// What soft sound is multiplied by.
    boost: f32,
    /// What no sample is beyond, at most 1.
    ceiling: f32,
}

impl Shape {
    /// As it is.
    pub const PLAIN: Self = Self { boost: 1.0, ceiling: 1.0 };
    /// Loud is softer and soft is louder: 6 dB more, but nothing above -12 dB.
    pub const NIGHT: Self = Self { boost: 2.0, ceiling: 0.25 };
}

/// The limiter. It is at once as soft as it must be, and louder again slowly.
#[derive(Debug)]
pub(super) struct Limiter {
    gain: f32,
}

impl Limiter {
    pub const fn new() -> Self {
        Self { gain: 1.0 }
    }

    /// Shapes a piece.
    pub fn apply(&mut self, shape: Shape, piece: &mut [Mixed]) {
        let peak = piece.as_flattened().iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let most = if peak * shape.boost > shape.ceiling { shape.ceiling / peak } else { shape.boost };
        let from = self.gain.min(most);
        let to = from + (most - from) * RECOVERY;
        let step = (to - from) / piece.len().max(1) as f32;
        let mut gain = from;
        for frame in piece {
            gain += step;
            *frame = frame.map(|sample| sample * gain);
        }
        self.gain = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn loudest(piece: &[Mixed]) -> f32 {
        piece.as_flattened().iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
    }

    #[test]
    fn what_fits_is_not_touched() {
        let mut limiter = Limiter::new();
        let mut piece = vec![[1.0, -1.0]; 480];
        limiter.apply(Shape::PLAIN, &mut piece);
        assert_eq!(piece, vec![[1.0, -1.0]; 480]);
    }

    #[test]
    fn what_is_too_loud_is_softer_at_once_and_comes_back() {
        let mut limiter = Limiter::new();
        let mut piece = vec![[3.0, -4.0]; 480];
        limiter.apply(Shape::PLAIN, &mut piece);
        assert!(loudest(&piece) <= 1.001, "{}", loudest(&piece));
        let mut before = 0.0;
        for _ in 0..500 {
            let mut piece = vec![[0.5, 0.0]; 480];
            limiter.apply(Shape::PLAIN, &mut piece);
            assert!(loudest(&piece) >= before - 1e-4);
            before = loudest(&piece);
        }
        assert!(before > 0.499, "{before}");
    }

    #[test]
    fn at_night_soft_is_louder_and_loud_is_softer() {
        let mut limiter = Limiter::new();
        let heard = |limiter: &mut Limiter, sample| {
            let mut heard = 0.0;
            for _ in 0..500 {
                let mut piece = vec![[sample; 2]; 480];
                limiter.apply(Shape::NIGHT, &mut piece);
                heard = loudest(&piece);
            }
            heard
        };
        assert!((heard(&mut limiter, 0.05) - 0.1).abs() < 0.001);
        assert!((heard(&mut limiter, 1.0) - 0.25).abs() < 0.001);
    }
}
