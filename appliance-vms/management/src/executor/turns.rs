//! Something that tasks use one after the other, each for as long as it likes.

use alloc::collections::VecDeque;
use core::cell::{RefCell, RefMut};
use core::future::poll_fn;
use core::ops::{Deref, DerefMut};
use core::task::{Poll, Waker};

/// A value that one task at a time has, also while it waits for something else.
pub struct Turns<T> {
    value: RefCell<T>,
    waiting: RefCell<VecDeque<Waker>>,
}

/// A task's turn; dropping it ends it.
pub struct Turn<'a, T> {
    value: RefMut<'a, T>,
    waiting: &'a RefCell<VecDeque<Waker>>,
}

impl<T> Turns<T> {
    /// It is nobody's turn yet.
    pub const fn new(value: T) -> Self {
        Self { value: RefCell::new(value), waiting: RefCell::new(VecDeque::new()) }
    }

    /// Waits for a turn.
    pub async fn take(&self) -> Turn<'_, T> {
        poll_fn(|context| {
            if let Ok(value) = self.value.try_borrow_mut() {
                return Poll::Ready(Turn { value, waiting: &self.waiting });
            }
            self.waiting.borrow_mut().push_back(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        // All of them: one that was cancelled meanwhile would not pass its turn on. They run later, when
        // the value is free.
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Turn<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}
