//! What a box has played: QEMU's `-audiodev wav`, two channels of 16 bits.

// Frames of an hour are whole numbers in a double by far.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use anyhow::{Context, Result, ensure};

/// Bytes before the sound (RIFF, "fmt " and "data" as QEMU writes them).
const HEADER: usize = 44;
/// Sound that is softer than this is silence.
const SILENCE: i16 = 8;

/// Recorded sound, its left side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wav {
    /// Frames in a second.
    pub rate: u32,
    /// Samples.
    pub samples: Vec<i16>,
}

/// A part of it that is not silent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// Seconds from its first sample to its last.
    pub seconds: f64,
    /// Waves in a second.
    pub hertz: f64,
    /// The loudest sample.
    pub peak: i16,
    /// Waves that were shorter or longer than the others by more than three frames: a gap, or a jump.
    pub broken: usize,
}

impl Wav {
    /// Reads a file's bytes. While QEMU still writes, the header's lengths are not known yet: all that follows is
    /// sound.
    ///
    /// # Errors
    /// It is another kind of file.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let (header, sound) = bytes.split_at_checked(HEADER).context("it is too short")?;
        ensure!(header.starts_with(b"RIFF") && header[8..16] == *b"WAVEfmt ", "it is no WAV file");
        ensure!((header[22], header[34]) == (2, 16), "it is not of two channels of 16 bits");
        let rate = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
        let samples = sound.as_chunks::<4>().0.iter().map(|frame| i16::from_le_bytes([frame[0], frame[1]]));
        Ok(Self { rate, samples: samples.collect() })
    }

    /// The sound between two silences of at least so many seconds, in order.
    pub fn tones(&self, silence: f64) -> Vec<Tone> {
        let pause = (silence * f64::from(self.rate)) as usize;
        let mut tones = Vec::new();
        let mut heard: Option<(usize, usize)> = None;
        for (at, _) in self.samples.iter().enumerate().filter(|(_, sample)| sample.abs() > SILENCE) {
            heard = match heard {
                Some((first, last)) if at - last < pause => Some((first, at)),
                before => {
                    tones.extend(before);
                    Some((at, at))
                }
            };
        }
        tones.extend(heard);
        tones.into_iter().map(|(first, last)| self.tone(first, last)).collect()
    }

    fn tone(&self, first: usize, last: usize) -> Tone {
        let part = &self.samples[first..=last];
        // Where it goes from below zero to above: once a wave.
        let rises: Vec<usize> = part
            .windows(2)
            .enumerate()
            .filter(|(_, two)| two[0] < 0 && two[1] >= 0)
            .map(|(at, _)| at)
            .collect();
        let span = rises.last().zip(rises.first()).map_or(0, |(last, first)| last - first);
        let waves = rises.len().saturating_sub(1);
        let usual = span as f64 / waves.max(1) as f64;
        let broken = rises.windows(2).filter(|two| ((two[1] - two[0]) as f64 - usual).abs() > 3.0).count();
        Tone {
            seconds: part.len() as f64 / f64::from(self.rate),
            hertz: f64::from(self.rate) / usual.max(1.0),
            peak: part.iter().copied().map(i16::saturating_abs).max().unwrap_or(0),
            broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a second of a sine of 480 Hz between silences.
    fn recorded() -> Wav {
        let sine = |at: usize| (f64::from(at as u32) * std::f64::consts::TAU / 100.0).sin() * 10_000.0;
        let mut samples = vec![0; 5000];
        samples.extend((0..24_000).map(|at| sine(at) as i16));
        samples.extend([0; 5000]);
        Wav { rate: 48_000, samples }
    }

    #[test]
    fn a_tone_is_measured() {
        let tones = recorded().tones(0.05);
        assert_eq!(tones.len(), 1);
        assert!((tones[0].seconds - 0.5).abs() < 0.001 && (tones[0].hertz - 480.0).abs() < 0.1, "{tones:?}");
        assert_eq!((tones[0].peak, tones[0].broken), (10_000, 0));
    }

    #[test]
    fn a_gap_breaks_it() {
        let mut wav = recorded();
        wav.samples[15_000..15_020].fill(0);
        wav.samples.drain(12_000..12_040);
        assert!(wav.tones(0.05)[0].broken > 0);
        wav.samples[15_000..18_000].fill(0);
        assert_eq!(wav.tones(0.05).len(), 2);
    }

    #[test]
    fn only_what_qemu_writes_is_read() {
        let mut bytes = vec![0; HEADER];
        bytes[..4].copy_from_slice(b"RIFF");
        bytes[8..16].copy_from_slice(b"WAVEfmt ");
        (bytes[22], bytes[34], bytes[24], bytes[25]) = (2, 16, 0x80, 0xbb);
        bytes.extend([1, 0, 9, 9, 0xff, 0xff, 9]);
        assert_eq!(Wav::new(&bytes).expect("a file"), Wav { rate: 48_000, samples: vec![1] });
        bytes[22] = 1;
        assert!(Wav::new(&bytes).is_err() && Wav::new(b"RIFF").is_err());
    }
}
