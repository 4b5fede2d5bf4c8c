//! What is asked of a controller before it serves: who it is, and its queues.

use super::Death;
use super::layout::{ControllerData, NAMESPACE, NamespaceData, PAGE, admin};
use super::queue::{Dwords, Queue};
use super::work::{Limits, MAX_BYTES};
use crate::block::{Geometry, SECTOR};
use alloc::string::String;

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Controller,
    Namespace,
    Queues,
    CompletionQueue,
    SubmissionQueue,
}

impl Step {
    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::Controller => Some(Self::Namespace),
            Self::Namespace => Some(Self::Queues),
            Self::Queues => Some(Self::CompletionQueue),
            Self::CompletionQueue => Some(Self::SubmissionQueue),
            Self::SubmissionQueue => None,
        }
    }

    /// The command of a step; `data` is a page for the answer, `io` the queue of number 1.
    pub(super) fn command(self, data: u64, io: &Queue, depth: u16, vector: u16) -> Dwords {
        let mut dwords = [0; 16];
        let (commands, completions) = io.addresses();
        let queue = 1 | (u32::from(depth) - 1) << 16;
        let (opcode, address, ten, eleven) = match self {
            Self::Controller => (admin::IDENTIFY, data, 1, 0),
            Self::Namespace => {
                dwords[1] = NAMESPACE;
                (admin::IDENTIFY, data, 0, 0)
            }
            // One of each: both counts are one less.
            Self::Queues => (admin::SET_FEATURES, 0, admin::NUMBER_OF_QUEUES, 0),
            // In one piece, with interrupts.
            Self::CompletionQueue => {
                (admin::CREATE_COMPLETION, completions, queue, 3 | u32::from(vector) << 16)
            }
            // In one piece, for completion queue 1.
            Self::SubmissionQueue => (admin::CREATE_SUBMISSION, commands, queue, 1 | 1 << 16),
        };
        dwords[0] = u32::from(opcode) | (self as u32) << 16;
        (dwords[6], dwords[7]) = (address as u32, (address >> 32) as u32);
        (dwords[10], dwords[11]) = (ten, eleven);
        dwords
    }
}

/// What a disk turned out to be.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) model: String,
    pub(super) geometry: Geometry,
    pub(super) limits: Limits,
    pub(super) writes_zeroes: bool,
}

impl Default for Identity {
    /// Nothing is known yet: a disk without sectors.
    fn default() -> Self {
        Self {
            model: String::new(),
            geometry: Geometry { sectors: 0, block: SECTOR as u32, read_only: true, discards: false },
            limits: Limits { block: SECTOR, bytes: PAGE },
            writes_zeroes: false,
        }
    }
}

impl Identity {
    pub(super) fn learn_controller(&mut self, data: &ControllerData<'_>) {
        let (serial, model) = data.serial_and_model();
        self.model = words(model);
        self.model.push(' ');
        self.model.push_str(&words(serial));
        let most = match data.mdts() {
            0 => MAX_BYTES,
            power => PAGE.checked_shl(power.into()).filter(|&most| most >= PAGE).unwrap_or(MAX_BYTES),
        };
        self.limits.bytes = most.min(MAX_BYTES);
        self.writes_zeroes = data.writes_zeroes();
        self.geometry.discards = data.discards();
    }

    pub(super) fn learn_namespace(&mut self, data: &NamespaceData<'_>) -> Result<(), Death> {
        let shift = data.block_shift().filter(|shift| (9..=12).contains(shift)).ok_or(Death::Unsuitable)?;
        let sectors = data.blocks().checked_mul(1 << (shift - 9)).filter(|&sectors| sectors > 0);
        self.geometry.sectors = sectors.ok_or(Death::Unsuitable)?;
        self.geometry.block = 1 << shift;
        self.geometry.read_only = data.read_only();
        self.geometry.discards &= !data.read_only();
        self.limits.block = 1 << shift;
        Ok(())
    }
}

/// What can be written into a log of a field that is filled up with spaces.
fn words(field: &[u8]) -> String {
    let text: String = field.iter().map(|&byte| byte as char).filter(|c| (' '..='~').contains(c)).collect();
    text.trim().into()
}
