//! What a guest's screen says of itself (VESA E-EDID Standard, release A2: structure 1.4).

use super::screen::Mode;

/// Bytes of a block.
pub const BLOCK: usize = 128;
/// Where descriptors are, of 18 bytes each: two timings, name, serial number.
const DESCRIPTORS: usize = 54;
const DESCRIPTOR: usize = 18;
/// Tags of descriptors that are no timings (3.10.3).
const NAME: u8 = 0xfc;
const DUMMY: u8 = 0x10;

/// How a picture comes over the wire, each direction in pixels or lines: shown, dark, dark before the
/// pulse, and the pulse.
struct Timing {
    /// In units of 10 kHz.
    clock: u16,
    horizontal: [u16; 4],
    vertical: [u16; 4],
}

/// 60 pictures a second, as televisions have them (CTA-861, formats 4 and 16).
const fn timing(mode: Mode) -> Timing {
    match mode {
        Mode::Hd => Timing { clock: 7425, horizontal: [1280, 370, 110, 40], vertical: [720, 30, 5, 5] },
        Mode::FullHd => Timing { clock: 14_850, horizontal: [1920, 280, 88, 44], vertical: [1080, 45, 4, 5] },
    }
}

/// A detailed timing (3.10.2); nothing is said of the size of the picture in millimetres.
fn detailed(timing: &Timing) -> [u8; DESCRIPTOR] {
    let [width, dark, before, pulse] = timing.horizontal;
    let [height, dark_lines, lines_before, lines_pulse] = timing.vertical;
    let high = |a: u16, b: u16| (a >> 8 << 4) as u8 | (b >> 8) as u8;
    let mut bytes = [0; DESCRIPTOR];
    bytes[..2].copy_from_slice(&timing.clock.to_le_bytes());
    bytes[2..5].copy_from_slice(&[width as u8, dark as u8, high(width, dark)]);
    bytes[5..8].copy_from_slice(&[height as u8, dark_lines as u8, high(height, dark_lines)]);
    bytes[8..10].copy_from_slice(&[before as u8, pulse as u8]);
    bytes[10] = (lines_before << 4) as u8 | lines_pulse as u8 & 0xf;
    bytes[11] = (before >> 8 << 6 | pulse >> 8 << 4 | lines_before >> 4 << 2 | lines_pulse >> 4) as u8;
    // Progressive, digital separate syncs, both positive.
    bytes[17] = 0x1e;
    bytes
}

/// A descriptor that is no timing, with up to 13 characters.
fn other(tag: u8, text: &[u8]) -> [u8; DESCRIPTOR] {
    let mut bytes = [0; DESCRIPTOR];
    bytes[3] = tag;
    if tag != DUMMY {
        bytes[5..].fill(b' ');
        let end = bytes[5..].iter_mut().zip(text.iter().chain(b"\n"));
        end.for_each(|(byte, &letter)| *byte = letter);
    }
    bytes
}

/// The block of a screen whose best picture is `mode`.
pub fn edid(mode: Mode) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    bytes[1..7].fill(0xff);
    // Manufacturer "HTH", five bits a letter; product 1, no serial number; made in 2025 (3.4).
    let letters = b"HTH".iter().fold(0u16, |all, letter| all << 5 | u16::from(letter & 0x1f));
    bytes[8..10].copy_from_slice(&letters.to_be_bytes());
    bytes[10] = 1;
    bytes[17] = (2025 - 1990) as u8;
    bytes[18..20].copy_from_slice(&[1, 4]);
    // Digital with 8 bits a colour; size not known; gamma 2.2; sRGB, and the first timing is the native
    // one (3.6).
    bytes[20..25].copy_from_slice(&[0xa0, 0, 0, 120, 0x06]);
    // The colours of sRGB (3.7).
    bytes[25..35].copy_from_slice(&[0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54]);
    // 640×480, 800×600 and 1024×768, each 60 times a second (3.8).
    bytes[35..38].copy_from_slice(&[0x21, 0x08, 0]);
    // Standard timings: 1280×720; the others are not used (3.9).
    bytes[38..54].fill(1);
    bytes[38..40].copy_from_slice(&[0x81, 0xc0]);
    let second = match mode {
        Mode::Hd => other(DUMMY, &[]),
        Mode::FullHd => detailed(&timing(Mode::Hd)),
    };
    let descriptors = [detailed(&timing(mode)), second, other(NAME, b"Hearth"), other(DUMMY, &[])];
    let places = bytes[DESCRIPTORS..].chunks_exact_mut(DESCRIPTOR);
    places.zip(descriptors).for_each(|(place, descriptor)| place.copy_from_slice(&descriptor));
    // All bytes add up to nothing (3.11).
    bytes[BLOCK - 1] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_sound() {
        for mode in [Mode::Hd, Mode::FullHd] {
            let bytes = edid(mode);
            assert_eq!(bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)), 0);
            assert_eq!(bytes[..8], [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
            let (low, high) = (u32::from(bytes[56]), u32::from(bytes[58] >> 4));
            let (lines, more) = (u32::from(bytes[59]), u32::from(bytes[61] >> 4));
            assert_eq!((low | high << 8, lines | more << 8), mode.size());
        }
    }

    #[test]
    fn timings_are_the_ones_of_televisions() {
        for (mode, total) in [(Mode::Hd, 1650 * 750), (Mode::FullHd, 2200 * 1125)] {
            let Timing { clock, horizontal, vertical } = timing(mode);
            let all = u32::from(horizontal[0] + horizontal[1]) * u32::from(vertical[0] + vertical[1]);
            assert_eq!((all, u32::from(clock) * 10_000 / all), (total, 60));
        }
        // CTA-861 formats as other makers' screens have them.
        let full = [0x02, 0x3a, 0x80, 0x18, 0x71, 0x38, 0x2d, 0x40, 0x58, 0x2c, 0x45, 0, 0, 0, 0, 0, 0, 0x1e];
        assert_eq!(edid(Mode::FullHd)[54..72], full);
        let half = [0x01, 0x1d, 0, 0x72, 0x51, 0xd0, 0x1e, 0x20, 0x6e, 0x28, 0x55, 0, 0, 0, 0, 0, 0, 0x1e];
        assert_eq!(edid(Mode::Hd)[54..72], half);
        assert_eq!(edid(Mode::FullHd)[72..90], half);
        assert_eq!(&edid(Mode::Hd)[90..108], b"\0\0\0\xfc\0Hearth\n      ");
    }
}
