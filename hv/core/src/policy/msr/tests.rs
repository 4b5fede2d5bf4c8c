use super::*;
use crate::policy::tests::{AMD, EPYC, QEMU64, everything, policy};
use crate::random::Random;
use Action::{
    ApicBase, Barrier, Checked, Constant, Efer, Ignore, Kept, KvmClock, KvmWallClock, Mtrr, PvEoi, Tsc,
    TscAdjust, TscDeadline, X2Apic,
};

const GP: Action = Action::GeneralProtection;
const DROP: Action = Ignore(!0);

fn own(register: Register) -> Action {
    Action::Native(Native::Register(register))
}

#[test]
fn rows_are_in_order_and_do_not_overlap() {
    assert!(table::ROWS.iter().all(|row| row.first <= row.last));
    assert!(table::ROWS.windows(2).all(|pair| pair[0].last < pair[1].first));
}

#[test]
fn a_guest_on_an_epyc() {
    let (pat, debug) = (Checked(Register::Pat), Checked(Register::DebugCtl));
    let base = |name| Action::Native(Native::Base(name));
    let revision = Constant(1 << 32 | 1);
    #[rustfmt::skip]
    let expected = [
        (0x0, GP, GP), (0x10, Tsc, Tsc), (0x11, KvmWallClock, KvmWallClock), (0x12, KvmClock, KvmClock),
        (0x17, Constant(0), GP), (0x1b, ApicBase, ApicBase), (0x3a, Constant(1), GP), (0x3b, TscAdjust, TscAdjust),
        (0x48, GP, GP), (0x49, GP, GP), (0x79, GP, DROP), (0x8b, revision, DROP), (0xce, Constant(0), GP),
        (0xe7, GP, GP), (0xe8, GP, GP), (0xfe, Mtrr, Mtrr), (0x10a, GP, GP),
        (0x173, GP, GP), (0x174, own(Register::SysenterCs), own(Register::SysenterCs)),
        (0x175, own(Register::SysenterEsp), own(Register::SysenterEsp)),
        (0x176, own(Register::SysenterEip), own(Register::SysenterEip)),
        (0x179, Constant(0), GP), (0x17a, Constant(0), DROP), (0x17b, GP, GP), (0x198, Constant(0), DROP),
        (0x19a, Constant(0), DROP), (0x19c, Constant(0), DROP), (0x19d, GP, GP),
        (0x1a0, Kept(Slot::MiscEnable), Kept(Slot::MiscEnable)), (0x1d9, debug, debug), (0x1db, Constant(0), GP),
        (0x1ff, GP, GP), (0x200, Mtrr, Mtrr), (0x20f, Mtrr, Mtrr), (0x210, GP, GP), (0x250, Mtrr, Mtrr),
        (0x258, Mtrr, Mtrr), (0x259, Mtrr, Mtrr), (0x268, Mtrr, Mtrr), (0x26f, Mtrr, Mtrr), (0x277, pat, pat),
        (0x2ff, Mtrr, Mtrr), (0x400, GP, GP), (0x6e0, TscDeadline, TscDeadline), (0xda0, GP, GP),
        (0x7ff, GP, GP), (0x800, X2Apic(0), X2Apic(0)), (0x80b, X2Apic(0xb), X2Apic(0xb)),
        (0x8ff, X2Apic(0xff), X2Apic(0xff)), (0x900, GP, GP),
        (0x4b56_4d00, KvmWallClock, KvmWallClock), (0x4b56_4d01, KvmClock, KvmClock), (0x4b56_4d02, GP, GP),
        (0x4b56_4d03, GP, GP), (0x4b56_4d04, PvEoi, PvEoi), (0x4b56_4d05, GP, GP), (0x4b56_4d06, GP, GP),
        (0xc000_0080, Efer, Efer), (0xc000_0081, own(Register::Star), own(Register::Star)),
        (0xc000_0082, own(Register::Lstar), own(Register::Lstar)), (0xc000_0083, own(Register::Cstar), own(Register::Cstar)),
        (0xc000_0084, own(Register::Sfmask), own(Register::Sfmask)),
        (0xc000_0100, base(SegmentName::Fs), base(SegmentName::Fs)), (0xc000_0101, base(SegmentName::Gs), base(SegmentName::Gs)),
        (0xc000_0102, own(Register::KernelGsBase), own(Register::KernelGsBase)),
        (0xc000_0103, Kept(Slot::TscAux), Kept(Slot::TscAux)), (0xc000_0104, GP, GP),
        (0xc001_0000, Constant(0), DROP), (0xc001_0004, Constant(0), DROP), (0xc001_0007, Constant(0), DROP),
        (0xc001_0008, GP, GP), (0xc001_0010, Constant(0), DROP), (0xc001_0015, Constant(1 << 24), DROP),
        (0xc001_001f, Constant(0), DROP), (0xc001_0055, Constant(0), DROP), (0xc001_0058, Constant(0), DROP),
        (0xc001_0061, Constant(0), DROP), (0xc001_0064, Constant(0), DROP), (0xc001_0112, Constant(0), DROP),
        (0xc001_0113, Constant(0), DROP), (0xc001_0114, Constant(0x18), DROP), (0xc001_0115, Constant(0), DROP),
        (0xc001_0117, GP, GP), (0xc001_0140, Constant(0), DROP), (0xc001_0141, Constant(0), DROP),
        (0xc001_1020, GP, GP), (0xc001_1021, Constant(0), DROP), (0xc001_1029, Constant(2), DROP), (!0, GP, GP),
    ];
    let guest = policy(EPYC);
    for (number, read, write) in expected {
        assert_eq!(guest.msr(number, Access::Read), read, "read of {number:#x}");
        assert_eq!(guest.msr(number, Access::Write), write, "write of {number:#x}");
    }
    assert_eq!(policy(QEMU64).msr(0xc000_0103, Access::Read), GP, "no RDTSCP, no TSC_AUX");
    assert_eq!(policy(&[]).msr(0xc001_0015, Access::Read), GP, "not AMD");
    assert_eq!(policy(&[]).msr(0xc000_0082, Access::Read), GP, "no long mode");
}

#[test]
fn only_native_ones_are_open() {
    let guest = policy(EPYC);
    let open: heapless::Vec<_, 32> = guest.open_msrs().collect();
    let syscall = 0xc000_0081..=0xc000_0084;
    let expected = (0x174..=0x176).chain(syscall).chain(0xc000_0100..=0xc000_0102);
    assert!(open.iter().map(|row| row.0).eq(expected));
    for number in (0..0x2000).chain(0xc000_0000..0xc000_2000).chain(0xc001_0000..0xc001_2000) {
        let native = |access| matches!(guest.msr(number, access), Action::Native(_));
        let (read, write) = (native(Access::Read), native(Access::Write));
        assert_eq!(open.contains(&(number, read, write)), read || write, "{number:#x}");
    }
    assert_eq!(policy(&[]).open_msrs().count(), 3);
}

#[test]
fn speculation_controls_are_as_cpuid_says() {
    let guest = everything(AMD);
    assert_eq!((guest.spec_ctrl, guest.barriers), (0x87, 0x81));
    assert_eq!(guest.msr(0x48, Access::Write), Checked(Register::SpecCtrl));
    assert_eq!((guest.msr(0x49, Access::Read), guest.msr(0x49, Access::Write)), (GP, Barrier));
    assert_eq!(guest.msr(0xda0, Access::Write), Ignore(0));
    assert_eq!(guest.check(Register::SpecCtrl, 0x87), Ok(0x87));
    assert_eq!(guest.check(Register::SpecCtrl, 8), Err(GeneralProtection));
    assert_eq!(guest.barrier(0x81), Ok(0x81));
    assert_eq!(guest.barrier(2), Err(GeneralProtection));
}

#[test]
fn kept_values_follow_their_rules() {
    assert_eq!(policy(EPYC).keep(Slot::TscAux, 0xffff_0000_0005), Ok(5));
    assert_eq!(policy(&[]).keep(Slot::TscAux, 1 << 32), Err(GeneralProtection));
    assert_eq!(policy(&[]).keep(Slot::TscAux, 7), Ok(7));
    assert_eq!(policy(EPYC).keep(Slot::MiscEnable, 0x4_00c5_1889), Ok(0x4_00c5_1889));
    assert_eq!(Slot::AT_RESET[Slot::MiscEnable as usize], 0x1801);
    assert_eq!(Slot::AT_RESET[Slot::TscAux as usize], 0);
}

#[test]
fn any_number_has_an_answer() {
    let (guest, mut random) = (everything(AMD), Random(3));
    for _ in 0..100_000 {
        let number = random.next() as u32;
        let number = [number, number & 0x1fff, 0xc000_0000 | number & 0x1_1fff][random.below(3) as usize];
        for access in [Access::Read, Access::Write] {
            let constant = matches!(guest.msr(number, access), Constant(_));
            assert!(!constant || access == Access::Read, "{number:#x}: only reads have a value");
            let ignored = matches!(guest.msr(number, access), Ignore(_) | Barrier);
            assert!(!ignored || access == Access::Write, "{number:#x}: only writes are dropped");
        }
    }
}
