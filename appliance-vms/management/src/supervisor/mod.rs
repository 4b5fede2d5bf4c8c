//! What becomes of an appliance: started, watched, stopped, started again, given up.
//!
//! A pure state machine, one for each appliance: what happens goes into [`Supervisor::on`], what is
//! to be done comes out. Its owner carries the commands out in order and says what came of them.
//!
//! ```text
//!          Create           Created/Start         Ready
//!  Stopped ──────▶ Starting ────────────▶ Running ─────▶ Ready
//!     ▲               ▲                       │             │
//!     │ Gone          │ Gone, after a while   │ Ended       │ a wish: PressPowerButton
//!     └────────────── Stopping ◀──────────────┴─────────────┘
//!                        └──▶ Failed, after too many ends in a row
//! ```

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

/// How long an appliance may take to switch itself off.
pub const STOP_TIME: Duration = Duration::from_secs(30);
/// How long it waits before it is started again after it failed for the first time; twice as long
/// each time after that.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest wait.
pub const LONGEST_DELAY: Duration = Duration::from_mins(1);
/// Failures within [`WINDOW`] after which it is given up.
pub const MOST_FAILURES: usize = 5;
/// The time in which they count.
pub const WINDOW: Duration = Duration::from_mins(10);
/// Who resets itself sooner than this after its start has failed.
pub const SETTLED: Duration = Duration::from_secs(10);

/// What an appliance does, as the family and the log are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing, and nobody wants it to.
    Stopped,
    /// It is being started, or waits to be started again.
    Starting,
    /// It runs.
    Running,
    /// It runs, and its agent says that it does what it is for.
    Ready,
    /// It is being stopped.
    Stopping,
    /// It was given up.
    Failed,
}

/// What somebody wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It shall run; one that was given up is tried again.
    Start,
    /// It shall switch itself off.
    Stop,
    /// It shall switch itself off, and be started again.
    Restart,
    /// It shall be gone at once.
    Kill,
}

/// How it came to an end that nobody here made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It asked to be switched off.
    PowerOff,
    /// It asked to be reset.
    Reset,
    /// It ended with a status ([`crate::models::debug_exit`]).
    Exit(u64),
    /// hv ended it: hv's reason.
    Died(String),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants something.
    Wish(Wish),
    /// [`Command::Create`] is done.
    Created,
    /// [`Command::Create`] or [`Command::Start`] failed, and might do another time: why.
    NotStarted(String),
    /// [`Command::Create`] failed, and will always: why.
    Refused(String),
    /// Its agent is well.
    Ready,
    /// It ended.
    Ended(End),
    /// [`Command::Destroy`] is done.
    Gone,
    /// The time of [`Command::After`] has passed: its number.
    Timer(u32),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Cut its VM and put its kernel into it; answered by [`Event::Created`], [`Event::NotStarted`] or
    /// [`Event::Refused`].
    Create,
    /// Let it run.
    Start,
    /// Press its power button.
    PressPowerButton,
    /// Let it run no more, at once.
    Stop,
    /// Take away what there is of it; answered by [`Event::Gone`].
    Destroy,
    /// Answer by [`Event::Timer`] with this number after this time.
    After(u32, Duration),
}

/// What follows when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Stay,
    Again,
    Later(Duration),
    GiveUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Off,
    /// Being created; somebody may have changed their mind meanwhile.
    Creating {
        wanted: bool,
    },
    Running {
        since: Duration,
        ready: bool,
    },
    /// Its power button was pressed.
    Asked {
        timer: u32,
        then: Then,
    },
    /// Being destroyed.
    Leaving(Then),
    /// Waits to be started again.
    Waiting {
        timer: u32,
    },
    GivenUp,
}

/// An appliance's fate.
#[derive(Debug)]
pub struct Supervisor {
    phase: Phase,
    /// When it failed, as far as that counts.
    failures: VecDeque<Duration>,
    timers: u32,
    reason: String,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// An appliance that nobody has started.
    pub const fn new() -> Self {
        Self { phase: Phase::Off, failures: VecDeque::new(), timers: 0, reason: String::new() }
    }

    /// What it does.
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Off => State::Stopped,
            Phase::Creating { .. } | Phase::Waiting { .. } | Phase::Leaving(Then::Again | Then::Later(_)) => {
                State::Starting
            }
            Phase::Running { ready: false, .. } => State::Running,
            Phase::Running { ready: true, .. } => State::Ready,
            Phase::Asked { .. } | Phase::Leaving(Then::Stay) => State::Stopping,
            Phase::Leaving(Then::GiveUp) | Phase::GivenUp => State::Failed,
        }
    }

    /// What happened to it last, in plain words; empty if nothing did.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Something happened, at `now`, counted from any moment. What does not fit its state, as an end
    /// that was told of twice, changes nothing.
    pub fn on(&mut self, now: Duration, event: Event) -> Vec<Command> {
        match event {
            Event::Wish(Wish::Start) => self.wish_start(),
            Event::Wish(Wish::Stop) => self.wish_stop(Then::Stay),
            Event::Wish(Wish::Restart) => self.wish_stop(Then::Again),
            Event::Wish(Wish::Kill) => self.wish_kill(),
            Event::Created => self.created(now),
            Event::NotStarted(why) => self.not_started(now, why),
            Event::Refused(why) => self.refused(why),
            Event::Ready => {
                if let Phase::Running { ready, .. } = &mut self.phase {
                    *ready = true;
                }
                vec![]
            }
            Event::Ended(end) => self.ended(now, end),
            Event::Gone => self.gone(),
            Event::Timer(number) => self.timer(number),
        }
    }

    fn wish_start(&mut self) -> Vec<Command> {
        match &mut self.phase {
            Phase::Off | Phase::Waiting { .. } | Phase::GivenUp => {
                self.failures.clear();
                return self.create();
            }
            Phase::Creating { wanted } => *wanted = true,
            Phase::Asked { then, .. } => *then = Then::Again,
            Phase::Leaving(then) => {
                self.failures.clear();
                *then = Then::Again;
            }
            Phase::Running { .. } => {}
        }
        vec![]
    }

    fn wish_stop(&mut self, after: Then) -> Vec<Command> {
        match &mut self.phase {
            Phase::Running { .. } => {
                let timer = self.next_timer();
                self.phase = Phase::Asked { timer, then: after };
                self.say("it was asked to switch itself off");
                return vec![Command::PressPowerButton, Command::After(timer, STOP_TIME)];
            }
            Phase::Off | Phase::Waiting { .. } | Phase::GivenUp if after == Then::Again => {
                return self.wish_start();
            }
            Phase::Waiting { .. } | Phase::GivenUp => {
                self.phase = Phase::Off;
                self.say("nobody wants it any more");
            }
            Phase::Creating { wanted } => *wanted = after == Then::Again,
            Phase::Asked { then, .. } | Phase::Leaving(then) => *then = after,
            Phase::Off => {}
        }
        vec![]
    }

    fn wish_kill(&mut self) -> Vec<Command> {
        match self.phase {
            Phase::Running { .. } | Phase::Asked { .. } => {
                self.say("it was stopped at once");
                self.leave(true, Then::Stay)
            }
            _ => self.wish_stop(Then::Stay),
        }
    }

    fn created(&mut self, now: Duration) -> Vec<Command> {
        match self.phase {
            Phase::Creating { wanted: true } => {
                self.phase = Phase::Running { since: now, ready: false };
                vec![Command::Start]
            }
            Phase::Creating { wanted: false } => {
                self.say("nobody wants it any more");
                self.leave(false, Then::Stay)
            }
            _ => vec![],
        }
    }

    fn not_started(&mut self, now: Duration, why: String) -> Vec<Command> {
        match self.phase {
            Phase::Creating { wanted: false } => {
                self.reason = why;
                self.leave(false, Then::Stay)
            }
            Phase::Creating { .. } | Phase::Running { .. } => self.fail(now, false, &why),
            _ => vec![],
        }
    }

    fn refused(&mut self, why: String) -> Vec<Command> {
        if !matches!(self.phase, Phase::Creating { .. }) {
            return vec![];
        }
        self.reason = why;
        self.leave(false, Then::GiveUp)
    }

    fn ended(&mut self, now: Duration, end: End) -> Vec<Command> {
        let runs = !matches!(end, End::Died(_));
        match (self.phase, end) {
            (Phase::Running { .. } | Phase::Asked { then: Then::Stay, .. }, End::PowerOff) => {
                self.say("it switched itself off");
                self.leave(runs, Then::Stay)
            }
            (Phase::Running { .. }, End::Exit(status)) => {
                self.reason = format!("it ended with status {status}");
                self.leave(runs, Then::Stay)
            }
            (Phase::Running { since, .. }, End::Reset) if now.saturating_sub(since) >= SETTLED => {
                self.say("it restarted itself");
                self.leave(runs, Then::Again)
            }
            (Phase::Running { .. }, End::Reset) => {
                self.fail(now, runs, "it restarted itself soon after it was started")
            }
            (Phase::Running { .. }, End::Died(why)) => self.fail(now, runs, &why),
            // It was to end; how it did so does not matter.
            (Phase::Asked { then, .. }, end) => {
                if let End::Died(why) = end {
                    self.reason = why;
                } else {
                    self.say("it ended as it was asked to");
                }
                self.leave(runs, then)
            }
            _ => vec![],
        }
    }

    /// It failed, and is started again after a while, or given up.
    fn fail(&mut self, now: Duration, runs: bool, why: &str) -> Vec<Command> {
        self.failures.retain(|at| now.saturating_sub(*at) < WINDOW);
        self.failures.push_back(now);
        let failures = self.failures.len();
        if failures >= MOST_FAILURES {
            let minutes = WINDOW.as_secs() / 60;
            self.reason =
                format!("it failed {failures} times in {minutes} minutes and was given up; at last: {why}");
            return self.leave(runs, Then::GiveUp);
        }
        // There are few failures: the shift is small.
        let delay = FIRST_DELAY.saturating_mul(1 << (failures - 1)).min(LONGEST_DELAY);
        self.reason = format!("{why}; it is started again in {} s", delay.as_secs());
        self.leave(runs, Then::Later(delay))
    }

    fn leave(&mut self, runs: bool, then: Then) -> Vec<Command> {
        self.phase = Phase::Leaving(then);
        if runs { vec![Command::Stop, Command::Destroy] } else { vec![Command::Destroy] }
    }

    fn gone(&mut self) -> Vec<Command> {
        let Phase::Leaving(then) = self.phase else { return vec![] };
        match then {
            Then::Stay => self.phase = Phase::Off,
            Then::GiveUp => self.phase = Phase::GivenUp,
            Then::Again => return self.create(),
            Then::Later(delay) => {
                let timer = self.next_timer();
                self.phase = Phase::Waiting { timer };
                return vec![Command::After(timer, delay)];
            }
        }
        vec![]
    }

    fn timer(&mut self, number: u32) -> Vec<Command> {
        match self.phase {
            Phase::Waiting { timer } if timer == number => self.create(),
            Phase::Asked { timer, then } if timer == number => {
                self.reason =
                    format!("it did not switch itself off within {} s, and was stopped", STOP_TIME.as_secs());
                self.leave(true, then)
            }
            _ => vec![],
        }
    }

    fn create(&mut self) -> Vec<Command> {
        self.phase = Phase::Creating { wanted: true };
        vec![Command::Create]
    }

    /// Timers have numbers, so that one that is no longer wanted is not taken for another.
    fn next_timer(&mut self) -> u32 {
        self.timers = self.timers.wrapping_add(1);
        self.timers
    }

    fn say(&mut self, why: &str) {
        self.reason = why.to_string();
    }
}
