//! The data sheet's rules, each by name, and random accesses.

use super::*;
use crate::random::Random;
use crate::vlapic::{DeliveryMode, Trigger};

/// Low halves of redirection entries for vector 0x30.
const EDGE: u32 = 0x30;
const LEVEL: u32 = 0x8030;
const MASK: u32 = 0x1_0000;

impl Vioapic {
    fn register(&mut self, index: u8, value: u32) -> usize {
        self.write(io::SELECT, 4, index.into()).count() + self.write(io::WINDOW, 4, value.into()).count()
    }

    fn get(&mut self, index: u8) -> u32 {
        assert_eq!(self.write(io::SELECT, 1, index.into()).count(), 0);
        self.read(io::WINDOW, 4) as u32
    }
}

/// With pin 5 set up like this.
fn with(low: u32) -> Vioapic {
    let mut ioapic = Vioapic::default();
    assert_eq!(ioapic.register(0x1b, 0x0200_0000) + ioapic.register(0x1a, low), 0);
    ioapic
}

#[test]
fn registers() {
    let mut ioapic = Vioapic::new();
    assert_eq!((ioapic.get(io::VERSION), ioapic.get(0x3e), ioapic.get(0x3f)), (0x0017_0020, MASK, 0));
    for index in 0..=255 {
        ioapic.register(index, u32::MAX);
        let want = match index {
            0 | 2 => 0x0f00_0000,
            1 => 0x0017_0020,
            0x10..=0x3f if index % 2 == 0 => 0x1_afff,
            0x10..=0x3f => 0xfffe_0000,
            _ => 0,
        };
        assert_eq!(ioapic.get(index), want, "{index:x}");
    }
    assert_eq!(ioapic.get(1), 0x0017_0020);
    assert_eq!(ioapic.read(0x12, 1), 0x17, "parts are read");
    assert_eq!((ioapic.read(io::SELECT, 4), ioapic.read(0x20, 4)), (1, 0));
    ioapic.register(0, 0);
    assert_eq!(ioapic.write(io::WINDOW, 2, !0).count() + ioapic.write(0x11, 4, 0).count(), 0);
    assert_eq!(ioapic.get(io::ID), 0, "parts are not written");
}

#[test]
fn an_edge_sends_once_and_is_lost_while_masked() {
    let mut ioapic = with(EDGE);
    let message = ioapic.set_pin(5, true).unwrap();
    assert_eq!(message.destination, Destination::Physical(2));
    assert_eq!((message.mode, message.vector, message.trigger), (DeliveryMode::Fixed, 0x30, Trigger::Edge));
    assert_eq!([true, false].map(|level| ioapic.set_pin(5, level)), [None, None]);
    assert_eq!(ioapic.end_of_interrupt(0x30).count(), 0);
    ioapic.register(0x1a, EDGE | MASK);
    assert_eq!(ioapic.set_pin(5, true), None);
    assert_eq!(ioapic.register(0x1a, EDGE), 0);
    assert_eq!([24, 32, usize::MAX].map(|pin| ioapic.set_pin(pin, true)), [None; 3]);
}

#[test]
fn a_level_sends_until_it_is_served() {
    let mut ioapic = with(LEVEL);
    assert_eq!(ioapic.set_pin(5, true).map(|message| message.trigger), Some(Trigger::Level));
    assert_eq!(ioapic.get(0x1a), LEVEL | 0x4000, "remote IRR");
    assert_eq!([true, false, true].map(|level| ioapic.set_pin(5, level)), [None; 3], "not before its end");
    let ends = [0x2f, 0x31].map(|vector| ioapic.end_of_interrupt(vector).count());
    assert_eq!((ends, ioapic.get(0x1a)), ([0, 0], LEVEL | 0x4000), "not by another's end");
    assert_eq!(ioapic.end_of_interrupt(0x30).count(), 1, "still asserted");
    ioapic.set_pin(5, false);
    assert_eq!((ioapic.write(io::EOI, 4, 0x30).count(), ioapic.get(0x1a)), (0, LEVEL));
    ioapic.register(0x1a, LEVEL | MASK);
    assert_eq!(ioapic.set_pin(5, true), None);
    assert_eq!(ioapic.register(0x1a, LEVEL), 1, "sent when it is unmasked");
    ioapic.register(0x1a, LEVEL | MASK);
    assert_eq!(ioapic.get(0x1a), LEVEL | MASK | 0x4000, "masking does not end it");
    ioapic.register(0x1a, EDGE | MASK);
    assert_eq!(ioapic.register(0x1a, LEVEL), 1, "turning it to edge does");
    ioapic.register(0x2e, LEVEL);
    assert!(ioapic.set_pin(15, true).is_some());
    assert_eq!(ioapic.end_of_interrupt(0x30).count(), 2, "pins that share a vector");
}

#[test]
fn delivery_modes() {
    let lowest = Some((DeliveryMode::LowestPriority, Trigger::Level));
    let edge = |mode| Some((mode, Trigger::Edge));
    let [nmi, init] = [DeliveryMode::Nmi, DeliveryMode::Init].map(edge);
    for (mode, want) in [(1, lowest), (2, None), (3, None), (4, nmi), (5, init), (6, None), (7, None)] {
        let mut ioapic = with(LEVEL | mode << 8);
        let sent = ioapic.set_pin(5, true);
        assert_eq!(sent.map(|message| (message.mode, message.trigger)), want, "{mode}");
        assert_eq!(ioapic.get(0x1a) & 0x4000 != 0, mode == 1, "only levels wait for their end");
    }
    let mut logical = with(EDGE | 0x800);
    logical.register(0x1b, 0x0302_0000);
    assert_eq!(logical.set_pin(5, true).map(|m| m.destination), Some(Destination::Logical(0x103)));
}

#[test]
fn whatever_a_guest_writes_a_level_is_never_forgotten() {
    let (mut random, mut ioapic) = (Random(3), Vioapic::new());
    for _ in 0..100_000 {
        let value = random.next();
        match random.below(4) {
            0 => _ = ioapic.set_pin(random.below(26) as usize, value & 1 == 1),
            1 => _ = ioapic.end_of_interrupt(value as u8 & 0xf).count(),
            2 => _ = ioapic.write(random.next() & 0x7f, 1 << random.below(4), value).count(),
            _ => _ = ioapic.register(random.below(0x44) as u8, value as u32 & !0xf0),
        }
        _ = ioapic.read(value, 4);
        for pin in 0..PINS {
            let (entry, bit) = (ioapic.entries[pin], 1 << pin);
            let ready = is_level(entry) && entry & io::MASKED == 0 && ioapic.asserted & bit != 0;
            assert!(!ready || ioapic.in_service & bit != 0, "an asserted level is in service");
            assert!(ioapic.in_service & bit == 0 || is_level(entry));
        }
    }
}
