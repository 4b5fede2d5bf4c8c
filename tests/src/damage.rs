//! Artifacts with something broken in them.

use anyhow::{Context, Result, ensure};
use hv_abi::payload::{Header, MAGIC, VERSION};
use image_builder::qemu::{Artifacts, Door};
use std::fs::{self, File};
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What happens to a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit in the middle of the stored image.
    StoredBit,
    /// One bit of a segment's rights, in the header.
    HeaderBit,
    /// The magic is gone, as on a disk that was never written.
    NoHeader,
    /// The second half was never written.
    Half,
    /// The header claims more bytes than follow.
    CutShort,
}

impl Damage {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::StoredBit, Self::HeaderBit, Self::NoHeader, Self::Half, Self::CutShort];

    /// Its name in a test's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StoredBit => "stored-bit",
            Self::HeaderBit => "header-bit",
            Self::NoHeader => "no-header",
            Self::Half => "half",
            Self::CutShort => "cut-short",
        }
    }

    /// Does it to every payload in `file`.
    ///
    /// # Errors
    /// There is none, or the file cannot be changed.
    pub fn inflict(self, file: &Path) -> Result<()> {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let found = payloads(&bytes);
        ensure!(!found.is_empty(), "there is no payload in {}", file.display());
        let target = File::options().write(true).open(file)?;
        for (at, stored) in found {
            let body = at + size_of::<Header>();
            let (place, patch) = match self {
                Self::StoredBit => (body + stored / 2, vec![bytes[body + stored / 2] ^ 0x10]),
                Self::HeaderBit => {
                    // The first segment's rights: its third word.
                    let place = at + offset_of!(Header, segments) + 8;
                    (place, vec![bytes[place] ^ 1])
                }
                Self::NoHeader => (at, vec![0; MAGIC.len()]),
                Self::Half => (body + stored / 2, vec![0; stored - stored / 2]),
                Self::CutShort => (at + offset_of!(Header, stored_len), (1_u64 << 40).to_le_bytes().to_vec()),
            };
            target.write_all_at(&patch, place as u64)?;
        }
        Ok(())
    }
}

/// Copies the artifact that `door` starts from into `folder`, which then stands for all artifacts.
///
/// # Errors
/// It cannot be copied.
pub fn copy(door: Door, artifacts: &Artifacts, folder: &Path) -> Result<(Artifacts, PathBuf)> {
    let copies = Artifacts { dir: folder.to_owned() };
    let (from, to) = match door {
        Door::Rom => (artifacts.rom(), copies.rom()),
        Door::Uefi => (artifacts.image(), copies.image()),
        Door::Pvh => (artifacts.elf(), copies.elf()),
    };
    // std's copy keeps the holes of a sparse image where the file system can share blocks, and is
    // fast enough where it cannot.
    fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    if door != Door::Uefi {
        // A box always has a disk; these doors do not read it.
        File::create(copies.image())?.set_len(1 << 20)?;
    }
    Ok((copies, to))
}

/// Deletes the file with long name `name` from a FAT file system in `file`, by marking its directory
/// entries as free (Microsoft FAT specification 1.03, "FAT Directory Structure").
///
/// # Errors
/// There is no such entry, or the file cannot be changed.
pub fn delete_from_fat(file: &Path, name: &str) -> Result<()> {
    const ENTRY: usize = 32;
    const FREE: u8 = 0xe5;
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    // A long name's first part: five letters from byte 1, attribute 15 in byte 11.
    let letters: Vec<u8> = name.encode_utf16().take(5).flat_map(u16::to_le_bytes).collect();
    let (entries, _) = bytes.as_chunks::<ENTRY>();
    let is_it = |entry: &[u8; ENTRY]| {
        entry[1..11] == letters[..] && entry[11] == 0x0f && matches!(entry[0], 1 | 0x41)
    };
    let at = entries.iter().position(is_it).with_context(|| format!("no entry for {name}"))?;
    let target = File::options().write(true).open(file)?;
    for entry in [at, at + 1] {
        target.write_all_at(&[FREE], (entry * ENTRY) as u64)?;
    }
    Ok(())
}

/// Where payloads start in `bytes`, and how many bytes each stores. A door's own code holds the
/// magic too; a whole lawful header follows only in a payload.
fn payloads(bytes: &[u8]) -> Vec<(usize, usize)> {
    let number = |at: usize, len: usize| -> Option<u64> {
        let field = bytes.get(at..at + len)?;
        Some(field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let payload = |at: usize| {
        let version = number(at + offset_of!(Header, version), 4)?;
        let stored = usize::try_from(number(at + offset_of!(Header, stored_len), 8)?).ok()?;
        let memory = number(at + offset_of!(Header, memory_len), 8)?;
        let fits = at.checked_add(size_of::<Header>())?.checked_add(stored)? <= bytes.len();
        let lawful = version == u64::from(VERSION) && memory % 4096 == 0 && memory > 0 && stored > 1 && fits;
        lawful.then_some((at, stored))
    };
    (0..bytes.len()).filter(|&at| bytes[at..].starts_with(&MAGIC)).filter_map(payload).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lawful() -> Vec<u8> {
        let mut header = vec![0_u8; size_of::<Header>()];
        header[..8].copy_from_slice(&MAGIC);
        header[offset_of!(Header, version)] = VERSION as u8;
        header[offset_of!(Header, stored_len)] = 100;
        header[offset_of!(Header, memory_len) + 1] = 0x10;
        header.extend([0xaa; 100]);
        header
    }

    #[test]
    fn each_damage_changes_the_payload_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("image");
        let whole = [b"HEARTHPL in code".to_vec(), vec![7; 48], lawful(), vec![7; 99]].concat();
        for damage in Damage::ALL {
            fs::write(&file, &whole).expect("written");
            damage.inflict(&file).expect("there is a payload");
            let after = fs::read(&file).expect("readable");
            let changed: Vec<_> = (0..whole.len()).filter(|&at| whole[at] != after[at]).collect();
            assert_eq!(after.len(), whole.len());
            assert!(!changed.is_empty(), "{damage:?}");
            assert!(changed.iter().all(|at| (64..64 + 356).contains(at)), "{damage:?}: {changed:?}");
        }
        fs::write(&file, &whole[..60]).expect("written");
        assert!(Damage::Half.inflict(&file).unwrap_err().to_string().contains("no payload"));
    }
}
