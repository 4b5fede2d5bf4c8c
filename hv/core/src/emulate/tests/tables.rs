//! Page tables, lengths, control moves; and rubbish.

use super::*;
use crate::exit::{Access, ControlRegister};
use Intent::{Fetch, Read, Write};
use error_code as e;
use hv_defs::control::{cr0, cr4};
use hv_defs::msr::efer;

const TABLES: u64 = 0x1_0000;
const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const A: u64 = 0x20;
const D: u64 = 0x40;
const LARGE: u64 = 0x80;
const NX: u64 = 1 << 63;
const LONG: u64 = efer::LONG_MODE_ACTIVE;

/// CR4, EFER, index bits, entries from the root down, the page.
type Format<'a, T> = (u64, u64, u32, &'a [u64], T);

/// A chain of tables, one entry each: `entries` from the root down, without addresses but for the
/// last. Returns where the entries are.
fn chain(memory: &FakeMemory, linear: u64, bits: u32, entries: &[u64]) -> Vec<u64> {
    let size = if bits == 10 { 4 } else { 8 };
    let walk = entries.iter().enumerate().map(|(at, entry)| {
        let shift = 12 + bits * (entries.len() - 1 - at) as u32;
        let table = TABLES + 0x1000 * at as u64;
        let address = table + (linear >> shift & ((1 << bits) - 1)) * size;
        let next = if at + 1 == entries.len() || entry & P == 0 { 0 } else { table + 0x1000 };
        memory.put(address, &(entry | next).to_le_bytes()[..size as usize]);
        address
    });
    walk.collect()
}

fn paging(cr4: u64, efer: u64, user: bool) -> Paging {
    Paging { cr0: cr0::PE | cr0::PG | cr0::WP, cr3: TABLES, cr4, efer, rflags: 2, user }
}

#[test]
fn every_format_translates_and_marks() {
    let page = 0x0abc_d000;
    let formats: [Format<u64>; 5] = [
        (cr4::PAE | cr4::LA57, LONG, 9, &[P | W, P | W, P | W, P | W, P | W | page], page),
        (cr4::PAE, LONG, 9, &[P | W, P | W, P | W, P | W | page], page),
        (cr4::PAE, 0, 9, &[P, P | W, P | W | page], page),
        (0, 0, 10, &[P | W, P | W | page], page),
        (cr4::PSE, 0, 10, &[P | W, P | W | page], page),
    ];
    for (cr4, efer, bits, entries, page) in formats {
        let memory = FakeMemory::new(DEVICE as usize);
        let linear = if efer == LONG { 0x7fff_8765_4321 } else { 0x8765_4321 };
        let places = chain(&memory, linear, bits, entries);
        let paging = paging(cr4, efer, false);
        let size = if bits == 10 { 4 } else { 8 };
        let marks = || places.iter().map(|at| memory.number(*at, size) & (A | D)).collect::<Vec<_>>();
        assert_eq!(paging.translate(&memory, linear, Read), Ok(page | 0x321));
        let mut expected = std::vec![A; places.len()];
        if cr4 == cr4::PAE && efer == 0 {
            expected[0] = 0; // PAE's root has no accessed bit
        }
        assert_eq!(marks(), expected);
        assert_eq!(paging.translate(&memory, linear, Write), Ok(page | 0x321));
        *expected.last_mut().unwrap() |= D;
        assert_eq!(marks(), expected);
    }
    let memory = FakeMemory::new(DEVICE as usize);
    let flat = Paging { cr0: cr0::PE, ..Paging::default() };
    assert_eq!(flat.translate(&memory, 0x1_2345_6789, Write), Ok(0x2345_6789));
}

#[test]
fn large_pages_and_reserved_bits() {
    let linear = 0x8765_4321;
    let table: [Format<Option<u64>>; 9] = [
        (
            cr4::PAE,
            LONG,
            9,
            &[P, P | LARGE | 0x1_4000_0000, 0, 0],
            Some(0x1_4000_0000 | linear & 0x3fff_ffff),
        ),
        (cr4::PAE, LONG, 9, &[P, P, P | LARGE | 0x1_4020_0000, 0], Some(0x1_4020_0000 | linear & 0x1f_ffff)),
        (cr4::PAE, LONG, 9, &[P | LARGE, P, P, P], None),
        (cr4::PAE, LONG, 9, &[P, P, P | LARGE | 0x2000, 0], None),
        (cr4::PAE, 0, 9, &[P, P | LARGE | 0x20_1000, 0], Some(0x20_0000 | linear & 0x1f_ffff)),
        (
            cr4::PSE,
            0,
            10,
            &[P | LARGE | 0x12_0040_0000 >> 32 << 13 | 0x40_0000, 0],
            Some(0x12_0040_0000 | linear & 0x3f_ffff),
        ),
        // PAE's root: bit 5 is reserved, and QEMU sets it.
        (cr4::PAE, 0, 9, &[P | A, P | W, P | W | 0x0abc_d000], Some(0x0abc_d000 | linear & 0xfff)),
        (cr4::PAE, 0, 9, &[P | 1 << 6, P | W, P | W | 0x0abc_d000], None),
        (cr4::PSE, 0, 10, &[P | LARGE | 1 << 21, 0], None),
    ];
    for (cr4, efer, bits, entries, page) in table {
        let memory = FakeMemory::new(DEVICE as usize);
        let linear = if efer == LONG { linear | 0x7f00_0000_0000 } else { linear };
        let places = chain(&memory, linear, bits, entries);
        // `chain` has pointed the large entry at a next table: take that back.
        for (at, entry) in places.iter().zip(entries).filter(|(_, entry)| **entry & LARGE != 0) {
            memory.put(*at, &entry.to_le_bytes()[..if bits == 10 { 4 } else { 8 }]);
        }
        let found = paging(cr4, efer, false).translate(&memory, linear, Read);
        let error = e::PRESENT | e::RESERVED;
        assert_eq!(found, page.ok_or(PageFault { address: linear, error }), "{entries:x?}");
    }
}

#[test]
#[rustfmt::skip]
fn rights_and_error_codes() {
    const NXE: u64 = LONG | efer::NO_EXECUTE_ENABLE;
    // Bits of the directory's and the page's entry, CR4, EFER, level 3, intent, error code or none.
    let table = [
        (P | W | U, P | W | U, 0, NXE, true, Write, None),
        (P | W | U, 0, 0, NXE, false, Read, Some(0)),
        (P | W | U, 0, 0, NXE, true, Write, Some(e::USER | e::WRITE)),
        (P | W | U, 0, 0, NXE, true, Fetch, Some(e::USER | e::FETCH)),
        (P | W | U, 0, 0, LONG, true, Fetch, Some(e::USER)),
        (P | W | U, 0, cr4::SMEP, LONG, true, Fetch, Some(e::USER | e::FETCH)),
        (P | W | U, P | U, 0, NXE, true, Write, Some(e::PRESENT | e::USER | e::WRITE)),
        (P | U, P | W | U, 0, NXE, false, Write, Some(e::PRESENT | e::WRITE)),
        (P | W, P | W | U, 0, NXE, true, Read, Some(e::PRESENT | e::USER)),
        (P | W | U, P | W, 0, NXE, true, Read, Some(e::PRESENT | e::USER)),
        (P | W | U | NX, P | W | U, 0, NXE, true, Fetch, Some(e::PRESENT | e::USER | e::FETCH)),
        (P | W | U, P | W | U | NX, 0, NXE, false, Read, None),
        (P | W | U, P | W | U | NX, 0, LONG, false, Read, Some(e::PRESENT | e::RESERVED)),
        (P | W | U, P | W | U | 1 << 45, 0, NXE, false, Write, Some(e::PRESENT | e::RESERVED | e::WRITE)),
        (P | W | U, P | W | U, cr4::SMEP, NXE, false, Fetch, Some(e::PRESENT | e::FETCH)),
        (P | W | U, P | W | U, cr4::SMEP, NXE, true, Fetch, None),
        (P | W | U, P | W | U, cr4::SMAP, NXE, false, Read, Some(e::PRESENT)),
        (P | W | U, P | W | U, cr4::SMAP, NXE, true, Read, None),
        (P | W, P | W, cr4::SMAP | cr4::SMEP, NXE, false, Fetch, None),
    ];
    for (upper, page, cr4, efer, user, intent, error) in table {
        let memory = FakeMemory::new(DEVICE as usize);
        let places = chain(&memory, 0x5000, 9, &[P | W | U, P | W | U, upper, page]);
        let paging = paging(cr4 | cr4::PAE, efer, user);
        let found = paging.translate(&memory, 0x5000, intent);
        let expected = error.map_or(Ok(0), |error| Err(PageFault { address: 0x5000, error }));
        assert_eq!(found, expected, "{upper:x} {page:x} {cr4:x} {user} {intent:?}");
        assert_eq!(memory.number(places[3], 8) & D != 0, error.is_none() && intent == Write);
        // AC lifts SMAP; WP off lets the kernel write.
        if cr4 == cr4::SMAP {
            let open = Paging { rflags: rflags::AC, ..paging };
            assert_eq!(open.translate(&memory, 0x5000, intent), Ok(0));
        }
        if upper == P | U {
            let open = Paging { cr0: cr0::PE | cr0::PG, ..paging };
            assert_eq!(open.translate(&memory, 0x5000, intent), Ok(0));
        }
    }
    // Tables outside RAM read as all ones.
    let memory = FakeMemory::new(DEVICE as usize);
    let nowhere = Paging { cr3: 0x8000_0000, ..paging(cr4::PAE, LONG, false) };
    let error = e::PRESENT | e::RESERVED;
    assert_eq!(nowhere.translate(&memory, 0, Read), Err(PageFault { address: 0, error }));
}

/// RAM of a VM whose addresses have 36 bits.
struct Narrow(FakeMemory);

impl GuestMemory for Narrow {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.0.read(address, into)
    }
    fn write(&self, address: u64, from: &[u8]) -> bool {
        self.0.write(address, from)
    }
    fn compare_exchange_u32(&self, address: u64, old: u32, new: u32) -> bool {
        self.0.compare_exchange_u32(address, old, new)
    }
    fn compare_exchange_u64(&self, address: u64, old: u64, new: u64) -> bool {
        self.0.compare_exchange_u64(address, old, new)
    }
    fn address_bits(&self) -> u32 {
        36
    }
}

#[test]
fn a_large_page_of_32_bit_tables_lies_within_the_address_width() {
    let memory = Narrow(FakeMemory::new(DEVICE as usize));
    let paging = paging(cr4::PSE, 0, false);
    chain(&memory.0, 0, 10, &[P | LARGE | 1 << 16]);
    assert_eq!(paging.translate(&memory, 0, Read), Ok(8 << 32));
    chain(&memory.0, 0, 10, &[P | LARGE | 1 << 17]);
    let error = paging.translate(&memory, 0, Read).map_err(|fault| fault.error);
    assert_eq!(error, Err(e::PRESENT | e::RESERVED));
}

#[test]
#[rustfmt::skip]
fn lengths() {
    use Mode::{Bits16, Bits32, Bits64};
    let table: [(&[u8], Mode, Option<u8>); 26] = [
        (&[0x0f, 0xa2], Bits64, Some(2)),                         // cpuid
        (&[0x66, 0xf2, 0x48, 0x0f, 0xa2], Bits64, Some(5)),
        (&[0xf4], Bits16, Some(1)),                               // hlt
        (&[0xf3, 0x90], Bits64, Some(2)),                         // pause
        (&[0x0f, 0x30], Bits32, Some(2)),                         // wrmsr
        (&[0x0f, 0x32], Bits64, Some(2)),                         // rdmsr
        (&[0x3e, 0x0f, 0x32], Bits64, Some(3)),                   // ds rdmsr
        (&[0x0f, 0x01, 0xd9], Bits64, Some(3)),                   // vmmcall
        (&[0x0f, 0x01, 0xc1], Bits64, Some(3)),                   // vmcall
        (&[0x0f, 0x31], Bits64, Some(2)),                         // rdtsc
        (&[0x0f, 0x01, 0xf9], Bits64, Some(3)),                   // rdtscp
        (&[0x0f, 0x33], Bits64, Some(2)),                         // rdpmc
        (&[0x0f, 0x09], Bits64, Some(2)),                         // wbinvd
        (&[0xf3, 0x0f, 0x09], Bits64, Some(3)),                   // wbnoinvd
        (&[0x0f, 0x08], Bits64, Some(2)),                         // invd
        (&[0x0f, 0x01, 0xd1], Bits64, Some(3)),                   // xsetbv
        (&[0x44, 0x0f, 0x20, 0xc0], Bits64, Some(4)),             // mov rax, cr8
        (&[0x0f, 0x23, 0xf8], Bits32, Some(3)),                   // mov dr7, eax
        (&[0x0f, 0x01, 0x7b, 0x10], Bits64, Some(4)),             // invlpg [rbx+10h]
        (&[0x0f, 0x01, 0x74, 0x24, 0x10], Bits64, Some(5)),       // lmsw [rsp+10h]
        (&[0x0f, 0x01, 0x36, 0x00, 0x10], Bits16, Some(5)),       // lmsw [1000h]
        (&[0x0f, 0x01, 0x35, 0, 0, 0, 0], Bits32, Some(7)),       // lmsw [0]
        (&[0x66; 15], Bits64, None),
        (&[0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x0f, 0xa2], Bits64, None),
        (&[0x0f], Bits64, None),
        (&[], Bits64, None),
    ];
    for (bytes, mode, length) in table {
        assert_eq!(length_of(bytes, mode), length, "{bytes:x?}");
    }
}

#[test]
#[rustfmt::skip]
fn control_moves() {
    use Access as X;
    use ControlRegister::{Cr0, Cr3, Cr4, Cr8};
    use Target::{Control, Debug, OtherControl, StatusWord, TaskSwitched};
    let table: [(&[u8], Mode, Target, usize, X); 12] = [
        (&[0x0f, 0x20, 0xc1], Mode::Bits64, Control(Cr0), 1, X::Read),             // mov rcx, cr0
        (&[0x0f, 0x22, 0xdf], Mode::Bits64, Control(Cr3), 7, X::Write),            // mov cr3, rdi
        (&[0x41, 0x0f, 0x22, 0xe7], Mode::Bits64, Control(Cr4), 15, X::Write),     // mov cr4, r15
        (&[0x44, 0x0f, 0x20, 0xc0], Mode::Bits64, Control(Cr8), 0, X::Read),       // mov rax, cr8
        (&[0xf0, 0x0f, 0x22, 0xc0], Mode::Bits32, Control(Cr8), 0, X::Write),      // lock mov cr0, eax
        (&[0x66, 0x0f, 0x20, 0xd3], Mode::Bits16, OtherControl(2), 3, X::Read),    // mov ebx, cr2
        (&[0x0f, 0x22, 0x03], Mode::Bits64, Control(Cr0), 3, X::Write),            // mod bits are ignored
        (&[0x0f, 0x21, 0xf2], Mode::Bits64, Debug(6), 2, X::Read),                 // mov rdx, dr6
        (&[0x45, 0x0f, 0x23, 0xf9], Mode::Bits64, Debug(15), 9, X::Write),         // mov dr15, r9
        (&[0x0f, 0x06], Mode::Bits64, TaskSwitched, 0, X::Write),                  // clts
        (&[0x0f, 0x01, 0xf3], Mode::Bits32, StatusWord, 3, X::Write),              // lmsw bx
        (&[0x2e, 0x0f, 0x01, 0xf0], Mode::Bits16, StatusWord, 0, X::Write),        // cs lmsw ax
    ];
    for (bytes, mode, target, gpr, access) in table {
        let expected = ControlMove { target, gpr, access, length: bytes.len() as u8 };
        assert_eq!(decode_control_move(bytes, mode), Some(expected), "{bytes:x?}");
        assert_eq!(length_of(bytes, mode), Some(expected.length));
    }
    assert_eq!(decode_control_move(&[0x0f, 0xa2, 0], Mode::Bits64), None);
    assert_eq!(decode_control_move(&[0x0f, 0x20], Mode::Bits64), None);
}

#[test]
fn rubbish_always_ends() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut benches = [Mode::Bits16, Mode::Bits32, Mode::Bits64].map(Bench::of);
    let (mut done, mut delivered) = (0, 0);
    for round in 0..100_000 {
        let bench = &mut benches[round % 3];
        let mut code = [0; 16];
        code[..8].copy_from_slice(&random().to_le_bytes());
        code[8..].copy_from_slice(&random().to_le_bytes());
        if round % 2 == 0 {
            // Half of them begin with something that is known and touches memory.
            let known = [0x89, 0x8b, 0x00, 0x31, 0xf7, 0xff, 0xa4, 0xa5, 0xab, 0x87, 0x80, 0xc7, 0x8f, 0x66];
            code[0] = known[random() as usize % known.len()];
        }
        for gpr in &mut bench.gprs.0 {
            let near = [DEVICE, DEVICE - 4, 0x8000, u64::MAX, 0xffff_fffc][random() as usize % 5];
            *gpr = near.wrapping_add(random() % 16);
        }
        bench.cpu.set(Register::Rflags, random() & 0xffff);
        bench.cpu.set(Register::Rip, if round % 3 == 0 { 0 } else { CODE });
        bench.accesses.clear();
        let _ = (length_of(&code, Mode::Bits64), decode_control_move(&code, Mode::Bits32));
        match bench.go(Some(&code[..random() as usize % 17])) {
            Step::Done => done += 1,
            Step::Deliver(_) => delivered += 1,
            _ => {}
        }
    }
    assert!(done > 5_000 && delivered > 5_000, "{done} {delivered}: too little was tried");
}
