//! Why a device can't be used.

use crate::hypercall::Refused;
use core::fmt;
use management::block::BlockError;
use management::drivers::{e1000, hda, nvme};

/// Why a device can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// hv refused something.
    Refused(Refused),
    /// It lacks that.
    Lacks(&'static str),
    /// Its first block can't be read.
    Unreadable(BlockError),
    /// An NVMe disk died before it was ready.
    Nvme(nvme::Death),
    /// A network card of Intel's did.
    E1000(e1000::Death),
    /// A sound card did.
    Hda(hda::Death),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Lacks(what) => write!(f, "it lacks {what}"),
            Self::Unreadable(error) => write!(f, "its first block can't be read: {error}"),
            Self::Nvme(death) => death.fmt(f),
            Self::E1000(death) => death.fmt(f),
            Self::Hda(death) => death.fmt(f),
        }
    }
}

impl From<Refused> for Unusable {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<nvme::Death> for Unusable {
    fn from(death: nvme::Death) -> Self {
        Self::Nvme(death)
    }
}

impl From<e1000::Death> for Unusable {
    fn from(death: e1000::Death) -> Self {
        Self::E1000(death)
    }
}

impl From<hda::Death> for Unusable {
    fn from(death: hda::Death) -> Self {
        Self::Hda(death)
    }
}
