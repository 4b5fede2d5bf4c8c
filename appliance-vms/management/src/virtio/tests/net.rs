//! Network cards.

use crate::nic::Mac;
use crate::virtio::net::{Checksum, Frame, Net};
use crate::virtio::ring::Fault;
use crate::virtio::testkit::{Driver, Woken};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

const MAC: Mac = Mac([0x52, 0x48, 1, 2, 3, 4]);
const MERGE: u64 = 1 << 15;
const CHECKSUMS: u64 = 3;
const BUFFER: u64 = 0x2000;
const FRAME: u64 = 0x1000;

fn start(features: u64) -> Driver<Net> {
    Driver::start(Net::new(MAC), features)
}

fn sent(driver: &mut Driver<Net>, woken: &Arc<Woken>) -> Option<Frame> {
    let waker = Waker::from(woken.clone());
    let sent = driver.function.borrow_mut().device_mut().poll_sent(&mut Context::from_waker(&waker));
    driver.poll();
    match sent {
        Poll::Ready(frame) => Some(frame),
        Poll::Pending => None,
    }
}

fn receive(driver: &mut Driver<Net>, frame: Frame) -> bool {
    let taken = driver.function.borrow_mut().device_mut().receive(frame);
    driver.poll();
    taken
}

fn frame(len: u8) -> Vec<u8> {
    (1..=len).collect()
}

/// Sends a frame whose header is `header`.
fn send(driver: &mut Driver<Net>, header: [u8; 12], bytes: &[u8]) {
    driver.put(FRAME, &header);
    driver.put(FRAME + 12, bytes);
    let head = driver.request(1, &[(FRAME, 12, false), (FRAME + 12, bytes.len() as u32, false)]);
    assert_eq!(driver.queues[1].answers(), [(head, 0)]);
}

#[test]
fn the_configuration_has_address_and_link() {
    let mut driver = start(u64::MAX);
    assert_eq!(driver.features & 0xff_ffff, 0x1_8023);
    assert_eq!(driver.read(driver.configuration, 8), 0x0001_0403_0201_4852);
    let generation = driver.read(driver.common + 21, 1);
    driver.function.borrow_mut().device_mut().set_link(false);
    driver.poll();
    assert_eq!(driver.vectors(), [0]);
    assert_eq!(driver.read(driver.configuration + 6, 2), 0);
    assert_ne!(driver.read(driver.common + 21, 1), generation);
    assert!(!receive(&mut driver, Frame::whole(frame(60))), "the cable is out");
    let woken = Arc::default();
    send(&mut driver, [0; 12], &frame(60));
    assert_eq!(sent(&mut driver, &woken), None);
}

#[test]
fn frames_are_sent_whole() {
    let mut driver = start(u64::MAX);
    let woken = Arc::new(Woken::default());
    assert_eq!(sent(&mut driver, &woken), None);
    send(&mut driver, [0; 12], &frame(60));
    assert_eq!(woken.take(), 1);
    assert_eq!(sent(&mut driver, &woken), Some(Frame::whole(frame(60))));
    send(&mut driver, [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0], &frame(60));
    let with_checksum = sent(&mut driver, &woken).unwrap();
    assert_eq!(with_checksum.checksum, Some(Checksum { start: 34, offset: 16 }));
    assert_eq!(driver.function.borrow().device().counters().sent, 2);
}

#[test]
fn what_is_no_frame_is_refused() {
    let woken = Arc::default();
    let mut driver = start(u64::MAX);
    send(&mut driver, [0; 12], &frame(13));
    send(&mut driver, [0; 12], &[0; 1515]);
    send(&mut driver, [1, 0, 0, 0, 0, 0, 59, 0, 0, 0, 0, 0], &frame(60));
    send(&mut driver, [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &frame(60));
    assert_eq!(sent(&mut driver, &woken), None);
    assert_eq!(driver.function.borrow().device().counters().refused, 4);
    let mut driver = start(!CHECKSUMS);
    send(&mut driver, [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0], &frame(60));
    assert_eq!(sent(&mut driver, &woken), None);
}

#[test]
fn frames_wait_for_who_sends_them_on() {
    let mut driver = start(u64::MAX);
    let woken = Arc::default();
    driver.put(FRAME, &[0; 80]);
    for _ in 0..3 {
        for _ in 0..100 {
            driver.queues[1].offer(&[(FRAME, 72, false)]);
        }
        driver.ring(1);
        if driver.queues[1].answers().len() < 100 {
            break;
        }
    }
    let mut frames = 0;
    while sent(&mut driver, &woken).is_some() {
        frames += 1;
    }
    assert_eq!((frames, driver.queues[1].answers().len()), (300, 44));
}

#[test]
fn frames_are_received_in_one_buffer_or_several() {
    let mut driver = start(u64::MAX);
    assert!(receive(&mut driver, Frame::whole(frame(60))));
    let one = driver.request(0, &[(BUFFER, 40, true)]);
    assert_eq!(driver.queues[0].answers(), [], "it does not fit yet");
    let two = driver.request(0, &[(BUFFER + 40, 10, true), (BUFFER + 50, 90, true)]);
    assert_eq!(driver.queues[0].answers(), [(one, 40), (two, 32)]);
    let bytes = driver.machine.memory.bytes(BUFFER, 72);
    assert_eq!((&bytes[..12], &bytes[12..]), (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0][..], &frame(60)[..]));
    assert_eq!(driver.vectors(), [1]);
}

#[test]
fn without_merging_a_frame_that_does_not_fit_is_dropped() {
    let mut driver = start(!MERGE);
    let head = driver.request(0, &[(BUFFER, 71, true)]);
    receive(&mut driver, Frame::whole(frame(60)));
    assert_eq!(driver.queues[0].answers(), []);
    receive(&mut driver, Frame::whole(frame(59)));
    assert_eq!(driver.queues[0].answers(), [(head, 71)]);
    let counters = driver.function.borrow().device().counters();
    assert_eq!((counters.received, counters.dropped), (1, 1));
}

#[test]
fn checksums_are_made_for_who_wants_them_whole() {
    let partial = || Frame { bytes: frame(60), checksum: Some(Checksum { start: 34, offset: 16 }) };
    let mut driver = start(u64::MAX);
    driver.request(0, &[(BUFFER, 100, true)]);
    receive(&mut driver, partial());
    let bytes = driver.machine.memory.bytes(BUFFER, 72);
    assert_eq!(bytes[..12], [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 1, 0]);
    assert_eq!(bytes[12..], frame(60));
    let mut driver = start(!CHECKSUMS);
    driver.request(0, &[(BUFFER, 100, true)]);
    receive(&mut driver, partial());
    let bytes = driver.machine.memory.bytes(BUFFER, 72);
    assert_eq!(bytes[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(bytes[12..], partial().complete());
}

#[test]
fn without_buffers_frames_are_dropped_at_last() {
    let mut driver = start(u64::MAX);
    let taken = (0..260).filter(|_| receive(&mut driver, Frame::whole(frame(60)))).count();
    assert_eq!((taken, driver.function.borrow().device().counters().dropped), (256, 4));
    driver.set_status(0);
    assert!(receive(&mut driver, Frame::whole(frame(60))));
    assert_eq!(driver.function.borrow().device().counters().dropped, 5, "there is no driver");
}

#[test]
fn a_buffer_of_nothing_is_a_fault() {
    let mut driver = start(u64::MAX);
    driver.request(0, &[(BUFFER, 100, false)]);
    receive(&mut driver, Frame::whole(vec![0; 60]));
    assert_eq!(driver.function.borrow().fault(), Some(Fault::Request));
}
