//! A guest's pictures: pixels that we keep, and where in the guest's memory they come from.

use super::layout::{ENTRY, Refusal};
use super::screen::Rect;
use crate::memory::GuestMemory;
use crate::virtio::ring::{Buffers, Fault};
use alloc::vec;
use alloc::vec::Vec;

/// Longest side of a picture: a row of it is copied at once.
const MAX_SIDE: u32 = 4096;
/// Most pieces that one picture lies in: QEMU's limit, which Linux lives with.
const MAX_PIECES: u32 = 16384;
/// What a picture costs beside pixels and pieces, in bytes.
const OVERHEAD: usize = 256;
/// Bytes of a pixel, in all formats.
const PIXEL: usize = 4;
/// What a piece costs beside its bytes when it is copied, in bytes.
const PIECE_COST: usize = 64;

/// Where a pixel's colours are in its four bytes, by the first bit of each in a little-endian word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    colours: [u8; 3],
    alpha: Option<u8>,
}

impl Format {
    /// The format with that number (`enum virtio_gpu_formats`), in order of the bytes in memory.
    fn new(number: u32) -> Option<Self> {
        let (colours, alpha) = match number {
            1 => ([16, 8, 0], Some(24)),   // B8G8R8A8
            2 => ([16, 8, 0], None),       // B8G8R8X8
            3 => ([8, 16, 24], Some(0)),   // A8R8G8B8
            4 => ([8, 16, 24], None),      // X8R8G8B8
            67 => ([0, 8, 16], Some(24)),  // R8G8B8A8
            68 => ([24, 16, 8], None),     // X8B8G8R8
            121 => ([24, 16, 8], Some(0)), // A8B8G8R8
            134 => ([0, 8, 16], None),     // R8G8B8X8
            _ => return None,
        };
        Some(Self { colours, alpha })
    }

    /// Makes pixels of a row's bytes. What Linux draws has our order: its rows are nearly copied.
    fn convert(self, from: &[[u8; PIXEL]], row: &mut [u32]) {
        let opaque = if self.alpha.is_some() { 0 } else { 0xff << 24 };
        if matches!(self, Self { colours: [16, 8, 0], .. }) {
            for (pixel, &bytes) in row.iter_mut().zip(from) {
                *pixel = u32::from_le_bytes(bytes) | opaque;
            }
        } else {
            for (pixel, &bytes) in row.iter_mut().zip(from) {
                *pixel = self.pixel(bytes);
            }
        }
    }

    /// The pixel as 0xAARRGGBB.
    fn pixel(self, bytes: [u8; PIXEL]) -> u32 {
        let word = u32::from_le_bytes(bytes);
        let [red, green, blue] = self.colours.map(|shift| word >> shift & 0xff);
        let alpha = self.alpha.map_or(0xff, |shift| word >> shift & 0xff);
        alpha << 24 | red << 16 | green << 8 | blue
    }
}

/// A piece of a guest's memory, and how many bytes of the picture are before it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    before: u64,
    address: u64,
    len: u32,
}

/// A picture.
#[derive(Debug)]
pub(super) struct Resource {
    format: Format,
    pub width: u32,
    pub height: u32,
    pixels: Vec<u32>,
    pieces: Vec<Piece>,
}

/// A copy that is on its way, row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    rect: Rect,
    /// Where the next row begins in the guest's memory of the picture.
    offset: u64,
    done: u32,
}

impl Resource {
    /// A black picture that costs at most `budget` bytes.
    pub fn new(format: u32, width: u32, height: u32, budget: usize) -> Result<Self, Refusal> {
        let format = Format::new(format).ok_or(Refusal::Parameter)?;
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(Refusal::Parameter);
        }
        let count = width as usize * height as usize;
        let mut pixels = Vec::new();
        if count * PIXEL + OVERHEAD > budget || pixels.try_reserve_exact(count).is_err() {
            return Err(Refusal::Memory);
        }
        pixels.resize(count, 0);
        Ok(Self { format, width, height, pixels, pieces: Vec::new() })
    }

    /// Bytes of the guest's budget that it costs.
    pub fn cost(&self) -> usize {
        self.pixels.len() * PIXEL + self.pieces.len() * size_of::<Piece>() + OVERHEAD
    }

    /// All pixels, as 0xAARRGGBB, row by row.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// Notes where the picture is in the guest's memory: `count` entries, which may cost `budget` bytes.
    ///
    /// # Errors
    /// [`Fault::NotRam`]; inside, a refusal.
    pub fn attach(
        &mut self,
        count: u32,
        entries: &Buffers,
        memory: &dyn GuestMemory,
        budget: usize,
    ) -> Result<Result<(), Refusal>, Fault> {
        if count == 0 || count > MAX_PIECES || !self.pieces.is_empty() {
            return Ok(Err(Refusal::Parameter));
        }
        let count = count as usize;
        if count * size_of::<Piece>() > budget {
            return Ok(Err(Refusal::Memory));
        }
        let mut bytes = vec![0; count * ENTRY];
        if entries.read(memory, &mut bytes)? < bytes.len() {
            return Ok(Err(Refusal::Parameter));
        }
        let (entries, _) = bytes.as_chunks::<ENTRY>();
        let mut before = 0;
        self.pieces.reserve_exact(count);
        for &entry in entries {
            let all = u128::from_le_bytes(entry);
            let (address, len) = (all as u64, (all >> 64) as u32);
            if len > 0 {
                self.pieces.push(Piece { before, address, len });
                before += u64::from(len);
            }
        }
        Ok(Ok(()))
    }

    /// Forgets it; how many bytes less the picture costs.
    pub fn detach(&mut self) -> usize {
        let before = self.cost();
        self.pieces = Vec::new();
        before - self.cost()
    }

    /// A copy of `rect` from the guest's memory, whose first pixel is `offset` bytes into that. All of it
    /// must be there.
    pub fn copy(&self, rect: Rect, offset: u64) -> Result<Copy, Refusal> {
        let there = self.pieces.last().map_or(0, |piece| piece.before + u64::from(piece.len));
        if !rect.is_within(self.width, self.height) {
            return Err(Refusal::Parameter);
        }
        if rect.is_empty() {
            return Ok(Copy { rect: Rect::default(), offset: 0, done: 0 });
        }
        let rows = self.stride() * u64::from(rect.height - 1);
        let needed = offset.checked_add(rows + u64::from(rect.width) * PIXEL as u64);
        let enough = needed.is_some_and(|needed| needed <= there);
        enough.then_some(Copy { rect, offset, done: 0 }).ok_or(Refusal::Parameter)
    }

    /// Bytes of a row in the guest's memory.
    fn stride(&self) -> u64 {
        u64::from(self.width) * PIXEL as u64
    }

    /// Goes on with a copy as long as work is `left`; whether it is done.
    ///
    /// # Errors
    /// [`Fault::NotRam`].
    pub fn go_on(
        &mut self,
        copy: &mut Copy,
        memory: &dyn GuestMemory,
        left: &mut usize,
    ) -> Result<bool, Fault> {
        let mut bytes = vec![0; copy.rect.width as usize * PIXEL];
        while copy.done < copy.rect.height {
            if *left == 0 {
                return Ok(false);
            }
            let pieces = self.read(copy.offset, memory, &mut bytes)?;
            *left = left.saturating_sub(bytes.len() + pieces * PIECE_COST);
            let first = (copy.rect.y + copy.done) as usize * self.width as usize + copy.rect.x as usize;
            let (from, _) = bytes.as_chunks::<PIXEL>();
            self.format.convert(from, self.pixels.get_mut(first..).unwrap_or_default());
            copy.offset = copy.offset.saturating_add(self.stride());
            copy.done += 1;
        }
        Ok(true)
    }

    /// Reads from the guest's memory of the picture; from how many pieces.
    fn read(&self, mut offset: u64, memory: &dyn GuestMemory, into: &mut [u8]) -> Result<usize, Fault> {
        let first = self.pieces.partition_point(|piece| piece.before + u64::from(piece.len) <= offset);
        let (mut done, mut count) = (0, 0);
        for piece in self.pieces.get(first..).unwrap_or_default() {
            let within = offset.saturating_sub(piece.before);
            let part = (into.len() - done).min((u64::from(piece.len) - within) as usize);
            if part == 0 {
                break;
            }
            memory.read(piece.address.wrapping_add(within), &mut into[done..done + part])?;
            done += part;
            offset += part as u64;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_its_colours() {
        // Alpha or nothing, red, green, blue.
        let (a, r, g, b) = (0x80, 0x11, 0x22, 0x33);
        for (number, bytes, alpha) in [
            (1, [b, g, r, a], true),
            (2, [b, g, r, a], false),
            (3, [a, r, g, b], true),
            (4, [a, r, g, b], false),
            (67, [r, g, b, a], true),
            (68, [a, b, g, r], false),
            (121, [a, b, g, r], true),
            (134, [r, g, b, a], false),
        ] {
            let mut row = [0; 2];
            Format::new(number).unwrap().convert(&[bytes], &mut row);
            assert_eq!(row, [if alpha { 0x8011_2233 } else { 0xff11_2233 }, 0], "{number}");
        }
        assert_eq!([0, 5, 66, 135, u32::MAX].map(Format::new), [None; 5]);
    }
}
