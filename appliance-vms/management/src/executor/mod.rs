//! One cooperative executor: every driver, backend and service of the management VM is a task of it.
//!
//! A task runs until it waits for something, and nothing interrupts it for another one, so no task may
//! hold the CPU for longer than [`MOST_HELD`]; who did is on record ([`Load`]). Tasks are made ready by
//! their wakers, which set a bit and do nothing else: a waker may be called from anywhere, an interrupt
//! handler too. Everything else here is for the one CPU that the executor runs on.
//!
//! Whoever owns the [`Executor`] drives it: tells it of events ([`Executor::signal`]), gives it a
//! [`Executor::turn`], and sleeps for as long as the turn's [`Rest`] allows.

mod events;
mod signal;
mod tasks;
#[cfg(test)]
mod tests;
mod timers;
mod turns;

pub use events::{EVENTS, Event};
pub use signal::Signal;
pub use tasks::{MAX_TASKS, Task, TooManyTasks};
pub use timers::Sleep;
pub use turns::{Turn, Turns};

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use events::Events;
use tasks::{Ready, Tasks};
use timers::Timers;

/// Longest that a task may hold the CPU, in nanoseconds.
pub const MOST_HELD: u64 = 2_000_000;

/// Time, in nanoseconds since some moment; it never runs backwards.
pub trait Clock {
    /// The time now.
    fn now(&self) -> u64;
}

/// What is to be done after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Another turn: somebody is ready.
    None,
    /// Sleep until then at most, or until an event.
    Until(u64),
    /// Sleep until an event.
    Forever,
}

/// How tasks have held the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How often tasks have run.
    pub polls: u64,
    /// The longest that one held the CPU, in nanoseconds.
    pub longest: u64,
    /// Which one that was.
    pub longest_task: &'static str,
    /// How often one held it for longer than [`MOST_HELD`].
    pub too_long: u64,
}

/// The executor; its owner's side.
pub struct Executor(Handle);

/// What tasks have of the executor; cheap to copy.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

struct Inner {
    clock: Box<dyn Clock>,
    ready: Arc<Ready>,
    tasks: RefCell<Tasks>,
    timers: RefCell<Timers>,
    events: RefCell<Events>,
    load: Cell<Load>,
}

impl Executor {
    /// An executor without tasks.
    pub fn new(clock: impl Clock + 'static) -> Self {
        Self(Handle(Rc::new(Inner {
            clock: Box::new(clock),
            ready: Arc::new(Ready::default()),
            tasks: RefCell::default(),
            timers: RefCell::default(),
            events: RefCell::default(),
            load: Cell::default(),
        })))
    }

    /// For tasks.
    pub fn handle(&self) -> Handle {
        self.0.clone()
    }

    /// An event has happened: whoever has it is ready. An event that nobody has is forgotten.
    pub fn signal(&self, number: u32) {
        let signal = self.0.0.events.borrow().get(number);
        if let Some(signal) = signal {
            signal.raise();
        }
    }

    /// Runs every task that is ready once.
    pub fn turn(&self) -> Rest {
        let inner = &*self.0.0;
        // A waker may be anybody's, so none is called while the timers are borrowed.
        let due = inner.timers.borrow_mut().take_due(inner.clock.now());
        due.into_iter().for_each(core::task::Waker::wake);
        for slot in inner.ready.take() {
            self.run(slot);
        }
        if inner.ready.is_any() {
            return Rest::None;
        }
        inner.timers.borrow().next().map_or(Rest::Forever, Rest::Until)
    }

    /// How tasks have held the CPU until now.
    pub fn load(&self) -> Load {
        self.0.0.load.get()
    }

    fn run(&self, slot: usize) {
        let inner = &*self.0.0;
        // The task is out of the table while it runs: it may start and end others, and itself.
        let Some(mut running) = inner.tasks.borrow_mut().take(slot) else { return };
        let from = inner.clock.now();
        let done = running.future.as_mut().poll(&mut Context::from_waker(&running.waker)).is_ready();
        self.account(running.name, inner.clock.now().saturating_sub(from));
        let left = inner.tasks.borrow_mut().put_back(slot, running, done);
        // What a future drops may use the table.
        drop(left);
    }

    fn account(&self, name: &'static str, held: u64) {
        let mut load = self.load();
        load.polls += 1;
        load.too_long += u64::from(held > MOST_HELD);
        if held > load.longest {
            (load.longest, load.longest_task) = (held, name);
        }
        self.0.0.load.set(load);
    }
}

/// Lets every other task that is ready run first: for work that takes longer than a task may.
pub async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if core::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Handle {
    /// Starts a task. `name` is for the record.
    ///
    /// # Errors
    /// [`TooManyTasks`]; the future is dropped.
    pub fn spawn(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + 'static,
    ) -> Result<Task, TooManyTasks> {
        let future = Box::pin(future);
        self.0.tasks.borrow_mut().add(name, future, &self.0.ready)
    }

    /// Ends a task where it waits; one that cancels itself ends where it waits next. One that is over
    /// stays so.
    pub fn cancel(&self, task: Task) {
        let left = self.0.tasks.borrow_mut().cancel(task);
        drop(left);
    }

    /// Whether a task is not over.
    pub fn is_alive(&self, task: Task) -> bool {
        self.0.tasks.borrow().is_alive(task)
    }

    /// The time, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.0.clock.now()
    }

    /// Waits until the clock shows `deadline` nanoseconds.
    pub fn sleep_until(&self, deadline: u64) -> Sleep {
        Sleep::new(self.clone(), deadline)
    }

    /// Waits for so many nanoseconds.
    pub fn sleep(&self, nanos: u64) -> Sleep {
        self.sleep_until(self.now().saturating_add(nanos))
    }

    /// What a future answers, if that takes no longer than so many nanoseconds. A future that is late
    /// is dropped.
    pub async fn within<T>(&self, nanos: u64, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut sleep = pin!(self.sleep(nanos));
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// As [`give_way`].
    pub async fn give_way(&self) {
        give_way().await;
    }

    /// A new event of its own, with a number that nobody else has; `None`: all [`EVENTS`] are taken.
    pub fn event(&self) -> Option<Event> {
        let (number, signal) = self.0.events.borrow_mut().take()?;
        Some(Event::new(self.clone(), number, signal))
    }
}
