//! Any guest against every model: one harness drives them all.

extern crate std;
use super::debug_exit::DebugExit;
use super::power::Power;
use super::reset::{Reset, ResetPort};
use super::rtc::{Rtc, WallClock};
use super::uart::{MAX_OUTPUT, Uart};
use crate::bus::{Decoder, Registers, nobody};
use crate::interrupts::Pin;
use crate::platform::{gsi, port};
use crate::testkit::{FakePins, Random, Run};
use core::cell::Cell;
use hv_abi::memory::PhysRange;
use std::rc::Rc;

struct Clock(Cell<u64>);

impl WallClock for Clock {
    fn unix_nanos(&self) -> u64 {
        self.0.get()
    }
}

/// An access that a guest might make, or that none can.
fn access(random: &mut Random, device: &mut dyn Registers) {
    let offset = match random.below(8) {
        0 => random.next(),
        1 => u64::MAX - random.below(8),
        _ => random.below(12),
    };
    let size = [1, 1, 1, 1, 2, 4, 8, 3][random.below(8) as usize];
    if random.below(2) == 0 {
        let value = device.read(offset, size);
        assert_eq!(value & !nobody(size), 0, "{size} bytes were asked for: {value:#x}");
    } else {
        device.write(offset, size, random.next());
    }
}

#[test]
fn no_guest_breaks_a_model() {
    let mut run = Run::new("models", 300_000);
    let mut random = Random(run.seed);
    let pins = Rc::new(FakePins::default());
    let clock = Rc::new(Clock(Cell::new(0)));
    let mut uart = Uart::new(Pin::new(pins.clone(), gsi::COM1));
    let mut power = Power::new(Pin::new(pins.clone(), gsi::EVENT));
    let mut rtc = Rtc::new(clock.clone());
    let mut debug_exit = DebugExit::new();
    let mut resets = [ResetPort::Keyboard, ResetPort::SystemControl, ResetPort::ResetControl].map(Reset::new);
    let mut levels = [false; 24];
    let mut requests = 0;
    for step in run.by_ref() {
        clock.0.set(if step % 1000 == 0 {
            random.next()
        } else {
            clock.0.get().wrapping_add(random.next() >> 30)
        });
        match random.below(8) {
            0 => access(&mut random, &mut power),
            1 | 2 => access(&mut random, &mut rtc),
            3 => access(&mut random, &mut debug_exit),
            4 => access(&mut random, &mut resets[step as usize % 3]),
            _ => access(&mut random, &mut uart),
        }
        if random.below(16) == 0 {
            uart.type_in(&random.next().to_le_bytes());
            power.press_button();
        }
        if random.below(5000) == 0 {
            assert!(uart.take_output().len() <= MAX_OUTPUT);
        }
        let asked = resets.iter_mut().filter_map(Reset::take_request).count();
        requests += asked + power.take_request().iter().count() + debug_exit.take_request().iter().count();
        for (pin, level) in pins.take() {
            let before = core::mem::replace(&mut levels[usize::from(pin)], level);
            assert_ne!(before, level, "only changes are told");
        }
    }
    assert!(requests > 1000 && levels.iter().filter(|level| **level).count() <= 2);
}

#[test]
fn no_access_breaks_the_decoder() {
    let mut run = Run::new("decoder", 100_000);
    let mut random = Random(run.seed);
    let mut decoder = Decoder::new();
    let mut claimed = 0;
    for _ in run.by_ref() {
        let near = |random: &mut Random| match random.below(3) {
            0 => random.next(),
            1 => u64::MAX - random.below(64),
            _ => random.below(64),
        };
        let (address, len) = (near(&mut random), near(&mut random));
        match random.below(64) {
            0 => decoder.release(random.below(8) as u8),
            1..8 => {
                let claim = decoder.claim(PhysRange::new(address, len), random.below(8) as u8);
                claimed += u32::from(claim.is_ok());
            }
            _ => {
                let found = decoder.find(address, 1 << random.below(4));
                assert!(found.is_none_or(|(_, offset)| offset <= address));
            }
        }
    }
    assert!(claimed > 100);
}

#[test]
fn the_platform_s_ports_can_all_be_claimed() {
    let mut ports = Decoder::new();
    let ranges = [
        port::RTC,
        port::KEYBOARD_COMMAND,
        port::SYSTEM_CONTROL,
        port::DEBUG_EXIT,
        port::COM1,
        port::POWER,
        port::PM_TIMER,
        port::PCI_CONFIG,
        port::RESET_CONTROL,
    ];
    for (device, range) in ranges.into_iter().enumerate() {
        assert_eq!(ports.claim(range, device), Ok(()));
    }
}
