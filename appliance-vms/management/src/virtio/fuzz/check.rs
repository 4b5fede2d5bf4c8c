//! What must hold whatever a driver does.

use crate::pci::Function;
use crate::virtio::Device;
use crate::virtio::ring::Fault;
use crate::virtio::testkit::{Driver, Woken};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::task::{Context, Waker};

/// Most accesses to memory of one queue in one turn. A turn has work for 2048 descriptors and may end in
/// one frame of 16 buffers with 1024 each; each descriptor is read, and what it names accessed, and a
/// chain of 17 units may have six accesses more.
const MOST_ACCESSES: u64 = 2 * (2048 + 16 * 1024) + 6 * 2048 / 17;

/// Kinds of devices.
pub const KINDS: usize = 7;

/// What has happened in all lives: a fuzzer that no longer gets anywhere would find nothing for ever.
#[derive(Debug, Default)]
pub struct Tally {
    /// Of each kind of device.
    pub steps: [u64; KINDS],
    /// Turns in which a device has written to memory.
    worked: u64,
    /// Changes of pictures that were seen.
    pub shown: u64,
    /// Frames of sound that were heard.
    pub played: u64,
    /// Turns that were too short.
    more: u64,
    /// Messages.
    messages: u64,
    /// Most accesses to memory in one turn.
    most: u64,
    faults: BTreeMap<String, u64>,
    /// Faults that a reset has ended.
    resets: u64,
}

impl Tally {
    fn broke(&mut self, fault: Option<Fault>) {
        if let Some(fault) = fault {
            *self.faults.entry(name(fault)).or_default() += 1;
        }
    }

    /// Steps of that kind of device that had the fewest.
    pub fn fewest(&self) -> u64 {
        self.steps.into_iter().min().unwrap_or_default()
    }

    pub fn reached(&self) {
        let steps: u64 = self.steps.iter().sum();
        let kinds = ["NotRam", "Queue", "Index", "Descriptor", "Loop", "Indirect", "Order", "Request"];
        for kind in kinds {
            assert!(self.faults.contains_key(kind), "no driver was ever at fault by {kind}");
        }
        for (what, count, share) in [
            ("turns with work", self.worked, 20),
            ("messages", self.messages, 50),
            ("turns that were too short", self.more, 5000),
            ("changes of pictures", self.shown, 20_000),
            ("frames of sound", self.played, 2000),
            ("resets of broken devices", self.resets, 500),
        ] {
            assert!(count > steps / share, "only {count} {what}");
        }
    }
}

/// The name of a fault, without what it says.
fn name(fault: Fault) -> String {
    let text = alloc::format!("{fault:?}");
    text.split('(').next().unwrap_or_default().into()
}

pub struct Check {
    queues: u16,
    woken: Arc<Woken>,
}

impl Check {
    pub fn new<D: Device>(driver: &Driver<D>) -> Self {
        let queues = driver.function.borrow().device().queues().len() as u16;
        Self { queues, woken: Arc::default() }
    }

    /// After a step of the driver's: a fault ends by a reset only, and counts are bounded.
    pub fn after_step<D: Device>(&self, driver: &Driver<D>, before: Option<Fault>, tally: &mut Tally) {
        let function = driver.function.borrow();
        let enabled = |number| function.queue(number).is_some_and(|queue| queue.enabled);
        if let Some(before) = before
            && function.fault() != Some(before)
        {
            tally.resets += 1;
            // The driver may have gone on after its reset in the same step.
            assert!(matches!(function.fault(), None | Some(Fault::Queue)));
            for queue in (0..self.queues).filter_map(|number| function.queue(number)) {
                assert_eq!((queue.next_available, queue.next_used, queue.shown), (0, 0, 0));
            }
        }
        if before.is_none() && function.fault().is_some() {
            tally.broke(function.fault());
        }
        assert!(!function.is_live() || function.fault().is_none());
        assert!(!function.is_live() || function.is_quiet() || (0..self.queues).any(enabled));
    }

    /// Gives the device a turn: bounded work, and none for a driver that is at fault.
    pub fn turn<D: Device>(&mut self, driver: &mut Driver<D>, tally: &mut Tally) {
        let before = driver.function.borrow().fault();
        let live = driver.function.borrow().is_live();
        let memory = &driver.machine.memory;
        let (accesses, writes) = (memory.accesses.get(), memory.writes.get());
        self.woken.take();
        let waker = Waker::from(self.woken.clone());
        driver.function.borrow_mut().poll(&mut Context::from_waker(&waker));
        let (accesses, writes) = (memory.accesses.get() - accesses, memory.writes.get() - writes);
        let messages = driver.machine.interrupts.take().len() as u64;
        let function = driver.function.borrow();
        assert!(accesses <= MOST_ACCESSES * u64::from(self.queues), "{accesses} accesses");
        assert!(live || (accesses, writes) == (0, 0), "it works for nobody");
        assert!(messages <= u64::from(self.queues) * 2 + 2);
        if before.is_none() {
            tally.broke(function.fault());
        } else {
            assert_eq!(function.fault(), before, "only a reset ends it");
        }
        for queue in
            (0..self.queues).filter_map(|number| function.queue(number)).filter(|queue| queue.enabled)
        {
            let taken = queue.next_available.wrapping_sub(queue.next_used);
            assert!(queue.check().is_ok() && taken <= queue.size, "{queue:?}");
            assert!(function.fault().is_some() || queue.shown == queue.next_used);
        }
        tally.worked += u64::from(writes > 0);
        tally.more += u64::from(self.woken.take() > 0 && live);
        tally.messages += messages;
        tally.most = tally.most.max(accesses);
    }
}
