//! A board with tables made by hand, whole and broken.

extern crate std;
use super::*;
use std::vec::Vec as StdVec;

/// Memory from address 0x1000.
struct Board(StdVec<u8>);

const BASE: u64 = 0x1000;

impl PhysicalMemory for Board {
    fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let bytes = address
            .checked_sub(BASE)
            .and_then(|at| self.0.get(usize::try_from(at).ok()?..)?.get(..buffer.len()));
        if let Some(bytes) = bytes {
            buffer.copy_from_slice(bytes);
        }
        bytes.is_some()
    }
}

fn seal(mut table: StdVec<u8>, checksum_at: usize) -> StdVec<u8> {
    table[checksum_at] = 0;
    table[checksum_at] = 0_u8.wrapping_sub(sum(&table));
    table
}

fn table(name: [u8; 4], body: &[u8]) -> StdVec<u8> {
    let mut table = std::vec![0; 36];
    table[..4].copy_from_slice(&name);
    table[4..8].copy_from_slice(&(36 + body.len() as u32).to_le_bytes());
    table.extend_from_slice(body);
    seal(table, 9)
}

fn madt(entries: &[&[u8]]) -> StdVec<u8> {
    let mut body = 0xfee0_0000_u32.to_le_bytes().to_vec();
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(&entries.concat());
    table(*b"APIC", &body)
}

fn fadt() -> StdVec<u8> {
    fadt_with(&[])
}

/// A FADT with 32-bit fields set besides.
fn fadt_with(fields: &[(usize, u32)]) -> StdVec<u8> {
    let mut body = std::vec![0; 268 - 36];
    body[76 - 36..80 - 36].copy_from_slice(&0x608_u32.to_le_bytes());
    body[112 - 36..116 - 36].copy_from_slice(&(1_u32 << 10 | 1 << 8).to_le_bytes());
    body[116 - 36] = 1;
    body[120 - 36..128 - 36].copy_from_slice(&0xcf9_u64.to_le_bytes());
    body[128 - 36] = 0x0f;
    for (at, value) in fields {
        body[at - 36..at - 32].copy_from_slice(&value.to_le_bytes());
    }
    table(*b"FACP", &body)
}

/// Root pointer, XSDT or RSDT, then the tables.
fn board(revision: u8, tables: &[StdVec<u8>]) -> Board {
    let width = if revision >= 2 { 8 } else { 4 };
    let root_at = BASE + 64;
    let mut at = root_at + 36 + tables.len() as u64 * width;
    let mut entries = StdVec::new();
    for table in tables {
        entries.extend_from_slice(&at.to_le_bytes()[..width as usize]);
        at += table.len() as u64;
    }
    let mut pointer = std::vec![0; 36];
    pointer[..8].copy_from_slice(b"RSD PTR ");
    pointer[15] = revision;
    if revision >= 2 {
        pointer[24..32].copy_from_slice(&root_at.to_le_bytes());
    } else {
        pointer[16..20].copy_from_slice(&(root_at as u32).to_le_bytes());
    }
    let mut pointer: StdVec<u8> = [seal(pointer[..20].to_vec(), 8), pointer[20..].to_vec()].concat();
    if revision >= 2 {
        pointer = seal(pointer, 32);
    }
    pointer.resize(64, 0);
    let root = table(if revision >= 2 { *b"XSDT" } else { *b"RSDT" }, &entries);
    Board([pointer, root, tables.concat()].concat())
}

const CPU_0: &[u8] = &[0, 8, 0, 0, 1, 0, 0, 0];
const CPU_1: &[u8] = &[0, 8, 1, 2, 1, 0, 0, 0];
const CPU_ABSENT: &[u8] = &[0, 8, 2, 4, 2, 0, 0, 0];
const CPU_X2: &[u8] = &[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0];

#[test]
fn both_generations_of_root_table_are_read() {
    for revision in [0, 2] {
        let board = board(revision, &[fadt(), madt(&[CPU_0, CPU_ABSENT, CPU_1, CPU_X2])]);
        let platform = read(&board, BASE).expect("sound tables");
        assert_eq!(platform.cpus, [0, 2, 0x100]);
        assert_eq!(platform.local_apic, 0xfee0_0000);
        assert_eq!(platform.pm_timer, Some((0x608, 32)));
        let register = Register { is_port: true, address: 0xcf9 };
        assert_eq!(platform.reset, Some(Reset { register, value: 0x0f }));
    }
}

#[test]
fn what_is_broken_is_named() {
    let sound = board(2, &[madt(&[CPU_0])]);
    assert_eq!(read(&sound, 0), Err(Fault::NoRoot));
    assert_eq!(read(&sound, BASE + 8), Err(Fault::Unreadable(Name(*b"RSD "))));
    assert_eq!(read(&board(2, &[fadt()]), BASE), Err(Fault::Missing(Name(*b"APIC"))));
    for (at, name) in [(10, b"RSD "), (64 + 20, b"XSDT"), (64 + 44 + 20, b"APIC")] {
        let mut bent = board(2, &[madt(&[CPU_0])]);
        bent.0[at] ^= 1;
        assert_eq!(read(&bent, BASE), Err(Fault::Checksum(Name(*name))));
    }
}

#[test]
fn an_entry_without_length_or_past_the_end_does_not_loop() {
    for entry in [&[0, 0, 0, 0][..], &[0, 200, 0, 0, 1, 0, 0, 0]] {
        assert_eq!(read(&board(2, &[madt(&[entry])]), BASE), Err(Fault::Unreadable(Name(*b"APIC"))));
    }
}

#[test]
fn any_bent_byte_is_survived() {
    let sound = board(2, &[fadt(), madt(&[CPU_0, CPU_X2])]);
    for at in 0..sound.0.len() {
        for bits in [0x01, 0x80, 0xff] {
            let mut bent = Board(sound.0.clone());
            bent.0[at] ^= bits;
            let _ = read(&bent, BASE);
        }
    }
}

/// As QEMU's pc and q35 have it.
const S5: &[u8] = b"\x08_S5_\x12\x06\x04\x00\x00\x00\x00";

/// How a machine is switched off whose DSDT has `aml` after `before` other bytes.
fn power_off(before: usize, aml: &[u8], fields: &[(usize, u32)]) -> Option<PowerOff> {
    let dsdt = table(*b"DSDT", &[&std::vec![0x5f; before], aml].concat());
    // Root pointer and XSDT have 64 + 36 + 2 * 8 bytes, the MADT 52.
    let at = BASE + 64 + 52 + 52 + 268;
    let mut fields = fields.to_vec();
    fields.push((40, at as u32));
    let mut board = board(2, &[madt(&[CPU_0]), fadt_with(&fields)]);
    assert_eq!(board.0.len() as u64, at - BASE);
    board.0.extend_from_slice(&dsdt);
    read(&board, BASE).expect("sound tables").power_off
}

#[test]
fn the_way_to_switch_off_is_found_in_each_of_its_forms() {
    let pm1 = &[(64, 0x604)];
    let want = Some(PowerOff::Pm1([Some((0x604, 0)), None]));
    for before in 0..100 {
        assert_eq!(power_off(before, S5, pm1), want, "{before}");
    }
    // With a root prefix; words; a length of two bytes.
    let aml: [&[u8]; 3] = [
        b"\x08\\_S5_\x12\x06\x04\x00\x00\x00\x00",
        b"\x08_S5_\x12\x0a\x02\x0b\x00\x00\x0c\x00\x00\x00\x00",
        b"\x08_S5_\x12\x46\x00\x02\x0a\x00\x00",
    ];
    for aml in aml {
        assert_eq!(power_off(3, aml, pm1), want, "{aml:x?}");
    }
    let both = power_off(0, b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00", &[(64, 0x404), (68, 0x804)]);
    assert_eq!(both, Some(PowerOff::Pm1([Some((0x404, 5)), Some((0x804, 6))])));
    let extended = power_off(0, S5, &[(172, 1), (176, 0x1804)]);
    assert_eq!(extended, Some(PowerOff::Pm1([Some((0x1804, 0)), None])));
    let reduced =
        power_off(0, b"\x08_S5_\x12\x04\x02\x0a\x05\x00", &[(112, 1 << 20), (244, 1), (248, 0x3c0)]);
    assert_eq!(reduced, Some(PowerOff::Sleep(0x3c0, 5)));
}

#[test]
fn what_is_not_plainly_there_is_no_way_to_switch_off() {
    let pm1: &[(usize, u32)] = &[(64, 0x604)];
    let aml: [&[u8]; 9] = [
        b"",
        b"_S5_",
        b"\x08_S4_\x12\x06\x04\x00\x00\x00\x00",
        b"\x08_S5_\x12",
        b"\x08_S5_\x12\x03\x01\x00\x00",
        b"\x08_S5_\x12\xc3\x00",
        b"\x08_S5_\x12\x06\x04\x0a\x08\x00\x00",
        b"\x08_S5_\x12\x06\x04\x0b\x00\x01\x00",
        b"\x14_S5_\x12\x06\x04\x00\x00\x00\x00",
    ];
    for aml in aml {
        assert_eq!(power_off(7, aml, pm1), None, "{aml:x?}");
    }
    let fields: [&[(usize, u32)]; 5] = [
        &[],
        &[(64, 0x1_0604)],
        &[(172, 0), (176, 0x1804)],
        &[(64, 0x604), (112, 1 << 20), (244, 0), (248, 0xfeb0_0200)],
        &[(64, 0x604), (140, 0x7fff_ffff)],
    ];
    for fields in fields {
        assert_eq!(power_off(0, S5, fields), None, "{fields:x?}");
    }
}

#[test]
fn the_registers_keep_what_is_not_about_sleep() {
    assert_eq!(PowerOff::pm1(0x0001, 5, false), 0x1401);
    assert_eq!(PowerOff::pm1(0xffff, 5, true), 0xf7ff);
    assert_eq!(PowerOff::sleep(5), 0x34);
}
