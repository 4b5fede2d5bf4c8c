use super::*;

const BITS: u8 = 40;

#[test]
fn a_guest_finds_them_as_firmware_leaves_them() {
    let mtrr = Mtrr::default();
    assert_eq!(mtrr.read(0xfe), Ok(0x508));
    assert_eq!(mtrr.read(0x2ff), Ok(0x806));
    assert_eq!(mtrr.read(0x20f), Ok(0));
    for absent in [0x1ff, 0x210, 0x251, 0x25a, 0x270, 0] {
        assert_eq!(mtrr.read(absent), Err(GeneralProtection), "{absent:#x}");
    }
}

#[test]
fn what_is_written_is_kept_each_in_its_place() {
    let mut mtrr = Mtrr::default();
    let fixed = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
    let all = || (0x200..=0x20f).chain(fixed);
    let value = |number: u32| match number {
        0x250.. => 0x0606_0504_0100_0606u64.rotate_left(number * 8),
        _ if number & 1 == 0 => 0xff_0000_0006 + (u64::from(number) << 12),
        _ => 0xff_0000_0800 + (u64::from(number) << 12),
    };
    for number in all() {
        assert_eq!(mtrr.write(number, value(number), BITS), Ok(()), "{number:#x}");
    }
    assert_eq!(mtrr.write(0x2ff, 0xc00, BITS), Ok(()));
    for number in all() {
        assert_eq!(mtrr.read(number), Ok(value(number)), "{number:#x}");
    }
    assert_eq!(mtrr.read(0x2ff), Ok(0xc00));
}

#[test]
fn reserved_types_and_bits_are_refused_and_change_nothing() {
    let mut mtrr = Mtrr::default();
    let before = mtrr.clone();
    let bad = [
        (0xfe, 0x508),
        (0x2ff, 0x802),
        (0x2ff, 0x1006),
        (0x2ff, 1 << 32 | 6),
        (0x250, 0x0600_0000_0000_0003),
        (0x26f, 7),
        (0x200, 2),
        (0x200, 0x106),
        (0x200, 1 << 40 | 6),
        (0x201, 0x400),
        (0x201, 1 << 40 | 0x800),
        (0x210, 0),
    ];
    for (number, value) in bad {
        assert_eq!(mtrr.write(number, value, BITS), Err(GeneralProtection), "{number:#x} {value:#x}");
    }
    assert_eq!(mtrr, before);
    assert_eq!(mtrr.write(0x200, 1 << 51 | 6, 255), Ok(()), "no more than 52 bits exist");
}
