//! An input device (virtio 1.2, 5.8): a remote control, a pad, or whatever else a [`Description`] says.
//!
//! Who presses keys gives a whole report to [`Input::send`]; the guest gets all of it or nothing. What a
//! guest that doesn't listen has missed is lost, but never the state: once it listens again, it is told
//! which keys and axes are not as it believes. (Linux's own word for this, SYN_DROPPED, is for programs:
//! its kernel ignores one that comes from a device.)

pub mod codes;
mod description;

pub use description::{Axis, Description, Ids};

use super::queues::Queues;
use super::ring::Fault;
use super::{Device, Features, Kind};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use codes::{SYN_REPORT, kind};
use core::task::Context;

/// Entries of a queue, and their numbers.
const QUEUE: u16 = 64;
const EVENTS: u16 = 0;
const STATUS: u16 = 1;
/// Bytes of an event (5.8.6.1): kind, code, value.
const EVENT: usize = 8;
/// Most events that wait for a guest: as many as it has buffers.
const MAX_WAITING: usize = QUEUE as usize;
/// Where selection, size and answer are in the configuration, and its length (5.8.4).
const SELECT: u64 = 0;
const SUBSELECT: u64 = 1;
const ANSWER_AT: usize = 8;
const CONFIGURATION: usize = ANSWER_AT + description::ANSWER;

/// Something that has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputEvent {
    /// What kind of thing ([`codes::kind`]).
    pub kind: u16,
    /// Which key, axis or light.
    pub code: u16,
    /// Its new value.
    pub value: i32,
}

impl InputEvent {
    /// A key or button is pressed or let go.
    pub const fn key(code: u16, down: bool) -> Self {
        Self { kind: kind::KEY, code, value: down as i32 }
    }

    /// An axis moves.
    pub const fn axis(code: u16, value: i32) -> Self {
        Self { kind: kind::ABS, code, value }
    }

    const REPORT: Self = Self { kind: kind::SYN, code: SYN_REPORT, value: 0 };

    fn to_bytes(self) -> [u8; EVENT] {
        let low = u64::from(self.kind) | u64::from(self.code) << 16;
        (low | u64::from(self.value.cast_unsigned()) << 32).to_le_bytes()
    }

    fn from_bytes(bytes: [u8; EVENT]) -> Self {
        let all = u64::from_le_bytes(bytes);
        Self { kind: all as u16, code: (all >> 16) as u16, value: ((all >> 32) as u32).cast_signed() }
    }
}

/// Keys and axes by kind and code, with their values. What was never moved is not in it.
type State = BTreeMap<(u16, u16), i32>;

/// An input device.
pub struct Input {
    description: Description,
    /// What the driver asks about.
    selected: (u8, u8),
    waiting: VecDeque<InputEvent>,
    /// How things are, and how the guest will believe they are once it has got all that waits.
    state: State,
    told: State,
    /// Lights that the guest has on, by their numbers.
    lights: u16,
    dropped: u64,
}

impl Input {
    /// A device as described.
    pub fn new(description: Description) -> Self {
        Self {
            description,
            selected: (0, 0),
            waiting: VecDeque::new(),
            state: State::new(),
            told: State::new(),
            lights: 0,
            dropped: 0,
        }
    }

    /// What has happened at one moment: one report for the guest. Whether it gets it: not if there is
    /// something in it that the device does not have, and not if it has not taken those before.
    pub fn send(&mut self, events: &[InputEvent]) -> bool {
        if !events.iter().all(|event| self.description.has(event.kind, event.code)) {
            return false;
        }
        for &event in events {
            note(&mut self.state, event);
        }
        let room = self.waiting.len() + events.len() < MAX_WAITING;
        if room {
            self.report(events);
        } else {
            self.dropped += 1;
        }
        room
    }

    /// Reports that no guest has got.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether the guest has light number `code` on.
    pub fn light(&self, code: u16) -> bool {
        self.lights.checked_shr(code.into()).is_some_and(|lights| lights & 1 == 1)
    }

    fn report(&mut self, events: &[InputEvent]) {
        for &event in events {
            note(&mut self.told, event);
            self.waiting.push_back(event);
        }
        self.waiting.push_back(InputEvent::REPORT);
    }

    /// Tells the guest what it has missed, as far as it matters still.
    fn catch_up(&mut self) {
        let news = self.state.iter().filter(|&(thing, value)| self.told.get(thing) != Some(value));
        let event = |(&(kind, code), &value)| InputEvent { kind, code, value };
        let news: Vec<_> = news.map(event).take(MAX_WAITING - 1).collect();
        if !news.is_empty() {
            self.report(&news);
        }
    }

    /// Hands reports to the driver, whole ones only.
    fn talk(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        loop {
            if self.waiting.is_empty() {
                self.catch_up();
            }
            let end = self.waiting.iter().position(|&event| event == InputEvent::REPORT);
            let Some(end) = end else { return Ok(()) };
            if !queues.may_begin(EVENTS) {
                return Ok(());
            }
            let mut chains = Vec::with_capacity(end + 1);
            while chains.len() <= end {
                let Some(chain) = queues.pop(EVENTS)? else {
                    queues.give_back(EVENTS, chains.len() as u16);
                    return Ok(());
                };
                chains.push(chain);
            }
            for (chain, event) in chains.iter().zip(self.waiting.drain(..=end)) {
                if chain.writable.write(queues.memory(), &event.to_bytes())? < EVENT {
                    return Err(Fault::Request);
                }
                queues.push(EVENTS, chain.head, EVENT as u64)?;
            }
        }
    }

    /// Takes what the driver sets: lights, and how keys repeat, which is the guest's own affair.
    fn listen(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while queues.may_begin(STATUS) {
            let Some(chain) = queues.pop(STATUS)? else { return Ok(()) };
            let mut bytes = [0; EVENT];
            if chain.readable.read(queues.memory(), &mut bytes)? == EVENT {
                let InputEvent { kind: event_kind, code, value } = InputEvent::from_bytes(bytes);
                if event_kind == kind::LED && self.description.has(event_kind, code) {
                    self.lights = self.lights & !(1 << code) | u16::from(value != 0) << code;
                }
            }
            queues.push(STATUS, chain.head, 0)?;
        }
        Ok(())
    }
}

/// Remembers what an event changes, if it is a state that it changes.
fn note(state: &mut State, event: InputEvent) {
    if matches!(event.kind, kind::KEY | kind::ABS) {
        state.insert((event.kind, event.code), event.value);
    }
}

impl Device for Input {
    const KIND: Kind = Kind { number: 18, class: 0x09_80_00 };

    fn features(&self) -> Features {
        Features(0)
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE; 2]
    }

    /// `struct virtio_input_config` (5.8.4): selection, subselection, bytes of the answer, the answer.
    fn configuration(&self) -> Vec<u8> {
        let (select, subselect) = self.selected;
        let answer = self.description.answer(select, subselect);
        let mut bytes = vec![select, subselect, answer.len() as u8, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&answer);
        bytes.resize(CONFIGURATION, 0);
        bytes
    }

    fn configure(&mut self, offset: u64, bytes: &[u8]) {
        for (at, &byte) in (offset..).zip(bytes) {
            match at {
                SELECT => self.selected.0 = byte,
                SUBSELECT => self.selected.1 = byte,
                _ => {}
            }
        }
    }

    fn poll(&mut self, _: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        if !queues.is_live() {
            // What came before there is a driver is not for it; keys that are held are let go later.
            let reports = self.waiting.iter().filter(|&&event| event == InputEvent::REPORT).count();
            self.dropped += reports as u64;
            self.waiting.clear();
            self.told.clone_from(&self.state);
            return Ok(());
        }
        self.listen(queues)?;
        self.talk(queues)
    }

    fn reset(&mut self) {
        self.selected = (0, 0);
        self.waiting.clear();
        self.told.clone_from(&self.state);
        self.lights = 0;
    }
}
