//! Finds a display with the Bochs VBE interface and sets its mode: 1920×1080 on a screen that says it has as
//! much, else 1280×720.
//!
//! QEMU's `VGA`, `secondary-vga` and `bochs-display` and Bochs's own VGA have it. In QEMU the
//! registers are in the function's third base address (QEMU, docs/specs/standard-vga.rst); in
//! Bochs they are ports, and without a PCI display the pixels are at a fixed place (Bochs,
//! iodev/display/vga.h; the interface is described in the VGABIOS's vbe_display_api.txt).

use crate::pci::{self, Config, register};
use hv_abi::boot::{Framebuffer, PixelFormat};
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use x86_64::instructions::port::Port;

/// A television's sizes.
const FULL_HD: Mode = Mode { width: 1920, height: 1080 };
const HD: Mode = Mode { width: 1280, height: 720 };
const BYTES_PER_PIXEL: u16 = 4;

/// Device 1111 of vendor 1234, in QEMU and in Bochs.
const DISPLAY: u32 = 0x1111_1234;
/// Base class of displays. PCI Code and ID Assignment 1.11, 1.4.
const CLASS_DISPLAY: u32 = 0x03;
/// Where Bochs shows the pixels when its display is not on PCI.
const BOCHS_PIXELS: u64 = 0xe000_0000;
/// Base addresses: the pixels, and QEMU's registers.
const BAR_PIXELS: u8 = 0;
const BAR_REGISTERS: u8 = 2;
/// In QEMU's register block: what the screen says of itself (EDID), ports 0x3C0 to 0x3DF, and the VBE registers, 16 bits each.
const EDID_BLOCK: u64 = 0;
const VGA_BLOCK: u64 = 0x400;
const VBE_BLOCK: u64 = 0x500;
/// Bochs: index and data port of the VBE registers.
const VBE_INDEX: u16 = 0x1ce;
const VBE_DATA: u16 = 0x1cf;

/// Pixels a line, and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    width: u16,
    height: u16,
}

/// How an EDID begins. VESA Enhanced EDID Standard, release A revision 2, 3.3.
const EDID_HEADER: [u8; 8] = [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
/// Bytes of it, which add up to zero (3.11), and where the mode that the screen prefers begins (3.10).
const EDID: usize = 128;
const PREFERRED: usize = 54;

/// The mode for a screen that says this of itself.
fn best(edid: &[u8; EDID]) -> Mode {
    let sum = edid.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    // 3.10.2: active pixels and lines in 12 bits, the upper four apart.
    let side = |low: usize, high: usize| {
        u16::from(edid[PREFERRED + low]) | u16::from(edid[PREFERRED + high] >> 4) << 8
    };
    let sound = edid.starts_with(&EDID_HEADER) && sum == 0;
    let large = side(2, 4) >= FULL_HD.width && side(5, 7) >= FULL_HD.height;
    if sound && large { FULL_HD } else { HD }
}

/// A VBE register, by its index.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Vbe {
    Id = 0,
    Width = 1,
    Height = 2,
    BitsPerPixel = 3,
    Enable = 4,
    VirtualWidth = 6,
    OffsetX = 8,
    OffsetY = 9,
    /// Video memory in units of 64 KiB.
    Memory = 10,
}

/// The newest interface version, and the ones before it that know 32 bits a pixel.
const NEWEST_ID: u16 = 0xb0c5;
const OLDEST_ID: u16 = 0xb0c2;
/// [`Vbe::Enable`]: the mode is on.
const ENABLED: u16 = 1 << 0;
/// [`Vbe::Enable`]: width, height and bits a pixel read as the most that can be set.
const MOST: u16 = 1 << 1;
/// [`Vbe::Enable`]: the pixels are one linear range.
const LINEAR: u16 = 1 << 6;

/// VGA registers by port. IBM VGA; also QEMU's register block at the same distance from 0x3C0.
mod vga {
    pub const FIRST: u16 = 0x3c0;
    /// Attribute controller: index, then value, then index again.
    pub const ATTRIBUTE: u16 = 0x3c0;
    /// In the attribute index: the palette is the screen's, so the screen shows something.
    pub const PALETTE_TO_SCREEN: u8 = 1 << 5;
    pub const MISC_OUTPUT: u16 = 0x3c2;
    /// Registers at 0x3Dx, memory answers.
    pub const COLOUR_AND_MEMORY: u8 = 0b11;
    pub const ENABLE: u16 = 0x3c3;
    pub const SEQUENCER_INDEX: u16 = 0x3c4;
    pub const SEQUENCER_DATA: u16 = 0x3c5;
    /// Reading it makes the attribute controller expect an index.
    pub const STATUS: u16 = 0x3da;
}

/// How the registers are reached.
enum Registers {
    Ports,
    Memory(u64),
}

impl Registers {
    fn read(&mut self, which: Vbe) -> u16 {
        match *self {
            // SAFETY: only `find` makes a value, and its caller gives the display to it.
            Self::Ports => unsafe {
                Port::new(VBE_INDEX).write(which as u16);
                Port::new(VBE_DATA).read()
            },
            Self::Memory(base) => {
                let at = base + VBE_BLOCK + 2 * which as u64;
                // SAFETY: as above; the block is in the function's own base address, mapped.
                unsafe { core::ptr::with_exposed_provenance::<u16>(at as usize).read_volatile() }
            }
        }
    }

    fn write(&mut self, which: Vbe, value: u16) {
        match *self {
            // SAFETY: as in `read`.
            Self::Ports => unsafe {
                Port::new(VBE_INDEX).write(which as u16);
                Port::new(VBE_DATA).write(value);
            },
            Self::Memory(base) => {
                let at = base + VBE_BLOCK + 2 * which as u64;
                // SAFETY: as in `read`.
                unsafe { core::ptr::with_exposed_provenance_mut::<u16>(at as usize).write_volatile(value) };
            }
        }
    }

    fn vga_read(&mut self, port: u16) -> u8 {
        match *self {
            // SAFETY: as in `read`.
            Self::Ports => unsafe { Port::new(port).read() },
            Self::Memory(base) => {
                let at = base + VGA_BLOCK + u64::from(port - vga::FIRST);
                // SAFETY: as in `read`.
                unsafe { core::ptr::with_exposed_provenance::<u8>(at as usize).read_volatile() }
            }
        }
    }

    fn vga_write(&mut self, port: u16, value: u8) {
        match *self {
            // SAFETY: as in `read`.
            Self::Ports => unsafe { Port::new(port).write(value) },
            Self::Memory(base) => {
                let at = base + VGA_BLOCK + u64::from(port - vga::FIRST);
                // SAFETY: as in `read`.
                unsafe { core::ptr::with_exposed_provenance_mut::<u8>(at as usize).write_volatile(value) };
            }
        }
    }

    /// The mode for the screen. Bochs has none that says anything of itself.
    fn mode(&self) -> Mode {
        let Self::Memory(base) = *self else { return HD };
        let mut edid = [0; EDID];
        for (at, byte) in (base + EDID_BLOCK..).zip(&mut edid) {
            // SAFETY: as in `read`; the block is 1 KiB long.
            *byte = unsafe { core::ptr::with_exposed_provenance::<u8>(at as usize).read_volatile() };
        }
        best(&edid)
    }

    /// Whether the display can show the mode. Bochs's depends on where it draws, and it stops at
    /// what it can't draw; QEMU's can, and its `bochs-display` has no such question.
    fn can_show(&mut self, mode: Mode) -> bool {
        if matches!(self, Self::Memory(_)) {
            return true;
        }
        self.write(Vbe::Enable, MOST);
        let most = [Vbe::Width, Vbe::Height, Vbe::BitsPerPixel].map(|which| self.read(which));
        self.write(Vbe::Enable, 0);
        most[0] >= mode.width && most[1] >= mode.height && most[2] >= 8 * BYTES_PER_PIXEL
    }

    /// Sets the mode; whether the display took it, and how many bytes of video memory it has.
    fn set_mode(&mut self, mode: Mode) -> Option<u64> {
        self.write(Vbe::Id, NEWEST_ID);
        if !(OLDEST_ID..=NEWEST_ID).contains(&self.read(Vbe::Id)) {
            return None;
        }
        if !self.can_show(mode) {
            return None;
        }
        self.write(Vbe::Enable, 0);
        self.write(Vbe::Width, mode.width);
        self.write(Vbe::Height, mode.height);
        self.write(Vbe::BitsPerPixel, 8 * BYTES_PER_PIXEL);
        self.write(Vbe::Enable, ENABLED | LINEAR);
        self.write(Vbe::VirtualWidth, mode.width);
        self.write(Vbe::OffsetX, 0);
        self.write(Vbe::OffsetY, 0);
        let taken = self.read(Vbe::Width) == mode.width && self.read(Vbe::Height) == mode.height;
        taken.then(|| u64::from(self.read(Vbe::Memory)) << 16)
    }

    /// Makes a VGA show pixels. After reset its screen is blank until firmware has been here;
    /// `bochs-display` has no such registers and ignores it.
    fn unblank(&mut self) {
        self.vga_write(vga::MISC_OUTPUT, vga::COLOUR_AND_MEMORY);
        self.vga_write(vga::ENABLE, 1);
        // Sequencer register 0: neither reset is on. Register 1: 8 dots a character, screen on.
        for (index, value) in [(0, 0b11), (1, 0b01)] {
            self.vga_write(vga::SEQUENCER_INDEX, index);
            self.vga_write(vga::SEQUENCER_DATA, value);
        }
        self.vga_read(vga::STATUS);
        self.vga_write(vga::ATTRIBUTE, vga::PALETTE_TO_SCREEN);
    }
}

fn is_display(config: &mut impl Config, function: pci::Function) -> bool {
    config.read(function, register::CLASS) >> 24 == CLASS_DISPLAY
}

/// Finds a display, sets a mode with 32 bits a pixel, and says where the pixels are.
/// [`Framebuffer::NONE`] if there is none that can do that below 4 GiB.
///
/// # Safety
/// * nobody else may use the PCI configuration ports or a display meanwhile;
/// * base addresses of PCI functions are assigned, and the lowest 4 GiB mapped where they are.
pub unsafe fn find() -> Framebuffer {
    // SAFETY: the caller's promise.
    let mut config = unsafe { pci::Ports::new() };
    let bochs = pci::find(&mut config, |config, at| config.read(at, register::ID) == DISPLAY);
    let (pixels, mut registers) = match bochs {
        Some(function) => {
            let decode = config.read(function, register::COMMAND) as u16;
            let on = decode | pci::command::IO | pci::command::MEMORY;
            config.write16(function, register::COMMAND, on);
            let registers = pci::memory_bar(&mut config, function, BAR_REGISTERS);
            let Some(pixels) = pci::memory_bar(&mut config, function, BAR_PIXELS) else {
                return Framebuffer::NONE;
            };
            (pixels, registers.map_or(Registers::Ports, Registers::Memory))
        }
        // Some other display: its VGA part may answer at the VBE ports, but has its pixels elsewhere.
        None if pci::find(&mut config, is_display).is_some() => return Framebuffer::NONE,
        None => (BOCHS_PIXELS, Registers::Ports),
    };
    let reachable = |base: u64| base < 1 << 32;
    if !reachable(pixels) || matches!(registers, Registers::Memory(base) if !reachable(base)) {
        return Framebuffer::NONE;
    }
    let mode = registers.mode();
    let stride = u32::from(mode.width) * u32::from(BYTES_PER_PIXEL);
    let len = (u64::from(stride) * u64::from(mode.height)).next_multiple_of(PAGE_SIZE);
    match registers.set_mode(mode) {
        Some(memory) if memory >= len => {
            registers.unblank();
            Framebuffer {
                range: PhysRange::new(pixels, len),
                width: mode.width.into(),
                height: mode.height.into(),
                stride,
                format: PixelFormat::BGRX,
            }
        }
        _ => Framebuffer::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An EDID whose screen prefers that.
    fn edid(width: u16, height: u16) -> [u8; EDID] {
        let mut edid = [0; EDID];
        edid[..8].copy_from_slice(&EDID_HEADER);
        let halves = |side: u16| ((side & 0xff) as u8, ((side >> 8) << 4) as u8);
        (edid[PREFERRED + 2], edid[PREFERRED + 4]) = halves(width);
        (edid[PREFERRED + 5], edid[PREFERRED + 7]) = halves(height);
        let sum = edid.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        edid[EDID - 1] = sum.wrapping_neg();
        edid
    }

    #[test]
    fn a_large_screen_has_a_large_picture() {
        for (width, height, mode) in
            [(1920, 1080, FULL_HD), (3840, 2160, FULL_HD), (1280, 800, HD), (1920, 800, HD), (0, 0, HD)]
        {
            assert_eq!(best(&edid(width, height)), mode, "{width}x{height}");
        }
    }

    #[test]
    fn what_is_no_edid_is_not_believed() {
        let mut bent = edid(1920, 1080);
        bent[20] ^= 1;
        assert_eq!(best(&bent), HD);
        assert_eq!(best(&[0xff; EDID]), HD);
        assert_eq!(best(&[0; EDID]), HD);
    }
}
