//! virtio-blk: a disk. Virtio 1.2, 5.2.
//!
//! Requests are begun at once, as many as the ring holds, and wait behind it beyond that. The device's
//! interrupt wakes one task, which completes them. A device that does not answer is reset and asked again,
//! and if that does not help it is dead: what is on its way fails, and it reaches no memory any more.

mod queue;

use super::transport::Pci;
use super::unusable::Unusable;
use crate::devices::Device;
use crate::log::event;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use core::cell::RefCell;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use management::block::{BlockDevice, BlockError, Geometry, Operation, Pending, SECTOR};
use management::executor::{Event, Handle, Signal};
use management::memory::HostRange;
use management::virtio::Features;
use management::virtio::blk::feature;
use queue::{End, Job, MAX_PIECES, State, begin};
use virtio_drivers::transport::Transport;

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

/// What is made use of. 5.2.3, 6.
const FEATURES: u64 = 1 << feature::READ_ONLY
    | 1 << feature::BLOCK_SIZE
    | 1 << feature::FLUSH
    | 1 << feature::DISCARD
    | 1 << feature::WRITE_ZEROES
    | Features::TRANSPORT;

/// The configuration, by offset. 5.2.4.
mod config {
    pub const CAPACITY: usize = 0;
    pub const BLOCK_SIZE: usize = 20;
    pub const MAX_DISCARD: usize = 36;
    pub const MAX_ZEROES: usize = 48;
}

/// A disk.
pub struct Disk {
    name: String,
    handle: Handle,
    device: Device,
    features: Features,
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
        let capacity = transport.read_config_space::<[u32; 2]>(config::CAPACITY);
        let [low, high] = capacity.map_err(|_| Unusable::Lacks("a size"))?;
        let block = if features.has(feature::BLOCK_SIZE) { field(config::BLOCK_SIZE) } else { SECTOR as u32 };
        let geometry = Geometry {
            sectors: u64::from(high) << 32 | u64::from(low),
            block: if block.is_power_of_two() && u64::from(block) >= SECTOR { block } else { SECTOR as u32 },
            read_only: features.has(feature::READ_ONLY),
            discards: features.has(feature::DISCARD),
        };
        let limit = |bit, offset| if features.has(bit) { field(offset).into() } else { 0 };
        // Without tables of their own, requests take the ring's descriptors: header and status too.
        let most = if features.has(Features::INDIRECT) { MAX_PIECES } else { ring.size().saturating_sub(2) };
        let max_pieces = most.min(MAX_PIECES);
        let disk = Rc::new(Self {
            name,
            handle: handle.clone(),
            device: *device,
            features,
            geometry,
            max_discard: limit(feature::DISCARD, config::MAX_DISCARD),
            max_zeroes: limit(feature::WRITE_ZEROES, config::MAX_ZEROES),
            max_pieces,
            state: RefCell::new(State::new(transport, ring, features)),
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
                let oldest = self.state.borrow().oldest();
                if oldest.is_some_and(|since| since.saturating_add(PATIENCE) <= self.handle.now()) {
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
            event!(Warn, "disk.reset", name = self.name, what = why, requests = state.with_device());
            return;
        }
        self.device.cut_off();
        state.ring = None;
        let ends = state.take_all();
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

impl BlockDevice for Disk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a> {
        let checked = self.check(operation, sector, memory);
        let without_flush = operation == Operation::Flush && !self.features.has(feature::FLUSH);
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
