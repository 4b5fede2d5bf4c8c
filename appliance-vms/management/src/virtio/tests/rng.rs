//! Entropy.

use crate::virtio::ring::Fault;
use crate::virtio::rng::{Entropy, Rng};
use crate::virtio::testkit::Driver;
use alloc::boxed::Box;

/// Counts.
pub struct Counter(pub u8);

impl Entropy for Counter {
    fn fill(&mut self, into: &mut [u8]) {
        for byte in into {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

#[test]
fn every_request_gets_new_bytes() {
    let mut driver = Driver::start(Rng::new(Box::new(Counter(0))), u64::MAX);
    let one = driver.request(0, &[(0x1000, 3, true), (0x2000, 2, true)]);
    let two = driver.request(0, &[(0x3000, 0x1_0000, true)]);
    assert_eq!(driver.queues[0].answers(), [(one, 5), (two, 256)]);
    let memory = &driver.machine.memory;
    assert_eq!([memory.bytes(0x1000, 4), memory.bytes(0x2000, 4)], [[1, 2, 3, 0], [4, 5, 0, 0]]);
    assert_eq!(memory.bytes(0x3000, 3), [6, 7, 8]);
    assert_eq!(driver.vectors(), [1]);
}

#[test]
fn a_request_for_nothing_is_a_fault() {
    let mut driver = Driver::start(Rng::new(Box::new(Counter(0))), u64::MAX);
    driver.request(0, &[(0x1000, 3, false)]);
    assert_eq!(driver.function.borrow().fault(), Some(Fault::Request));
}
