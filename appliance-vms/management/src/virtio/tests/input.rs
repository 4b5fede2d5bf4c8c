//! Remote controls and pads.

use crate::remote::{Key, typing};
use crate::virtio::input::codes::{axis, button, key, kind};
use crate::virtio::input::{Description, Input, InputEvent};
use crate::virtio::ring::Fault;
use crate::virtio::testkit::Driver;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

const BUFFER: u64 = 0x2000;
const REPORT: (u16, u16, i32) = (0, 0, 0);

fn remote() -> Driver<Input> {
    Driver::start(Input::new(Description::remote("tv-0")), u64::MAX)
}

/// Asks as Linux's driver does.
fn ask(driver: &mut Driver<Input>, select: u64, subselect: u64) -> Vec<u8> {
    let at = driver.configuration;
    driver.write(at, 1, select);
    driver.write(at + 1, 1, subselect);
    (0..driver.read(at + 2, 1)).map(|byte| driver.read(at + 8 + byte, 1) as u8).collect()
}

fn offer(driver: &mut Driver<Input>, buffers: u64) {
    for at in 0..buffers {
        driver.queues[0].offer(&[(BUFFER + 8 * at, 8, true)]);
    }
    driver.ring(0);
}

fn send(driver: &mut Driver<Input>, events: &[InputEvent]) -> bool {
    let sent = driver.function.borrow_mut().device_mut().send(events);
    driver.poll();
    sent
}

fn press(driver: &mut Driver<Input>, code: u16, down: bool) -> bool {
    send(driver, &[InputEvent::key(code, down)])
}

/// Kind, code and value of the events that the driver has got. Buffers lie as their descriptors do.
fn got(driver: &mut Driver<Input>) -> Vec<(u16, u16, i32)> {
    let answers = driver.queues[0].answers();
    let event = |&(head, len): &(u16, u32)| {
        assert_eq!(len, 8);
        let bytes = driver.machine.memory.bytes(BUFFER + 8 * u64::from(head), 8);
        let all = u64::from_le_bytes(bytes.try_into().unwrap());
        (all as u16, (all >> 16) as u16, (all >> 32) as i32)
    };
    answers.iter().map(event).collect()
}

#[test]
fn it_says_what_it_is() {
    let mut driver = remote();
    assert_eq!(driver.config_read(0, 4), 0x1052_1af4);
    assert_eq!(ask(&mut driver, 1, 0), b"Hearth remote control");
    assert_eq!(ask(&mut driver, 2, 0), b"tv-0");
    assert_eq!(ask(&mut driver, 3, 0), [6, 0, 0, 0, 1, 0, 1, 0]);
    assert_eq!(ask(&mut driver, 0x11, kind::REP.into()), [3]);
    let keys = ask(&mut driver, 0x11, kind::KEY.into());
    let expected: BTreeSet<u16> = Key::ALL.into_iter().map(Key::evdev).chain(typing()).collect();
    for &code in &expected {
        assert_eq!(keys[usize::from(code / 8)] >> (code % 8) & 1, 1, "{code}");
    }
    assert_eq!(keys.iter().map(|byte| byte.count_ones()).sum::<u32>() as usize, expected.len());
    for (select, subselect) in [(0, 0), (1, 1), (0x10, 0), (0x11, 3), (0x11, 255), (0x12, 0), (255, 255)] {
        assert_eq!(ask(&mut driver, select, subselect), [], "{select} {subselect}");
    }
    // The answer can't be written, and what is not there reads all ones.
    driver.write(driver.configuration + 2, 8, u64::MAX);
    assert_eq!(driver.read(driver.configuration, 4), 0xffff);
    assert_eq!(driver.read(driver.configuration + 136, 1), 0xff);
}

#[test]
fn a_pad_has_axes() {
    let mut driver = Driver::start(Input::new(Description::gamepad("pad-0")), u64::MAX);
    assert_eq!(ask(&mut driver, 0x11, kind::ABS.into()), [0x3f, 0, 3]);
    assert_eq!(ask(&mut driver, 0x11, kind::REP.into()), []);
    let x: Vec<u8> = [-0x8000, 0x7fff, 16, 128, 0].into_iter().flat_map(i32::to_le_bytes).collect();
    assert_eq!(ask(&mut driver, 0x12, axis::X.into()), x);
    assert_eq!(ask(&mut driver, 0x12, 7), []);
    offer(&mut driver, 64);
    assert!(send(&mut driver, &[InputEvent::axis(axis::X, -5), InputEvent::key(button::SOUTH, true)]));
    assert_eq!(got(&mut driver), [(3, 0, -5), (1, 0x130, 1), REPORT]);
}

#[test]
fn reports_are_whole() {
    let mut driver = remote();
    offer(&mut driver, 1);
    assert!(press(&mut driver, key::UP, true));
    assert_eq!(got(&mut driver), [], "one buffer is too little for it");
    driver.vectors();
    driver.queues[0].offer(&[(BUFFER + 8, 8, true)]);
    driver.ring(0);
    assert_eq!(got(&mut driver), [(1, key::UP, 1), REPORT]);
    assert_eq!(driver.vectors(), [1]);
    assert!(!press(&mut driver, 84, true), "what is not there is not sent");
    assert!(!send(&mut driver, &[InputEvent::key(key::UP, false), InputEvent::axis(axis::X, 1)]));
    assert_eq!(driver.function.borrow().device().dropped(), 0);
}

#[test]
fn who_does_not_listen_misses_reports_but_not_how_things_are() {
    let mut driver = remote();
    let mut taken = 0;
    while press(&mut driver, key::UP, taken % 2 == 0) {
        taken += 1;
    }
    assert_eq!(taken, 32, "so many fit");
    press(&mut driver, key::UP, true);
    press(&mut driver, key::DOWN, true);
    press(&mut driver, key::DOWN, false);
    assert_eq!(driver.function.borrow().device().dropped(), 4);
    offer(&mut driver, 64);
    assert_eq!(got(&mut driver).len(), 64);
    driver.restart(u64::MAX);
    press(&mut driver, key::UP, true);
    for _ in 0..40 {
        press(&mut driver, key::LEFT, true);
    }
    press(&mut driver, key::UP, false);
    offer(&mut driver, 64);
    let first = got(&mut driver);
    assert_eq!((first.len(), first[0]), (64, (1, key::UP, 1)));
    offer(&mut driver, 64);
    assert_eq!(got(&mut driver), [(1, key::UP, 0), REPORT], "no key sticks");
}

#[test]
fn what_was_before_the_driver_is_not_for_it() {
    let mut driver = Driver::probe(Input::new(Description::remote("tv-0")));
    assert!(press(&mut driver, key::UP, true));
    assert_eq!(driver.function.borrow().device().dropped(), 1);
    driver.restart(u64::MAX);
    offer(&mut driver, 64);
    assert_eq!(got(&mut driver), []);
    assert!(press(&mut driver, key::UP, false));
    assert_eq!(got(&mut driver), [(1, key::UP, 0), REPORT]);
}

#[test]
fn the_guest_has_lights() {
    let lit = Description { lights: vec![0, 1], ..Description::remote("tv-0") };
    let mut driver = Driver::start(Input::new(lit), u64::MAX);
    assert_eq!(ask(&mut driver, 0x11, kind::LED.into()), [3]);
    for (code, value) in [(1u64, 1u64), (5, 1), (0xffff, 1)] {
        driver.put(0x1000, &(u64::from(kind::LED) | code << 16 | value << 32).to_le_bytes());
        let head = driver.request(1, &[(0x1000, 8, false)]);
        assert_eq!(driver.queues[1].answers(), [(head, 0)]);
    }
    let light = |driver: &Driver<Input>, code| driver.function.borrow().device().light(code);
    assert_eq!([0, 1, 5, 0xffff].map(|code| light(&driver, code)), [false, true, false, false]);
    // Something shorter than an event, and something that is no light.
    driver.request(1, &[(0x1000, 7, false)]);
    driver.put(0x1000, &[0; 8]);
    driver.request(1, &[(0x1000, 8, false)]);
    assert_eq!(driver.queues[1].answers().len(), 2);
    driver.restart(u64::MAX);
    assert!(!light(&driver, 1));
}

#[test]
fn a_buffer_too_small_is_a_fault() {
    let mut driver = remote();
    driver.queues[0].offer(&[(BUFFER, 7, true)]);
    driver.queues[0].offer(&[(BUFFER, 8, true)]);
    press(&mut driver, key::UP, true);
    assert_eq!(driver.function.borrow().fault(), Some(Fault::Request));
}
