//! What went through a port of the switch, and what did not.

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too short for a header, or too long for Ethernet.
    Size,
    /// Its sender is not who may send here.
    Source,
    /// It has a VLAN tag, and came from a VM.
    Tagged,
    /// It is for bridges only.
    Reserved,
    /// The VM sends more to everybody than it may.
    Limit,
    /// Nobody is there to have it.
    Nobody,
    /// Whoever was to have it does not take frames as fast as they come.
    Full,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Size, Self::Source, Self::Tagged, Self::Reserved, Self::Limit, Self::Nobody, Self::Full];

    /// Its name in the log and in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Source => "source",
            Self::Tagged => "tagged",
            Self::Reserved => "reserved",
            Self::Limit => "limit",
            Self::Nobody => "nobody",
            Self::Full => "full",
        }
    }
}

/// Frames in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Traffic {
    pub(super) fn count(&mut self, frame: &[u8]) {
        self.frames = self.frames.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(frame.len() as u64);
    }
}

/// The figures of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// What came in there, the dropped ones too.
    pub came: Traffic,
    /// What went out there, those lost to a full queue too.
    pub went: Traffic,
    drops: [u64; Reason::ALL.len()],
}

impl Counters {
    /// How many frames were dropped for this reason: of those that came in, but [`Reason::Full`] of those
    /// that were to go out.
    pub const fn drops(&self, reason: Reason) -> u64 {
        self.drops[reason as usize]
    }

    pub(super) fn dropped(&mut self, reason: Reason) {
        let count = &mut self.drops[reason as usize];
        *count = count.wrapping_add(1);
    }
}
