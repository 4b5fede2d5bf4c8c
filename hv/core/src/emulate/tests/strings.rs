//! Strings: repeating, stopping half-way, ports.

use super::*;
use crate::exit::{Access, PortAccess};

fn port(access: Access, size: u8) -> Cause {
    Cause::Port(PortAccess { port: 0x1f0, size, access, string: true, repeat: true, next_rip: 0 })
}

#[test]
fn a_long_string_is_done_in_slices() {
    let mut bench = Bench::of(Mode::Bits64);
    bench.gprs.0[gpr::RDI] = DEVICE;
    bench.gprs.0[gpr::RCX] = 100;
    bench.gprs.0[gpr::RAX] = 0x1_0203_0405;
    let slice = u64::from(MAX_ELEMENTS);
    assert_eq!(bench.run(&[0xf3, 0xab]), Step::Done); // rep stosd
    assert_eq!((bench.gprs.0[gpr::RCX], bench.rip()), (100 - slice, CODE));
    assert_eq!(bench.gprs.0[gpr::RDI], DEVICE + 4 * slice);
    assert_eq!(bench.go(None), Step::Done);
    assert_eq!((bench.gprs.0[gpr::RCX], bench.rip()), (0, CODE + 2));
    let expected: Vec<_> = (0..100).map(|at| (DEVICE + 4 * at, 4, Some(0x0203_0405))).collect();
    assert_eq!(bench.accesses, expected);
    // Nothing to do is done at once.
    assert_eq!(bench.run(&[0xf3, 0xab]), Step::Done);
    assert_eq!((bench.rip(), bench.accesses.len()), (CODE + 4, 100));
}

#[test]
fn movs_goes_both_ways_and_backwards() {
    for (size, code) in [(1, 0xa4), (2, 0xa5), (4, 0xa5), (8, 0xa5)] {
        for (to_device, backwards) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut bench = Bench::of(Mode::Bits64);
            bench.registers[0x100..0x110].copy_from_slice(&[0x5a; 16]);
            bench.memory.put(0x8000, &[0x77; 16]);
            let first = if backwards { 16 - size } else { 0 };
            let (ram, device) = (0x8000 + first, DEVICE + 0x100 + first);
            let (from, to) = if to_device { (ram, device) } else { (device, ram) };
            bench.gprs.0[gpr::RSI] = from;
            bench.gprs.0[gpr::RDI] = to;
            bench.gprs.0[gpr::RCX] = 16 / size;
            bench.cpu.set(Register::Rflags, if backwards { rflags::DF } else { 0 });
            let prefix: &[u8] = if size == 2 { &[0x66] } else { &[] };
            let rex: &[u8] = if size == 8 { &[0x48] } else { &[] };
            // rep movs
            assert_eq!(bench.run(&[prefix, &[0xf3], rex, &[code]].concat()), Step::Done);
            let moved = if backwards { 16_u64.wrapping_neg() } else { 16 };
            assert_eq!(bench.gprs.0[gpr::RSI], from.wrapping_add(moved));
            assert_eq!(bench.gprs.0[gpr::RDI], to.wrapping_add(moved));
            let expected = if to_device { 0x7777_7777_7777_7777 } else { 0x5a5a_5a5a_5a5a_5a5a };
            assert_eq!((bench.device(0x100), bench.device(0x108)), (expected, expected));
            assert_eq!(bench.memory.number(0x8008, 8), expected);
            assert_eq!(bench.accesses.len() as u64, 16 / size);
        }
    }
}

#[test]
fn a_fault_leaves_what_was_done() {
    let mut bench = Bench::of(Mode::Bits64);
    // rep movsb from the device to the last two bytes that are mapped
    bench.gprs.0[gpr::RSI] = DEVICE;
    bench.gprs.0[gpr::RDI] = 0xffff_fffe;
    bench.gprs.0[gpr::RCX] = 5;
    let error = Some(error_code::WRITE);
    assert_eq!(bench.run(&[0xf3, 0xa4]), Step::Deliver(Event::Exception { vector: 14, error }));
    assert_eq!((bench.gprs.0[gpr::RCX], bench.gprs.0[gpr::RSI], bench.rip()), (3, DEVICE + 2, CODE));
    let reads = bench.accesses.iter().filter(|access| access.2.is_none()).count();
    assert_eq!(reads, 2, "the device is not read for a byte that can't be stored");
}

#[test]
fn scanning_and_comparing_stop_where_they_should() {
    let mut bench = Bench::of(Mode::Bits64);
    bench.registers[..6].copy_from_slice(b"abcabx");
    bench.memory.put(0x8000, b"abcabc");
    let set = |bench: &mut Bench| {
        bench.gprs.0[gpr::RSI] = 0x8000;
        bench.gprs.0[gpr::RDI] = DEVICE;
        bench.gprs.0[gpr::RCX] = 6;
        bench.gprs.0[gpr::RAX] = u64::from(b'c');
    };
    set(&mut bench);
    assert_eq!(bench.run(&[0xf3, 0xa6]), Step::Done); // repe cmpsb
    assert_eq!((bench.gprs.0[gpr::RCX], bench.gprs.0[gpr::RDI]), (0, DEVICE + 6));
    // 'c' - 'x' borrows and is negative
    let flags = bench.cpu.get(Register::Rflags);
    assert_eq!(flags & (rflags::ZF | rflags::CF | rflags::SF), rflags::CF | rflags::SF);
    set(&mut bench);
    assert_eq!(bench.run(&[0xf2, 0xae]), Step::Done); // repne scasb
    assert_eq!((bench.gprs.0[gpr::RCX], bench.gprs.0[gpr::RDI]), (3, DEVICE + 3));
    set(&mut bench);
    assert_eq!(bench.run(&[0xae]), Step::Done); // scasb
    assert_eq!((bench.gprs.0[gpr::RCX], bench.gprs.0[gpr::RDI]), (6, DEVICE + 1));
    bench.gprs.0[gpr::RSI] = DEVICE + 2;
    assert_eq!(bench.run(&[0xac]), Step::Done); // lodsb
    assert_eq!(bench.gprs.0[gpr::RAX], u64::from(b'c'));
}

#[test]
fn a_single_step_is_one_element() {
    let mut bench = Bench::of(Mode::Bits64);
    bench.gprs.0[gpr::RDI] = DEVICE;
    bench.gprs.0[gpr::RCX] = 2;
    bench.cpu.set(Register::Rflags, rflags::TF);
    assert_eq!(bench.run(&[0xf3, 0xaa]), Step::Deliver(exception::DB)); // rep stosb
    assert_eq!((bench.gprs.0[gpr::RCX], bench.rip()), (1, CODE));
    assert_eq!(bench.go(None), Step::Deliver(exception::DB));
    assert_eq!((bench.gprs.0[gpr::RCX], bench.rip()), (0, CODE + 2));
}

#[test]
fn narrow_addresses_leave_the_rest_of_the_registers() {
    let mut bench = Bench::of(Mode::Bits16);
    for at in [gpr::RSI, gpr::RDI, gpr::RCX] {
        bench.gprs.0[at] = 0xffff_ffff_1234_0000;
    }
    bench.gprs.0[gpr::RCX] += 2;
    bench.gprs.0[gpr::RDI] += 0xffff;
    assert_eq!(bench.run(&[0xf3, 0xaa]), Step::Done); // rep stosb: DI wraps
    assert_eq!(bench.gprs.0[gpr::RDI], 0xffff_ffff_1234_0001);
    assert_eq!(bench.gprs.0[gpr::RCX], 0xffff_ffff_1234_0000);
    let offsets: Vec<_> = bench.accesses.iter().map(|access| access.0 - DEVICE).collect();
    assert_eq!(offsets, [0xffff, 0]);
}

#[test]
fn strings_of_ports() {
    for (size, value) in [(1_u8, 0x04_u64), (2, 0x0304), (4, 0x0102_0304)] {
        let prefix: &[u8] = if size == 2 { &[0x66] } else { &[] };
        let wide = u8::from(size > 1);
        let mut bench = Bench::of(Mode::Bits64);
        bench.gprs.0[gpr::RDI] = 0x8000;
        bench.gprs.0[gpr::RCX] = 3;
        bench.cause = port(Access::Read, size);
        assert_eq!(bench.run(&[prefix, &[0xf3, 0x6c | wide]].concat()), Step::Done); // rep ins
        assert_eq!(bench.ports, [(0x1f0, size, None); 3]);
        assert_eq!(bench.memory.number(0x8000 + 2 * u64::from(size), usize::from(size)), value);
        bench.gprs.0[gpr::RSI] = 0x8000;
        bench.cause = port(Access::Write, size);
        assert_eq!(bench.run(&[prefix, &[0x6e | wide]].concat()), Step::Done); // outs
        assert_eq!(bench.ports[3], (0x1f0, size, Some(value)));
        assert_eq!(bench.gprs.0[gpr::RSI], 0x8000 + u64::from(size));
    }
}

#[test]
fn a_changed_instruction_does_not_reach_another_port() {
    let mut bench = Bench::of(Mode::Bits64);
    bench.gprs.0[gpr::RSI] = 0x8000;
    bench.cause = port(Access::Write, 1);
    // insb, outsd, stosb, mov [rbx], al instead of outsb: the guest runs them itself.
    for code in [&[0x6c][..], &[0x6f], &[0xaa], &[0x88, 0x03]] {
        assert_eq!(bench.run(code), Step::Done);
        assert_eq!(bench.rip(), CODE);
    }
    bench.cause = Cause::Memory;
    assert!(matches!(bench.run(&[0x6e]), Step::Unsupported(_)));
    assert!(bench.ports.is_empty() && bench.accesses.is_empty());
}
