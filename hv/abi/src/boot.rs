//! [`BootInfo`]: all that hv is told about the machine by the door it came through.

use crate::memory::{MemoryMap, PhysRange};
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First eight bytes of a [`BootInfo`].
pub const MAGIC: [u8; 8] = *b"HEARTHBI";
/// Layout version of [`BootInfo`].
pub const VERSION: u32 = 2;

/// Where physical memory appears while a door hands over, and in hv from then on:
/// virtual address = physical address + this. Readable and writable, never executable.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// The lowest virtual address a payload may be linked at (the top 2 GiB, x86-64 "kernel" code
/// model; System V ABI AMD64 supplement 3.5.1).
pub const IMAGE_FLOOR: u64 = 0xffff_ffff_8000_0000;

/// Which door hv came through. Open: hv prints it and does nothing else with it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Door(pub u32);

impl Door {
    /// Reset vector in flash.
    pub const ROM: Self = Self(1);
    /// EFI application.
    pub const UEFI: Self = Self(2);
    /// ELF with a PVH note.
    pub const PVH: Self = Self(3);
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::ROM => "rom",
            Self::UEFI => "uefi",
            Self::PVH => "pvh",
            _ => "unknown",
        })
    }
}

/// How a pixel lies in memory. Open: an unknown format is not drawn on.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PixelFormat(pub u32);

impl PixelFormat {
    /// 32 bits: blue in bits 0–7, green 8–15, red 16–23.
    pub const BGRX: Self = Self(1);
    /// 32 bits: red in bits 0–7, green 8–15, blue 16–23.
    pub const RGBX: Self = Self(2);
}

/// A linear framebuffer of 32-bit pixels; all zero = none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Framebuffer {
    /// Where the pixels are.
    pub range: PhysRange,
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bytes from one line to the next.
    pub stride: u32,
    /// How a pixel lies.
    pub format: PixelFormat,
}

impl Framebuffer {
    /// No framebuffer.
    pub const NONE: Self =
        Self { range: PhysRange::new(0, 0), width: 0, height: 0, stride: 0, format: PixelFormat(0) };

    /// The framebuffer, if there is one that can be drawn on: a known format, and every line
    /// inside the range.
    pub fn usable(self) -> Option<Self> {
        let line = u64::from(self.width) * 4;
        let bytes = u64::from(self.height) * u64::from(self.stride);
        let known = matches!(self.format, PixelFormat::BGRX | PixelFormat::RGBX);
        let fits = line <= u64::from(self.stride) && bytes <= self.range.len;
        (known && fits && self.width > 0 && self.height > 0).then_some(self)
    }
}

/// Most bytes of a command line.
pub const COMMAND_LINE_MAX: usize = 248;

/// Options for hv, as the door was given them: UTF-8, separated by spaces.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CommandLine {
    len: u64,
    bytes: [u8; COMMAND_LINE_MAX],
}

impl CommandLine {
    /// No options.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; COMMAND_LINE_MAX] };

    /// As much of `text` as fits and is UTF-8, up to a first zero byte; the flag says whether
    /// anything was cut.
    pub fn new(text: &[u8]) -> (Self, bool) {
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let kept = &text[..end.min(COMMAND_LINE_MAX)];
        let valid = match core::str::from_utf8(kept) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let mut line = Self::EMPTY;
        line.bytes[..valid].copy_from_slice(&kept[..valid]);
        line.len = valid as u64;
        (line, valid < end)
    }

    /// The options. Bytes that are not UTF-8 end the line.
    pub fn as_str(&self) -> &str {
        let len = usize::try_from(self.len).unwrap_or(0).min(COMMAND_LINE_MAX);
        match core::str::from_utf8(&self.bytes[..len]) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&self.bytes[..error.valid_up_to()]).unwrap_or(""),
        }
    }
}

/// All that hv is told. The door builds it, hv copies it at entry and checks it.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BootInfo {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// Which door this is.
    pub door: Door,
    /// Time stamp counter when the door's first Rust line ran.
    pub entry_tsc: u64,
    /// Physical address of the ACPI root pointer (ACPI 6.5, 5.2.5); 0 = none.
    pub rsdp: u64,
    /// The block of memory the door gave hv to land in; kind LANDING in the map.
    pub landing: PhysRange,
    /// Where the payload's image lies, at the start of the landing.
    pub image: PhysRange,
    /// The program of the management VM, in the landing after the image; empty = none.
    pub module: PhysRange,
    /// The screen, if the door found one.
    pub framebuffer: Framebuffer,
    /// Options for hv.
    pub command_line: CommandLine,
    /// The machine's memory.
    pub memory: MemoryMap,
}

const _: () = assert!(size_of::<BootInfo>() == 80 + 32 + 256 + size_of::<MemoryMap>());

impl BootInfo {
    /// A `BootInfo` of `door` that knows nothing yet.
    pub const fn new(door: Door, entry_tsc: u64) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            door,
            entry_tsc,
            rsdp: 0,
            landing: PhysRange::new(0, 0),
            image: PhysRange::new(0, 0),
            module: PhysRange::new(0, 0),
            framebuffer: Framebuffer::NONE,
            command_line: CommandLine::EMPTY,
            memory: MemoryMap::new(),
        }
    }

    /// Whether hv can rely on it: magic, version, a lawful memory map, an image inside a landing
    /// that the map knows.
    ///
    /// # Errors
    /// The first promise that is broken, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.magic != MAGIC {
            return Err("the door's BootInfo does not start with its magic");
        }
        if self.version != VERSION {
            return Err("the door speaks another version of BootInfo than hv");
        }
        self.memory.check()?;
        let mut landings = self.memory.of_kind(crate::memory::MemoryKind::LANDING);
        if !landings.any(|range| range.contains(self.landing)) || self.landing.is_empty() {
            return Err("the memory map does not know where hv landed");
        }
        if !self.landing.contains(self.image) || self.image.is_empty() {
            return Err("hv's image lies outside its landing");
        }
        if !self.module.is_empty()
            && (!self.landing.contains(self.module) || self.module.overlaps(self.image))
        {
            return Err("the management VM's program lies outside the landing, or on hv's image");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::memory::MemoryKind;

    fn lawful() -> BootInfo {
        let mut boot = BootInfo::new(Door::ROM, 7);
        boot.landing = PhysRange::new(0x20_0000, 0x20_0000);
        boot.image = PhysRange::new(0x20_0000, 0x8_0000);
        boot.memory.push(PhysRange::new(0, 0x9f000), MemoryKind::USABLE).expect("room");
        boot.memory.push(boot.landing, MemoryKind::LANDING).expect("room");
        boot
    }

    #[test]
    fn a_broken_promise_is_named() {
        assert_eq!(lawful().check(), Ok(()));
        let broken = std::vec![
            ("magic", BootInfo { magic: *b"HEARTHXX", ..lawful() }),
            ("version", BootInfo { version: VERSION + 1, ..lawful() }),
            ("landed", BootInfo { landing: PhysRange::new(0x8000_0000, 0x1000), ..lawful() }),
            ("image", BootInfo { image: PhysRange::new(0x1000, 0x1000), ..lawful() }),
            ("program", BootInfo { module: PhysRange::new(0x27_f000, 0x2000), ..lawful() }),
        ];
        for (word, boot) in broken {
            assert!(boot.check().unwrap_err().contains(word), "{word}");
        }
    }

    #[test]
    fn a_command_line_is_cut_at_its_end_at_a_zero_or_at_nonsense() {
        assert_eq!(CommandLine::new(b"panic=halt\0rest").0.as_str(), "panic=halt");
        assert_eq!(CommandLine::new(b"ok\xff").0.as_str(), "ok");
        let (line, cut) = CommandLine::new(&[b'x'; 300]);
        assert_eq!((line.as_str().len(), cut), (COMMAND_LINE_MAX, true));
        assert!(!CommandLine::new(b"panic=halt\0").1);
    }

    #[test]
    fn a_framebuffer_that_does_not_hold_its_lines_is_not_drawn_on() {
        let good = Framebuffer {
            range: PhysRange::new(0xe000_0000, 1280 * 720 * 4),
            width: 1280,
            height: 720,
            stride: 5120,
            format: PixelFormat::BGRX,
        };
        assert_eq!(good.usable(), Some(good));
        assert_eq!(Framebuffer { height: 721, ..good }.usable(), None);
        assert_eq!(Framebuffer { stride: 5116, ..good }.usable(), None);
        assert_eq!(Framebuffer { format: PixelFormat(9), ..good }.usable(), None);
        assert_eq!(Framebuffer::NONE.usable(), None);
    }
}
