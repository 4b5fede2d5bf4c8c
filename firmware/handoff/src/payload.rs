//! Checks the payload and unpacks it. Layout and meaning: [`hv_abi::payload`].
#![forbid(unsafe_code)]

use crate::{Refusal, Result};
use hv_abi::boot::IMAGE_FLOOR;
use hv_abi::payload::{Encoding, Header, MAGIC, MAX_MEMORY, Segment, VERSION};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, IntoBytes};

const PAGE: u64 = hv_abi::memory::PAGE_SIZE;
const LARGE_PAGE: u64 = 2 << 20;

/// A payload whose digest and header are sound.
pub struct Payload<'a> {
    header: Header,
    stored: &'a [u8],
}

const fn damaged(what: &'static str) -> Refusal {
    Refusal { what, remedy: "Write the Hearth image to this machine again." }
}

impl<'a> Payload<'a> {
    /// Takes the payload at the start of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    /// A [`Refusal`] that names the first thing that is wrong.
    pub fn check(bytes: &'a [u8]) -> Result<Self> {
        let (header, rest) = Header::read_from_prefix(bytes)
            .map_err(|_| damaged("The Hearth payload is cut short: it ends within its header."))?;
        if header.magic != MAGIC {
            return Err(damaged("There is no Hearth payload where the door looks for it."));
        }
        if header.version != VERSION {
            return Err(Refusal {
                what: "The Hearth payload has another format than this door understands.",
                remedy: "Use a door and a payload from the same Hearth image.",
            });
        }
        let stored = usize::try_from(header.stored_len)
            .ok()
            .and_then(|len| rest.get(..len))
            .ok_or(damaged("The Hearth payload is cut short: it ends before its last byte."))?;
        let mut digest = Sha256::new();
        digest.update(header.without_digest().as_bytes());
        digest.update(stored);
        if digest.finalize()[..] != header.digest {
            return Err(damaged("The Hearth payload is damaged: its checksum is wrong."));
        }
        check_layout(&header).map_err(damaged)?;
        Ok(Self { header, stored })
    }

    /// Bytes of memory the image takes, from its virtual base; whole pages.
    pub fn memory_len(&self) -> u64 {
        self.header.memory_len
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Writes the image to `memory` and clears the rest of it.
    ///
    /// # Errors
    /// A [`Refusal`] when the stored bytes do not unpack to what the header says, or `memory` has
    /// not [`Payload::memory_len`] bytes.
    pub fn unpack(&self, memory: &mut [u8]) -> Result<()> {
        let image_len = self.header.image_len as usize;
        if memory.len() as u64 != self.header.memory_len {
            return Err(damaged("The Hearth payload was given another amount of memory than it asks for."));
        }
        let (image, clear) = memory.split_at_mut(image_len);
        match self.header.encoding {
            Encoding::PLAIN => image.copy_from_slice(self.stored),
            Encoding::DEFLATE => inflate(self.stored, image)?,
            _ => return Err(damaged("The Hearth payload is packed in a way this door does not know.")),
        }
        clear.fill(0);
        Ok(())
    }
}

fn inflate(stored: &[u8], image: &mut [u8]) -> Result<()> {
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = DecompressorOxide::new();
    match decompress(&mut state, stored, image, 0, flags) {
        (TINFLStatus::Done, _, written) if written == image.len() => Ok(()),
        _ => Err(damaged("The Hearth payload does not unpack to what its header says.")),
    }
}

/// The rules that the image builder keeps; a payload that breaks one was not made by it.
fn check_layout(header: &Header) -> core::result::Result<(), &'static str> {
    let Header { image_len, memory_len, virtual_base, entry, .. } = *header;
    if memory_len == 0 || memory_len > MAX_MEMORY || memory_len % PAGE != 0 || image_len > memory_len {
        return Err("The Hearth payload asks for an impossible amount of memory.");
    }
    if header.encoding == Encoding::PLAIN && header.stored_len != image_len {
        return Err("The Hearth payload's stored size differs from its image's size.");
    }
    let last = virtual_base.checked_add(memory_len - 1);
    if virtual_base < IMAGE_FLOOR || virtual_base % LARGE_PAGE != 0 || last.is_none() {
        return Err("The Hearth payload is linked to an address that hv can't run at.");
    }
    let mut free_from = 0;
    let mut entry_is_code = false;
    for Segment { offset, len, rights } in header.segments().copied() {
        let (start, end) = (u64::from(offset), u64::from(offset) + u64::from(len));
        if (start | end) % PAGE != 0 || start < free_from || end > memory_len {
            return Err("The Hearth payload's segments overlap, or lie outside its image.");
        }
        if rights & !(Segment::WRITE | Segment::EXECUTE) != 0 || rights == Segment::WRITE | Segment::EXECUTE {
            return Err("The Hearth payload asks for memory that is both writable and executable.");
        }
        let code = rights & Segment::EXECUTE != 0;
        entry_is_code |= code && (virtual_base + start..virtual_base + end).contains(&entry);
        free_from = end;
    }
    let module_end = header.module_offset.checked_add(header.module_len);
    let module_fits = header.module_offset >= free_from
        && header.module_offset.is_multiple_of(PAGE)
        && module_end.is_some_and(|end| end <= image_len);
    if header.module_len != 0 && !module_fits {
        return Err("The Hearth payload's second program lies outside its image.");
    }
    if entry_is_code { Ok(()) } else { Err("The Hearth payload's entry point is not in its code.") }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;
    use zerocopy::FromZeros;

    const BASE: u64 = IMAGE_FLOOR;

    fn header() -> Header {
        let mut header = Header::new_zeroed();
        header.magic = MAGIC;
        header.version = VERSION;
        header.image_len = 0x1800;
        header.stored_len = 0x1800;
        header.memory_len = 0x3000;
        header.virtual_base = BASE;
        header.entry = BASE + 0x10;
        header.segments[0] = Segment { offset: 0, len: 0x1000, rights: Segment::EXECUTE };
        header.segments[1] = Segment { offset: 0x1000, len: 0x2000, rights: Segment::WRITE };
        header
    }

    fn image() -> Vec<u8> {
        (0..0x1800_u32).map(|at| (at / 7) as u8).collect()
    }

    fn seal(mut header: Header, stored: &[u8]) -> Vec<u8> {
        header.stored_len = stored.len() as u64;
        let mut digest = Sha256::new();
        digest.update(header.without_digest().as_bytes());
        digest.update(stored);
        header.digest.copy_from_slice(&digest.finalize());
        [header.as_bytes(), stored].concat()
    }

    fn refused(bytes: &[u8], word: &str) {
        let why = Payload::check(bytes).err().expect("a refusal");
        assert!(why.what.contains(word), "{why} does not speak of {word}");
    }

    #[test]
    fn plain_and_deflated_unpack_to_the_same_image() {
        let deflated = miniz_oxide::deflate::compress_to_vec(&image(), 6);
        let packed = Header { encoding: Encoding::DEFLATE, ..header() };
        for bytes in [seal(header(), &image()), seal(packed, &deflated)] {
            let payload = Payload::check(&bytes).expect("sound");
            let mut memory = std::vec![0xaa; 0x3000];
            payload.unpack(&mut memory).expect("unpacks");
            assert_eq!(memory[..0x1800], image());
            assert!(memory[0x1800..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let sound = seal(header(), &image());
        for at in (0..sound.len()).step_by(13) {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            assert!(Payload::check(&bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn each_way_to_be_wrong_has_its_sentence() {
        let sound = seal(header(), &image());
        refused(&sound[..100], "within its header");
        refused(&sound[..sound.len() - 1], "before its last byte");
        refused(&[0; 4096], "no Hearth payload");
        let mut flipped = sound.clone();
        flipped[300] ^= 1;
        refused(&flipped, "checksum");
        refused(&seal(Header { version: 9, ..header() }, &image()), "another format");
        refused(&seal(Header { memory_len: u64::MAX, ..header() }, &image()), "amount of memory");
        refused(&seal(Header { virtual_base: 0x20_0000, ..header() }, &image()), "address");
        refused(&seal(Header { entry: BASE + 0x1000, ..header() }, &image()), "entry point");
        let mut both = header();
        both.segments[1].rights = Segment::WRITE | Segment::EXECUTE;
        refused(&seal(both, &image()), "writable and executable");
        let mut outside = header();
        outside.segments[1].len = 0x3000;
        refused(&seal(outside, &image()), "segments");
    }

    #[test]
    fn a_stream_that_unpacks_to_too_little_or_too_much_is_refused() {
        let packed = Header { encoding: Encoding::DEFLATE, ..header() };
        for len in [0x1000, 0x1801] {
            let stream = miniz_oxide::deflate::compress_to_vec(&std::vec![7; len], 6);
            let bytes = seal(packed.clone(), &stream);
            let payload = Payload::check(&bytes).expect("the digest is right");
            assert!(payload.unpack(&mut std::vec![0; 0x3000]).is_err(), "{len}");
        }
    }
}
