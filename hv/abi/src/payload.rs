//! The payload: hv and the management VM as one checked, possibly compressed memory image.
//!
//! The image builder makes it from ELF files, so a door needs no ELF parser: it checks the digest,
//! unpacks the image straight to where it will run, clears the rest, and maps the segments.
//!
//! ```text
//! Header (256 bytes) | stored bytes (image, plain or deflated)
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First eight bytes of a payload.
pub const MAGIC: [u8; 8] = *b"HEARTHPL";
/// Layout version of [`Header`].
pub const VERSION: u32 = 2;
/// Most segments of an image.
pub const MAX_SEGMENTS: usize = 8;
/// Most bytes a payload may take in memory.
pub const MAX_MEMORY: u64 = 64 << 20;

/// How the image is stored. Open: an unknown encoding is refused.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Encoding(pub u32);

impl Encoding {
    /// As it is.
    pub const PLAIN: Self = Self(0);
    /// Raw deflate stream (RFC 1951).
    pub const DEFLATE: Self = Self(1);
}

/// A run of whole pages of the image with one set of rights.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Segment {
    /// Bytes from the start of the image; a multiple of 4096.
    pub offset: u32,
    /// Bytes; a multiple of 4096; 0 = the entry is not used.
    pub len: u32,
    /// [`Segment::WRITE`] | [`Segment::EXECUTE`]; never both. Always readable.
    pub rights: u32,
}

impl Segment {
    /// May be written.
    pub const WRITE: u32 = 1;
    /// May be executed.
    pub const EXECUTE: u32 = 2;
}

/// What precedes the stored bytes.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// How the image is stored.
    pub encoding: Encoding,
    /// Bytes after the header.
    pub stored_len: u64,
    /// Bytes of the image once unpacked.
    pub image_len: u64,
    /// Bytes of memory the image takes when it runs, zero-filled after `image_len`; whole pages.
    pub memory_len: u64,
    /// Virtual address the image is linked at; 2 MiB aligned.
    pub virtual_base: u64,
    /// Virtual address of the entry point.
    pub entry: u64,
    /// SHA-256 (FIPS 180-4) of this header with `digest` all zero, then of the stored bytes.
    pub digest: [u8; 32],
    /// The rights of each part, lowest first.
    pub segments: [Segment; MAX_SEGMENTS],
    /// Product version, ASCII, zero-filled.
    pub product: [u8; 16],
    /// Bytes from the start of the image to the module, which no segment maps: the program of the
    /// management VM, a payload of its own (plain); a multiple of 4096.
    pub module_offset: u64,
    /// Bytes of the module; 0 = none.
    pub module_len: u64,
    /// Zero.
    pub reserved: [u8; 40],
}

const _: () = assert!(size_of::<Header>() == 256);

impl Header {
    /// The segments in use.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.len != 0)
    }

    /// Bytes of memory before the module: what the segments lie in.
    pub const fn program_len(&self) -> u64 {
        if self.module_len == 0 { self.memory_len } else { self.module_offset }
    }

    /// The header as it is hashed: with its own digest left out.
    #[must_use]
    pub fn without_digest(&self) -> Self {
        Self { digest: [0; 32], ..self.clone() }
    }
}
