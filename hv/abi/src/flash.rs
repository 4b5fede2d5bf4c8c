//! The flash directory: where the parts of `hearth.rom` lie.
//!
//! The image builder writes it, the rom door's first instructions read it. It sits at a fixed
//! place below the reset vector, because nothing else is known at power-on.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First eight bytes of the directory.
pub const MAGIC: [u8; 8] = *b"HEARTHFL";
/// Most bytes of `hearth.rom`.
pub const MAX_ROM: u64 = 2 << 20;
/// Physical address of the directory. The reset vector is at `0xffff_fff0`
/// (Intel SDM volume 3, 10.1.4; AMD APM volume 2, 14.1.3).
pub const DIRECTORY_ADDRESS: u32 = 0xffff_ff80;

/// Where the parts are, as physical addresses below 4 GiB where flash is mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Directory {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// First byte of flash.
    pub rom_base: u32,
    /// Bytes of flash.
    pub rom_len: u32,
    /// The door's program, a flat image, in flash.
    pub door_base: u32,
    /// Its bytes; a multiple of 4.
    pub door_len: u32,
    /// Where in RAM it is linked to run.
    pub door_ram: u32,
    /// Its entry point, 64-bit code, in RAM.
    pub door_entry: u32,
    /// Bytes of RAM to clear after it (its `.bss`); a multiple of 4.
    pub door_clear: u32,
    /// The payload's header ([`crate::payload::Header`]), in flash.
    pub payload_base: u32,
    /// Bytes of header and stored image.
    pub payload_len: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Directory>() == 48);
const _: () = assert!(DIRECTORY_ADDRESS as u64 + size_of::<Directory>() as u64 <= 0xffff_fff0);
