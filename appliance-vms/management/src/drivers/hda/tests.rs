//! The driver against a card that is not there.

// Frames are told apart by small numbers.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]

use super::fake::{FakeCard, INPUTS};
use super::layout::{register, stream};
use super::*;
use crate::drivers::fake::{Ram, now};
use crate::speaker::{AHEAD, PERIOD, PERIOD_NANOS};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

fn begin(setup: impl FnOnce(&FakeCard)) -> (Ram, Rc<FakeCard>, Result<Hda, Death>) {
    let ram = Ram::new(1 << 20);
    let card = FakeCard::new(&ram);
    setup(&card);
    let hda = now(Hda::begin(Box::new(Rc::clone(&card)), &ram, &async |_| ()));
    (ram, card, hda)
}

fn started() -> (Rc<FakeCard>, Hda) {
    let (_, card, hda) = begin(|_| ());
    let mut hda = hda.expect("a card that works");
    hda.start(0);
    (card, hda)
}

/// Frames that sound like their numbers.
fn numbers(from: usize, count: usize) -> Vec<Output> {
    (from..from + count).map(|number| [number as i16, -1]).collect()
}

fn heard(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks::<4>().0.iter().map(|frame| i16::from_le_bytes([frame[0], frame[1]])).collect()
}

#[test]
fn the_way_through_the_codec_is_opened() {
    let (_, card, hda) = begin(|card| card.chatty.set(true));
    hda.expect("a card that works");
    let told: Vec<(u32, u32)> = vec![
        (1, 0x7_0500),
        // The plug: its second connection, its amplifier as the group has it, headphones, the amplifier outside.
        (4, 0x7_0500),
        (4, 0x7_0101),
        (4, 0x3_b033),
        (4, 0x7_07c0),
        (4, 0x7_0c02),
        (3, 0x7_0500),
        (3, 0x3_7117),
        (2, 0x7_0500),
        (2, 0x3_b04a),
        (2, 0x7_0610),
        (2, 0x2_0011),
    ];
    assert_eq!(*card.told.borrow(), told);
    assert_eq!(card.get(register::INTCTL), 1 << 31 | 1 << INPUTS);
}

#[test]
fn what_is_written_is_heard_once_and_in_order() {
    let (card, mut hda) = started();
    assert_eq!(hda.room(0), AHEAD);
    hda.write(&numbers(1, AHEAD));
    let mut next = AHEAD + 1;
    let mut all = Vec::new();
    for turn in 1..40 {
        all.extend(heard(&card.play(PERIOD)));
        hda.acknowledge();
        let room = hda.room(turn * PERIOD_NANOS);
        assert_eq!(room, PERIOD, "in turn {turn}");
        hda.write(&numbers(next, room));
        next += room;
    }
    assert_eq!(all, (1..=39 * PERIOD as i32).map(|number| number as i16).collect::<Vec<_>>());
    assert_eq!(hda.dry(), 0);
}

#[test]
fn a_late_writer_is_heard_as_silence_and_is_counted() {
    let (card, mut hda) = started();
    assert_eq!(hda.room(0), AHEAD);
    hda.write(&numbers(1, AHEAD));
    card.play(AHEAD / 2);
    hda.room(4 * PERIOD_NANOS);
    // Two laps and a bit later.
    let played = card.play(AHEAD / 2);
    assert_eq!(heard(&played)[0], (AHEAD / 2 + 1) as i16);
    let later = 8 * PERIOD_NANOS + 2 * 16 * PERIOD_NANOS;
    assert_eq!((hda.room(later), hda.dry()), (AHEAD, 1));
    assert!(heard(&card.play(PERIOD)).iter().all(|&sample| sample == 0));
    assert_eq!(hda.room(later + PERIOD_NANOS), AHEAD);
    hda.write(&numbers(7, PERIOD));
    assert_eq!(heard(&card.play(1)), [7]);
}

#[test]
fn it_begins_anew_with_silence_and_ends_at_once() {
    let (card, mut hda) = started();
    hda.room(0);
    hda.write(&numbers(1, AHEAD));
    hda.stop();
    let control = card.get(register::STREAMS + INPUTS * register::STREAM);
    assert_eq!(control & (stream::RUN | stream::ON_COMPLETION), 0);
    hda.start(1000);
    assert!(heard(&card.play(AHEAD)).iter().all(|&sample| sample == 0));
}

#[test]
fn a_card_that_does_not_work_is_told_from_one_that_does() {
    let death = |setup: fn(&FakeCard)| begin(setup).2.err();
    assert_eq!(death(|card| card.gone.set(true)), Some(Death::Gone));
    assert_eq!(death(|card| card.stuck.set(true)), Some(Death::NotReady));
    assert_eq!(death(|card| card.mute.set(true)), Some(Death::Silent));
    assert_eq!(death(|card| card.digital.set(true)), Some(Death::NoPlug));
    let (ram, _, hda) = begin(|card| card.mute.set(true));
    drop(hda);
    assert_eq!(ram.lent.get(), 0, "memory is not given back");
}
