//! The sound card, driven as Linux's `virtio_snd` drives it.

use crate::virtio::ring::Fault;
use crate::virtio::sound::{Counters, Format, Frame, Params, Sound};
use crate::virtio::testkit::{Driver, Woken};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

const REQUEST: u64 = 0x1000;
const ANSWER: u64 = 0x2000;
const SOUND: u64 = 0x1_0000;
const DONE: u32 = 0x8000;
const BAD: u32 = 0x8001;
const NOT_SUPPORTED: u32 = 0x8002;
const IO: u32 = 0x8003;
const INFO: u32 = 0x100;
const SET_PARAMS: u32 = 0x101;
const PREPARE: u32 = 0x102;
const RELEASE: u32 = 0x103;
const START: u32 = 0x104;
const STOP: u32 = 0x105;
/// Two channels of 16 bits, 48 000 times a second: channels, format, rate.
const KIND: u32 = 2 | 5 << 8 | 7 << 16;

fn start() -> Driver<Sound> {
    Driver::start(Sound::new(), u64::MAX)
}

fn put_words(driver: &Driver<Sound>, address: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    driver.put(address, &bytes);
}

fn words(driver: &Driver<Sound>, address: u64, count: u64) -> Vec<u32> {
    let bytes = driver.machine.memory.bytes(address, 4 * count);
    bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect()
}

/// Makes a request; how it ended, and how long the answer was.
fn ask(driver: &mut Driver<Sound>, request: &[u32], room: u32) -> (u32, u32) {
    put_words(driver, REQUEST, request);
    let head = driver.request(0, &[(REQUEST, 4 * request.len() as u32, false), (ANSWER, room, true)]);
    let answers = driver.queues[0].answers();
    assert_eq!((answers.len(), answers[0].0), (1, head));
    (words(driver, ANSWER, 1)[0], answers[0].1)
}

fn command(driver: &mut Driver<Sound>, code: u32) -> u32 {
    ask(driver, &[code, 0], 4).0
}

fn set_params(driver: &mut Driver<Sound>, kind: u32) -> u32 {
    ask(driver, &[SET_PARAMS, 0, 4096, 1024, 0, kind], 4).0
}

/// Hands over `frames` frames from number `first` on, message `at`. Frame n sounds like n and n + 1000.
fn send(driver: &mut Driver<Sound>, at: u64, first: u32, frames: u32) {
    let sound: Vec<u32> = (first..first + frames).map(|n| n | (n + 1000) << 16).collect();
    let (place, status) = (SOUND + 0x1000 * at, ANSWER + 0x100 + 8 * at);
    put_words(driver, REQUEST + 0x800, &[0]);
    put_words(driver, place, &sound);
    driver.request(2, &[(REQUEST + 0x800, 4, false), (place, 4 * frames, false), (status, 8, true)]);
}

fn pull(driver: &mut Driver<Sound>, frames: usize) -> (usize, Vec<Frame>) {
    let mut into = vec![[-1, -1]; frames];
    let count = {
        let mut function = driver.function.borrow_mut();
        let (sound, memory) = function.device_with_memory();
        memory.map_or(0, |memory| sound.pull(memory, &mut into))
    };
    driver.poll();
    (count, into)
}

/// The messages that were answered, in order: number, outcome, bytes of latency.
fn finished(driver: &mut Driver<Sound>) -> Vec<(u32, u32)> {
    let answers = driver.queues[2].answers();
    assert!(answers.iter().all(|answer| answer.1 == 8));
    let status = |at| words(driver, ANSWER + 0x100 + 8 * at, 2);
    (0..answers.len() as u64).map(status).map(|words| (words[0], words[1])).collect()
}

fn counters(driver: &Driver<Sound>) -> Counters {
    driver.function.borrow().device().counters()
}

fn playing() -> Driver<Sound> {
    let mut driver = start();
    assert_eq!(set_params(&mut driver, KIND), DONE);
    assert_eq!(command(&mut driver, PREPARE), DONE);
    send(&mut driver, 0, 1, 256);
    send(&mut driver, 1, 257, 256);
    assert_eq!(command(&mut driver, START), DONE);
    driver
}

#[test]
fn a_card_is_found() {
    let mut driver = start();
    assert_eq!(driver.config_read(0, 4), 0x1059_1af4);
    let at = driver.configuration;
    assert_eq!([driver.read(at, 4), driver.read(at + 4, 4), driver.read(at + 8, 4)], [1, 1, 2]);
    assert_eq!(ask(&mut driver, &[INFO, 0, 1, 32], 36), (DONE, 36));
    let formats = 1 << 4 | 1 << 5 | 1 << 17;
    assert_eq!(words(&driver, ANSWER + 4, 8), [0, 0, formats, 0, 1 << 6 | 1 << 7, 0, 0x0002_0100, 0]);
    assert_eq!(ask(&mut driver, &[1, 0, 1, 24], 28), (DONE, 28));
    assert_eq!(words(&driver, ANSWER + 4, 6), [0, 0, 0x0101_4010, 0x14, 1, 0]);
    assert_eq!(ask(&mut driver, &[0x200, 0, 2, 24], 52), (DONE, 52));
    assert_eq!(driver.machine.memory.bytes(ANSWER + 8, 5), [0, 2, 3, 4, 0]);
    assert_eq!(driver.machine.memory.bytes(ANSWER + 32, 5), [0, 1, 2, 0, 0]);
    assert_eq!(ask(&mut driver, &[INFO, 1, 0, 32], 4), (DONE, 4));
    // Drivers of other versions.
    assert_eq!(ask(&mut driver, &[INFO, 0, 1, 8], 12), (DONE, 12));
    assert_eq!(ask(&mut driver, &[INFO, 0, 1, 36], 40), (DONE, 40));
    assert_eq!(words(&driver, ANSWER + 28, 3), [0x0002_0100, 0, 0]);
}

#[test]
fn sound_is_heard() {
    let mut driver = playing();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken);
    let kind = driver.function.borrow_mut().device_mut().poll_playing(&mut Context::from_waker(&waker));
    assert_eq!(kind, Poll::Ready(Params { format: Format::S16, rate: 48_000, channels: 2 }));
    driver.function.borrow_mut().device_mut().set_latency(480);
    let frame = |n: i32| [n << 16, (n + 1000) << 16];
    let (count, frames) = pull(&mut driver, 100);
    assert_eq!((count, frames[0], frames[99]), (100, frame(1), frame(100)));
    assert_eq!(finished(&mut driver), [], "its first message is not over");
    driver.vectors();
    let (count, frames) = pull(&mut driver, 200);
    assert_eq!((count, frames[0], frames[199]), (200, frame(101), frame(300)));
    assert_eq!(finished(&mut driver), [(DONE, 480 * 4)]);
    assert_eq!(driver.vectors(), [3]);
    assert_eq!(counters(&driver), Counters { played: 300, underruns: 0, missing: 0 });
}

#[test]
fn sound_is_read_when_it_is_played() {
    let mut driver = playing();
    pull(&mut driver, 10);
    put_words(&driver, SOUND + 4 * 10, &[77]);
    assert_eq!(pull(&mut driver, 1).1, [[77 << 16, 0]]);
}

#[test]
fn who_comes_too_late_is_counted() {
    let mut driver = playing();
    let (count, frames) = pull(&mut driver, 600);
    assert_eq!((count, frames[511][0], frames[512], frames[599]), (512, 512 << 16, [0; 2], [0; 2]));
    assert_eq!(pull(&mut driver, 10), (0, vec![[0; 2]; 10]));
    assert_eq!(counters(&driver).underruns, 0, "it may be the end");
    send(&mut driver, 2, 1, 10);
    assert_eq!(pull(&mut driver, 10).0, 10);
    assert_eq!(counters(&driver), Counters { played: 522, underruns: 1, missing: 98 });
    pull(&mut driver, 10);
    assert_eq!([command(&mut driver, STOP), command(&mut driver, PREPARE)], [DONE; 2]);
    send(&mut driver, 3, 1, 10);
    command(&mut driver, START);
    pull(&mut driver, 10);
    assert_eq!(counters(&driver).underruns, 1, "between two pieces nobody is late");
}

#[test]
fn a_pause_keeps_what_waits_and_a_release_gives_it_back() {
    let mut driver = playing();
    pull(&mut driver, 10);
    assert_eq!(command(&mut driver, STOP), DONE);
    assert_eq!(pull(&mut driver, 10), (0, vec![[0; 2]; 10]));
    assert_eq!(finished(&mut driver), []);
    assert_eq!(command(&mut driver, START), DONE);
    assert_eq!(pull(&mut driver, 1).1, [[11 << 16, 1011 << 16]]);
    command(&mut driver, STOP);
    driver.vectors();
    assert_eq!(command(&mut driver, RELEASE), DONE);
    assert_eq!(finished(&mut driver), [(DONE, 0); 2]);
    assert_eq!(driver.vectors(), [3, 1], "and then it is released");
}

#[test]
fn who_plays_is_woken() {
    let mut driver = start();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    assert_eq!(driver.function.borrow_mut().device_mut().poll_playing(&mut context), Poll::Pending);
    set_params(&mut driver, 1 | 4 << 8 | 6 << 16);
    command(&mut driver, PREPARE);
    assert_eq!(woken.take(), 0);
    command(&mut driver, START);
    assert_eq!(woken.take(), 1);
    let kind = driver.function.borrow_mut().device_mut().poll_playing(&mut context);
    assert_eq!(kind, Poll::Ready(Params { format: Format::U8, rate: 44_100, channels: 1 }));
}

#[test]
fn a_stream_has_an_order() {
    let mut driver = start();
    for code in [PREPARE, START, STOP, RELEASE] {
        assert_eq!(command(&mut driver, code), BAD, "{code:#x}");
    }
    send(&mut driver, 0, 1, 4);
    assert_eq!(finished(&mut driver), [(IO, 0)]);
    assert_eq!(set_params(&mut driver, KIND), DONE);
    for (code, outcome) in [
        (START, BAD),
        (RELEASE, BAD),
        (PREPARE, DONE),
        (PREPARE, DONE),
        (STOP, BAD),
        (START, DONE),
        (START, BAD),
        (PREPARE, BAD),
        (RELEASE, BAD),
        (STOP, DONE),
        (PREPARE, DONE),
        (RELEASE, DONE),
        (RELEASE, BAD),
        (PREPARE, DONE),
        (START, DONE),
    ] {
        assert_eq!(command(&mut driver, code), outcome, "{code:#x}");
    }
    assert_eq!(set_params(&mut driver, KIND), BAD, "while it plays");
}

#[test]
fn wrong_requests_are_refused() {
    let mut driver = start();
    for (request, room, outcome) in [
        (vec![INFO, 0, 2, 32], 100, BAD),
        (vec![INFO, u32::MAX, 1, 32], 100, BAD),
        (vec![INFO, 0, 1, 257], 300, BAD),
        (vec![INFO, 0, 1, 32], 35, BAD),
        (vec![INFO, 0, 1], 100, BAD),
        (vec![0x200, 0, u32::MAX, 24], 100, BAD),
        (vec![2, 0, 0, 0], 4, NOT_SUPPORTED),
        (vec![0, 0], 4, NOT_SUPPORTED),
        (vec![], 4, BAD),
        (vec![PREPARE], 4, BAD),
        (vec![PREPARE, 1], 4, BAD),
        (vec![SET_PARAMS, 0, 4096, 1024, 0], 4, BAD),
        (vec![SET_PARAMS, 0, 4096, 1000, 0, KIND], 4, BAD),
        (vec![SET_PARAMS, 0, 4096, 0, 0, KIND], 4, BAD),
        (vec![SET_PARAMS, 0, 4096, 1024, 1, KIND], 4, NOT_SUPPORTED),
        (vec![SET_PARAMS, 0, 4096, 1024, 0, KIND + 1], 4, NOT_SUPPORTED),
        (vec![SET_PARAMS, 0, 4096, 1024, 0, u32::MAX], 4, NOT_SUPPORTED),
    ] {
        assert_eq!(ask(&mut driver, &request, room), (outcome, 4), "{request:x?}");
    }
    assert_eq!(driver.function.borrow().fault(), None);
    set_params(&mut driver, KIND);
    command(&mut driver, PREPARE);
    put_words(&driver, REQUEST, &[1]);
    driver.request(2, &[(REQUEST, 4, false), (ANSWER + 0x100, 8, true)]);
    driver.request(2, &[(REQUEST + 4, 3, false), (ANSWER + 0x108, 8, true)]);
    assert_eq!(finished(&mut driver), [(IO, 0); 2]);
    // There is nothing to record.
    driver.request(3, &[(REQUEST, 4, false), (ANSWER, 100, true), (ANSWER + 0x110, 8, true)]);
    assert_eq!(driver.queues[3].answers().len(), 1);
    assert_eq!(words(&driver, ANSWER + 0x110, 1), [IO]);
}

#[test]
fn sound_in_odd_pieces_is_heard() {
    let mut driver = start();
    set_params(&mut driver, KIND);
    command(&mut driver, PREPARE);
    put_words(&driver, SOUND, &[5, 6, 7]);
    put_words(&driver, REQUEST, &[0]);
    // The header shares a piece with sound; one frame is in two pieces, and two bytes are none.
    put_words(&driver, SOUND - 4, &[0]);
    let pieces =
        [(SOUND - 4, 10, false), (SOUND + 6, 4, false), (ANSWER + 0x100, 3, true), (ANSWER + 0x103, 5, true)];
    driver.request(2, &pieces);
    driver.request(2, &[(REQUEST, 4, false), (ANSWER + 0x108, 8, true)]);
    command(&mut driver, START);
    assert_eq!(pull(&mut driver, 3), (2, vec![[5 << 16, 0], [6 << 16, 0], [0, 0]]));
    assert_eq!(finished(&mut driver), [(DONE, 0); 2]);
}

#[test]
fn the_jack_is_told() {
    let mut driver = start();
    driver.function.borrow_mut().device_mut().set_connected(false);
    driver.poll();
    let head = driver.request(1, &[(ANSWER, 8, true)]);
    assert_eq!(driver.queues[1].answers(), [(head, 8)]);
    assert_eq!(words(&driver, ANSWER, 2), [0x1001, 0]);
    driver.request(1, &[(ANSWER, 8, true)]);
    assert_eq!(driver.queues[1].answers(), []);
    driver.function.borrow_mut().device_mut().set_connected(true);
    driver.poll();
    assert_eq!(words(&driver, ANSWER, 2), [0x1000, 0]);
}

#[test]
fn wrong_places_break_the_device() {
    let mut driver = playing();
    put_words(&driver, REQUEST, &[0]);
    driver.request(2, &[(REQUEST, 4, false), (u64::MAX - 3, 64, false), (ANSWER + 0x110, 8, true)]);
    assert_eq!(pull(&mut driver, 600), (0, vec![[0; 2]; 600]));
    assert!(matches!(driver.function.borrow().fault(), Some(Fault::NotRam(_))));
    assert_eq!(pull(&mut driver, 1), (0, vec![[-1; 2]]), "its memory is left alone");
    for (queue, room) in [(0, 3), (2, 7), (3, 7)] {
        driver.restart(u64::MAX);
        driver.request(queue, &[(REQUEST, 4, false), (ANSWER, room, true)]);
        assert_eq!(driver.function.borrow().fault(), Some(Fault::Request), "{queue}");
    }
}
