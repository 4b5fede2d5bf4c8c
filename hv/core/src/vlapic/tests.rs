//! The manual's rules, each by name.

mod model;
mod timer;

use super::*;
use Destination::{All, Logical, Myself, Others, Physical};
use hv_defs::apic::Register as R;
use hv_defs::msr::{APIC_BASE, TSC_DEADLINE};
use std::vec::Vec;

extern crate std;

const X2APIC_ON: u64 = 0xfee0_0c00;

/// The world around one APIC.
#[derive(Default)]
struct World {
    now: Now,
    sent: Vec<Message>,
    ended: Vec<u8>,
}

impl Client for World {
    fn now(&self) -> Now {
        self.now
    }
    fn send(&mut self, message: Message) {
        self.sent.push(message);
    }
    fn end_of_level_interrupt(&mut self, vector: u8) {
        self.ended.push(vector);
    }
}

/// An APIC, its world, and short words for what a guest does.
struct Bench(Vlapic, World);

impl Bench {
    fn xapic(id: u32) -> Self {
        let mut bench = Self(Vlapic::new(id, false, 40), World::default());
        bench.write(R::SPURIOUS, 0x1ff);
        bench
    }

    fn x2apic(id: u32) -> Self {
        let mut bench = Self::xapic(id);
        assert_eq!(bench.msr(APIC_BASE, X2APIC_ON), Ok(()));
        bench
    }

    fn write(&mut self, register: R, value: u32) {
        self.0.write_page(register.0.into(), 4, value.into(), &mut self.1);
    }

    fn read(&mut self, register: R) -> u32 {
        self.0.read_page(register.0.into(), 4, &self.1) as u32
    }

    fn msr(&mut self, number: u32, value: u64) -> Result<(), GeneralProtection> {
        self.0.write_msr(number, value, &mut self.1)
    }

    fn interrupt(&mut self, vector: u8) {
        self.0.accept(vector, Trigger::Edge);
        self.0.acknowledge(vector);
    }

    /// What a command in xAPIC mode sends.
    fn command(&mut self, high: u32, low: u32) -> Option<(Destination, DeliveryMode, u8)> {
        self.write(R::ICR_HIGH, high << 24);
        self.write(R::ICR, low);
        self.1.sent.pop().map(|message| (message.destination, message.mode, message.vector))
    }

    /// Time passes; whether the timer (vector 0x50) has fired.
    fn at(&mut self, nanos: u64) -> bool {
        self.1.now = Now { nanos, tsc: 3 * nanos };
        self.0.expire(self.1.now);
        let fired = self.0.next_interrupt() == Some(0x50);
        self.interrupt(0x50);
        self.write(R::EOI, 0);
        fired
    }
}

#[test]
fn registers_after_reset_and_init() {
    let mut bench = Bench::xapic(5);
    bench.write(R::TASK_PRIORITY, 0x33);
    bench.interrupt(0x80);
    bench.0.init();
    let rows = [(R::ID, 5 << 24), (R::VERSION, 0x5_0014), (R::TASK_PRIORITY, 0), (R::PROCESSOR_PRIORITY, 0)];
    let more = [(R::DESTINATION_FORMAT, !0), (R::LOGICAL_DESTINATION, 0), (R::SPURIOUS, 0xff), (R::ICR, 0)];
    for (register, value) in rows.into_iter().chain(more) {
        assert_eq!(bench.read(register), value, "{register:x?}");
    }
    assert!((0x320..=0x370).step_by(16).all(|lvt| bench.read(R(lvt)) == 0x1_0000));
    assert_eq!(bench.0.deadline(), None);
    assert_eq!(bench.0.page(), Some(0xfee0_0000));
    assert!(bench.0.changed_address().is_some() && bench.0.changed_address().is_none());
}

#[test]
fn the_page_gives_bytes_and_takes_words() {
    let mut bench = Bench::xapic(5);
    let rows = [(0x30, 1, 0x14), (0x32, 1, 0x05), (0x30, 2, 0x14), (0x30, 8, 0x5_0014), (0x34, 4, 0)];
    for (offset, size, value) in rows {
        assert_eq!(bench.0.read_page(offset, size, &bench.1), value, "{offset:x} {size}");
    }
    for (offset, size) in [(0x80, 1), (0x80, 8), (0x81, 4), (0x84, 4)] {
        bench.0.write_page(offset, size, 0x40, &mut bench.1);
        assert_eq!(bench.read(R::TASK_PRIORITY), 0, "{offset:x} {size}");
    }
    // Read-only registers keep what they have, and that is no error.
    bench.write(R::VERSION, 0);
    bench.write(R::REMOTE_READ, 0);
    bench.write(R::ID, 0);
    bench.write(R::ERROR_STATUS, 0);
    assert_eq!((bench.read(R::ID), bench.read(R::ERROR_STATUS)), (5 << 24, 0));
}

#[test]
fn x2apic_registers_and_their_reserved_bits() {
    let mut bench = Bench::x2apic(0x25);
    let rows = [
        (R::ID, Some(0x25), None),
        (R::VERSION, Some(0x5_0014), None),
        (R::TASK_PRIORITY, Some(0), Some(0xff)),
        (R::PROCESSOR_PRIORITY, Some(0), None),
        (R::EOI, None, Some(0)),
        (R::LOGICAL_DESTINATION, Some(0x2_0020), None),
        (R::DESTINATION_FORMAT, None, None),
        (R::SPURIOUS, Some(0x1ff), Some(0x3ff)),
        (R(0x220), Some(0), None),
        (R::ERROR_STATUS, Some(0), Some(0)),
        (R(0x2f0), None, None),
        (R::ICR, Some(0), Some(0xffff_ffff_000c_dfff)),
        (R::ICR_HIGH, None, None),
        (R::LVT_TIMER, Some(0x1_0000), Some(0x7_10ff)),
        (R::LVT_THERMAL, Some(0x1_0000), Some(0x1_17ff)),
        (R::LVT_LINT0, Some(0x1_0000), Some(0x1_f7ff)),
        (R::LVT_ERROR, Some(0x1_0000), Some(0x1_10ff)),
        (R::TIMER_INITIAL, Some(0), Some(0xffff_ffff)),
        (R::TIMER_CURRENT, Some(0), None),
        (R::TIMER_DIVIDE, Some(0), Some(0b1011)),
        (R::SELF_IPI, None, Some(0xff)),
        (R(0x400), None, None),
    ];
    for (register, value, writable) in rows {
        assert_eq!(bench.0.read_msr(register.msr(), &bench.1).ok(), value, "{register:x?}");
        for bit in 0..64 {
            let allowed = writable.is_some_and(|bits: u64| bits >> bit & 1 == 1);
            let done = bench.0.clone().write_msr(register.msr(), 1 << bit, &mut World::default());
            assert_eq!(done.is_ok(), allowed, "{register:x?} bit {bit}");
        }
        assert_eq!(bench.0.clone().write_msr(register.msr(), 0, &mut bench.1).is_ok(), writable.is_some());
    }
    assert_eq!(bench.read(R::VERSION), !0, "there is no page in x2APIC mode");
    assert_eq!(Bench::xapic(0).msr(R::EOI.msr(), 0), Err(GeneralProtection), "no MSRs in xAPIC mode");
    assert_eq!(bench.msr(0x10, 0), Err(GeneralProtection));
}

#[test]
fn modes_change_only_as_figure_11_27_allows() {
    let [off, xapic, x2apic, invalid] = [0_u64, 0x800, 0xc00, 0x400].map(|mode| 0xfee0_0000 | mode);
    let rows = [(off, &[off, xapic][..]), (xapic, &[off, xapic, x2apic]), (x2apic, &[off, x2apic])];
    for ((from, legal), to) in rows.iter().flat_map(|row| [off, xapic, x2apic, invalid].map(|to| (row, to))) {
        let mut bench = Bench::xapic(0);
        bench.msr(APIC_BASE, *from).unwrap();
        assert_eq!(bench.msr(APIC_BASE, to).is_ok(), legal.contains(&to), "{from:x} to {to:x}");
        let now = if legal.contains(&to) { to } else { *from };
        assert_eq!(bench.0.read_msr(APIC_BASE, &bench.1), Ok(now));
    }
    let mut bench = Bench::xapic(0);
    for reserved in [1, 1 << 9, 1 << 40, 1 << 63] {
        assert!(bench.msr(APIC_BASE, 0xfee0_0800 | reserved).is_err());
    }
    // The page can be moved; who started the machine can't be changed.
    bench.msr(APIC_BASE, 0xfed4_0900).unwrap();
    assert_eq!(bench.0.page(), Some(0xfed4_0000));
    assert_eq!(bench.0.read_msr(APIC_BASE, &bench.1), Ok(0xfed4_0800));
}

#[test]
fn a_disabled_apic_takes_nothing() {
    let mut bench = Bench::xapic(0);
    bench.write(R::LVT_LINT0, 0x700);
    bench.0.accept(0x60, Trigger::Edge);
    bench.write(R::SPURIOUS, 0xff);
    bench.0.accept(0x70, Trigger::Edge);
    bench.write(R::LVT_ERROR, 0x41);
    assert_eq!((bench.read(R::LVT_LINT0), bench.read(R::LVT_ERROR)), (0x1_0700, 0x1_0041));
    assert_eq!(bench.0.next_interrupt(), None);
    bench.write(R::SPURIOUS, 0x1ff);
    assert_eq!(bench.0.next_interrupt(), Some(0x60), "what was requested before is held");
    bench.msr(APIC_BASE, 0xfee0_0000).unwrap();
    assert_eq!((bench.0.address().bits(), bench.0.next_interrupt()), (0, None));
    bench.0.set_tpr_from_cr8(0xf);
    assert_eq!((bench.0.cr8(), bench.read(R::TASK_PRIORITY)), (0xf, !0), "CR8 works without an APIC");
    bench.0.accept(0x70, Trigger::Edge);
    bench.msr(APIC_BASE, 0xfee0_0800).unwrap();
    assert_eq!((bench.read(R(0x230)), bench.read(R::SPURIOUS)), (0, 0xff), "switching off resets");
    bench.msr(APIC_BASE, 0xfee0_0000).unwrap();
    bench.write(R::SPURIOUS, 0x1ff);
    assert_eq!(bench.0.read_page(0, 8, &bench.1), u64::MAX);
}

#[test]
fn errors_are_latched_by_a_write_and_interrupt_once() {
    let mut bench = Bench::xapic(0);
    bench.write(R::LVT_ERROR, 0xfe);
    bench.0.accept(15, Trigger::Edge);
    assert_eq!((bench.0.next_interrupt(), bench.read(R::ERROR_STATUS)), (Some(0xfe), 0));
    bench.interrupt(0xfe);
    bench.write(R::EOI, 0);
    bench.write(R::ICR, 0x4_000f);
    bench.read(R(0x3f0));
    assert_eq!(bench.0.next_interrupt(), None, "not armed again before the write");
    bench.write(R::ERROR_STATUS, 0);
    assert_eq!(bench.read(R::ERROR_STATUS), 0xe0);
    bench.write(R(0x40), 1);
    assert_eq!(bench.0.next_interrupt(), Some(0xfe));
    // An error whose own vector is illegal does not chase its tail.
    bench.write(R::LVT_ERROR, 3);
    bench.write(R::ERROR_STATUS, 0);
    bench.read(R(0x40));
    bench.write(R::ERROR_STATUS, 0);
    assert_eq!(bench.read(R::ERROR_STATUS), 0xc0);
    assert_eq!(bench.1.sent, []);
}

#[test]
fn commands_as_table_11_3_says() {
    use DeliveryMode::{Fixed, Init, LowestPriority, Nmi, Startup};
    let mut bench = Bench::xapic(0);
    for (name, high, low, want) in [
        ("physical", 3, 0x4041, Some((Physical(3), Fixed, 0x41))),
        ("physical broadcast", 0xff, 0x4041, Some((All, Fixed, 0x41))),
        ("logical", 3, 0x4841, Some((Logical(3), Fixed, 0x41))),
        ("lowest priority", 3, 0x4941, Some((Logical(3), LowestPriority, 0x41))),
        ("INIT", 1, 0x4500, Some((Physical(1), Init, 0))),
        ("INIT as an edge", 1, 0x0500, Some((Physical(1), Init, 0))),
        ("INIT, level asserted", 1, 0xc500, Some((Physical(1), Init, 0))),
        ("INIT de-assert", 1, 0x8500, None),
        ("start-up", 1, 0x4608, Some((Physical(1), Startup, 8))),
        ("INIT to the others", 0, 0xc_4500, Some((Others, Init, 0))),
        ("INIT to itself", 0, 0x4_4500, None),
        ("start-up to all", 0, 0x8_4608, None),
        ("all", 0, 0x8_4041, Some((All, Fixed, 0x41))),
        ("NMI to itself", 0, 0x4_4400, Some((Myself, Nmi, 0))),
        ("SMI", 1, 0x4200, None),
        ("reserved", 1, 0x4300, None),
        ("itself is delivered at once", 0, 0x4_4042, None),
        ("and by its ID", 0, 0x4043, None),
    ] {
        assert_eq!(bench.command(high, low), want, "{name}");
    }
    assert_eq!(bench.read(R(0x220)), 0b1100);
    let mut bench = Bench::x2apic(0x1_0002);
    for (command, want) in [
        (0x0001_0000_0000_4041, Physical(0x1_0000)),
        (0xffff_ffff_0000_4841, All),
        (0xff << 32 | 0x41, Physical(0xff)),
    ] {
        bench.msr(R::ICR.msr(), command).unwrap();
        assert_eq!(bench.1.sent.pop().map(|message| message.destination), Some(want));
        assert_eq!(bench.0.read_msr(R::ICR.msr(), &bench.1), Ok(command));
    }
    bench.msr(R::SELF_IPI.msr(), 0x77).unwrap();
    assert_eq!(bench.0.next_interrupt(), Some(0x77));
}

#[test]
fn destinations_mean_whom_the_manual_says() {
    let flat = Address::new(3, 0x08, false, false, true);
    let cluster = Address::new(3, 0x24, true, false, true);
    let x2apic = Address::new(0x123, 0, false, true, true);
    let rows = [
        (flat, &[Physical(3), Logical(0x0a), All][..], &[Physical(4), Logical(0x10), Logical(0x108)][..]),
        (cluster, &[Logical(0x26)], &[Logical(0x16), Logical(0x28)]),
        (x2apic, &[Physical(0x123), Logical(0x12_0008)], &[Physical(0x23), Logical(0x12_0004)]),
        (Address::new(0x1_2345, 0, false, true, true), &[Logical(0x1234_0020)], &[Logical(0x0234_0020)]),
        (x2apic, &[Others], &[Logical(0x13_0008), Myself]),
        (Address::default(), &[], &[All, Physical(0)]),
    ];
    for (address, meant, others) in rows {
        let address = Address::from_bits(address.bits());
        for (destination, want) in meant.iter().map(|d| (*d, true)).chain(others.iter().map(|d| (*d, false)))
        {
            assert_eq!(address.matches(destination, false), want, "{address:x?} {destination:x?}");
        }
    }
    assert!(flat.matches(Myself, true) && !flat.matches(Others, true));
    // What the guest writes is what is published.
    let mut bench = Bench::xapic(3);
    bench.write(R::LOGICAL_DESTINATION, 0x0800_0000);
    assert_eq!(bench.0.changed_address(), Some(flat));
    bench.write(R::LOGICAL_DESTINATION, 0x2400_0000);
    bench.write(R::DESTINATION_FORMAT, 0);
    assert_eq!((bench.0.changed_address(), bench.read(R::DESTINATION_FORMAT)), (Some(cluster), 0x0fff_ffff));
}

#[test]
fn lowest_priority_goes_round() {
    let at = |logical, accepts| Address::new(0, logical, false, false, accepts);
    let all = [at(1, true), at(2, true), at(4, false), at(8, true)];
    let pick = |logical, last| pick_lowest(all.into_iter(), Logical(logical), None, last);
    assert_eq!([pick(15, 0), pick(15, 1), pick(15, 3)], [Some(1), Some(3), Some(0)]);
    assert_eq!([pick(4, 0), pick(2, 1), pick(10, 0)], [None, Some(1), Some(1)], "off; the only one; first");
    assert_eq!(pick_lowest(all.into_iter(), Others, Some(1), 0), Some(3));
}

#[test]
fn kvm_send_ipi_names_ids_by_bits() {
    let ids = |bitmap, first, command| {
        send_ipi(bitmap, first, command)
            .map(|all| all.map(|message| (message.destination, message.vector)).collect::<Vec<_>>())
    };
    let want = [2, 3, 66].map(|id| (Physical(id), 0x41));
    assert_eq!(ids([0b11, 1], 2, 0x41).as_deref(), Some(&want[..]));
    assert_eq!(ids([u64::MAX, 0], u32::MAX, 0), Some(Vec::new()), "no such IDs");
    assert_eq!(ids([0, 0], 0, 0x41), Some(Vec::new()));
    for refused in [0x841, 0x4_0041, 0x241] {
        assert_eq!(ids([1, 0], 0, refused), None);
    }
}

#[test]
fn the_end_of_a_level_interrupt_is_told() {
    let mut bench = Bench::xapic(0);
    bench.interrupt(0x60);
    assert!(bench.0.pv_eoi_possible());
    bench.0.complete_pv_eoi();
    assert!(!bench.0.pv_eoi_possible(), "nothing in service");
    bench.0.accept(0x60, Trigger::Level);
    bench.0.acknowledge(0x60);
    assert!(!bench.0.pv_eoi_possible(), "the I/O APIC must hear of it");
    bench.interrupt(0x70);
    bench.0.accept(0x61, Trigger::Edge);
    assert!(!bench.0.pv_eoi_possible(), "another waits for it");
    bench.write(R::EOI, 0);
    assert_eq!((bench.1.ended.len(), bench.0.next_interrupt()), (0, None));
    bench.write(R::EOI, 0);
    assert_eq!((bench.1.ended.as_slice(), bench.0.next_interrupt()), (&[0x60][..], Some(0x61)));
    bench.0.set_tpr_from_cr8(6);
    assert_eq!((bench.0.next_interrupt(), bench.0.next_ignoring_tpr()), (None, Some(0x61)));
    bench.write(R::TASK_PRIORITY, 0x53);
    bench.0.set_tpr_from_cr8(5);
    assert_eq!((bench.read(R::TASK_PRIORITY), bench.0.cr8()), (0x53, 5), "an unchanged CR8 changes nothing");
}
