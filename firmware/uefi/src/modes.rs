//! Which graphics mode hv gets. UEFI 2.10, 12.9 (Graphics Output Protocol).

use hv_abi::boot::PixelFormat;
use uefi::proto::console::gop::{self, ModeInfo, PixelBitmask};

/// One mode, as far as the choice needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// How a pixel lies; `None` if hv can't draw in this mode.
    pub format: Option<PixelFormat>,
}

/// What to do about the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<T> {
    /// The current mode is good.
    Keep,
    /// This one is better.
    Switch(T),
    /// There is none that can be drawn in.
    Nothing,
}

/// A television's sizes, best first.
const PREFERRED: [(u32, u32); 2] = [(1920, 1080), (1280, 720)];
/// A current mode of at least this is kept: the firmware has seen what the screen can do, and a
/// change of mode costs a second of black.
const ENOUGH: (u32, u32) = (1024, 768);

impl Mode {
    /// A mode as the firmware describes it.
    pub fn new(info: &ModeInfo) -> Self {
        let (width, height) = info.resolution();
        Self { width: width as u32, height: height as u32, format: format(info) }
    }

    const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}

fn format(info: &ModeInfo) -> Option<PixelFormat> {
    match info.pixel_format() {
        gop::PixelFormat::Rgb => Some(PixelFormat::RGBX),
        gop::PixelFormat::Bgr => Some(PixelFormat::BGRX),
        gop::PixelFormat::Bitmask => info.pixel_bitmask().and_then(format_of_mask),
        gop::PixelFormat::BltOnly => None,
    }
}

/// The two masks that say the same as a named format; others are not for hv.
fn format_of_mask(mask: PixelBitmask) -> Option<PixelFormat> {
    match (mask.red, mask.green, mask.blue) {
        (0xff, 0xff00, 0xff_0000) => Some(PixelFormat::RGBX),
        (0xff_0000, 0xff00, 0xff) => Some(PixelFormat::BGRX),
        _ => None,
    }
}

/// Chooses between the current mode and `others`; each of these has a name for the caller.
///
/// A good current mode is kept; else a television's size; else what is current if it can be drawn
/// in at all; else the largest mode that can.
pub fn choose<T: Copy>(current: Mode, others: impl Iterator<Item = (T, Mode)> + Clone) -> Choice<T> {
    let drawable = current.format.is_some();
    if drawable && current.width >= ENOUGH.0 && current.height >= ENOUGH.1 {
        return Choice::Keep;
    }
    let others = others.filter(|(_, mode)| mode.format.is_some());
    let television = PREFERRED.iter().find_map(|&size| others.clone().find(|(_, mode)| mode.size() == size));
    match television {
        Some((name, _)) => Choice::Switch(name),
        None if drawable => Choice::Keep,
        None => {
            let largest = others.max_by_key(|(_, mode)| area(*mode));
            largest.map_or(Choice::Nothing, |(name, _)| Choice::Switch(name))
        }
    }
}

fn area(mode: Mode) -> u64 {
    u64::from(mode.width) * u64::from(mode.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mode(width: u32, height: u32) -> Mode {
        Mode { width, height, format: Some(PixelFormat::BGRX) }
    }

    const fn opaque(width: u32, height: u32) -> Mode {
        Mode { width, height, format: None }
    }

    fn chosen(current: Mode, others: &[Mode]) -> Choice<usize> {
        choose(current, others.iter().copied().enumerate())
    }

    #[test]
    fn a_good_current_mode_is_kept_even_if_a_television_size_exists() {
        assert_eq!(chosen(mode(1280, 800), &[mode(1920, 1080)]), Choice::Keep);
        assert_eq!(chosen(mode(1024, 768), &[mode(1920, 1080)]), Choice::Keep);
    }

    #[test]
    fn a_small_or_opaque_mode_gives_way_to_a_television_size_full_hd_first() {
        let others = [mode(640, 480), mode(1280, 720), mode(1920, 1080), mode(2560, 1440)];
        assert_eq!(chosen(mode(800, 600), &others), Choice::Switch(2));
        assert_eq!(chosen(mode(800, 600), &others[..2]), Choice::Switch(1));
        assert_eq!(chosen(opaque(1920, 1080), &others[..2]), Choice::Switch(1));
    }

    #[test]
    fn without_a_television_size_what_can_be_drawn_in_is_taken() {
        let others = [mode(640, 480), mode(1024, 768), mode(800, 600), opaque(1920, 1080)];
        assert_eq!(chosen(mode(800, 600), &others), Choice::Keep);
        assert_eq!(chosen(opaque(800, 600), &others), Choice::Switch(1));
        assert_eq!(chosen(opaque(800, 600), &others[3..]), Choice::Nothing);
    }

    #[test]
    fn a_mask_is_drawn_in_if_it_is_one_of_the_two_orders() {
        let mask = |red, green, blue| PixelBitmask { red, green, blue, reserved: 0 };
        assert_eq!(format_of_mask(mask(0xff_0000, 0xff00, 0xff)), Some(PixelFormat::BGRX));
        assert_eq!(format_of_mask(mask(0xff, 0xff00, 0xff_0000)), Some(PixelFormat::RGBX));
        assert_eq!(format_of_mask(mask(0xf800, 0x7e0, 0x1f)), None);
    }
}
