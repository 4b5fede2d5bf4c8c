//! Writing an image to a medium, and reading it back.
//!
//! Every byte of the image is written, zeros too: a hole in a sparse image means zeros, and what
//! was on the medium before means something else.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// What is written, synced, read and compared at a time.
pub(super) const PIECE: usize = 1024 * 1024;

/// At the end of a medium lie backup partition tables and RAID marks of its earlier life, which
/// systems find and believe. This much is overwritten with zeros.
const TAIL: u64 = PIECE as u64;

/// Something to write an image to.
///
/// The implementer sees to it that `read_at` answers from the medium itself, not from memory: a
/// stick that forgets what it was told is what verification is for.
pub(super) trait Medium {
    /// Its length in bytes.
    fn bytes(&self) -> u64;
    /// Writes all of `bytes` at `offset`, and returns when they are on the medium.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Fills `buffer` from `offset`.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// What a stretch of the medium must read as.
pub(super) struct Piece {
    start: u64,
    length: usize,
    digest: [u8; 32],
}

/// Why the medium does not hold the image.
#[derive(Debug)]
pub(super) enum Failure {
    /// The image is longer than the medium.
    TooSmall { medium: u64, image: u64 },
    /// The image file could not be read.
    Image(io::Error),
    /// The medium took no more.
    Write { offset: u64, error: io::Error },
    /// The medium took it, but does not give it back.
    Read { offset: u64, error: io::Error },
    /// It gives something else back.
    Differs { first: u64, end: u64, pieces: usize, all: usize },
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { medium, image } => {
                write!(f, "the medium has {medium} bytes, the image {image}; next: take a larger one")
            }
            Self::Image(error) => {
                write!(f, "cannot read the image: {error}; next: cargo hearth image, then flash again")
            }
            Self::Write { offset, error } => write!(
                f,
                "the medium took nothing at byte {offset}: {error}; next: plug it in anew and try again; if it \
                 fails at the same place, it is worn out or smaller than it says"
            ),
            Self::Read { offset, error } => write!(
                f,
                "the medium could not be read back at byte {offset}: {error}; next: plug it in anew and try \
                 again; if it fails again, take another one"
            ),
            Self::Differs { first, end, pieces, all } => write!(
                f,
                "the medium does not hold what was written: {pieces} of {all} pieces differ, the first between \
                 byte {first} and {end}; next: do not use it as it is; try again, and if it differs again, take \
                 another one"
            ),
        }
    }
}

/// How much there is to write, and to read back, for the progress display.
pub(super) fn work(medium: u64, image: u64) -> u64 {
    image + tail(medium, image).map_or(0, |(_, length)| length as u64)
}

/// Where the last stretch of the medium begins, and its length, if the image leaves one.
fn tail(medium: u64, image: u64) -> Option<(u64, usize)> {
    let start = medium.saturating_sub(TAIL).max(image);
    (start < medium).then(|| (start, (medium - start) as usize))
}

/// Writes `length` bytes of an image, and zeros over the end of the medium. Calls `advance` with
/// the bytes each step wrote.
pub(super) fn write(
    image: &mut impl Read,
    length: u64,
    medium: &mut dyn Medium,
    advance: &mut dyn FnMut(u64),
) -> Result<Vec<Piece>, Failure> {
    let whole = medium.bytes();
    if whole < length {
        return Err(Failure::TooSmall { medium: whole, image: length });
    }
    let mut pieces = Vec::new();
    let mut put = |start: u64, bytes: &[u8]| {
        medium.write_at(start, bytes).map_err(|error| Failure::Write { offset: start, error })?;
        pieces.push(Piece { start, length: bytes.len(), digest: Sha256::digest(bytes).into() });
        advance(bytes.len() as u64);
        Ok(())
    };
    let mut buffer = vec![0; PIECE];
    let mut start = 0;
    while start < length {
        let part = &mut buffer[..PIECE.min((length - start) as usize)];
        image.read_exact(part).map_err(Failure::Image)?;
        put(start, part)?;
        start += part.len() as u64;
    }
    if let Some((start, length)) = tail(whole, length) {
        buffer[..length].fill(0);
        put(start, &buffer[..length])?;
    }
    Ok(pieces)
}

/// Reads everything back and compares it. Goes on after a difference, because how many pieces
/// differ tells a bad spot from a bad medium.
pub(super) fn verify(
    pieces: &[Piece],
    medium: &mut dyn Medium,
    advance: &mut dyn FnMut(u64),
) -> Result<(), Failure> {
    let mut buffer = vec![0; PIECE];
    let mut different = Vec::new();
    for piece in pieces {
        let part = &mut buffer[..piece.length];
        medium.read_at(piece.start, part).map_err(|error| Failure::Read { offset: piece.start, error })?;
        if Sha256::digest(part)[..] != piece.digest {
            different.push(piece);
        }
        advance(piece.length as u64);
    }
    match different.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Differs {
            first: first.start,
            end: first.start + first.length as u64,
            pieces: different.len(),
            all: pieces.len(),
        }),
    }
}
