//! Writing and reading back on media that fail in the ways media do.

use std::io;

use crate::flash::copy::{Failure, Medium, PIECE, Piece, verify, work, write};

const MIB: usize = 1024 * 1024;

/// A medium in memory, full of old data, with faults.
struct Fake {
    bytes: Vec<u8>,
    /// Writes that reach this offset fail, though the medium says that it is longer.
    ends: Option<u64>,
    /// Reads that touch this offset fail.
    unreadable: Option<u64>,
    /// Takes writes and forgets them.
    forgets: bool,
}

impl Fake {
    fn new(bytes: usize) -> Self {
        Self { bytes: vec![0xa5; bytes], ends: None, unreadable: None, forgets: false }
    }
}

impl Medium for Fake {
    fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if self.ends.is_some_and(|ends| end > ends) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if !self.forgets {
            self.bytes[offset as usize..end as usize].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if self.unreadable.is_some_and(|bad| (offset..end).contains(&bad)) {
            return Err(io::Error::other("medium error"));
        }
        buffer.copy_from_slice(&self.bytes[offset as usize..end as usize]);
        Ok(())
    }
}

/// Two pieces and a bit, with zeros in the middle.
fn image() -> Vec<u8> {
    let mut image: Vec<u8> = (0..2 * PIECE + 3 * 512).map(|i| (i / 7) as u8 | 1).collect();
    image[PIECE - 1000..PIECE + 100_000].fill(0);
    image
}

fn put(medium: &mut Fake) -> Result<Vec<Piece>, Failure> {
    let image = image();
    let mut done = 0;
    let total = work(medium.bytes(), image.len() as u64);
    let pieces = write(&mut &image[..], image.len() as u64, medium, &mut |bytes| done += bytes)?;
    assert_eq!(done, total);
    Ok(pieces)
}

fn check(pieces: &[Piece], medium: &mut Fake) -> Result<(), Failure> {
    verify(pieces, medium, &mut |_| ())
}

#[test]
fn the_image_is_there_zeros_too_and_the_old_end_is_gone() {
    let image = image();
    let mut medium = Fake::new(image.len() + 5 * MIB);
    let pieces = put(&mut medium).unwrap();
    check(&pieces, &mut medium).unwrap();
    let (written, rest) = medium.bytes.split_at(image.len());
    assert!(written == image);
    let (untouched, tail) = rest.split_at(4 * MIB);
    assert!(untouched.iter().all(|byte| *byte == 0xa5));
    assert!(tail.iter().all(|byte| *byte == 0));
}

#[test]
fn a_medium_just_as_long_or_a_little_longer_is_filled() {
    let image = image();
    for more in [0, 512, MIB - 512, MIB] {
        let mut medium = Fake::new(image.len() + more);
        let pieces = put(&mut medium).unwrap();
        check(&pieces, &mut medium).unwrap();
        assert!(medium.bytes[..image.len()] == image);
        assert!(medium.bytes[image.len()..].iter().all(|byte| *byte == 0), "{more}");
    }
}

#[test]
fn a_medium_that_is_too_short_is_not_begun() {
    let mut medium = Fake::new(image().len() - 512);
    let failure = put(&mut medium).map(|_| ()).unwrap_err();
    assert!(matches!(failure, Failure::TooSmall { .. }), "{failure}");
    assert!(medium.bytes.iter().all(|byte| *byte == 0xa5));
}

#[test]
fn a_medium_that_ends_early_is_told_with_the_place() {
    let mut medium = Fake::new(image().len() + MIB);
    medium.ends = Some(PIECE as u64 + 1);
    let failure = put(&mut medium).map(|_| ()).unwrap_err();
    assert!(matches!(failure, Failure::Write { offset, .. } if offset == PIECE as u64), "{failure}");
    assert!(failure.to_string().contains("smaller than it says"), "{failure}");
}

#[test]
fn one_wrong_bit_is_found_with_the_place() {
    let image = image();
    // In the first byte, in zeros, in the last byte of the image, in the last byte of the medium.
    for (bad, piece) in [(0, 0), (PIECE + 5, 1), (image.len() - 1, 2), (image.len() + 2 * MIB - 1, 3)] {
        let mut medium = Fake::new(image.len() + 2 * MIB);
        let pieces = put(&mut medium).unwrap();
        medium.bytes[bad] ^= 0x10;
        let failure = check(&pieces, &mut medium).unwrap_err();
        let Failure::Differs { first, end, pieces: 1, all: 4 } = failure else { panic!("{bad}: {failure}") };
        assert!((first..end).contains(&(bad as u64)), "{failure}");
        assert!(piece == 3 || first == (piece * PIECE) as u64, "{failure}");
    }
}

#[test]
fn a_medium_that_forgets_everything_differs_everywhere() {
    let mut medium = Fake::new(image().len());
    medium.forgets = true;
    let pieces = put(&mut medium).unwrap();
    let failure = check(&pieces, &mut medium).unwrap_err();
    assert!(matches!(failure, Failure::Differs { first: 0, pieces: 3, all: 3, .. }), "{failure}");
}

#[test]
fn a_medium_that_cannot_be_read_is_told_with_the_place() {
    let mut medium = Fake::new(image().len());
    let pieces = put(&mut medium).unwrap();
    medium.unreadable = Some(PIECE as u64 + 9);
    let failure = check(&pieces, &mut medium).unwrap_err();
    assert!(matches!(failure, Failure::Read { offset, .. } if offset == PIECE as u64), "{failure}");
}

#[test]
fn an_image_that_becomes_shorter_is_told() {
    let image = image();
    let mut medium = Fake::new(image.len());
    let mut shorter = &image[..=PIECE];
    let failure = write(&mut shorter, image.len() as u64, &mut medium, &mut |_| ()).map(|_| ()).unwrap_err();
    assert!(matches!(failure, Failure::Image(_)), "{failure}");
}
