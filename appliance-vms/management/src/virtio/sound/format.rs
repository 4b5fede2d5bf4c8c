//! How a guest's samples are in its memory, and what they sound like.

/// Left and right, each with all 32 bits.
pub type Frame = [i32; 2];

/// Most bytes of a frame.
pub(super) const MAX_FRAME: usize = 8;

/// How one sample is stored, little-endian. Others are converted by the guest: its sound library does that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 8 bits, of which 128 is silence.
    U8,
    /// 16 bits.
    S16,
    /// 32 bits.
    S32,
}

/// The formats, by their numbers (virtio 1.2, 5.14.6.6.2, `VIRTIO_SND_PCM_FMT_…`).
const FORMATS: [(u8, Format); 3] = [(4, Format::U8), (5, Format::S16), (17, Format::S32)];
/// Frames in a second, by their numbers (`VIRTIO_SND_PCM_RATE_…`).
const RATES: [(u8, u32); 2] = [(6, 44_100), (7, 48_000)];

/// What a guest plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// How samples are stored.
    pub format: Format,
    /// Frames in a second.
    pub rate: u32,
    /// Samples of a frame: 1 or 2.
    pub channels: u8,
}

impl Params {
    /// By their numbers; `None`: they are not offered.
    pub(super) fn new(format: u8, rate: u8, channels: u8) -> Option<Self> {
        let (_, format) = FORMATS.into_iter().find(|&(number, _)| number == format)?;
        let (_, rate) = RATES.into_iter().find(|&(number, _)| number == rate)?;
        (1..=2).contains(&channels).then_some(Self { format, rate, channels })
    }

    /// Bits for the formats that are offered, and for the rates.
    pub(super) fn offered() -> (u64, u64) {
        let bit = |number: u8| 1u64 << number;
        let formats = FORMATS.iter().fold(0, |bits, &(number, _)| bits | bit(number));
        (formats, RATES.iter().fold(0, |bits, &(number, _)| bits | bit(number)))
    }

    fn sample_bytes(self) -> usize {
        match self.format {
            Format::U8 => 1,
            Format::S16 => 2,
            Format::S32 => 4,
        }
    }

    /// Bytes of a frame, from 1 to [`MAX_FRAME`].
    pub(super) fn frame_bytes(self) -> usize {
        self.sample_bytes() * usize::from(self.channels)
    }

    /// The frame in so many bytes. One channel is heard on both sides.
    pub(super) fn frame(self, bytes: &[u8]) -> Frame {
        let (left, right) = bytes.split_at(self.sample_bytes().min(bytes.len()));
        [self.sample(left), self.sample(if self.channels == 1 { left } else { right })]
    }

    fn sample(self, bytes: &[u8]) -> i32 {
        match (self.format, bytes) {
            (Format::U8, &[byte]) => (i32::from(byte) - 0x80) << 24,
            (Format::S16, &[low, high]) => i32::from(i16::from_le_bytes([low, high])) << 16,
            (Format::S32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_all_bits() {
        let params = |format, channels| Params::new(format, 7, channels).unwrap();
        assert_eq!(params(4, 2).frame(&[0, 0xff]), [i32::MIN, 0x7f00_0000]);
        assert_eq!(params(4, 1).frame(&[0x80]), [0, 0]);
        assert_eq!(params(5, 2).frame(&[0xff, 0x7f, 0, 0x80]), [0x7fff_0000, i32::MIN]);
        assert_eq!(params(5, 1).frame(&[1, 0]), [0x1_0000; 2]);
        assert_eq!(params(17, 2).frame(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), [1, -1]);
        assert_eq!(params(17, 2).frame_bytes(), MAX_FRAME);
        assert_eq!(params(17, 2).frame(&[1, 2, 3]), [0, 0]);
    }

    #[test]
    fn what_is_not_offered_is_not_played() {
        assert_eq!(Params::new(19, 7, 2), None);
        assert_eq!(Params::new(5, 8, 2), None);
        assert_eq!([0, 3, 255].map(|channels| Params::new(5, 6, channels)), [None; 3]);
    }
}
