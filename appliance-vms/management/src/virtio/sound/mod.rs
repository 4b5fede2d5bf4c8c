//! A sound card (virtio 1.2, 5.14) with one stream, out of the guest.
//!
//! Who plays it asks for frames when there is time for them ([`Sound::pull`]): that is the only clock. A
//! message of the guest's is read when it is played and not before (drivers hand over buffers that are still
//! being filled), and is answered once its last frame was taken.

mod format;
mod layout;
mod stream;

pub use format::{Format, Frame, Params};
pub use stream::Counters;

use super::queues::Queues;
use super::ring::{Buffers, Fault};
use super::{Device, Features, Kind};
use crate::memory::GuestMemory;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use layout::{Command, EVENT, Item, MAX_ITEM, Outcome, REQUEST, STATUS, TRANSFER, jack_event, status};
use stream::{Message, Stream};

/// Entries of a queue, and their numbers (5.14.2).
const QUEUE: u16 = 64;
const CONTROL: u16 = 0;
const EVENTS: u16 = 1;
const TRANSMIT: u16 = 2;
const RECEIVE: u16 = 3;

/// A sound card.
pub struct Sound {
    stream: Stream,
    connected: bool,
    /// The driver is to hear of the jack.
    jack_changed: bool,
    /// Frames that are between us and the loudspeaker.
    latency: u32,
    /// An answer that the driver is to see after those to its sound: its name, and its bytes.
    owed: Option<(u16, usize)>,
    /// What was wrong with the guest's sound when it was read.
    fault: Option<Fault>,
    player: Option<Waker>,
}

impl Default for Sound {
    fn default() -> Self {
        Self::new()
    }
}

impl Sound {
    /// With a loudspeaker in its jack.
    pub fn new() -> Self {
        Self {
            stream: Stream::new(),
            connected: true,
            jack_changed: false,
            latency: 0,
            owed: None,
            fault: None,
            player: None,
        }
    }

    /// Whether there is a loudspeaker.
    pub fn set_connected(&mut self, connected: bool) {
        self.jack_changed |= connected != self.connected;
        self.connected = connected;
    }

    /// How many frames lie between those that were taken and those that are heard: the guest shows its
    /// pictures accordingly.
    pub fn set_latency(&mut self, frames: u32) {
        self.latency = frames;
    }

    /// What the guest is playing now, if it is; `context` is woken when it begins.
    pub fn poll_playing(&mut self, context: &mut Context<'_>) -> Poll<Params> {
        if let Some(params) = self.stream.playing() {
            return Poll::Ready(params);
        }
        self.player = Some(context.waker().clone());
        Poll::Pending
    }

    /// Takes frames, at the rate of [`Sound::poll_playing`], from the guest's `memory`
    /// ([`VirtioFunction::device_with_memory`](super::VirtioFunction::device_with_memory)): fills `into` with
    /// what the guest plays and, where there is nothing, with silence. How many frames are the guest's.
    pub fn pull(&mut self, memory: &dyn GuestMemory, into: &mut [Frame]) -> usize {
        self.stream.pull(memory, into).unwrap_or_else(|fault| {
            into.fill([0; 2]);
            self.fault = Some(fault);
            0
        })
    }

    /// What became of the guest's sound so far.
    pub fn counters(&self) -> Counters {
        self.stream.counters
    }

    /// Does what the driver asks for. That a stream is released is answered a turn after all that had
    /// waited in it (5.14.6.6.5.1).
    fn control(&mut self, context: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        if let Some((head, len)) = self.owed.take() {
            queues.push(CONTROL, head, len as u64)?;
        }
        while queues.may_begin(CONTROL) {
            let Some(chain) = queues.pop(CONTROL)? else { return Ok(()) };
            let mut bytes = [0; REQUEST];
            let len = chain.readable.read(queues.memory(), &mut bytes)?;
            let room = chain.writable.len();
            let mut answer = vec![0; 4];
            let outcome = match Command::new(&bytes, len) {
                Ok(Command::Info { item, first, count, size }) => {
                    self.describe(item, (first, count, size), room, &mut answer)
                }
                Ok(command) => self.stream.command(command),
                Err(outcome) => Err(outcome),
            };
            let code = outcome.err().unwrap_or(Outcome::Done) as u32;
            answer[..4].copy_from_slice(&code.to_le_bytes());
            answer_in(&chain.writable, &answer, queues)?;
            if !self.stream.done.is_empty() {
                self.owed = Some((chain.head, answer.len()));
                context.waker().wake_by_ref();
                return Ok(());
            }
            queues.push(CONTROL, chain.head, answer.len() as u64)?;
        }
        Ok(())
    }

    /// Says what `count` things from `first` on are, each in `size` bytes: drivers of other versions know
    /// less of them, or more (5.14.6.1).
    fn describe(
        &self,
        item: Item,
        (first, count, size): (u32, u32, u32),
        room: u64,
        answer: &mut Vec<u8>,
    ) -> Result<(), Outcome> {
        let end = first.checked_add(count).filter(|&end| end <= item.count());
        let end = end.filter(|_| size <= MAX_ITEM).ok_or(Outcome::BadMessage)?;
        if room < answer.len() as u64 + u64::from(count) * u64::from(size) {
            return Err(Outcome::BadMessage);
        }
        for number in first..end {
            let mut bytes = item.describe(number, self.connected);
            bytes.resize(size as usize, 0);
            answer.extend_from_slice(&bytes);
        }
        Ok(())
    }

    /// Takes sound.
    fn listen(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while queues.may_begin(TRANSMIT) {
            let Some(chain) = queues.pop(TRANSMIT)? else { return Ok(()) };
            let mut sound = chain.readable;
            let mut stream = [0; TRANSFER as usize];
            let header = sound.take(TRANSFER).read(queues.memory(), &mut stream)?;
            if chain.writable.len() < STATUS as u64 {
                return Err(Fault::Request);
            }
            let message = Message { head: chain.head, sound, status: chain.writable };
            if header < stream.len() || u32::from_le_bytes(stream) != 0 {
                self.answer(&message, Outcome::Io, queues)?;
            } else if let Err(message) = self.stream.queue(message) {
                self.answer(&message, Outcome::Io, queues)?;
            }
        }
        Ok(())
    }

    fn answer(&self, message: &Message, outcome: Outcome, queues: &mut Queues<'_>) -> Result<(), Fault> {
        let frame = self.stream.params().map_or(0, Params::frame_bytes) as u32;
        let bytes = status(outcome, self.latency.saturating_mul(frame));
        answer_in(&message.status, &bytes, queues)?;
        queues.push(TRANSMIT, message.head, bytes.len() as u64)
    }

    /// Gives messages back that were played.
    fn finish(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while let Some(message) = self.stream.done.pop_front() {
            self.answer(&message, Outcome::Done, queues)?;
        }
        Ok(())
    }

    /// There is nothing to be heard by the guest.
    fn refuse(queues: &mut Queues<'_>) -> Result<(), Fault> {
        while queues.may_begin(RECEIVE) {
            let Some(mut chain) = queues.pop(RECEIVE)? else { return Ok(()) };
            // The status comes after the room for sound.
            let before = chain.writable.len().checked_sub(STATUS as u64).ok_or(Fault::Request)?;
            let _room = chain.writable.take(before);
            answer_in(&chain.writable, &status(Outcome::Io, 0), queues)?;
            queues.push(RECEIVE, chain.head, STATUS as u64)?;
        }
        Ok(())
    }

    fn tell(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        if self.jack_changed
            && let Some(chain) = queues.pop(EVENTS)?
        {
            self.jack_changed = false;
            answer_in(&chain.writable, &jack_event(self.connected), queues)?;
            queues.push(EVENTS, chain.head, EVENT as u64)?;
        }
        Ok(())
    }
}

/// Writes all of an answer: there must be room.
fn answer_in(room: &Buffers, bytes: &[u8], queues: &Queues<'_>) -> Result<(), Fault> {
    let written = room.write(queues.memory(), bytes)?;
    if written < bytes.len() { Err(Fault::Request) } else { Ok(()) }
}

impl Device for Sound {
    const KIND: Kind = Kind { number: 25, class: 0x04_01_00 };

    fn features(&self) -> Features {
        Features(0)
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE; 4]
    }

    /// `struct virtio_snd_config` (5.14.4): jacks, streams, channel maps.
    fn configuration(&self) -> Vec<u8> {
        let counts = [Item::Jack, Item::Stream, Item::ChannelMap].map(Item::count);
        counts.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn poll(&mut self, context: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        if !queues.is_live() {
            return Ok(());
        }
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        // A message that came before a request is there when that is done.
        self.listen(queues)?;
        self.control(context, queues)?;
        self.listen(queues)?;
        self.finish(queues)?;
        Self::refuse(queues)?;
        self.tell(queues)?;
        if let Some(player) = self.player.take_if(|_| self.stream.playing().is_some()) {
            player.wake();
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.stream.reset();
        self.owed = None;
        self.fault = None;
    }
}
