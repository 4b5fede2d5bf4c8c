//! What the box sounds like: one task that takes sound from the guests, mixes it, and has it played.
//!
//! The task sleeps while nobody plays. From the first frame on it is woken once a period by the sound card,
//! or by the clock where there is none, so that players go on.

use super::desk::{Desk, Player};
use crate::drivers::woken;
use crate::log::event;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;
use management::executor::{self, Handle, Signal};
use management::mixer::{Mixer, Shape, Voice, gain};
use management::speaker::{AHEAD, Nobody, Output, PERIOD, PERIOD_NANOS, Speaker};
use management::virtio::sound::Counters;

/// How long the speaker plays silence before it is switched off, in periods: longer than it is ahead.
const LINGER: u32 = 50;
/// A card whose interrupt does not come is asked after so many periods.
const PATIENCE: u64 = 3;
/// Nanoseconds between two lines of the log about the same.
const QUIET: u64 = 1_000_000_000;

/// How loud everything is.
#[derive(Clone, Copy)]
pub struct Levels {
    /// In percent.
    pub volume: u8,
    /// Nothing is heard.
    pub muted: bool,
    /// Loud is softer and soft is louder.
    pub night_sound: bool,
}

/// A guest that plays, as it was last.
struct Heard {
    voice: Voice,
    /// What was told of it, and when.
    counted: Counters,
    told: u64,
}

/// The task.
struct Sound {
    handle: Handle,
    desk: Rc<Desk>,
    speaker: Box<dyn Speaker>,
    interrupt: Option<executor::Event>,
    mixer: Mixer,
    heard: BTreeMap<u16, Heard>,
    /// How often the speaker ran dry, and when that was told.
    dry: (u64, u64),
}

/// Listens to all guests, now and later; what they play is played by a speaker, if there is one.
pub fn listen(handle: &Handle, speaker: Option<(Box<dyn Speaker>, executor::Event)>, desk: &Rc<Desk>) {
    let (speaker, interrupt) = match speaker {
        Some((speaker, interrupt)) => (speaker, Some(interrupt)),
        None => (Box::new(Nobody::default()) as Box<dyn Speaker>, None),
    };
    let sound = Sound {
        handle: handle.clone(),
        desk: Rc::clone(desk),
        speaker,
        interrupt,
        mixer: Mixer::new(),
        heard: BTreeMap::new(),
        dry: (0, 0),
    };
    if handle.spawn("sound", sound.run()).is_err() {
        event!(Error, "sound.none", what = "there are too many tasks");
    }
}

impl Sound {
    async fn run(mut self) {
        loop {
            self.somebody().await;
            self.speaker.start(self.handle.now());
            let mut silent = 0;
            while silent < LINGER {
                silent = if self.fill().await { 0 } else { silent + 1 };
                self.period().await;
            }
            self.speaker.stop();
        }
    }

    /// Waits until a guest plays.
    async fn somebody(&self) {
        poll_fn(|context| {
            // Whoever has a new sound card is asked, too.
            while self.desk.recabled.poll(context).is_ready() {}
            let plays =
                |player: &Player| player.card.borrow_mut().device_mut().poll_playing(context).is_ready();
            if self.desk.players().iter().any(plays) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until a period was played.
    async fn period(&mut self) {
        let periods = if self.interrupt.is_some() { PATIENCE } else { 1 };
        let deadline = Duration::from_nanos(self.handle.now() + periods * PERIOD_NANOS);
        let signals: Vec<&Signal> = self.interrupt.iter().map(|event| &**event).collect();
        woken(&self.handle, &signals, Some(deadline)).await;
        self.speaker.acknowledge();
    }

    /// Gives the speaker what it takes; whether anybody plays.
    async fn fill(&mut self) -> bool {
        let mut room = self.speaker.room(self.handle.now());
        self.tell_dry();
        let mut anybody = false;
        while room > 0 {
            let count = room.min(PERIOD);
            anybody |= self.mix(count);
            room -= count;
            // A period is mixed in far less time than a task may take; many are not.
            self.handle.give_way().await;
        }
        anybody
    }

    /// Mixes so many frames, a period at most; whether anybody plays.
    fn mix(&mut self, count: usize) -> bool {
        let Levels { volume, muted, night_sound } = self.desk.levels();
        let master = if muted { 0.0 } else { gain(volume) };
        let players = self.desk.players();
        self.mixer.begin(count);
        let mut playing = Vec::new();
        for player in &players {
            if self.add(player, master) {
                playing.push(player.vm.0);
            }
        }
        self.heard.retain(|id, _| playing.contains(id));
        for player in &players {
            self.desk.plays(player.vm, playing.contains(&player.vm.0));
        }
        let shape = if night_sound { Shape::NIGHT } else { Shape::PLAIN };
        let frames: Vec<Output> = self.mixer.end(shape).collect();
        self.speaker.write(&frames);
        !playing.is_empty()
    }

    /// Adds a guest, if it plays.
    fn add(&mut self, player: &Player, master: f32) -> bool {
        let function = &mut *player.card.borrow_mut();
        let (card, memory) = function.device_with_memory();
        // Whether it plays is all that is asked here: the next period is not far.
        let mut context = Context::from_waker(core::task::Waker::noop());
        let (Poll::Ready(params), Some(memory)) = (card.poll_playing(&mut context), memory) else {
            return false;
        };
        let before = self.heard.remove(&player.vm.0).filter(|heard| heard.voice.rate() == params.rate);
        let mut heard = before.unwrap_or_else(|| {
            event!(Info, "sound.begins", vm = player.name, rate = params.rate, channels = params.channels);
            Heard { voice: Voice::new(params.rate), counted: card.counters(), told: 0 }
        });
        card.set_latency(heard.voice.scaled(AHEAD));
        let level = master * gain(self.desk.volume(player.vm));
        self.mixer.add(&mut heard.voice, level, |frames| {
            card.pull(memory, frames);
        });
        let now = self.handle.now();
        let counters = card.counters();
        if counters.underruns != heard.counted.underruns && now >= heard.told + QUIET {
            event!(
                Warn,
                "sound.underrun",
                vm = player.name,
                times = counters.underruns - heard.counted.underruns,
                frames = counters.missing - heard.counted.missing,
                all = counters.underruns
            );
            (heard.counted, heard.told) = (counters, now);
        }
        self.heard.insert(player.vm.0, heard);
        true
    }

    fn tell_dry(&mut self) {
        let (now, dry) = (self.handle.now(), self.speaker.dry());
        let (told, when) = self.dry;
        if dry != told && now >= when + QUIET {
            event!(Warn, "sound.dry", times = dry - told, all = dry);
            self.dry = (dry, now);
        }
    }
}
