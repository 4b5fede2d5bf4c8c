//! What the device has of a disk's requests, and what waits for it.

use super::{FEATURES, MOST, QUEUE};
use crate::dma::Dma;
use crate::drivers::ring::{Piece, Ring, fill_table};
use crate::drivers::transport::Pci;
use crate::drivers::unusable::Unusable;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use management::block::{BlockError, Operation};
use management::executor::Signal;
use management::memory::HostRange;
use management::virtio::Features;
use management::virtio::blk::kind;
use virtio_drivers::transport::Transport;

/// A request's page: the header that the device reads, the range of a discard, the status that the device
/// writes, and the indirect table.
const HEADER: usize = 0;
const HEADER_LEN: usize = 16;
const RANGE: usize = 16;
const RANGE_LEN: usize = 16;
const STATUS: usize = 32;
const TABLE: usize = 48;
/// Most pieces of memory of a request: what the table has room for beside header and status.
pub const MAX_PIECES: usize = (4096 - TABLE) / 16 - 2;
/// What a status is before the device has written it. 5.2.6 has 0 to 2.
const NO_STATUS: u8 = 0xff;

/// How a request ends, and who waits for that.
#[derive(Default)]
pub struct End {
    /// Once it has ended.
    pub result: Cell<Option<Result<(), BlockError>>>,
    /// Raised then.
    pub signal: Signal,
}

impl End {
    /// It has ended.
    pub fn tell(&self, result: Result<(), BlockError>) {
        self.result.set(Some(result));
        self.signal.raise();
    }
}

/// A request as it is to be made.
pub struct Job {
    pub operation: Operation,
    pub sector: u64,
    pub pieces: Vec<HostRange>,
    pub end: Rc<End>,
}

/// A place for a request that the device has.
struct Slot {
    page: Dma,
    /// What the device is told: the pieces, header and status among them.
    pieces: Vec<Piece>,
    end: Option<Rc<End>>,
    since: u64,
}

/// A disk's requests, and the device that carries them out.
pub struct State {
    pub transport: Pci,
    /// `None`: it is dead.
    pub ring: Option<Ring>,
    indirect: bool,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Which slot each of the ring's requests is.
    by_head: Vec<Option<usize>>,
    pub backlog: VecDeque<Job>,
    /// How often it was reset since it last answered.
    pub resets: u32,
}

/// Negotiates and sets the queue up: virtio 1.2, 3.1.1.
pub fn begin(transport: &mut Pci) -> Result<(Features, Ring), Unusable> {
    let features = transport.negotiate(FEATURES)?;
    let ring = Ring::new(transport, QUEUE, MOST, features.has(Features::EVENT_INDEX));
    let ring = ring.ok_or(Unusable::Lacks("a queue, or memory for it"))?;
    transport.finish_init();
    Ok((features, ring))
}

impl State {
    /// Nothing yet.
    pub fn new(transport: Pci, ring: Ring, features: Features) -> Self {
        Self {
            ring: Some(ring),
            indirect: features.has(Features::INDIRECT),
            slots: Vec::new(),
            free: Vec::new(),
            by_head: (0..MOST).map(|_| None).collect(),
            backlog: VecDeque::new(),
            resets: 0,
            transport,
        }
    }

    /// When the oldest request that the device has was begun.
    pub fn oldest(&self) -> Option<u64> {
        self.slots.iter().filter(|slot| slot.end.is_some()).map(|slot| slot.since).min()
    }

    /// How many requests the device has.
    pub fn with_device(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes every request back, whoever has it: how each ends is the caller's affair.
    pub fn take_all(&mut self) -> Vec<Rc<End>> {
        let with_device = self.slots.iter_mut().filter_map(|slot| slot.end.take());
        with_device.chain(self.backlog.drain(..).map(|job| job.end)).collect()
    }

    /// Gives the device a request; answers it if there is no room.
    pub fn begin(&mut self, job: Job, now: u64) -> Result<(), Job> {
        let Some(slot) = self.take_slot() else { return Err(job) };
        let Some(place) = self.slots.get_mut(slot) else { return Err(job) };
        place.fill(&job);
        if !self.submit(slot) {
            self.free.push(slot);
            return Err(job);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            (place.end, place.since) = (Some(job.end), now);
        }
        Ok(())
    }

    /// Whether the device has no request.
    pub fn is_idle(&self) -> bool {
        self.with_device() == 0
    }

    fn take_slot(&mut self) -> Option<usize> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let room = self.slots.len() < self.ring.as_ref()?.size();
        let page = room.then(|| Dma::new(4096)).flatten()?;
        self.slots.push(Slot { page, pieces: Vec::new(), end: None, since: 0 });
        Some(self.slots.len() - 1)
    }

    /// Puts a filled slot into the ring. Answers whether there was room.
    fn submit(&mut self, slot: usize) -> bool {
        let (Some(ring), Some(Slot { page, pieces, .. })) = (&mut self.ring, self.slots.get_mut(slot)) else {
            return false;
        };
        page.write(STATUS, NO_STATUS);
        let head = if self.indirect {
            let count = fill_table(page, TABLE, pieces.iter().copied());
            ring.add_table(page.range(TABLE, usize::from(count) * 16))
        } else {
            ring.add_chain(pieces)
        };
        let place = head.and_then(|head| self.by_head.get_mut(usize::from(head)));
        place.map(|place| *place = Some(slot)).is_some()
    }

    pub fn publish(&mut self) {
        if self.ring.as_mut().is_some_and(Ring::publish) {
            self.transport.notify(QUEUE);
        }
    }

    /// The next request that the device is done with, and how it ended.
    pub fn next_done(&mut self) -> Option<(Rc<End>, Result<(), BlockError>)> {
        loop {
            let (head, _) = self.ring.as_mut()?.next_used()?;
            let slot = self.by_head.get_mut(usize::from(head)).and_then(Option::take);
            let Some(index) = slot else { continue };
            let place = self.slots.get_mut(index)?;
            let result = match place.page.read::<u8>(STATUS) {
                0 => Ok(()),
                2 => Err(BlockError::Unsupported),
                _ => Err(BlockError::Device),
            };
            self.free.push(index);
            self.resets = 0;
            if let Some(end) = place.end.take() {
                return Some((end, result));
            }
        }
    }

    /// After a reset: the queue anew, and in it what the device had. Answers whether that went.
    pub fn begin_again(&mut self, features: Features, now: u64) -> bool {
        let Ok((again, ring)) = begin(&mut self.transport) else { return false };
        if again != features {
            return false;
        }
        self.ring = Some(ring);
        let waiting: Vec<usize> = self.by_head.iter_mut().filter_map(Option::take).collect();
        for slot in waiting {
            if !self.submit(slot) {
                return false;
            }
            if let Some(place) = self.slots.get_mut(slot) {
                place.since = now;
            }
        }
        self.publish();
        true
    }
}

impl Slot {
    /// Writes down what the device shall do. 5.2.6.
    fn fill(&mut self, job: &Job) {
        let Self { page, pieces, .. } = self;
        pieces.clear();
        let (kind, range) = match job.operation {
            Operation::Read => (kind::IN, None),
            Operation::Write => (kind::OUT, None),
            Operation::Flush => (kind::FLUSH, None),
            Operation::Discard { sectors } => (kind::DISCARD, Some(sectors)),
            Operation::WriteZeroes { sectors } => (kind::WRITE_ZEROES, Some(sectors)),
        };
        let is_data = matches!(job.operation, Operation::Read | Operation::Write);
        page.write(HEADER, kind);
        page.write(HEADER + 4, 0_u32);
        page.write(HEADER + 8, if is_data { job.sector } else { 0 });
        let mut add = |range, written| pieces.push(Piece { range, written });
        add(page.range(HEADER, HEADER_LEN), false);
        if let Some(sectors) = range {
            page.write(RANGE, job.sector);
            page.write(RANGE + 8, sectors as u32);
            page.write(RANGE + 12, 0_u32);
            add(page.range(RANGE, RANGE_LEN), false);
        }
        if is_data {
            job.pieces.iter().filter(|piece| piece.len > 0).for_each(|piece| add(*piece, kind == kind::IN));
        }
        add(page.range(STATUS, 1), true);
    }
}
