//! Screens, driven as Linux's DRM driver drives them.

use crate::virtio::gpu::{Changes, Gpu, Mode, POINTER, Rect};
use crate::virtio::ring::Fault;
use crate::virtio::testkit::{Driver, Woken};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

const BUDGET: usize = 1 << 23;
const REQUEST: u64 = 0x1000;
const ENTRIES: u64 = 0x2000;
const ANSWER: u64 = 0x6_0000;
const PIXELS: u64 = 0x14_0000;
const DONE: u32 = 0x1100;
const UNKNOWN: u32 = 0x1200;
const MEMORY: u32 = 0x1201;
const SCANOUT: u32 = 0x1202;
const RESOURCE: u32 = 0x1203;
const PARAMETER: u32 = 0x1205;
const B8G8R8X8: u32 = 2;

fn start() -> Driver<Gpu> {
    Driver::start(Gpu::new(Mode::Hd, BUDGET), u64::MAX)
}

fn put_words(driver: &Driver<Gpu>, address: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    driver.put(address, &bytes);
}

fn words(driver: &Driver<Gpu>, address: u64, count: u64) -> Vec<u32> {
    let bytes = driver.machine.memory.bytes(address, 4 * count);
    bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

/// Makes a request of kind and body; the kind of its answer.
fn ask(driver: &mut Driver<Gpu>, kind: u32, body: &[u32]) -> u32 {
    put_words(driver, REQUEST, &[kind, 0, 0, 0, 0, 0]);
    put_words(driver, REQUEST + 24, body);
    let len = 24 + 4 * body.len() as u32;
    let head = driver.request(0, &[(REQUEST, len, false), (ANSWER, 1056, true)]);
    let answer = words(driver, ANSWER, 1)[0];
    let len = match answer {
        0x1101 => 408,
        0x1104 => 1056,
        _ => 24,
    };
    assert_eq!(driver.queues[0].answers(), [(head, len)]);
    answer
}

/// Says that a picture lies in `pieces`.
fn attach(driver: &mut Driver<Gpu>, resource: u32, pieces: &[(u64, u32)]) -> u32 {
    for (at, &(address, len)) in (0..).zip(pieces) {
        put_words(driver, ENTRIES + 16 * at, &[address as u32, (address >> 32) as u32, len, 0]);
    }
    put_words(driver, REQUEST, &[0x106, 0, 0, 0, 0, 0, resource, pieces.len() as u32]);
    let entries = (ENTRIES, 16 * pieces.len() as u32, false);
    driver.request(0, &[(REQUEST, 32, false), entries, (ANSWER, 24, true)]);
    assert_eq!(driver.queues[0].answers().len(), 1);
    words(driver, ANSWER, 1)[0]
}

fn create(driver: &mut Driver<Gpu>, resource: u32, width: u32, height: u32) -> u32 {
    ask(driver, 0x101, &[resource, B8G8R8X8, width, height])
}

/// Transfers a part of a picture.
fn transfer(driver: &mut Driver<Gpu>, resource: u32, rect: [u32; 4], offset: u32) -> u32 {
    let [x, y, width, height] = rect;
    ask(driver, 0x105, &[x, y, width, height, offset, 0, resource, 0])
}

fn show(driver: &mut Driver<Gpu>, scanout: u32, resource: u32, rect: [u32; 4]) -> u32 {
    let [x, y, width, height] = rect;
    ask(driver, 0x103, &[x, y, width, height, scanout, resource])
}

fn flush(driver: &mut Driver<Gpu>, resource: u32, rect: [u32; 4]) -> u32 {
    let [x, y, width, height] = rect;
    ask(driver, 0x104, &[x, y, width, height, resource, 0])
}

fn changes(driver: &Driver<Gpu>, woken: &Arc<Woken>) -> Option<Changes> {
    let waker = Waker::from(woken.clone());
    let mut function = driver.function.borrow_mut();
    match function.device_mut().poll_changes(&mut Context::from_waker(&waker)) {
        Poll::Ready(changes) => Some(changes),
        Poll::Pending => None,
    }
}

fn damage(driver: &Driver<Gpu>) -> Vec<[u32; 4]> {
    let changes = changes(driver, &Arc::default());
    let rect = |rect: Rect| [rect.x, rect.y, rect.width, rect.height];
    changes.map(|changes| changes.damage.into_iter().map(rect).collect()).unwrap_or_default()
}

/// A picture of 16×8 in two pieces, of pixels that say where they are, on the screen.
fn shown() -> Driver<Gpu> {
    let mut driver = start();
    assert_eq!(create(&mut driver, 1, 16, 8), DONE);
    assert_eq!(attach(&mut driver, 1, &[(PIXELS + 0x1000, 100), (PIXELS, 0), (PIXELS, 412)]), DONE);
    let all: Vec<u32> = (0..16 * 8).collect();
    put_words(&driver, PIXELS + 0x1000, &all[..25]);
    put_words(&driver, PIXELS, &all[25..]);
    assert_eq!(show(&mut driver, 0, 1, [0, 0, 16, 8]), DONE);
    assert_eq!(damage(&driver), [[0, 0, 16, 8]]);
    driver
}

#[test]
fn a_screen_is_found() {
    let mut driver = start();
    assert_eq!(driver.config_read(0, 4), 0x1050_1af4);
    assert!(driver.offered() & 2 == 2);
    assert_eq!(driver.read(driver.configuration + 8, 8), 1, "one screen, no capabilities");
    assert_eq!(ask(&mut driver, 0x100, &[]), 0x1101);
    assert_eq!(words(&driver, ANSWER + 24, 8), [0, 0, 1280, 720, 1, 0, 0, 0]);
    assert_eq!(ask(&mut driver, 0x10a, &[0, 0]), 0x1104);
    assert_eq!(words(&driver, ANSWER + 24, 3), [128, 0, 0xffff_ff00]);
    assert_eq!(ask(&mut driver, 0x10a, &[1, 0]), SCANOUT);
}

#[test]
fn what_a_guest_draws_is_seen() {
    let mut driver = shown();
    let woken = Arc::new(Woken::default());
    assert_eq!(changes(&driver, &woken), None);
    assert_eq!(transfer(&mut driver, 1, [0, 0, 16, 8], 0), DONE);
    assert_eq!(woken.take(), 0, "nothing is to be seen yet");
    assert_eq!(flush(&mut driver, 1, [2, 3, 4, 5]), DONE);
    assert_eq!(woken.take(), 1);
    assert_eq!(damage(&driver), [[2, 3, 4, 5]]);
    let function = driver.function.borrow();
    let picture = function.device().picture().unwrap();
    assert_eq!((picture.stride, picture.width, picture.height), (16, 16, 8));
    assert!((0..128).all(|at| picture.pixels[at] == 0xff00_0000 | at as u32));
}

#[test]
fn parts_are_copied_to_where_they_belong() {
    let mut driver = shown();
    // Two columns of rows 1 and 2, of which the first pixel is the 19th of the guest's.
    assert_eq!(transfer(&mut driver, 1, [3, 1, 2, 2], 4 * 19), DONE);
    assert_eq!(show(&mut driver, 0, 1, [2, 1, 4, 3]), DONE);
    assert_eq!(flush(&mut driver, 1, [0, 0, 3, 2]), DONE);
    assert_eq!(damage(&driver), [[0, 0, 4, 3]]);
    assert_eq!(flush(&mut driver, 1, [0, 0, 3, 2]), DONE);
    assert_eq!(damage(&driver), [[0, 0, 1, 1]], "the rest is beside the screen");
    let function = driver.function.borrow();
    let picture = function.device().picture().unwrap();
    assert_eq!((picture.stride, picture.width, picture.height), (16, 4, 3));
    let row =
        |row: usize| picture.pixels[16 * row..][..4].iter().map(|pixel| pixel & 0xff).collect::<Vec<_>>();
    assert_eq!([row(0), row(1), row(2)], [[0, 19, 20, 0], [0, 35, 36, 0], [0, 0, 0, 0]]);
}

#[test]
fn a_screen_goes_dark() {
    let mut driver = shown();
    let woken = Arc::new(Woken::default());
    assert_eq!(changes(&driver, &woken), None);
    assert_eq!(show(&mut driver, 0, 0, [0; 4]), DONE);
    assert_eq!(woken.take(), 1);
    assert_eq!(changes(&driver, &woken), Some(Changes { damage: vec![], pointer: false }));
    assert_eq!(driver.function.borrow().device().picture(), None);
    show(&mut driver, 0, 1, [0, 0, 16, 8]);
    assert_eq!(ask(&mut driver, 0x102, &[1, 0]), DONE);
    assert_eq!(driver.function.borrow().device().picture(), None);
    assert_eq!(flush(&mut driver, 1, [0, 0, 16, 8]), RESOURCE);
    assert_eq!(driver.function.borrow().device().used(), 0);
}

#[test]
fn fences_come_back() {
    let mut driver = start();
    put_words(&driver, REQUEST, &[0x101, 1, 7, 9, 3, 0, 5, B8G8R8X8, 4, 4]);
    driver.request(0, &[(REQUEST, 40, false), (ANSWER, 24, true)]);
    assert_eq!(words(&driver, ANSWER, 6), [DONE, 1, 7, 9, 3, 0]);
    // Also with a refusal, and in pieces.
    driver.queues[0].answers();
    driver.request(
        0,
        &[(REQUEST, 20, false), (REQUEST + 20, 20, false), (ANSWER, 4, true), (ANSWER + 8, 20, true)],
    );
    assert_eq!(words(&driver, ANSWER, 5), [RESOURCE, 1, 1, 7, 9]);
    assert_eq!(driver.vectors().len(), 2);
}

#[test]
fn wrong_requests_are_refused() {
    let mut driver = shown();
    for (kind, body, answer) in [
        (0, vec![], UNKNOWN),
        (0x108, vec![0; 8], UNKNOWN),
        (0x300, vec![0; 8], UNKNOWN),
        (0x101, vec![2, 99, 4, 4], PARAMETER),
        (0x101, vec![2, 1, 0, 4], PARAMETER),
        (0x101, vec![2, 1, 4, 4097], PARAMETER),
        (0x101, vec![2, 1, 4], PARAMETER),
        (0x101, vec![2, 1, 4096, 4096], MEMORY),
        (0x101, vec![0, 1, 4, 4], RESOURCE),
        (0x101, vec![1, 1, 4, 4], RESOURCE),
        (0x102, vec![2, 0], RESOURCE),
        (0x103, vec![0, 0, 16, 8, 1, 1], SCANOUT),
        (0x103, vec![0, 0, 16, 8, 0, 2], RESOURCE),
        (0x103, vec![0, 0, 16, 9, 0, 1], PARAMETER),
        (0x103, vec![0, 0, 16, 0, 0, 1], PARAMETER),
        (0x103, vec![u32::MAX, 0, 2, 1, 0, 1], PARAMETER),
        (0x104, vec![1, 0, 16, 8, 1, 0], PARAMETER),
        (0x105, vec![0, 0, 16, 8, 4, 0, 1, 0], PARAMETER),
        (0x105, vec![0, 0, 16, 8, u32::MAX, u32::MAX, 1, 0], PARAMETER),
        (0x105, vec![0, 1, 16, 8, 0, 0, 1, 0], PARAMETER),
        (0x105, vec![0, 0, 0, 8, 9999, 0, 1, 0], DONE),
        (0x106, vec![1, 1, 0, 0, 0, 0], PARAMETER),
        (0x107, vec![2, 0], RESOURCE),
    ] {
        assert_eq!(ask(&mut driver, kind, &body), answer, "{kind:#x} {body:?}");
    }
    assert_eq!(ask(&mut driver, 0x107, &[1, 0]), DONE);
    assert_eq!(transfer(&mut driver, 1, [0, 0, 1, 1], 0), PARAMETER, "it has no memory any more");
    for entries in [0, 2, 16384, 16385, u32::MAX] {
        assert_eq!(ask(&mut driver, 0x106, &[1, entries, 0, 0, 0, 0]), PARAMETER, "{entries}");
    }
    assert_eq!(driver.function.borrow().fault(), None);
}

#[test]
fn pictures_stay_in_their_budget() {
    let mut driver = start();
    let used = |driver: &Driver<Gpu>| driver.function.borrow().device().used();
    assert_eq!(create(&mut driver, 1, 1024, 1024), DONE);
    assert_eq!(create(&mut driver, 2, 1024, 1024), MEMORY);
    assert_eq!(create(&mut driver, 2, 1024, 1023), DONE);
    let before = used(&driver);
    assert!(before <= BUDGET && before > BUDGET - 4096);
    assert_eq!(attach(&mut driver, 2, &[(PIXELS, 8); 600]), MEMORY);
    assert_eq!(attach(&mut driver, 2, &[(PIXELS, 8); 100]), DONE);
    assert!(used(&driver) > before && used(&driver) <= BUDGET);
    ask(&mut driver, 0x107, &[2, 0]);
    assert_eq!(used(&driver), before);
    ask(&mut driver, 0x102, &[1, 0]);
    for resource in 3..1026 {
        assert_eq!(create(&mut driver, resource, 1, 1), DONE);
    }
    assert_eq!(create(&mut driver, 2000, 1, 1), MEMORY, "there are 1024");
    driver.restart(u64::MAX);
    assert_eq!(used(&driver), 0);
}

#[test]
fn long_copies_take_turns() {
    let mut driver = start();
    create(&mut driver, 1, 1024, 1024);
    attach(&mut driver, 1, &[(PIXELS, 0x4_0000); 16]);
    driver.put(PIXELS, &[7; 4]);
    put_words(&driver, REQUEST, &[0x105, 0, 0, 0, 0, 0, 0, 0, 1024, 1024, 0, 0, 1, 0]);
    driver.queues[0].offer(&[(REQUEST, 56, false), (ANSWER, 24, true)]);
    driver.queues[0].offer(&[(REQUEST, 56, false), (ANSWER, 24, true)]);
    let waker = Waker::from(driver.machine.woken.clone());
    let mut turns = 0;
    while driver.queues[0].answers().is_empty() {
        driver.function.borrow_mut().poll(&mut Context::from_waker(&waker));
        turns += 1;
    }
    assert!((64..=66).contains(&turns), "of 64 KiB each: {turns}");
    driver.function.borrow_mut().poll(&mut Context::from_waker(&waker));
    driver.restart(u64::MAX);
    assert_eq!(create(&mut driver, 1, 4, 4), DONE, "a reset ends the copy that was on its way");
    driver.function.borrow_mut().poll(&mut Context::from_waker(&waker));
    assert_eq!(driver.queues[0].answers(), []);
}

#[test]
fn a_pointer_is_shown_and_moves() {
    let mut driver = start();
    create(&mut driver, 1, 64, 64);
    attach(&mut driver, 1, &[(PIXELS, 64 * 64 * 4)]);
    put_words(&driver, PIXELS, &[9; 64]);
    transfer(&mut driver, 1, [0, 0, 64, 64], 0);
    let mut point = |kind: u32, body: [u32; 8]| {
        put_words(&driver, REQUEST, &[kind, 0, 0, 0, 0, 0]);
        put_words(&driver, REQUEST + 24, &body);
        let head = driver.request(1, &[(REQUEST, 56, false)]);
        assert_eq!(driver.queues[1].answers(), [(head, 0)]);
        let pointer = changes(&driver, &Arc::default()).is_some_and(|changes| changes.pointer);
        let function = driver.function.borrow();
        let place = function.device().pointer().map(|at| (at.x, at.y, at.hot, at.pixels[1], at.pixels.len()));
        (pointer, place)
    };
    let all = POINTER * POINTER;
    assert_eq!(point(0x301, [0, 5, 5, 0, 0, 0, 0, 0]), (true, None));
    let expected = Some((10, 20, (1, 2), 0xff00_0009, all));
    assert_eq!(point(0x300, [0, 10, 20, 0, 1, 1, 2, 0]), (true, expected));
    let expected = Some((-3, 4, (1, 2), 0xff00_0009, all));
    assert_eq!(point(0x301, [0, u32::MAX - 2, 4, 0, 0, 0, 0, 0]), (true, expected));
    assert_eq!(point(0x301, [1, 9, 9, 0, 0, 0, 0, 0]), (false, expected), "there is one screen");
    assert_eq!(point(0x105, [0, 9, 9, 0, 0, 0, 0, 0]), (false, expected));
    assert_eq!(point(0x300, [0, 0, 0, 0, 0, 0, 0, 0]), (true, None));
    assert_eq!(point(0x300, [0, 0, 0, 0, 77, 0, 0, 0]), (true, None));
}

#[test]
fn another_screen_is_told() {
    let mut driver = start();
    driver.function.borrow_mut().device_mut().set_mode(Mode::FullHd);
    driver.poll();
    assert_eq!(driver.vectors(), [0]);
    assert_eq!(driver.read(driver.configuration, 4), 1);
    driver.write(driver.configuration + 4, 4, 1);
    assert_eq!(driver.read(driver.configuration, 8), 0);
    assert_eq!(ask(&mut driver, 0x100, &[]), 0x1101);
    assert_eq!(words(&driver, ANSWER + 32, 2), [1920, 1080]);
    driver.vectors();
    driver.function.borrow_mut().device_mut().set_mode(Mode::FullHd);
    driver.poll();
    assert_eq!(driver.vectors(), []);
}

#[test]
fn memory_that_is_none_breaks_the_device() {
    let mut driver = start();
    create(&mut driver, 1, 4, 4);
    assert_eq!(attach(&mut driver, 1, &[(u64::MAX - 7, 64)]), DONE);
    put_words(&driver, REQUEST, &[0x105, 0, 0, 0, 0, 0, 0, 0, 4, 4, 0, 0, 1, 0]);
    driver.request(0, &[(REQUEST, 56, false), (ANSWER, 24, true)]);
    assert!(matches!(driver.function.borrow().fault(), Some(Fault::NotRam(_))));
    driver.restart(u64::MAX);
    driver.request(0, &[(REQUEST, 56, false), (ANSWER, 23, true)]);
    assert_eq!(driver.function.borrow().fault(), Some(Fault::Request));
}
