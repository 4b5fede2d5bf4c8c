//! A stream of sound out of a guest.

use super::format::{Frame, MAX_FRAME, Params};
use super::layout::{Command, Outcome};
use crate::memory::GuestMemory;
use crate::virtio::ring::{Buffers, Fault};
use alloc::collections::VecDeque;

/// Frames that are read at once.
const CHUNK: usize = 256;

/// How far a driver has come with its stream (virtio 1.2, 5.14.6.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has said how it plays, if it has, and no more.
    Open,
    Prepared,
    Running,
    Stopped,
}

/// Sound that the driver wants played.
#[derive(Debug)]
pub(super) struct Message {
    /// Its name in the queue.
    pub head: u16,
    /// What is still to be played of it.
    pub sound: Buffers,
    /// Where it wants to hear that it was.
    pub status: Buffers,
}

/// What became of a guest's sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that were played.
    pub played: u64,
    /// How often the guest came too late, in the middle of something.
    pub underruns: u64,
    /// Frames that were silent because of that.
    pub missing: u64,
}

#[derive(Debug)]
pub(super) struct Stream {
    state: State,
    params: Option<Params>,
    waiting: VecDeque<Message>,
    /// Messages that were played and whose driver is to be told.
    pub done: VecDeque<Message>,
    /// Frames that were silent since the last sound; `None`: there was none yet.
    gap: Option<u64>,
    pub counters: Counters,
}

impl Stream {
    pub const fn new() -> Self {
        Self {
            state: State::Open,
            params: None,
            waiting: VecDeque::new(),
            done: VecDeque::new(),
            gap: None,
            counters: Counters { played: 0, underruns: 0, missing: 0 },
        }
    }

    /// Forgets the driver.
    pub fn reset(&mut self) {
        *self = Self { counters: self.counters, ..Self::new() };
    }

    pub fn params(&self) -> Option<Params> {
        self.params
    }

    /// What is played now.
    pub fn playing(&self) -> Option<Params> {
        self.params.filter(|_| self.state == State::Running)
    }

    /// Does what the driver asks for. Linux doesn't release a stream that has nothing waiting any more, so
    /// a stopped one may be prepared or set up at once.
    pub fn command(&mut self, command: Command) -> Result<(), Outcome> {
        self.state = match (command, self.state) {
            (Command::SetParams { params }, State::Open | State::Prepared | State::Stopped) => {
                let params = params.ok_or(Outcome::NotSupported)?;
                self.finish();
                self.params = Some(params);
                State::Open
            }
            (Command::Prepare, State::Open | State::Prepared | State::Stopped) if self.params.is_some() => {
                self.finish();
                State::Prepared
            }
            (Command::Release, State::Prepared | State::Stopped) => {
                self.finish();
                State::Open
            }
            (Command::Start, State::Prepared | State::Stopped) => State::Running,
            (Command::Stop, State::Running) => State::Stopped,
            _ => return Err(Outcome::BadMessage),
        };
        self.gap = None;
        Ok(())
    }

    /// What waits is given back without having been heard.
    fn finish(&mut self) {
        self.done.append(&mut self.waiting);
    }

    /// A message to be played, or back if the stream is not ready for it.
    pub fn queue(&mut self, message: Message) -> Result<(), Message> {
        if self.state == State::Open {
            return Err(message);
        }
        self.waiting.push_back(message);
        Ok(())
    }

    /// Fills `into` with what the driver plays, and then with silence; how many frames are the driver's.
    ///
    /// # Errors
    /// [`Fault::NotRam`].
    pub fn pull(&mut self, memory: &dyn GuestMemory, into: &mut [Frame]) -> Result<usize, Fault> {
        into.fill([0; 2]);
        let Some(params) = self.playing() else { return Ok(0) };
        let mut played = 0;
        while let Some(message) = self.waiting.front_mut().filter(|_| played < into.len()) {
            let room = into.get_mut(played..).unwrap_or_default();
            let count = message.play(params, memory, room)?;
            played += count;
            if count < CHUNK.min(room.len()) || message.sound.is_empty() {
                self.done.extend(self.waiting.pop_front());
            }
        }
        self.count(played, into.len() - played);
        Ok(played)
    }

    /// Silence is an underrun once there is sound again: what follows the end of a piece is none.
    fn count(&mut self, played: usize, silent: usize) {
        self.counters.played += played as u64;
        if played > 0
            && let Some(gap) = self.gap.replace(0).filter(|&gap| gap > 0)
        {
            self.counters.underruns += 1;
            self.counters.missing += gap;
        }
        self.gap = self.gap.map(|gap| gap.saturating_add(silent as u64));
    }
}

impl Message {
    /// Plays some whole frames; how many those were. Less than [`CHUNK`] and less than there is room for:
    /// there are no more.
    fn play(&mut self, params: Params, memory: &dyn GuestMemory, into: &mut [Frame]) -> Result<usize, Fault> {
        let mut bytes = [0; CHUNK * MAX_FRAME];
        let frame = params.frame_bytes();
        let wanted = into.len().min(CHUNK) * frame;
        let part = self.sound.take(wanted as u64);
        let read = part.read(memory, &mut bytes)?;
        let frames = bytes.get(..read).unwrap_or_default().chunks_exact(frame);
        let count = frames.len();
        for (place, frame) in into.iter_mut().zip(frames) {
            *place = params.frame(frame);
        }
        Ok(count)
    }
}
