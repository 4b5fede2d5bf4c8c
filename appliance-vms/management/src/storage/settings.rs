//! The box's settings, on a small volume of its own.
//!
//! There are two copies, and each change is written over the older one and made durable: whenever the power is
//! cut, the newer one that is whole says what is set, before the change or after it.

#[cfg(test)]
mod tests;

use super::bytes::{DiskBytes, DiskError};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use crc::{CRC_32_ISO_HDLC, Crc};
use hv_abi::appliance::BLOCK;
use serde::{Deserialize, Serialize};
use ui::tv::Settings;
use ui::tv::state::Look;
use ui::tv::words::Language;

/// Bytes of the volume: two copies of a block.
pub const SIZE: u64 = 2 * BLOCK;
/// How a copy begins: this, the CRC-32 of all that follows it, and how many bytes that is.
const MAGIC: [u8; 8] = *b"HEARTHS1";
const HEADER: usize = 16;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the screen")]
pub struct Kept {
    /// Grows with each change.
    sequence: u64,
    language: u8,
    look: u8,
    volume: u8,
    muted: bool,
    night_sound: bool,
    sharp_scaling: bool,
    screen_off_after: u8,
    set_up: bool,
    /// What was chosen for appliances, by their names.
    pub appliances: Vec<Chosen>,
}

/// What was chosen for an appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// Its volume in percent.
    pub volume: u8,
    /// It starts when the box does.
    pub autostart: bool,
}

impl Kept {
    /// What is to be kept.
    pub fn new(settings: &Settings, appliances: Vec<Chosen>) -> Self {
        let number = |at: Option<usize>| at.and_then(|at| u8::try_from(at).ok()).unwrap_or_default();
        Self {
            sequence: 0,
            language: number(Language::ALL.iter().position(|one| *one == settings.language)),
            look: number(Look::ALL.iter().position(|one| *one == settings.look)),
            volume: settings.volume,
            muted: settings.muted,
            night_sound: settings.night_sound,
            sharp_scaling: settings.sharp_scaling,
            screen_off_after: settings.screen_off_after,
            set_up: settings.set_up,
            appliances,
        }
    }

    /// The settings; a value that this version does not know is the usual one.
    pub fn settings(&self) -> Settings {
        Settings {
            language: Language::ALL.get(usize::from(self.language)).copied().unwrap_or_default(),
            look: Look::ALL.get(usize::from(self.look)).copied().unwrap_or_default(),
            volume: self.volume.min(100),
            muted: self.muted,
            night_sound: self.night_sound,
            sharp_scaling: self.sharp_scaling,
            screen_off_after: self.screen_off_after,
            set_up: self.set_up,
        }
    }

    /// Its form on disk; `None`: there are more appliances than there is room for.
    fn encode(&self) -> Option<Vec<u8>> {
        let body = postcard::to_allocvec(self).ok()?;
        let mut bytes = vec![0; BLOCK as usize];
        let place = bytes.get_mut(HEADER..HEADER + body.len())?;
        place.copy_from_slice(&body);
        let (len, sum) = (body.len() as u32, CRC.checksum(&body));
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        bytes[12..HEADER].copy_from_slice(&len.to_le_bytes());
        Some(bytes)
    }

    /// What a copy holds, if it is whole.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let word = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let body = rest.get(..word(12)? as usize)?;
        let whole = header.starts_with(&MAGIC) && word(8)? == CRC.checksum(body);
        whole.then(|| postcard::from_bytes(body).ok())?
    }
}

/// The volume.
pub struct SettingsVolume {
    disk: DiskBytes,
    sequence: u64,
    /// The copy that is written next: not the newer one that is whole.
    next: u64,
}

impl SettingsVolume {
    /// Reads what is kept, if anything is.
    ///
    /// # Errors
    /// [`DiskError`].
    pub async fn open(disk: DiskBytes) -> Result<(Self, Option<Kept>), DiskError> {
        let mut newest: Option<(u64, Kept)> = None;
        for copy in 0..2 {
            let mut bytes = vec![0; BLOCK as usize];
            disk.read_at(copy * BLOCK, &mut bytes).await?;
            let newer = Kept::decode(&bytes)
                .filter(|kept| newest.as_ref().is_none_or(|(_, other)| kept.sequence > other.sequence));
            newest = newer.map(|kept| (copy, kept)).or(newest);
        }
        let (next, sequence) = newest.as_ref().map_or((0, 0), |(copy, kept)| (1 - copy, kept.sequence));
        Ok((Self { disk, sequence, next }, newest.map(|(_, kept)| kept)))
    }

    /// Keeps that. More appliances than there is room for lose what was chosen for them.
    ///
    /// # Errors
    /// [`DiskError`]; what was kept before is kept.
    pub async fn keep(&mut self, mut kept: Kept) -> Result<(), DiskError> {
        kept.sequence = self.sequence.saturating_add(1);
        let mut bytes = kept.encode();
        while bytes.is_none() && kept.appliances.pop().is_some() {
            bytes = kept.encode();
        }
        // Without appliances there is room.
        let bytes = bytes.unwrap_or_default();
        self.disk.write_at(self.next * BLOCK, &bytes).await?;
        self.disk.flush().await?;
        (self.sequence, self.next) = (kept.sequence, 1 - self.next);
        Ok(())
    }
}
