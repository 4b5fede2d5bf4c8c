//! Instruction forms: a table that reads like an assembler listing, and arithmetic against the
//! definition.

use super::*;
use hv_defs::control::rflags::{AF, CF, OF, PF, SF, STATUS, ZF};

const RAX: u64 = 0xa1a2_a3a4_a5a6_a7a8;
const OLD: u64 = 0x8877_6655_4433_2211;

use Mode::{Bits16, Bits32, Bits64};

/// Mode, code, RAX afterwards, the device's first eight bytes afterwards.
#[rustfmt::skip]
const FORMS: &[(Mode, &[u8], u64, u64)] = &[
    (Bits64, &[0x8a, 0x03], 0xa1a2_a3a4_a5a6_a711, OLD),             // mov al, [rbx]
    (Bits64, &[0x8a, 0x23], 0xa1a2_a3a4_a5a6_11a8, OLD),             // mov ah, [rbx]
    (Bits64, &[0x66, 0x8b, 0x03], 0xa1a2_a3a4_a5a6_2211, OLD),       // mov ax, [rbx]
    (Bits64, &[0x8b, 0x03], 0x4433_2211, OLD),                       // mov eax, [rbx]
    (Bits64, &[0x48, 0x8b, 0x03], OLD, OLD),                         // mov rax, [rbx]
    (Bits64, &[0x88, 0x03], RAX, 0x8877_6655_4433_22a8),             // mov [rbx], al
    (Bits64, &[0x88, 0x23], RAX, 0x8877_6655_4433_22a7),             // mov [rbx], ah
    (Bits64, &[0x66, 0x89, 0x03], RAX, 0x8877_6655_4433_a7a8),       // mov [rbx], ax
    (Bits64, &[0x89, 0x03], RAX, 0x8877_6655_a5a6_a7a8),             // mov [rbx], eax
    (Bits64, &[0x48, 0x89, 0x03], RAX, RAX),                         // mov [rbx], rax
    (Bits64, &[0xc6, 0x03, 0x99], RAX, 0x8877_6655_4433_2299),       // mov byte [rbx], 99h
    (Bits64, &[0x66, 0xc7, 0x03, 1, 2], RAX, 0x8877_6655_4433_0201), // mov word [rbx], 201h
    (Bits64, &[0xc7, 0x03, 1, 2, 3, 4], RAX, 0x8877_6655_0403_0201), // mov dword [rbx], 4030201h
    (Bits64, &[0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff], RAX, !1),  // mov qword [rbx], -2
    (Bits64, &[0xa1, 0, 0, 0x10, 0, 0, 0, 0, 0], 0x4433_2211, OLD),  // mov eax, [moffs64]
    (Bits64, &[0x67, 0xa2, 0, 0, 0x10, 0], RAX, 0x8877_6655_4433_22a8), // mov [moffs32], al
    (Bits64, &[0x8b, 0x05, 0xfa, 0xbf, 0x0f, 0], 0x4433_2211, OLD),  // mov eax, [rip+fbffah]
    (Bits64, &[0x8b, 0x44, 0x8b, 0xfc], 0x4433_2211, OLD),           // mov eax, [rbx+rcx*4-4]
    (Bits64, &[0x67, 0x8b, 0x03], 0x4433_2211, OLD),                 // mov eax, [ebx]
    (Bits64, &[0x64, 0x8b, 0x04, 0x25, 0, 0, 0, 0], 0x4433_2211, OLD), // mov eax, fs:[0]
    (Bits64, &[0x0f, 0xb6, 0x43, 0x07], 0x88, OLD),                  // movzx eax, byte [rbx+7]
    (Bits64, &[0x48, 0x0f, 0xb7, 0x43, 0x06], 0x8877, OLD),          // movzx rax, word [rbx+6]
    (Bits64, &[0x66, 0x0f, 0xbe, 0x43, 0x07], 0xa1a2_a3a4_a5a6_ff88, OLD), // movsx ax, byte [rbx+7]
    (Bits64, &[0x0f, 0xbf, 0x43, 0x06], 0xffff_8877, OLD),           // movsx eax, word [rbx+6]
    (Bits64, &[0x48, 0x63, 0x43, 0x04], 0xffff_ffff_8877_6655, OLD), // movsxd rax, [rbx+4]
    (Bits64, &[0x0f, 0x38, 0xf0, 0x03], 0x1122_3344, OLD),           // movbe eax, [rbx]
    (Bits64, &[0x48, 0x0f, 0x38, 0xf1, 0x03], RAX, 0xa8a7_a6a5_a4a3_a2a1), // movbe [rbx], rax
    (Bits64, &[0x0f, 0xc3, 0x03], RAX, 0x8877_6655_a5a6_a7a8),       // movnti [rbx], eax
    (Bits64, &[0x48, 0x87, 0x03], OLD, RAX),                         // xchg [rbx], rax
    (Bits64, &[0x86, 0x23], 0xa1a2_a3a4_a5a6_11a8, 0x8877_6655_4433_22a7), // xchg [rbx], ah
    (Bits64, &[0xf0, 0x0f, 0xc1, 0x03], 0x4433_2211, 0x8877_6655_e9d9_c9b9), // lock xadd [rbx], eax
    (Bits64, &[0x0f, 0xb1, 0x0b], 0x4433_2211, OLD),                 // cmpxchg [rbx], ecx (not equal)
    (Bits64, &[0x0f, 0xb0, 0x4b, 0x08], 0xa1a2_a3a4_a5a6_a700, OLD), // cmpxchg [rbx+8], cl
    (Bits64, &[0xf7, 0x13], RAX, 0x8877_6655_bbcc_ddee),             // not dword [rbx]
    (Bits64, &[0x0f, 0xba, 0x2b, 0x21], RAX, 0x8877_6655_4433_2213), // bts dword [rbx], 33
    (Bits64, &[0x0f, 0xb3, 0x0b], RAX, 0x8877_6655_4433_2211),       // btr [rbx], ecx
    (Bits64, &[0x48, 0x0f, 0xbb, 0x53, 0x08], RAX, 0x0877_6655_4433_2211), // btc [rbx+8], rdx (-1)
    (Bits64, &[0x0f, 0xae, 0x3b], RAX, OLD),                         // clflush [rbx]
    (Bits64, &[0x48, 0x03, 0x03], 0x2a1a_09f9_e9d9_c9b9, OLD),       // add rax, [rbx]
    (Bits32, &[0xa1, 0, 0, 0x10, 0], 0x4433_2211, OLD),              // mov eax, [moffs32]
    (Bits32, &[0x66, 0xa3, 0, 0, 0x10, 0], RAX, 0x8877_6655_4433_a7a8), // mov [moffs32], ax
    (Bits32, &[0x8b, 0x04, 0x0d, 0xff, 0xff, 0x0f, 0], 0x4433_2211, OLD), // mov eax, [ecx+fffffh]
    (Bits32, &[0x3e, 0x8a, 0x03], 0xa1a2_a3a4_a5a6_a711, OLD),       // mov al, ds:[ebx]
    (Bits16, &[0x8b, 0x07], 0xa1a2_a3a4_a5a6_2211, OLD),             // mov ax, [bx]
    (Bits16, &[0x66, 0x8b, 0x07], 0x4433_2211, OLD),                 // mov eax, [bx]
    (Bits16, &[0x67, 0x88, 0x03], RAX, 0x8877_6655_4433_22a8),       // mov [ebx], al
    (Bits16, &[0xa0, 0x01, 0x00], 0xa1a2_a3a4_a5a6_a722, OLD),       // mov al, [1]
    (Bits16, &[0x8a, 0x87, 0xff, 0xff], 0xa1a2_a3a4_a5a6_a700, OLD), // mov al, [bx-1]: wraps to ffffh
    (Bits16, &[0x26, 0xc7, 0x07, 1, 2], RAX, 0x8877_6655_4433_0201), // mov word es:[bx], 201h
];

#[test]
fn forms() {
    for &(mode, code, rax, device) in FORMS {
        let mut bench = Bench::of(mode);
        bench.registers[..8].copy_from_slice(&OLD.to_le_bytes());
        bench.gprs.0[gpr::RAX] = RAX;
        bench.gprs.0[gpr::RCX] = 1;
        bench.gprs.0[gpr::RDX] = u64::MAX;
        let fs = bench.cpu.segment(SegmentName::Fs);
        bench.cpu.set_segment(SegmentName::Fs, crate::cpu::Segment { base: DEVICE, ..fs });
        let start = bench.rip();
        assert_eq!(bench.run(code), Step::Done, "{code:x?}");
        assert_eq!((bench.gprs.0[gpr::RAX], bench.device(0)), (rax, device), "{mode:?} {code:x?}");
        assert_eq!(bench.rip(), start + code.len() as u64, "{code:x?}");
    }
}

#[test]
fn the_stack_takes_and_gives() {
    for (mode, size) in [(Bits64, 8), (Bits32, 4), (Bits16, 2)] {
        let mut bench = Bench::of(mode);
        bench.registers[..8].copy_from_slice(&OLD.to_le_bytes());
        bench.gprs.0[gpr::RSP] = 0x8000;
        let modrm = if mode == Bits16 { 0x37 } else { 0x33 };
        assert_eq!(bench.run(&[0xff, modrm]), Step::Done); // push [rbx]
        assert_eq!(bench.gprs.0[gpr::RSP], 0x8000 - size as u64);
        assert_eq!(bench.memory.number(0x8000 - size as u64, size), OLD & (u64::MAX >> (64 - 8 * size)));
        bench.gprs.0[gpr::RBX] += 0x10;
        assert_eq!(bench.run(&[0x8f, modrm & 7]), Step::Done); // pop [rbx]
        assert_eq!(bench.gprs.0[gpr::RSP], 0x8000);
        assert_eq!(bench.device(0x10), OLD & (u64::MAX >> (64 - 8 * size)));
    }
    // pop [rsp+disp8]: the address is that after the pop.
    let mut bench = Bench::of(Bits64);
    bench.gprs.0[gpr::RSP] = DEVICE - 8;
    bench.memory.put(DEVICE - 8, &OLD.to_le_bytes());
    assert_eq!(bench.run(&[0x8f, 0x44, 0x24, 0x08]), Step::Done);
    assert_eq!((bench.device(8), bench.gprs.0[gpr::RSP]), (OLD, DEVICE));
}

/// Result and flags as the manual defines them, on numbers wider than any operand.
fn defined(operation: usize, a: u64, b: u64, carry: bool, size: u32) -> (u64, u64) {
    let bits = 8 * size;
    let mask = u64::MAX >> (64 - bits);
    let signed = |value: u64| i128::from((value << (64 - bits)).cast_signed() >> (64 - bits));
    let c = i128::from(carry && matches!(operation, 2 | 3));
    let low = |value: u64| i128::from(value & 15);
    let (wide, wide_signed, nibble) = match operation {
        0 | 2 => (i128::from(a) + i128::from(b) + c, signed(a) + signed(b) + c, low(a) + low(b) + c),
        3 | 5 | 7 => (i128::from(a) - i128::from(b) - c, signed(a) - signed(b) - c, low(a) - low(b) - c),
        1 => (i128::from(a | b), signed(a | b), 0),
        4 => (i128::from(a & b), signed(a & b), 0),
        _ => (i128::from(a ^ b), signed(a ^ b), 0),
    };
    let result = wide.cast_unsigned() as u64 & mask;
    let conditions = [
        (CF, !(0..=i128::from(mask)).contains(&wide)),
        (PF, (result as u8).count_ones().is_multiple_of(2)),
        (AF, !(0..16).contains(&nibble)),
        (ZF, result == 0),
        (SF, signed(result) < 0),
        (OF, signed(result) != wide_signed),
    ];
    let flags = conditions.iter().filter(|(_, on)| *on).map(|(flag, _)| flag).sum();
    (result, flags)
}

/// Sizes with the prefix that selects them, and what the opcode adds to the byte form's.
const WIDTHS: [(u32, &[u8], u8); 4] = [(1, &[], 0), (2, &[0x66], 1), (4, &[], 1), (8, &[0x48], 1)];
const VALUES: [u64; 10] =
    [0, 1, 0x0f, 0x10, 0x7f, 0x80, 0x7fff, 0x8000_0000, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// Runs `code` on the device's first register as `a` and RAX as `b`: what is there, and the flags.
fn arithmetic(code: &[u8], a: u64, b: u64, carry: bool) -> (u64, u64) {
    let mut bench = Bench::of(Bits64);
    bench.registers[..8].copy_from_slice(&a.to_le_bytes());
    bench.gprs.0[gpr::RAX] = b;
    bench.cpu.set(Register::Rflags, if carry { CF } else { STATUS & !CF });
    assert_eq!(bench.run(code), Step::Done);
    (bench.device(0), bench.cpu.get(Register::Rflags) & STATUS)
}

#[test]
fn arithmetic_is_as_defined() {
    for (operation, (size, prefix, wide)) in (0..8).flat_map(|op| WIDTHS.map(|width| (op, width))) {
        let mask = u64::MAX >> (64 - 8 * size);
        for (a, b) in VALUES.iter().flat_map(|a| VALUES.map(|b| (a & mask, b & mask))) {
            for carry in [false, true] {
                // add, or, adc, sbb, and, sub, xor, cmp [rbx], rax
                let code = [prefix, &[(operation as u8) << 3 | wide, 0x03]].concat();
                let (result, flags) = defined(operation, a, b, carry, size);
                let expected = (if operation == 7 { a } else { result }, flags);
                assert_eq!(arithmetic(&code, a, b, carry), expected, "{code:x?} {a:x} {b:x} {carry}");
            }
            let (_, flags) = defined(4, a, b, false, size);
            let test = [prefix, &[0x84 | wide, 0x03]].concat(); // test [rbx], rax
            assert_eq!(arithmetic(&test, a, b, true), (a, flags));
        }
        for a in VALUES.map(|a| a & mask) {
            for (modrm, first, second, operation) in [(0x03, a, 1, 0), (0x0b, a, 1, 5)] {
                // inc, dec [rbx]: the carry stays
                let (result, flags) = defined(operation, first, second, false, size);
                let code = [prefix, &[0xfe | wide, modrm]].concat();
                assert_eq!(arithmetic(&code, a, 0, true), (result, flags & !CF | CF));
            }
            let code = [prefix, &[0xf6 | wide, 0x1b]].concat(); // neg [rbx]
            assert_eq!(arithmetic(&code, a, 0, false), defined(5, 0, a, false, size));
            // cmpxchg [rbx], rax: equal, RAX is stored
            let code = [prefix, &[0x0f, 0xb0 | wide, 0x03]].concat();
            assert_eq!(arithmetic(&code, a, a, true), (a, defined(5, a, a, false, size).1));
        }
    }
}

#[test]
fn bits_are_tested_and_the_rest_of_the_flags_stay() {
    for (bit, carry) in [(0_u8, true), (1, false), (31, true)] {
        // bt dword [rbx], bit
        let (device, flags) = arithmetic(&[0x0f, 0xba, 0x23, bit], 0x8000_0001, 0, !carry);
        let rest = if carry { STATUS & !CF } else { 0 };
        assert_eq!((device, flags), (0x8000_0001, rest | if carry { CF } else { 0 }));
    }
}
