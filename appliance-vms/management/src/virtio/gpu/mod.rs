//! A screen with two-dimensional pictures (virtio 1.2, 5.7), as Linux's DRM driver uses it.
//!
//! The guest draws in its own memory, has what it has drawn copied to a picture of ours, and says which
//! picture is on the screen. Our pictures are in a budget that is the guest's; copies are made row by row, a
//! bounded number of bytes in a turn. Who shows the screen asks [`Gpu::poll_changes`] what is new, and reads
//! it from [`Gpu::picture`].

mod edid;
mod layout;
mod pointer;
mod resource;
mod screen;
#[cfg(test)]
pub(crate) mod testkit;

pub use layout::{HEADER, kind};
pub use pointer::{POINTER, Pointer};
pub use screen::{Mode, Rect};

use super::queues::Queues;
use super::ring::{Buffers, Chain, Fault};
use super::{Device, Features, Kind};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use layout::{Answer, Command, ENTRIES, ENTRY, Header, REQUEST, Refusal, Request};
use pointer::PointerState;
use resource::{Copy, Resource};
use screen::Damage;

/// Entries of the queues, and their numbers.
const CONTROL_QUEUE: u16 = 64;
const CURSOR_QUEUE: u16 = 16;
const CONTROL: u16 = 0;
const CURSOR: u16 = 1;
/// Feature: the screen says what it is (5.7.3).
const EDID: u32 = 1;
/// Most pictures of a guest.
const MAX_RESOURCES: usize = 1024;
/// Bytes that are copied or cleared in a turn, about: what is begun is finished to the row.
const TURN: usize = 64 << 10;
/// Where the configuration says what has happened, and where the driver clears that (5.7.4).
const EVENTS_CLEAR: u64 = 4;
/// What has happened: the screen is another.
const EVENT_DISPLAY: u32 = 1;

/// What a guest has on its screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture<'a> {
    /// From the first pixel to the last one, as 0xAARRGGBB; alpha means nothing.
    pub pixels: &'a [u32],
    /// Pixels from one row's start to the next one's.
    pub stride: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// What is new on a guest's screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Parts of the picture; empty also when there is no picture any more.
    pub damage: Vec<Rect>,
    /// The pointer has moved, has another picture, or is gone.
    pub pointer: bool,
}

/// A copy that is on its way, and the request that is to be answered then.
struct Job {
    head: u16,
    answer: Buffers,
    header: Header,
    resource: u32,
    copy: Copy,
}

/// A screen.
pub struct Gpu {
    mode: Mode,
    mode_changed: bool,
    events: u32,
    budget: usize,
    used: usize,
    resources: BTreeMap<u32, Resource>,
    /// The picture that is on the screen, and which part of it.
    shown: Option<(u32, Rect)>,
    damage: Damage,
    /// There is another picture, or none.
    switched: bool,
    pointer: PointerState,
    pointer_changed: bool,
    job: Option<Job>,
    /// Work that is left of this turn, in bytes.
    left: usize,
    reader: Option<Waker>,
}

impl Gpu {
    /// A screen that shows `mode`, for a guest whose pictures have `budget` bytes of our memory.
    pub fn new(mode: Mode, budget: usize) -> Self {
        Self {
            mode,
            mode_changed: false,
            events: 0,
            budget,
            used: 0,
            resources: BTreeMap::new(),
            shown: None,
            damage: Damage::default(),
            switched: false,
            pointer: PointerState::default(),
            pointer_changed: false,
            job: None,
            left: 0,
            reader: None,
        }
    }

    /// The guest's screen is replaced by one that shows `mode`.
    pub fn set_mode(&mut self, mode: Mode) {
        if self.mode != mode {
            self.mode = mode;
            self.events |= EVENT_DISPLAY;
            self.mode_changed = true;
        }
    }

    /// What the guest has on its screen, if anything.
    pub fn picture(&self) -> Option<Picture<'_>> {
        let (number, rect) = self.shown?;
        let resource = self.resources.get(&number)?;
        let (stride, width, height) = (resource.width as usize, rect.width as usize, rect.height as usize);
        let first = rect.y as usize * stride + rect.x as usize;
        let len = (height.checked_sub(1)?) * stride + width;
        let pixels = resource.pixels().get(first..first + len)?;
        Some(Picture { pixels, stride, width, height })
    }

    /// The guest's pointer, if it is shown.
    pub fn pointer(&self) -> Option<Pointer<'_>> {
        self.pointer.get()
    }

    /// What is new since this was last asked; `context` is woken when there is something.
    pub fn poll_changes(&mut self, context: &mut Context<'_>) -> Poll<Changes> {
        if self.damage.is_empty() && !self.switched && !self.pointer_changed {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        self.switched = false;
        let pointer = core::mem::take(&mut self.pointer_changed);
        Poll::Ready(Changes { damage: self.damage.take(), pointer })
    }

    /// Bytes of our memory that the guest's pictures have: at most the budget.
    pub fn used(&self) -> usize {
        self.used
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Does what the driver asks for, in its order.
    fn control(&mut self, context: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        loop {
            if !self.finish_job(queues)? || self.left == 0 {
                context.waker().wake_by_ref();
                return Ok(());
            }
            if !queues.may_begin(CONTROL) {
                return Ok(());
            }
            let Some(chain) = queues.pop(CONTROL)? else { return Ok(()) };
            let request = read_request(&chain, queues)?;
            let done = match request.command() {
                Ok(Command::Transfer { rect, offset, resource }) => {
                    let copy = self.resource(resource).and_then(|resource| resource.copy(rect, offset));
                    copy.map(|copy| {
                        let Chain { head, writable: answer, .. } = chain.clone();
                        self.job = Some(Job { head, answer, header: request.header(), resource, copy });
                        None
                    })
                }
                Ok(Command::Attach { resource, entries }) => {
                    self.attach(resource, entries, &chain, queues)?.map(|()| Some(Answer::Done))
                }
                Ok(command) => self.command(command).map(Some),
                Err(refusal) => Err(refusal),
            };
            if let Some(answer) = done.unwrap_or_else(|refusal| Some(Answer::Refused(refusal))) {
                reply(chain.head, &chain.writable, &answer.bytes(request.header()), queues)?;
            }
        }
    }

    /// Goes on with a copy, if there is one; whether there is none any more.
    fn finish_job(&mut self, queues: &mut Queues<'_>) -> Result<bool, Fault> {
        let Some(job) = &mut self.job else { return Ok(true) };
        if let Some(resource) = self.resources.get_mut(&job.resource)
            && !resource.go_on(&mut job.copy, queues.memory(), &mut self.left)?
        {
            return Ok(false);
        }
        let bytes = Answer::Done.bytes(job.header);
        reply(job.head, &job.answer, &bytes, queues)?;
        self.job = None;
        Ok(true)
    }

    /// All that is done at once.
    fn command(&mut self, command: Command) -> Result<Answer, Refusal> {
        match command {
            Command::DisplayInfo => return Ok(Answer::DisplayInfo(self.mode)),
            Command::Edid { scanout: 0 } => return Ok(Answer::Edid(self.mode)),
            Command::Edid { .. } => return Err(Refusal::Scanout),
            Command::Create { resource, format, width, height } => {
                self.create(resource, format, width, height)?;
            }
            Command::Unref { resource } => self.remove(resource)?,
            Command::SetScanout { rect, scanout, resource } => self.show(rect, scanout, resource)?,
            Command::Flush { rect, resource } => self.flush(rect, resource)?,
            Command::Detach { resource } => {
                let freed = self.resource(resource)?.detach();
                self.used = self.used.saturating_sub(freed);
            }
            // They are done bit by bit, or with more of the guest's memory.
            Command::Transfer { .. } | Command::Attach { .. } => return Err(Refusal::Unknown),
        }
        Ok(Answer::Done)
    }

    fn resource(&mut self, number: u32) -> Result<&mut Resource, Refusal> {
        self.resources.get_mut(&number).ok_or(Refusal::Resource)
    }

    fn create(&mut self, number: u32, format: u32, width: u32, height: u32) -> Result<(), Refusal> {
        if number == 0 || self.resources.contains_key(&number) {
            return Err(Refusal::Resource);
        }
        if self.resources.len() >= MAX_RESOURCES {
            return Err(Refusal::Memory);
        }
        let resource = Resource::new(format, width, height, self.budget.saturating_sub(self.used))?;
        self.left = self.left.saturating_sub(resource.cost());
        self.used += resource.cost();
        self.resources.insert(number, resource);
        Ok(())
    }

    fn remove(&mut self, number: u32) -> Result<(), Refusal> {
        let resource = self.resources.remove(&number).ok_or(Refusal::Resource)?;
        self.used = self.used.saturating_sub(resource.cost());
        if self.shown.is_some_and(|(shown, _)| shown == number) {
            self.show_nothing();
        }
        Ok(())
    }

    fn attach(
        &mut self,
        number: u32,
        count: u32,
        chain: &Chain,
        queues: &Queues<'_>,
    ) -> Result<Result<(), Refusal>, Fault> {
        let mut entries = chain.readable.clone();
        let _request = entries.take(ENTRIES);
        let budget = self.budget.saturating_sub(self.used);
        let Some(resource) = self.resources.get_mut(&number) else { return Ok(Err(Refusal::Resource)) };
        let before = resource.cost();
        let attached = resource.attach(count, &entries, queues.memory(), budget)?;
        let cost = resource.cost() - before;
        self.used += cost;
        self.left = self.left.saturating_sub(entries.len().min(u64::from(count) * ENTRY as u64) as usize);
        Ok(attached)
    }

    fn show(&mut self, rect: Rect, scanout: u32, number: u32) -> Result<(), Refusal> {
        if scanout != 0 {
            return Err(Refusal::Scanout);
        }
        if number == 0 {
            self.show_nothing();
            return Ok(());
        }
        let resource = self.resource(number)?;
        if rect.is_empty() || !rect.is_within(resource.width, resource.height) {
            return Err(Refusal::Parameter);
        }
        self.show_nothing();
        self.shown = Some((number, rect));
        self.damage.add(Rect { x: 0, y: 0, ..rect });
        Ok(())
    }

    fn show_nothing(&mut self) {
        self.shown = None;
        self.damage.take();
        self.switched = true;
        self.wake();
    }

    fn flush(&mut self, rect: Rect, number: u32) -> Result<(), Refusal> {
        let resource = self.resource(number)?;
        if !rect.is_within(resource.width, resource.height) {
            return Err(Refusal::Parameter);
        }
        if let Some((shown, part)) = self.shown
            && shown == number
        {
            let seen = rect.and(part);
            let (x, y) = (seen.x.saturating_sub(part.x), seen.y.saturating_sub(part.y));
            self.damage.add(Rect { x, y, ..seen });
            self.wake();
        }
        Ok(())
    }

    /// Takes what the driver says of the pointer. Nobody hears whether it was understood.
    fn point(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while queues.may_begin(CURSOR) {
            let Some(chain) = queues.pop(CURSOR)? else { return Ok(()) };
            let request = read_request(&chain, queues)?;
            if let Ok(command) = request.cursor_command()
                && self.pointer.set(command, &self.resources)
            {
                self.pointer_changed = true;
                self.wake();
            }
            queues.push(CURSOR, chain.head, 0)?;
        }
        Ok(())
    }
}

fn read_request(chain: &Chain, queues: &Queues<'_>) -> Result<Request, Fault> {
    let mut bytes = [0; REQUEST];
    let len = chain.readable.read(queues.memory(), &mut bytes)?;
    Ok(Request::new(&bytes, len))
}

/// Answers a request, which must have room for that.
fn reply(head: u16, room: &Buffers, bytes: &[u8], queues: &mut Queues<'_>) -> Result<(), Fault> {
    if room.write(queues.memory(), bytes)? < bytes.len() {
        return Err(Fault::Request);
    }
    queues.push(CONTROL, head, bytes.len() as u64)
}

impl Device for Gpu {
    const KIND: Kind = Kind { number: 16, class: 0x03_80_00 };

    fn features(&self) -> Features {
        Features(1 << EDID)
    }

    fn queues(&self) -> Vec<u16> {
        alloc::vec![CONTROL_QUEUE, CURSOR_QUEUE]
    }

    /// `struct virtio_gpu_config` (5.7.4): what has happened, where that is cleared, screens, and sets of
    /// capabilities, of which two dimensions have none.
    fn configuration(&self) -> Vec<u8> {
        [self.events, 0, 1, 0].into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn configure(&mut self, offset: u64, bytes: &[u8]) {
        for (at, &byte) in (offset..).zip(bytes) {
            if let Some(at) = at.checked_sub(EVENTS_CLEAR).filter(|&at| at < 4) {
                self.events &= !(u32::from(byte) << (8 * at));
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        if core::mem::take(&mut self.mode_changed) {
            queues.configuration_changed();
        }
        if !queues.is_live() {
            return Ok(());
        }
        self.left = TURN;
        self.control(context, queues)?;
        self.point(queues)
    }

    fn reset(&mut self) {
        self.job = None;
        self.resources.clear();
        self.used = 0;
        self.events = 0;
        self.pointer = PointerState::default();
        self.pointer_changed = true;
        self.show_nothing();
    }
}
