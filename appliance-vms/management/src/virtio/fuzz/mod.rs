//! Devices against drivers that do anything: any access to any register, anything in the rings, any
//! notification, resets at any moment. After each step everything is checked that must hold whatever a
//! driver does (`check.rs`).
//!
//! A run is a row of drivers' lives, and each follows from one number, its seed. A step that fails names
//! the life and how to live it again: `HEARTH_FUZZ_LIFE` lives that one life only. Steps are counted for
//! each kind of device.

extern crate std;

mod check;
mod driver;
mod requests;

use super::Device;
use super::VirtioFunction;
use super::blk::Blk;
use super::console::Console;
use super::gpu::{Gpu, Mode};
use super::input::{Description, Input, InputEvent};
use super::net::{Checksum, Frame, Net};
use super::rng::Rng;
use super::sound::Sound;
use super::testkit::{Driver, Machine, Random, Woken};
use super::tests::blk::{FakeDisk, SECTORS};
use super::tests::rng::Counter;
use crate::block::BlockError;
use crate::nic::Mac;
use crate::testkit::Run;
use crate::testkit::run::number;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use check::{Check, KINDS, Tally};
use core::cell::Cell;
use core::task::{Context, Poll, Waker};
use std::println;

/// Steps of each kind of device when nobody says how many: some seconds without optimisation.
const STEPS: u64 = 12_000;
/// Steps of a life.
const LIFE: u64 = 500;

/// Which step is being made; it says so when that step panics.
struct Place {
    life: u64,
    step: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("step {} of life {:#x} failed; again:", self.step, self.life);
            println!("HEARTH_FUZZ_LIFE={:#x} cargo test -p management fuzz", self.life);
        }
    }
}

/// A driver's life with `device`; `outside` is what happens on the other side of it.
fn live_with<D: Device + 'static>(
    machine: Machine,
    device: D,
    mut outside: impl FnMut(&mut VirtioFunction<D>, &mut Random),
    (random, place, tally, kind): (&mut Random, &mut Place, &mut Tally, usize),
) {
    let mut driver = Driver::probe_in(machine, device);
    driver::restart(&mut driver, random);
    let mut check = Check::new(&driver);
    while place.step < LIFE {
        place.step += 1;
        tally.steps[kind] += 1;
        let before = driver.function.borrow().fault();
        driver::step(&mut driver, random);
        check.after_step(&driver, before, tally);
        if random.once_in(4) {
            outside(&mut driver.function.borrow_mut(), random);
        }
        check.turn(&mut driver, tally);
    }
}

fn live(life: u64, tally: &mut Tally) {
    let (mut place, mut random) = (Place { life, step: 0 }, Random::new(life));
    let machine = Machine::new();
    let kind = random.below(KINDS as u64) as usize;
    let (shown, played, budget) = (Cell::new(0), Cell::new(0), 1 << 20);
    let with = (&mut random, &mut place, &mut *tally, kind);
    match kind {
        0 => {
            let disk = FakeDisk::new(&machine);
            let blk = Blk::new(disk.clone(), "disk", 2);
            let outside = |_: &mut VirtioFunction<Blk>, random: &mut Random| disk_does(&disk, random);
            live_with(machine, blk, outside, with);
        }
        1 => live_with(machine, Net::new(Mac([2, 0, 0, 0, 0, 1])), network_does, with),
        2 => live_with(machine, Console::new(&["one", "two"]), reader_does, with),
        3 => live_with(machine, Input::new(Description::gamepad("pad")), player_does, with),
        4 => {
            let outside = |function: &mut VirtioFunction<Gpu>, random: &mut Random| {
                shown.set(shown.get() + viewer_does(function, random, budget));
            };
            live_with(machine, Gpu::new(Mode::Hd, budget), outside, with);
        }
        5 => {
            let outside = |function: &mut VirtioFunction<Sound>, random: &mut Random| {
                played.set(played.get() + listener_does(function, random));
            };
            live_with(machine, Sound::new(), outside, with);
        }
        _ => live_with(machine, Rng::new(Box::new(Counter(0))), |_, _| {}, with),
    }
    tally.shown += shown.get();
    tally.played += played.get();
}

fn disk_does(disk: &FakeDisk, random: &mut Random) {
    match random.below(8) {
        0 => disk.fails.set(random.one_of(&[None, Some(BlockError::Device), Some(BlockError::Unsupported)])),
        1..4 => disk.waits.borrow_mut().push(random.below(SECTORS)),
        _ => disk.go_on(),
    }
    if random.once_in(8) {
        disk.fails.set(None);
    }
    disk.asked.borrow_mut().clear();
}

fn network_does(function: &mut VirtioFunction<Net>, random: &mut Random) {
    let waker = Waker::from(Arc::new(Woken::default()));
    let net = function.device_mut();
    if random.once_in(16) {
        net.set_link(!random.once_in(4));
    }
    for _ in 0..random.below(8) {
        let bytes = vec![0; random.one_of(&[14, 60, 1514])];
        let checksum = Checksum { start: random.below(70) as u16, offset: random.below(20) as u16 };
        net.receive(Frame { bytes, checksum: random.once_in(2).then_some(checksum) });
    }
    for _ in 0..random.below(8) {
        if let Poll::Ready(frame) = net.poll_sent(&mut Context::from_waker(&waker)) {
            assert!(frame.is_sound() && (14..=1514).contains(&frame.bytes.len()));
            frame.complete();
        }
    }
}

fn reader_does(function: &mut VirtioFunction<Console>, random: &mut Random) {
    let waker = Waker::from(Arc::new(Woken::default()));
    let port = random.below(4) as usize;
    let console = function.device_mut();
    let open = console.is_open(port);
    let taken = console.write(port, &vec![7; random.below(0x2000) as usize]);
    assert!(open || taken == 0);
    if let Poll::Ready(bytes) = console.poll_read(port, &mut Context::from_waker(&waker)) {
        assert!(!bytes.is_empty() && bytes.len() <= 1 << 16);
    }
}

fn player_does(function: &mut VirtioFunction<Input>, random: &mut Random) {
    let input = function.device_mut();
    for _ in 0..random.below(8) {
        let button = InputEvent::key(0x130 + random.below(16) as u16, random.once_in(2));
        let stick = InputEvent::axis(random.below(20) as u16, random.next() as i32);
        input.send(random.one_of(&[&[button, stick][..], &[button], &[stick], &[]]));
    }
}

/// How many changes of a picture were seen.
fn viewer_does(function: &mut VirtioFunction<Gpu>, random: &mut Random, budget: usize) -> u64 {
    let waker = Waker::from(Arc::new(Woken::default()));
    let gpu = function.device_mut();
    assert!(gpu.used() <= budget);
    if random.once_in(16) {
        gpu.set_mode(random.one_of(&[Mode::Hd, Mode::FullHd]));
    }
    let Poll::Ready(changes) = gpu.poll_changes(&mut Context::from_waker(&waker)) else { return 0 };
    let Some(picture) = gpu.picture() else {
        assert!(changes.damage.is_empty());
        return 0;
    };
    assert_eq!(picture.pixels.len(), (picture.height - 1) * picture.stride + picture.width);
    let size = (picture.width as u32, picture.height as u32);
    assert!(changes.damage.iter().all(|part| part.is_within(size.0, size.1) && !part.is_empty()));
    assert!(gpu.pointer().is_none_or(|pointer| pointer.pixels.len() == 64 * 64));
    changes.damage.len() as u64
}

/// How many frames were heard.
fn listener_does(function: &mut VirtioFunction<Sound>, random: &mut Random) -> u64 {
    let mut frames = vec![[1, 1]; random.one_of(&[0, 1, 48, 960])];
    let (sound, memory) = function.device_with_memory();
    sound.set_connected(!random.once_in(4));
    sound.set_latency(random.one_of(&[0, 960, u32::MAX]));
    let Some(memory) = memory else { return 0 };
    let played = sound.pull(memory, &mut frames);
    assert!(frames[played..].iter().all(|&frame| frame == [0, 0]));
    played as u64
}

#[test]
fn no_driver_breaks_a_device() {
    let mut tally = Tally::default();
    if let Some(life) = number("HEARTH_FUZZ_LIFE") {
        return live(life, &mut tally);
    }
    let mut run = Run::new("virtio", STEPS);
    let mut seeds = Random::new(run.seed);
    while run.made < run.steps {
        live(seeds.next(), &mut tally);
        run.made = tally.fewest();
    }
    println!("fuzz virtio {tally:?}");
    if run.steps >= STEPS {
        tally.reached();
    }
}
