//! virtio-blk: a disk. Virtio 1.2, 5.2.
//!
//! Requests are begun at once, as many as the ring holds, and wait behind it beyond that. The device's
//! interrupt wakes one task, which completes them. A device that does not answer is reset and asked again,
//! and if that does not help it is dead: what is on its way fails, and it reaches no memory any more.

use super::ring::{Piece, Ring, fill_table};
use super::transport::{Pci, Unusable};
use crate::devices::Device;
use crate::dma::Dma;
use crate::log::event;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use management::block::{BlockDevice, BlockError, Geometry, Operation, Pending, SECTOR};
use management::executor::{Event, Handle, Signal};
use management::memory::HostRange;
use virtio_drivers::transport::{DeviceStatus, Transport};

/// The one queue that is used.
const QUEUE: u16 = 0;
/// Messages: its configuration has changed; it has used something of the queue.
const CHANGED: u16 = 0;
const USED: u16 = 1;
/// Most requests that the device has at a time.
const MOST: u16 = 128;
/// How long the device may be silent with requests, in nanoseconds: a disk that has to spin up takes
/// seconds.
const PATIENCE: u64 = 15_000_000_000;
/// How often in a row it is reset.
const RESETS: u32 = 2;

/// Features. 5.2.3, 6.
mod feature {
    pub const READ_ONLY: u64 = 1 << 5;
    pub const BLOCK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const DISCARD: u64 = 1 << 13;
    pub const WRITE_ZEROES: u64 = 1 << 14;
    pub const INDIRECT: u64 = 1 << 28;
    pub const EVENT_INDEX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    pub const ALL: u64 =
        READ_ONLY | BLOCK_SIZE | FLUSH | DISCARD | WRITE_ZEROES | INDIRECT | EVENT_INDEX | VERSION_1;
}

/// The configuration, by offset. 5.2.4.
mod config {
    pub const CAPACITY: usize = 0;
    pub const BLOCK_SIZE: usize = 20;
    pub const MAX_DISCARD: usize = 36;
    pub const MAX_ZEROES: usize = 48;
}

/// Kinds of request. 5.2.6.
mod kind {
    pub const READ: u32 = 0;
    pub const WRITE: u32 = 1;
    pub const FLUSH: u32 = 4;
    pub const DISCARD: u32 = 11;
    pub const WRITE_ZEROES: u32 = 13;
}

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
struct End {
    result: Cell<Option<Result<(), BlockError>>>,
    signal: Signal,
}

impl End {
    fn tell(&self, result: Result<(), BlockError>) {
        self.result.set(Some(result));
        self.signal.raise();
    }
}

/// A request as it is to be made.
struct Job {
    operation: Operation,
    sector: u64,
    pieces: Vec<HostRange>,
    end: Rc<End>,
}

/// A place for a request that the device has.
struct Slot {
    page: Dma,
    /// What the device is told: the pieces, header and status among them.
    pieces: Vec<Piece>,
    end: Option<Rc<End>>,
    since: u64,
}

struct State {
    transport: Pci,
    /// `None`: it is dead.
    ring: Option<Ring>,
    indirect: bool,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Which slot each of the ring's requests is.
    by_head: Vec<Option<usize>>,
    backlog: VecDeque<Job>,
    /// How often it was reset since it last answered.
    resets: u32,
}

/// A disk.
pub struct Disk {
    name: String,
    handle: Handle,
    device: Device,
    features: u64,
    geometry: Geometry,
    max_discard: u64,
    max_zeroes: u64,
    max_pieces: usize,
    state: RefCell<State>,
    /// The device has something to do again.
    busy: Signal,
}

impl Disk {
    /// Starts the device's driver.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(
        handle: &Handle,
        device: &Device,
        mut transport: Pci,
        name: String,
    ) -> Result<Rc<Self>, Unusable> {
        let used = handle.event().ok_or(Unusable::Lacks("an event of hv's"))?;
        let changed = handle.event().ok_or(Unusable::Lacks("an event of hv's"))?;
        if device.info.messages < 2 {
            return Err(Unusable::Lacks("interrupts as messages (MSI-X)"));
        }
        transport.route_config(CHANGED);
        transport.route(QUEUE, USED);
        let (features, ring) = begin(&mut transport)?;
        device.bind(CHANGED, &changed)?;
        device.bind(USED, &used)?;
        let field = |offset| transport.read_config_space::<u32>(offset).unwrap_or_default();
        let has = |bit: u64| features & bit != 0;
        let capacity = transport.read_config_space::<[u32; 2]>(config::CAPACITY);
        let [low, high] = capacity.map_err(|_| Unusable::Lacks("a size"))?;
        let block = if has(feature::BLOCK_SIZE) { field(config::BLOCK_SIZE) } else { SECTOR as u32 };
        let geometry = Geometry {
            sectors: u64::from(high) << 32 | u64::from(low),
            block: if block.is_power_of_two() && u64::from(block) >= SECTOR { block } else { SECTOR as u32 },
            read_only: has(feature::READ_ONLY),
            discards: has(feature::DISCARD),
        };
        let limit = |bit, offset| if has(bit) { field(offset).into() } else { 0 };
        // Without tables of their own, requests take the ring's descriptors: header and status too.
        let most = if has(feature::INDIRECT) { MAX_PIECES } else { ring.size().saturating_sub(2) };
        let max_pieces = most.min(MAX_PIECES);
        let state = State {
            ring: Some(ring),
            indirect: has(feature::INDIRECT),
            slots: Vec::new(),
            free: Vec::new(),
            by_head: (0..MOST).map(|_| None).collect(),
            backlog: VecDeque::new(),
            resets: 0,
            transport: transport.clone(),
        };
        let disk = Rc::new(Self {
            name,
            handle: handle.clone(),
            device: *device,
            features,
            geometry,
            max_discard: limit(feature::DISCARD, config::MAX_DISCARD),
            max_zeroes: limit(feature::WRITE_ZEROES, config::MAX_ZEROES),
            max_pieces,
            state: RefCell::new(state),
            busy: Signal::default(),
        });
        let worker = Rc::clone(&disk);
        let task = handle.spawn("disk", async move { worker.work(used, changed).await });
        task.map_err(|_| Unusable::Lacks("room for its task"))?;
        Ok(disk)
    }

    /// Completes requests, for as long as the device lives.
    async fn work(&self, used: Event, changed: Event) {
        // Rings from time to time while there are requests, not for each of them.
        let mut alarm = None;
        while self.state.borrow().ring.is_some() {
            let woken = poll_fn(|context| {
                if used.poll(context).is_ready() || self.busy.poll(context).is_ready() {
                    return Poll::Ready(Woken::Work);
                }
                if changed.poll(context).is_ready() {
                    return Poll::Ready(Woken::Change);
                }
                if alarm.is_none() && !self.state.borrow().is_idle() {
                    alarm = Some(self.handle.sleep(PATIENCE));
                }
                let Some(alarm) = &mut alarm else { return Poll::Pending };
                Pin::new(alarm).poll(context).map(|()| Woken::Alarm)
            });
            let woken = woken.await;
            self.complete();
            if woken == Woken::Alarm {
                alarm = None;
                if self.oldest().is_some_and(|since| since.saturating_add(PATIENCE) <= self.handle.now()) {
                    self.recover("it does not answer");
                }
            }
            if woken == Woken::Change && self.state.borrow().transport.needs_reset() {
                self.recover("it says that it can't go on");
            }
        }
        for message in [CHANGED, USED] {
            self.device.unbind(message);
        }
    }

    /// When the oldest request that the device has was begun.
    fn oldest(&self) -> Option<u64> {
        let state = self.state.borrow();
        state.slots.iter().filter(|slot| slot.end.is_some()).map(|slot| slot.since).min()
    }

    /// Completes what the device is done with, and begins what has waited for that.
    fn complete(&self) {
        loop {
            let done = self.state.borrow_mut().next_done();
            let Some((end, result)) = done else { break };
            end.tell(result);
        }
        self.push();
    }

    /// Gives the device what waits, as far as there is room.
    fn push(&self) {
        let now = self.handle.now();
        let mut state = self.state.borrow_mut();
        let was_idle = state.is_idle();
        while let Some(job) = state.backlog.pop_front() {
            if let Err(job) = state.begin(job, now) {
                state.backlog.push_front(job);
                break;
            }
        }
        state.publish();
        let is_idle = state.is_idle();
        drop(state);
        if was_idle && !is_idle {
            self.busy.raise();
        }
    }

    /// Resets the device and asks it again, or gives it up.
    fn recover(&self, why: &str) {
        let now = self.handle.now();
        let mut state = self.state.borrow_mut();
        let followed = state.transport.reset();
        if followed && state.resets < RESETS && state.begin_again(self.features, now) {
            state.resets += 1;
            let requests = state.by_head.iter().flatten().count();
            event!(Warn, "disk.reset", name = self.name, what = why, requests = requests);
            return;
        }
        self.device.cut_off();
        state.ring = None;
        let mut ends: Vec<_> = state.slots.iter_mut().filter_map(|slot| slot.end.take()).collect();
        ends.extend(state.backlog.drain(..).map(|job| job.end));
        drop(state);
        let what = format_args!("{why}, not after a reset either");
        event!(Error, "disk.dead", name = self.name, what = what, requests = ends.len());
        for end in ends {
            end.tell(Err(BlockError::Dead));
        }
    }

    /// Whether a request makes sense, before the device sees it.
    fn check(&self, operation: Operation, sector: u64, memory: &[HostRange]) -> Result<(), BlockError> {
        let Geometry { sectors: all, block, read_only, .. } = self.geometry;
        let (writes, sectors, most) = match operation {
            Operation::Flush => return Ok(()),
            Operation::Read | Operation::Write => {
                let bytes = memory.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.len));
                let bytes = bytes.filter(|bytes| *bytes > 0 && bytes.is_multiple_of(block.into()));
                if memory.len() > self.max_pieces || memory.iter().any(|piece| piece.len > u32::MAX.into()) {
                    return Err(BlockError::Unsupported);
                }
                (operation == Operation::Write, bytes.ok_or(BlockError::OutOfRange)? / SECTOR, u64::MAX)
            }
            Operation::Discard { sectors } => (true, sectors, self.max_discard),
            Operation::WriteZeroes { sectors } => (true, sectors, self.max_zeroes),
        };
        if writes && read_only {
            return Err(BlockError::ReadOnly);
        }
        if sectors > most {
            return Err(BlockError::Unsupported);
        }
        let in_blocks = (sector | sectors).is_multiple_of(u64::from(block) / SECTOR);
        let inside = sector.checked_add(sectors).is_some_and(|end| end <= all);
        if in_blocks && inside { Ok(()) } else { Err(BlockError::OutOfRange) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Woken {
    Work,
    Change,
    Alarm,
}

/// Negotiates and sets the queue up: virtio 1.2, 3.1.1.
fn begin(transport: &mut Pci) -> Result<(u64, Ring), Unusable> {
    transport.set_status(DeviceStatus::empty());
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    let features = transport.read_device_features() & feature::ALL;
    transport.write_driver_features(features);
    let agreed = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
    transport.set_status(agreed);
    if features & feature::VERSION_1 == 0 || !transport.agrees() {
        return Err(Unusable::Lacks("what virtio 1.0 asks of it"));
    }
    let ring = Ring::new(transport, QUEUE, MOST, features & feature::EVENT_INDEX != 0);
    let ring = ring.ok_or(Unusable::Lacks("a queue, or memory for it"))?;
    transport.finish_init();
    Ok((features, ring))
}

impl State {
    /// Gives the device a request; answers it if there is no room.
    fn begin(&mut self, job: Job, now: u64) -> Result<(), Job> {
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
    fn is_idle(&self) -> bool {
        self.free.len() == self.slots.len()
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

    fn publish(&mut self) {
        if self.ring.as_mut().is_some_and(Ring::publish) {
            self.transport.notify(QUEUE);
        }
    }

    /// The next request that the device is done with, and how it ended.
    fn next_done(&mut self) -> Option<(Rc<End>, Result<(), BlockError>)> {
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
    fn begin_again(&mut self, features: u64, now: u64) -> bool {
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
            Operation::Read => (kind::READ, None),
            Operation::Write => (kind::WRITE, None),
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
            job.pieces.iter().filter(|piece| piece.len > 0).for_each(|piece| add(*piece, kind == kind::READ));
        }
        add(page.range(STATUS, 1), true);
    }
}

impl BlockDevice for Disk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a> {
        let checked = self.check(operation, sector, memory);
        let without_flush = operation == Operation::Flush && self.features & feature::FLUSH == 0;
        let dead = self.state.borrow().ring.is_none().then_some(BlockError::Dead);
        if let Some(error) = checked.err().or(dead) {
            return Box::pin(core::future::ready(Err(error)));
        }
        if without_flush {
            // What was written is durable already. 5.2.6.2.
            return Box::pin(core::future::ready(Ok(())));
        }
        let end = Rc::new(End::default());
        let job = Job { operation, sector, pieces: memory.to_vec(), end: Rc::clone(&end) };
        self.state.borrow_mut().backlog.push_back(job);
        self.push();
        Box::pin(async move {
            loop {
                if let Some(result) = end.result.get() {
                    return result;
                }
                end.signal.wait().await;
            }
        })
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
