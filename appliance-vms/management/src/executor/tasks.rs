//! The tasks, and which of them are ready.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;

/// Most tasks at a time.
pub const MAX_TASKS: usize = 1024;
const WORDS: usize = MAX_TASKS / 64;

/// There are [`MAX_TASKS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTasks;

/// Names a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    slot: usize,
    /// Which of the tasks that had the slot.
    life: u64,
}

/// A bit for each task that is ready: all that a waker touches.
#[derive(Default)]
pub(super) struct Ready([AtomicU64; WORDS]);

impl Ready {
    fn set(&self, slot: usize) {
        if let Some(word) = self.0.get(slot / 64) {
            word.fetch_or(1 << (slot % 64), Ordering::Release);
        }
    }

    /// Takes those that are ready now, word by word.
    pub fn take(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut bits = word.swap(0, Ordering::Acquire);
            core::iter::from_fn(move || {
                let bit = bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
                (bit < 64).then_some(index * 64 + bit as usize)
            })
        })
    }

    pub fn is_any(&self) -> bool {
        self.0.iter().any(|word| word.load(Ordering::Acquire) != 0)
    }
}

struct TaskWaker {
    ready: Arc<Ready>,
    slot: usize,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.set(self.slot);
    }
}

/// A task that is not over.
pub(super) struct Running {
    pub name: &'static str,
    pub future: Pin<Box<dyn Future<Output = ()>>>,
    pub waker: Waker,
}

enum State {
    Free,
    Waits(Running),
    Runs { cancelled: bool },
}

struct Slot {
    life: u64,
    state: State,
}

/// All tasks by slot.
#[derive(Default)]
pub(super) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

impl Tasks {
    pub fn add(
        &mut self,
        name: &'static str,
        future: Pin<Box<dyn Future<Output = ()>>>,
        ready: &Arc<Ready>,
    ) -> Result<Task, TooManyTasks> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < MAX_TASKS => {
                self.slots.push(Slot { life: 0, state: State::Free });
                self.slots.len() - 1
            }
            None => return Err(TooManyTasks),
        };
        let place = self.slots.get_mut(slot).ok_or(TooManyTasks)?;
        let waker = Waker::from(Arc::new(TaskWaker { ready: Arc::clone(ready), slot }));
        place.life += 1;
        place.state = State::Waits(Running { name, future, waker });
        ready.set(slot);
        Ok(Task { slot, life: place.life })
    }

    /// Takes a task out to run it.
    pub fn take(&mut self, slot: usize) -> Option<Running> {
        let place = self.slots.get_mut(slot)?;
        match core::mem::replace(&mut place.state, State::Runs { cancelled: false }) {
            State::Waits(running) => Some(running),
            // A waker that outlives its task wakes nobody.
            other => {
                place.state = other;
                None
            }
        }
    }

    /// Puts a task back after it has run; answers it if it is over.
    pub fn put_back(&mut self, slot: usize, running: Running, done: bool) -> Option<Running> {
        let place = self.slots.get_mut(slot)?;
        if done || matches!(place.state, State::Runs { cancelled: true }) {
            place.state = State::Free;
            self.free.push(slot);
            return Some(running);
        }
        place.state = State::Waits(running);
        None
    }

    /// Answers what is left of it, to be dropped once the table is free.
    pub fn cancel(&mut self, task: Task) -> Option<Running> {
        let place = self.slots.get_mut(task.slot).filter(|place| place.life == task.life)?;
        match core::mem::replace(&mut place.state, State::Free) {
            State::Free => None,
            State::Runs { .. } => {
                place.state = State::Runs { cancelled: true };
                None
            }
            State::Waits(running) => {
                self.free.push(task.slot);
                Some(running)
            }
        }
    }

    pub fn is_alive(&self, task: Task) -> bool {
        let place = self.slots.get(task.slot).filter(|place| place.life == task.life);
        place.is_some_and(|place| matches!(place.state, State::Waits(_) | State::Runs { cancelled: false }))
    }
}
