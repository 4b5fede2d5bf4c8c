//! One port: bytes both ways.

use crate::virtio::queues::Queues;
use crate::virtio::ring::{Buffers, Fault};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

/// Most bytes that wait in each direction, and most that are copied in one turn.
const ROOM: usize = 1 << 16;

/// A port.
pub(super) struct Port {
    /// None: it is the console.
    name: Option<String>,
    /// A program in the guest has it open.
    open: bool,
    to_guest: VecDeque<u8>,
    from_guest: VecDeque<u8>,
    /// A request of the guest's, with what is still to be read of it.
    held: Option<(u16, Buffers)>,
    lost: u64,
    reader: Option<Waker>,
}

impl Port {
    /// The console.
    pub fn console() -> Self {
        Self {
            name: None,
            open: true,
            to_guest: VecDeque::new(),
            from_guest: VecDeque::new(),
            held: None,
            lost: 0,
            reader: None,
        }
    }

    /// A channel.
    pub fn named(name: &str) -> Self {
        Self { name: Some(name.into()), open: false, ..Self::console() }
    }

    pub fn name(&self) -> Option<String> {
        self.name.clone()
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn lost(&self) -> u64 {
        self.lost
    }

    pub fn set_open(&mut self, open: bool) {
        // Linux says it of consoles, too, when nobody has a terminal there; their log is wanted still.
        if self.name.is_some() && self.open != open {
            self.open = open;
            // Who opens it next is not the one that this was written for.
            self.to_guest.clear();
            self.wake();
        }
    }

    pub fn reset(&mut self) {
        self.held = None;
        self.to_guest.clear();
        self.open = self.name.is_none();
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        if self.from_guest.is_empty() {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(self.from_guest.drain(..).collect())
    }

    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let room = if self.open { ROOM - self.to_guest.len() } else { 0 };
        let taken = bytes.len().min(room);
        self.to_guest.extend(bytes.iter().take(taken));
        taken
    }

    /// Hands bytes to the guest.
    pub fn send(&mut self, queue: u16, queues: &mut Queues<'_>) -> Result<(), Fault> {
        let before = self.to_guest.len();
        while !self.to_guest.is_empty() && queues.may_begin(queue) {
            let Some(chain) = queues.pop(queue)? else { break };
            let written = chain.writable.write(queues.memory(), self.to_guest.make_contiguous())?;
            if written == 0 {
                return Err(Fault::Request);
            }
            self.to_guest.drain(..written);
            queues.push(queue, chain.head, written as u64)?;
        }
        if self.to_guest.len() < before {
            self.wake();
        }
        Ok(())
    }

    /// Takes bytes from the guest.
    pub fn receive(
        &mut self,
        queue: u16,
        context: &mut Context<'_>,
        queues: &mut Queues<'_>,
    ) -> Result<(), Fault> {
        let mut turn = ROOM;
        while queues.may_begin(queue) {
            let (head, mut rest) = match self.held.take() {
                Some(held) => held,
                None => match queues.pop(queue)? {
                    Some(chain) => (chain.head, chain.readable),
                    None => return Ok(()),
                },
            };
            // At the console the guest's whole kernel waits, so it never has to wait for a reader.
            let room = if self.name.is_some() { ROOM - self.from_guest.len() } else { ROOM };
            let part = rest.take(turn.min(room) as u64);
            let mut bytes = vec![0; part.len() as usize];
            part.read(queues.memory(), &mut bytes)?;
            turn -= bytes.len();
            self.take(&bytes);
            if !rest.is_empty() {
                self.held = Some((head, rest));
                // Without room the reader makes some, and then there is a turn.
                if turn == 0 {
                    context.waker().wake_by_ref();
                }
                return Ok(());
            }
            queues.push(queue, head, 0)?;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        self.from_guest.extend(bytes);
        let over = self.from_guest.len().saturating_sub(ROOM);
        self.from_guest.drain(..over);
        self.lost += over as u64;
        if !bytes.is_empty() {
            self.wake();
        }
    }
}
