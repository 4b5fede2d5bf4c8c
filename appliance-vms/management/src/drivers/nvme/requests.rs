//! The requests that are on their way, and what is to be asked of the disk next.

use super::work::{Command, Limits, Work};
use crate::block::BlockError;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

/// A command that is at the disk, or is to go there again.
#[derive(Debug)]
pub(super) struct Sent {
    /// Whose it is.
    pub(super) request: u64,
    pub(super) command: Command,
    /// When it was first seen unfinished.
    pub(super) since: Option<Duration>,
    /// The disk had to be reset because of it once.
    pub(super) suspect: bool,
}

#[derive(Debug)]
struct Request {
    work: Work,
    /// Commands that are at the disk, or are to go there again.
    sent: usize,
    result: Result<(), BlockError>,
    waker: Option<Waker>,
    abandoned: bool,
}

impl Request {
    fn is_done(&self) -> bool {
        self.sent == 0 && (self.work.is_over() || self.result.is_err())
    }
}

/// All requests that are not over, or whose end nobody has seen yet.
#[derive(Debug, Default)]
pub(super) struct Requests {
    all: BTreeMap<u64, Request>,
    /// Those with commands that were never sent, oldest first.
    waiting: VecDeque<u64>,
    /// Commands to send again, before all others.
    again: VecDeque<Sent>,
    next: u64,
    /// Who is to be woken.
    pub(super) wakers: Vec<Waker>,
}

impl Requests {
    /// Takes a request in.
    pub(super) fn add(&mut self, work: Work) -> u64 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.all.insert(id, Request { work, sent: 0, result: Ok(()), waker: None, abandoned: false });
        self.waiting.push_back(id);
        id
    }

    /// How many are not over.
    pub(super) fn on_their_way(&self) -> usize {
        self.all.values().filter(|request| !request.is_done()).count()
    }

    /// The next command to send.
    pub(super) fn next(&mut self, limits: Limits) -> Option<Sent> {
        if let Some(sent) = self.again.pop_front() {
            return Some(sent);
        }
        while let Some(&id) = self.waiting.front() {
            if let Some(request) = self.all.get_mut(&id).filter(|request| request.result.is_ok()) {
                match request.work.next(limits) {
                    Ok(Some(command)) => {
                        request.sent += 1;
                        return Some(Sent { request: id, command, since: None, suspect: false });
                    }
                    Ok(None) => {}
                    Err(error) => request.result = Err(error),
                }
            }
            self.waiting.pop_front();
            self.settle(id);
        }
        None
    }

    /// A command is over.
    pub(super) fn finish(&mut self, id: u64, result: Result<(), BlockError>) {
        if let Some(request) = self.all.get_mut(&id) {
            request.sent = request.sent.saturating_sub(1);
            request.result = request.result.and(result);
        }
        self.settle(id);
    }

    /// A command goes to the disk again.
    pub(super) fn again(&mut self, sent: Sent) {
        self.again.push_back(Sent { since: None, ..sent });
    }

    /// All requests fail.
    pub(super) fn fail_all(&mut self, error: BlockError) {
        self.waiting.clear();
        self.again.clear();
        let ids: Vec<u64> = self.all.keys().copied().collect();
        for id in ids {
            if let Some(request) = self.all.get_mut(&id).filter(|request| !request.is_done()) {
                (request.sent, request.result) = (0, Err(error));
            }
            self.settle(id);
        }
    }

    /// Tells whoever waits for a request if it is over.
    fn settle(&mut self, id: u64) {
        let Some(request) = self.all.get_mut(&id).filter(|request| request.is_done()) else { return };
        self.wakers.extend(request.waker.take());
        if request.abandoned {
            self.all.remove(&id);
        }
    }

    pub(super) fn poll(&mut self, id: u64, context: &mut Context<'_>) -> Poll<Result<(), BlockError>> {
        match self.all.get_mut(&id) {
            // Only one who was told already asks again.
            None => Poll::Ready(Err(BlockError::Device)),
            Some(request) if request.is_done() => {
                let result = request.result;
                self.all.remove(&id);
                Poll::Ready(result)
            }
            Some(request) => {
                request.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Nobody waits for a request any more; it is carried out nevertheless.
    pub(super) fn abandon(&mut self, id: u64) {
        if let Some(request) = self.all.get_mut(&id) {
            request.abandoned = true;
        }
        self.settle(id);
    }
}
