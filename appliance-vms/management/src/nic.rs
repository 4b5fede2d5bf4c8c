//! Network ports: the physical ones.

use alloc::vec::Vec;
use core::task::{Context, Poll};

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Most bytes of a frame, from the destination address on, without the check sum.
pub const MAX_FRAME: usize = 1514;

/// A physical network port.
pub trait Nic {
    /// Its own address.
    fn mac(&self) -> Mac;
    /// Whether the cable is in.
    fn link(&self) -> bool;
    /// The next frame that came in; `Pending` wakes the task when there is one.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Vec<u8>>;
    /// Sends a frame; `false`: the queue is full, and the frame is dropped.
    fn send(&mut self, frame: &[u8]) -> bool;
}
