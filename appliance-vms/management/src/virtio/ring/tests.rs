//! The ring against a driver that keeps the rules, and one that breaks each of them.

use super::*;
use crate::virtio::testkit::{DriverQueue, FakeMemory, INDIRECT, NEXT as MORE, WRITE};
use alloc::rc::Rc;
use alloc::vec::Vec;

const RAM: usize = 0x10000;

struct Pair {
    memory: Rc<FakeMemory>,
    driver: DriverQueue,
    queue: QueueState,
    event_index: bool,
}

impl Pair {
    fn new(size: u16) -> Self {
        let memory = Rc::new(FakeMemory::new(RAM));
        let driver = DriverQueue::new(memory.clone(), 0x1000, size);
        let queue = driver.state();
        Self { memory, driver, queue, event_index: false }
    }

    fn ring(&mut self) -> Ring<'_> {
        Ring { queue: &mut self.queue, memory: &*self.memory, event_index: self.event_index, indirect: true }
    }

    fn pop(&mut self) -> Result<Option<Chain>, Fault> {
        self.ring().pop()
    }

    fn answer(&mut self, head: u16) -> bool {
        self.ring().push(head, 7).unwrap();
        self.ring().show().unwrap()
    }
}

#[test]
fn requests_come_in_order_and_are_answered_in_any() {
    let mut pair = Pair::new(4);
    for round in 0..50_000u32 {
        let first = pair.driver.offer(&[(0x100, 4, false), (0x200, round % 100 + 1, true)]);
        let second =
            pair.driver.offer_indirect(0x8000, &[(0x300, 1, false), (0x400, 2, true), (0x500, 3, true)]);
        let one = pair.pop().unwrap().unwrap();
        assert_eq!(
            (one.head, one.readable.len(), one.writable.len()),
            (first, 4, u64::from(round % 100 + 1))
        );
        let two = pair.pop().unwrap().unwrap();
        assert_eq!((two.head, two.readable.len(), two.writable.len()), (second, 1, 5));
        assert_eq!(pair.pop(), Ok(None));
        assert!(pair.answer(second));
        assert!(pair.answer(first));
        assert_eq!(pair.driver.answers(), [(second, 7), (first, 7)]);
    }
}

#[test]
fn requests_can_be_given_back() {
    let mut pair = Pair::new(4);
    let head = pair.driver.offer(&[(0x100, 4, false)]);
    assert_eq!(pair.pop().unwrap().unwrap().head, head);
    pair.ring().give_back(1);
    assert_eq!(pair.pop().unwrap().unwrap().head, head);
    assert_eq!(pair.pop(), Ok(None));
}

#[test]
fn an_indirect_table_may_follow_normal_descriptors() {
    let mut pair = Pair::new(4);
    pair.driver.describe(0x8000, 0, 0x200, 5, WRITE, 0);
    pair.driver.describe(0x1000, 0, 0x100, 4, MORE, 1);
    // The flag for writing means nothing on a table (2.7.5.3.2).
    pair.driver.describe(0x1000, 1, 0x8000, 16, INDIRECT | WRITE, 0);
    pair.driver.make_available(0);
    let chain = pair.pop().unwrap().unwrap();
    assert_eq!((chain.readable.len(), chain.writable.len()), (4, 5));
}

#[test]
fn flags_suppress_interrupts() {
    let mut pair = Pair::new(4);
    pair.driver.set_no_interrupt(true);
    assert!(!pair.answer(0));
    pair.driver.set_no_interrupt(false);
    assert!(pair.answer(0));
    assert!(!pair.ring().show().unwrap(), "nothing new");
}

#[test]
fn indices_suppress_interrupts_and_notifications() {
    let mut pair = Pair::new(4);
    pair.event_index = true;
    pair.driver.set_used_event(1);
    assert_eq!(pair.pop(), Ok(None));
    assert_eq!(pair.driver.available_event(), 0);
    for _ in 0..2 {
        pair.driver.offer(&[(0x100, 4, false)]);
    }
    assert!(pair.pop().unwrap().is_some());
    assert!(pair.pop().unwrap().is_some());
    assert_eq!(pair.driver.available_event(), 0, "while there is work, nobody need notify");
    assert_eq!(pair.pop(), Ok(None));
    assert_eq!(pair.driver.available_event(), 2);
    assert_eq!([pair.answer(0), pair.answer(1)], [false, true]);
    // Two at once, the first of which is the one that is asked for.
    pair.driver.set_used_event(2);
    pair.ring().push(0, 0).unwrap();
    pair.ring().push(0, 0).unwrap();
    assert!(pair.ring().show().unwrap());
}

#[test]
fn loops_end() {
    let mut pair = Pair::new(4);
    pair.driver.describe(0x1000, 0, 0x100, 4, MORE, 1);
    pair.driver.describe(0x1000, 1, 0x100, 4, MORE, 0);
    pair.driver.make_available(0);
    assert_eq!(pair.pop(), Err(Fault::Loop));
}

/// Address, bytes, flags, next.
type Entry = (u64, u32, u16, u16);

#[test]
fn descriptors_are_checked() {
    let cases: &[(&[Entry], Fault)] = &[
        (&[(0x100, 4, MORE, 4)], Fault::Descriptor),
        (&[(0x100, 4, MORE | WRITE, 1), (0x100, 4, 0, 0)], Fault::Order),
        (&[(0x8000, 8, INDIRECT, 0)], Fault::Indirect),
        (&[(0x8000, 0, INDIRECT, 0)], Fault::Indirect),
        (&[(0x8000, 16, INDIRECT | MORE, 1)], Fault::Indirect),
        (&[(0x1000, 16, INDIRECT, 0)], Fault::Indirect),
        (&[(RAM as u64, 16, INDIRECT, 0)], Fault::NotRam(NotRam { address: RAM as u64, len: 16 })),
        (&[(u64::MAX, 16, INDIRECT, 0)], Fault::NotRam(NotRam { address: u64::MAX, len: 16 })),
    ];
    for (descriptors, fault) in cases {
        let mut pair = Pair::new(4);
        for (at, &(address, len, flags, next)) in descriptors.iter().enumerate() {
            pair.driver.describe(0x1000, at as u16, address, len, flags, next);
        }
        pair.driver.make_available(0);
        assert_eq!(pair.pop(), Err(*fault), "{descriptors:?}");
    }
    let mut pair = Pair::new(4);
    pair.driver.make_available(4);
    assert_eq!(pair.pop(), Err(Fault::Descriptor));
}

#[test]
fn indirect_tables_need_to_be_agreed_on() {
    let mut pair = Pair::new(4);
    pair.driver.offer_indirect(0x8000, &[(0x100, 4, false)]);
    let mut ring = pair.ring();
    ring.indirect = false;
    assert_eq!(ring.pop(), Err(Fault::Indirect));
}

#[test]
fn an_index_that_jumps_is_seen() {
    for index in [5, 0x8000, 0xffff] {
        let mut pair = Pair::new(4);
        pair.memory.store_u16(pair.driver.available + 2, index).unwrap();
        assert_eq!(pair.pop(), Err(Fault::Index), "{index:#x}");
    }
    // Back, behind what was taken.
    let mut pair = Pair::new(4);
    pair.driver.offer(&[(0x100, 4, false)]);
    assert!(pair.pop().unwrap().is_some());
    pair.memory.store_u16(pair.driver.available + 2, 0).unwrap();
    assert_eq!(pair.pop(), Err(Fault::Index));
    // Never more unanswered than fit.
    let mut pair = Pair::new(4);
    for _ in 0..5 {
        pair.driver.offer(&[(0x100, 4, false)]);
    }
    assert_eq!(pair.pop(), Err(Fault::Index));
}

#[test]
fn queues_lie_where_they_can() {
    let good = Pair::new(8).queue;
    assert_eq!(good.check(), Ok(()));
    let cases = [
        QueueState { size: 0, ..good },
        QueueState { size: 3, ..good },
        QueueState { size: 0xffff, ..good },
        QueueState { descriptors: 0x1008, ..good },
        QueueState { descriptors: !0xf, ..good },
        QueueState { available: 0x2001, ..good },
        QueueState { available: !1, ..good },
        QueueState { used: 0x3002, ..good },
        QueueState { used: !3, ..good },
    ];
    let found: Vec<_> = cases.iter().map(QueueState::check).collect();
    assert_eq!(found, [Err(Fault::Queue); 9]);
}

#[test]
fn rings_outside_ram_are_found_on_use() {
    let mut pair = Pair::new(4);
    pair.queue.available = 1 << 40;
    assert!(matches!(pair.pop(), Err(Fault::NotRam(_))));
    pair.queue.used = 1 << 40;
    assert!(matches!(pair.ring().push(0, 0), Err(Fault::NotRam(_))));
}
