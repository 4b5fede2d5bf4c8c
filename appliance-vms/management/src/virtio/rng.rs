//! Entropy for the guest (virtio 1.2, 5.4).

use super::queues::Queues;
use super::ring::Fault;
use super::{Device, Features, Kind};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::task::Context;

/// Entries of the queue: drivers ask once at a time.
const QUEUE: u16 = 8;
/// Most bytes that one request gets. Linux asks for a cache line.
const MOST: u64 = 256;

/// Where random bytes come from.
pub trait Entropy {
    /// Fills `into` with bytes that nobody can foretell.
    fn fill(&mut self, into: &mut [u8]);
}

/// A source of entropy.
pub struct Rng(Box<dyn Entropy>);

impl Rng {
    /// That hands out what `source` gives.
    pub fn new(source: Box<dyn Entropy>) -> Self {
        Self(source)
    }
}

impl Device for Rng {
    const KIND: Kind = Kind { number: 4, class: 0x00_ff_00 };

    fn features(&self) -> Features {
        Features(0)
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE]
    }

    fn configuration(&self) -> Vec<u8> {
        Vec::new()
    }

    fn poll(&mut self, _: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while queues.may_begin(0) {
            let Some(chain) = queues.pop(0)? else { return Ok(()) };
            // A request to be given nothing has no sense (5.4.6.1).
            if chain.writable.is_empty() {
                return Err(Fault::Request);
            }
            let mut bytes = vec![0; chain.writable.len().min(MOST) as usize];
            self.0.fill(&mut bytes);
            let written = chain.writable.write(queues.memory(), &bytes)?;
            queues.push(0, chain.head, written as u64)?;
        }
        Ok(())
    }

    fn reset(&mut self) {}
}
