//! A network card (virtio 1.2, 5.1): whole frames between a guest and whatever they are switched by.

mod frame;

pub use frame::{Checksum, Frame};

use super::queues::Queues;
use super::ring::{Chain, Fault};
use super::{Device, Features, Kind};
use crate::nic::{MAX_FRAME, Mac};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

/// Entries of a queue, and their numbers.
const QUEUE: u16 = 256;
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// Most frames that wait in each direction.
const MAX_WAITING: usize = 256;
/// Most buffers of one frame: Linux has one with room for all of it.
const MAX_MERGED: usize = 16;
/// Bytes of an Ethernet header: no frame is shorter.
const MIN_FRAME: usize = 14;
/// Bytes of the header before each frame (5.1.6): flags, segmentation, header length, segment size,
/// checksum's start and offset, buffers.
const HEADER: usize = 12;
/// Flag of the header: a checksum is still to be made.
const NEEDS_CHECKSUM: u8 = 1;
/// Bit of the status in the configuration: the cable is in (5.1.4).
pub const LINK_UP: u16 = 1;

/// Features, by number (5.1.3).
pub mod feature {
    /// The guest sends frames whose checksum is still to be made.
    pub const CHECKSUM: u32 = 0;
    /// The guest takes such frames.
    pub const GUEST_CHECKSUM: u32 = 1;
    /// The configuration has the card's address.
    pub const MAC: u32 = 5;
    /// A frame may go to several of the guest's buffers.
    pub const MERGE: u32 = 15;
    /// The configuration says whether the cable is in.
    pub const STATUS: u32 = 16;
}

/// What became of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that the guest has sent.
    pub sent: u64,
    /// Frames that the guest has got.
    pub received: u64,
    /// Frames that the guest has sent and that are none: too short or long, or with a checksum outside.
    pub refused: u64,
    /// Frames for the guest that it had no buffers for.
    pub dropped: u64,
}

/// A network card.
pub struct Net {
    mac: Mac,
    link: bool,
    link_changed: bool,
    to_guest: VecDeque<Frame>,
    from_guest: VecDeque<Frame>,
    counters: Counters,
    reader: Option<Waker>,
}

impl Net {
    /// With an address, and the cable in.
    pub fn new(mac: Mac) -> Self {
        Self {
            mac,
            link: true,
            link_changed: false,
            to_guest: VecDeque::new(),
            from_guest: VecDeque::new(),
            counters: Counters::default(),
            reader: None,
        }
    }

    /// What became of frames so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether the cable is in.
    pub fn set_link(&mut self, link: bool) {
        self.link_changed |= link != self.link;
        self.link = link;
    }

    /// The next frame that the guest sends; `context` is woken when there is one. Who doesn't ask makes
    /// the guest wait.
    pub fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<Frame> {
        if let Some(frame) = self.from_guest.pop_front() {
            return Poll::Ready(frame);
        }
        self.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// A frame for the guest; `false`: so many wait already that this one is dropped.
    pub fn receive(&mut self, frame: Frame) -> bool {
        let room = self.to_guest.len() < MAX_WAITING && self.link;
        if room && frame.is_sound() {
            self.to_guest.push_back(frame);
        } else {
            self.counters.dropped += 1;
        }
        room
    }

    /// Takes frames from the guest.
    fn take(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while queues.may_begin(TRANSMIT) {
            if self.from_guest.len() >= MAX_WAITING {
                return Ok(());
            }
            let Some(chain) = queues.pop(TRANSMIT)? else { return Ok(()) };
            match sent_frame(&chain, queues)? {
                Some(frame) if self.link => {
                    self.counters.sent += 1;
                    self.from_guest.push_back(frame);
                }
                Some(_) => {}
                None => self.counters.refused += 1,
            }
            queues.push(TRANSMIT, chain.head, 0)?;
            if let Some(reader) = self.reader.take_if(|_| !self.from_guest.is_empty()) {
                reader.wake();
            }
        }
        Ok(())
    }

    /// Gives frames to the guest.
    fn give(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while queues.may_begin(RECEIVE) {
            let Some(frame) = self.to_guest.front() else { return Ok(()) };
            let len = (HEADER + frame.bytes.len()) as u64;
            let chains = match buffers(len, queues)? {
                Room::Enough(chains) => chains,
                Room::NotYet => return Ok(()),
                Room::Never => {
                    self.to_guest.pop_front();
                    self.counters.dropped += 1;
                    continue;
                }
            };
            let Some(frame) = self.to_guest.pop_front() else { return Ok(()) };
            self.counters.received += 1;
            fill(&chains, &received_frame(frame, chains.len() as u16, queues.features()), queues)?;
        }
        Ok(())
    }
}

/// Buffers for a frame.
enum Room {
    Enough(Vec<Chain>),
    /// The driver has to make more available, and then notifies.
    NotYet,
    /// The driver's buffers are too small.
    Never,
}

/// Takes buffers for `len` bytes.
fn buffers(len: u64, queues: &mut Queues<'_>) -> Result<Room, Fault> {
    let most = if queues.features().has(feature::MERGE) { MAX_MERGED } else { 1 };
    let mut chains: Vec<Chain> = Vec::new();
    let mut room = 0;
    while room < len {
        let Some(chain) = queues.pop(RECEIVE)? else {
            queues.give_back(RECEIVE, chains.len() as u16);
            return Ok(Room::NotYet);
        };
        if chain.writable.is_empty() {
            return Err(Fault::Request);
        }
        room += chain.writable.len();
        chains.push(chain);
        if room < len && chains.len() >= most {
            queues.give_back(RECEIVE, most as u16);
            return Ok(Room::Never);
        }
    }
    Ok(Room::Enough(chains))
}

/// Writes bytes to buffers that have room for them, and answers those.
fn fill(chains: &[Chain], mut bytes: &[u8], queues: &mut Queues<'_>) -> Result<(), Fault> {
    for chain in chains {
        let written = chain.writable.write(queues.memory(), bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
        queues.push(RECEIVE, chain.head, written as u64)?;
    }
    Ok(())
}

/// A frame with its header, as the guest gets it in `buffers` buffers.
fn received_frame(frame: Frame, buffers: u16, features: Features) -> Vec<u8> {
    let mut all = vec![0; HEADER];
    match frame.checksum {
        Some(checksum) if features.has(feature::GUEST_CHECKSUM) => {
            all[0] = NEEDS_CHECKSUM;
            all[6..8].copy_from_slice(&checksum.start.to_le_bytes());
            all[8..10].copy_from_slice(&checksum.offset.to_le_bytes());
            all.extend_from_slice(&frame.bytes);
        }
        _ => all.extend_from_slice(&frame.complete()),
    }
    all[10..12].copy_from_slice(&buffers.to_le_bytes());
    all
}

/// The frame of a request; `None`: it is none.
fn sent_frame(chain: &Chain, queues: &Queues<'_>) -> Result<Option<Frame>, Fault> {
    let len = chain.readable.len();
    if len < (HEADER + MIN_FRAME) as u64 || len > (HEADER + MAX_FRAME) as u64 {
        return Ok(None);
    }
    let mut bytes = vec![0; len as usize];
    chain.readable.read(queues.memory(), &mut bytes)?;
    let header: [u8; HEADER] = core::array::from_fn(|at| bytes[at]);
    bytes.drain(..HEADER);
    let [flags, segmentation, ..] = header;
    let start = u16::from_le_bytes([header[6], header[7]]);
    let offset = u16::from_le_bytes([header[8], header[9]]);
    let wants = flags & NEEDS_CHECKSUM != 0;
    let frame = Frame { bytes, checksum: wants.then_some(Checksum { start, offset }) };
    let agreed = !wants || queues.features().has(feature::CHECKSUM);
    Ok((agreed && segmentation == 0 && frame.is_sound()).then_some(frame))
}

impl Device for Net {
    const KIND: Kind = Kind { number: 1, class: 0x02_00_00 };

    fn features(&self) -> Features {
        let checksums = 1 << feature::CHECKSUM | 1 << feature::GUEST_CHECKSUM;
        Features(checksums | 1 << feature::MAC | 1 << feature::MERGE | 1 << feature::STATUS)
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE; 2]
    }

    /// `struct virtio_net_config` (5.1.4): address and status; pairs of queues and MTU are not offered.
    fn configuration(&self) -> Vec<u8> {
        let status = if self.link { LINK_UP } else { 0 };
        let mut bytes = Vec::from(self.mac.0);
        bytes.extend_from_slice(&status.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes
    }

    fn poll(&mut self, _: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        if core::mem::take(&mut self.link_changed) {
            queues.configuration_changed();
        }
        if !queues.is_live() {
            // What came before there is a driver is not for it.
            self.counters.dropped += self.to_guest.len() as u64;
            self.to_guest.clear();
            return Ok(());
        }
        self.take(queues)?;
        self.give(queues)
    }

    fn reset(&mut self) {
        self.to_guest.clear();
    }
}
