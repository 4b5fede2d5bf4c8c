use super::*;
use crate::random::Random;

const HOUR: u64 = 3600 * 1_000_000_000;
const RATES: [u32; 9] = [1, 1_000, 999_999, 1_000_000, 1_193_182, 2_000_000, 2_399_998, 5_000_001, u32::MAX];

/// What a guest does with the page, from the interface's description.
fn guest_nanos(page: &[u8; 32], tsc: u64) -> u64 {
    let long = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
    let multiplier = u32::from_le_bytes(page[24..28].try_into().unwrap());
    let shift = i8::from_le_bytes([page[28]]);
    let mut delta = tsc.wrapping_sub(long(8));
    if shift < 0 {
        delta >>= -shift;
    } else {
        delta <<= shift;
    }
    long(16) + ((u128::from(delta) * u128::from(multiplier)) >> 32) as u64
}

#[test]
fn a_guest_sees_true_time_to_a_microsecond_an_hour() {
    for khz in RATES {
        let info = TimeInfo { tsc: 77, nanos: 0, scale: Scale::new(khz), stable: true, paused: false };
        for hours in 0..48 {
            let ticks = u64::from(khz) * 3_600_000 * hours + 12_345;
            let truth = u128::from(ticks) * 1_000_000 / u128::from(khz);
            let seen = guest_nanos(&info.bytes(2), 77 + ticks);
            assert_eq!(seen, info.scale.nanos(ticks), "hv and guest agree");
            let hours = (u64::try_from(truth).unwrap() / HOUR + 1) * 1_000;
            assert!(u128::from(seen).abs_diff(truth) <= hours.into(), "{khz} kHz: {seen} {truth}");
        }
        assert!(info.scale.multiplier >= 1 << 31);
    }
    assert_eq!(Scale::new(0), Scale::new(1));
    assert_eq!(Scale::new(1_000_000), Scale { multiplier: 1 << 31, shift: 1 });
    assert_eq!(Scale::new(2_000_000), Scale { multiplier: 1 << 31, shift: 0 });
    assert_eq!(Scale::new(3_000_000), Scale { multiplier: 0xaaaa_aaab, shift: -1 });
}

#[test]
fn time_never_runs_backwards_from_core_to_core() {
    for khz in RATES {
        let scale = Scale::new(khz);
        // The third CPU's guest has moved its TSC: its page says by how much.
        let adjust = [0u64, 0, 1_000_000_007u64.wrapping_neg()];
        let page = |tsc| TimeInfo { tsc, nanos: 0, scale, stable: false, paused: false }.bytes(2);
        let pages = adjust.map(page);
        let (mut random, mut tsc, mut last) = (Random(khz.into()), 0u64, 0);
        for _ in 0..10_000 {
            tsc += random.below(5);
            let cpu = random.below(3) as usize;
            let seen = guest_nanos(&pages[cpu], tsc.wrapping_add(adjust[cpu]));
            assert!(seen >= last, "{khz} kHz: {seen} after {last}");
            last = seen;
        }
    }
}

#[test]
fn the_structures_are_laid_out_as_agreed() {
    let scale = Scale { multiplier: 0x1122_3344, shift: -1 };
    let info = TimeInfo { tsc: 0x0102, nanos: 0x0304, scale, stable: true, paused: true };
    let mut expected = [0; 32];
    expected[0] = 6;
    expected[8..10].copy_from_slice(&[2, 1]);
    expected[16..18].copy_from_slice(&[4, 3]);
    expected[24..30].copy_from_slice(&[0x44, 0x33, 0x22, 0x11, 0xff, 3]);
    assert_eq!(info.bytes(6), expected);
    let quiet = TimeInfo { stable: false, paused: false, ..info };
    assert_eq!(quiet.bytes(6)[29], 0);
    assert_eq!(wall_clock(2, 3_000_000_005), [2, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0]);
}

#[test]
fn a_version_is_odd_while_it_is_written_and_never_the_same_again() {
    let mut version = 0;
    for _ in 0..5 {
        let begun = begin(version);
        let ended = end(begun);
        assert!(begun & 1 == 1 && ended & 1 == 0 && ended > begun && begun > version);
        version = ended;
    }
    assert_eq!(begin(7), 9, "one that was left odd");
    assert_eq!((begin(u32::MAX - 1), end(u32::MAX)), (u32::MAX, 0));
}

#[test]
fn a_place_is_in_use_when_its_bit_says_so() {
    assert_eq!(Place::new(0x1_2340 | 1).unwrap().address(), Some(0x1_2340));
    assert_eq!(Place::new(0x1_2340).unwrap().address(), None);
    assert_eq!(Place::new(0x1_2343), Err(GeneralProtection));
    assert_eq!(Place::default().address(), None);
}
