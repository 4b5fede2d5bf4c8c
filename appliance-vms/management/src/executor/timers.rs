//! Tasks that wait for a moment.

use super::Handle;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// A moment, and a number that no other timer has.
type Key = (u64, u64);

/// Who is to be woken when; the earliest first.
#[derive(Default)]
pub(super) struct Timers {
    waiting: BTreeMap<Key, Waker>,
    next: u64,
}

impl Timers {
    /// Takes those whose moment has come.
    pub fn take_due(&mut self, now: u64) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        due
    }

    /// The earliest moment that somebody waits for.
    pub fn next(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(key, _)| key.0)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Waits for a moment.
pub struct Sleep {
    handle: Handle,
    deadline: u64,
    number: Option<u64>,
}

impl Sleep {
    pub(super) const fn new(handle: Handle, deadline: u64) -> Self {
        Self { handle, deadline, number: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.handle.now() >= self.deadline {
            return Poll::Ready(());
        }
        let before = {
            let mut timers = self.handle.0.timers.borrow_mut();
            let number = self.number.unwrap_or_else(|| timers.number());
            let before = timers.waiting.insert((self.deadline, number), context.waker().clone());
            drop(timers);
            self.number = Some(number);
            before
        };
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let left = self.handle.0.timers.borrow_mut().waiting.remove(&(self.deadline, number));
            drop(left);
        }
    }
}
