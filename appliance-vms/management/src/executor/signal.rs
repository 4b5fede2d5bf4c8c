//! Something that one task waits for.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

/// Something that happens from time to time, and that one task waits for. What happens while nobody
/// waits is kept; what happens twice before it is seen is seen once.
#[derive(Default)]
pub struct Signal {
    raised: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Signal {
    /// It has happened.
    pub fn raise(&self) {
        self.raised.set(true);
        let waiting = self.waiting.borrow_mut().take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Whether it has happened since this was last asked or waited for.
    pub fn take(&self) -> bool {
        self.raised.take()
    }

    /// Whether it has happened; if not, the task is woken when it does. Of two tasks that wait, the
    /// later one is woken.
    pub fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.take() {
            return Poll::Ready(());
        }
        let before = self.waiting.borrow_mut().replace(context.waker().clone());
        drop(before);
        Poll::Pending
    }

    /// Waits until it happens.
    pub async fn wait(&self) {
        poll_fn(|context| self.poll(context)).await;
    }
}
