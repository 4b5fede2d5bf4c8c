//! NVMe disks. NVM Express base specification 1.4; everything used here is in 1.0 as well.
//!
//! One queue pair for administration, one for the first namespace's data. [`Nvme::poll`] does all the
//! work that is not done by a request itself: it is called on the disk's interrupt and when
//! [`Nvme::deadline`] is over. A disk that does not answer is reset, and what it was asked is asked
//! again; if that does not help it is dead.

mod controller;
#[cfg(test)]
mod fake;
mod layout;
mod queue;
mod requests;
mod setup;
#[cfg(test)]
mod tests;
mod work;

use self::controller::Controller;
use super::dma::Dma;
use super::registers::DeviceRegisters;
use crate::block::{BlockDevice, BlockError, Geometry, Operation, Pending};
use crate::memory::HostRange;
use alloc::boxed::Box;
use alloc::string::String;
use core::cell::RefCell;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

/// Why an NVMe disk can't be used, or can't any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// There is no memory left that it reaches.
    NoMemory,
    /// Its registers read all ones: it is not there any more.
    Gone,
    /// It did not become ready, not after a reset either.
    NotReady,
    /// It did not answer, not after a reset either.
    Silent,
    /// It refused to be set up, with this status (figure "Status Code").
    Refused(u16),
    /// It has no namespace, pages, or blocks that this driver can use.
    Unsuitable,
}

impl fmt::Display for Death {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => to.write_str("there is no memory left for the NVMe disk's queues"),
            Self::Gone => to.write_str("the NVMe disk is not there any more"),
            Self::NotReady => to.write_str("the NVMe disk does not get ready"),
            Self::Silent => to.write_str("the NVMe disk does not answer"),
            Self::Refused(status) => write!(to, "the NVMe disk refuses to be set up (status {status:#x})"),
            Self::Unsuitable => to.write_str("the NVMe disk has no data in a form that is known"),
        }
    }
}

/// An NVMe disk: the first namespace of its controller.
pub struct Nvme {
    controller: RefCell<Controller>,
}

impl Nvme {
    /// Takes over a controller by its registers (BAR 0) and resets it. It interrupts by message `vector`
    /// of its MSI-X table. All its memory is taken here. It is ready some polls later.
    ///
    /// # Errors
    /// [`Death`]: it can be seen at once that it can't be used.
    pub fn new(registers: Box<dyn DeviceRegisters>, dma: &dyn Dma, vector: u16) -> Result<Self, Death> {
        Ok(Self { controller: RefCell::new(Controller::new(registers, dma, vector)?) })
    }

    /// Goes on with what is to be done: on an interrupt, and when [`Self::deadline`] is over. `now` is
    /// since any fixed moment.
    pub fn poll(&self, now: Duration) {
        let wakers = {
            let mut controller = self.controller.borrow_mut();
            controller.poll(now);
            controller.take_wakers()
        };
        // A waker may poll its task at once, and that one ask for more.
        wakers.into_iter().for_each(core::task::Waker::wake);
    }

    /// When to poll again even if there is no interrupt: often while the disk gets ready, then once a
    /// second. Never, once it is dead.
    pub fn deadline(&self) -> Option<Duration> {
        self.controller.borrow().deadline()
    }

    /// Whether it has once been ready: it is known then what it is like, and it takes requests.
    pub fn is_ready(&self) -> bool {
        self.controller.borrow().was_ready()
    }

    /// Why it is dead, if it is. Its right to reach memory is to be taken away then (bus mastering):
    /// what it was to read or write has been given back.
    pub fn death(&self) -> Option<Death> {
        self.controller.borrow().death()
    }

    /// Its model and serial number, once it is ready.
    pub fn model(&self) -> String {
        String::from(self.controller.borrow().model())
    }

    /// How many times it was reset because it did not answer.
    pub fn resets(&self) -> u32 {
        self.controller.borrow().resets()
    }

    /// How many requests are not over.
    pub fn requests(&self) -> usize {
        self.controller.borrow().requests()
    }
}

impl BlockDevice for Nvme {
    fn geometry(&self) -> Geometry {
        self.controller.borrow().geometry()
    }

    /// Memory is dword-aligned, and where a page is not filled or a piece does not begin with a page,
    /// a block ends: anything else is [`BlockError::Unsupported`].
    fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a> {
        match self.controller.borrow_mut().begin(operation, sector, memory) {
            Ok(id) => Box::pin(Request { disk: self, id }),
            Err(error) => Box::pin(core::future::ready(Err(error))),
        }
    }
}

/// A request on its way.
struct Request<'a> {
    disk: &'a Nvme,
    id: u64,
}

impl Future for Request<'_> {
    type Output = Result<(), BlockError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.disk.controller.borrow_mut().poll_request(self.id, context)
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.disk.controller.borrow_mut().abandon(self.id);
    }
}
