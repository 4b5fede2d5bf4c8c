//! Flash images from made-up doors.

use super::*;
use crate::payload::synthetic::{Part, elf};
use elf::abi::{PF_R, PF_W, PF_X};
use zerocopy::FromBytes;

const RAM: u64 = 0x10_0000;

/// A page at the top of 4 GiB with a jump at the reset vector, linked where it appears.
fn reset() -> Part {
    let mut page = vec![0; 4096];
    page[0] = 0xfa;
    page[0xff0] = 0xe9;
    Part::new(0xffff_f000, PF_R | PF_X, &page)
}

fn parts() -> Vec<Part> {
    vec![
        reset(),
        Part::new(RAM, PF_R | PF_X, &[0xc3; 4097]),
        Part::new(RAM + 0x2000, PF_R | PF_W, b"datas").in_memory(0x1003),
    ]
}

fn rom(parts: &[Part], payload: &[u8]) -> Result<Vec<u8>> {
    assemble(&elf(RAM + 4, parts), payload)
}

fn refusal(parts: &[Part]) -> String {
    format!("{:#}", rom(parts, &[]).expect_err("a broken rule"))
}

/// The bytes at a physical address, as the CPU sees them.
fn at(rom: &[u8], address: u32, len: u32) -> &[u8] {
    let start = rom.len() - (TOP - u64::from(address)) as usize;
    &rom[start..start + len as usize]
}

#[test]
fn the_directory_leads_to_every_part() {
    let payload = [0x5a; 1000];
    let rom = rom(&parts(), &payload).expect("lawful");
    assert_eq!(rom.len(), 256 << 10);
    let (directory, _) = Directory::read_from_prefix(at(&rom, DIRECTORY_ADDRESS, 48)).expect("whole");
    assert_eq!(directory.magic, MAGIC);
    assert_eq!((directory.rom_base, directory.rom_len), (0xfffc_0000, 256 << 10));
    assert_eq!(at(&rom, directory.payload_base, directory.payload_len), payload);
    let door = at(&rom, directory.door_base, directory.door_len);
    assert_eq!((door[0], door[4096], door[4097], &door[0x2000..]), (0xc3, 0xc3, 0, &b"datas\0\0\0"[..]));
    assert_eq!((directory.door_ram, directory.door_entry), (0x10_0000, 0x10_0004));
    assert_eq!(directory.door_clear, 0x1003 - 8 + 1, "to the end of memory, in words");
    assert_eq!(at(&rom, 0xffff_f000, 1), [0xfa]);
    assert_eq!(at(&rom, 0xffff_fff0, 1), [0xe9]);
}

#[test]
fn the_chip_is_the_smallest_that_holds_it() {
    let len = |payload: usize| rom(&parts(), &vec![1; payload]).expect("fits").len();
    assert_eq!(len(300 << 10), 512 << 10);
    assert_eq!(len(2000 << 10), 2 << 20);
    let error = rom(&parts(), &vec![1; 2048 << 10]).expect_err("too large").to_string();
    assert!(error.contains("payload 2097152 + rom door 8200 + reset part 4096"), "{error}");
}

#[test]
fn each_broken_rule_is_named() {
    let [top, code, data] = <[Part; 3]>::try_from(parts()).unwrap_or_else(|_| unreachable!("three"));
    assert!(refusal(&[code.clone(), data.clone()]).contains("reset part: there is none"));
    assert!(refusal(std::slice::from_ref(&top)).contains("part in RAM: there is none"));
    let mut taken = top.clone();
    taken.data[0xf90] = 1;
    assert!(refusal(&[taken, code.clone()]).contains("0xffffff90"));
    let mut empty = top.clone();
    empty.data[0xff0] = 0;
    assert!(refusal(&[empty, code.clone()]).contains("reset vector"));
    let far = Part::new(0x4000_0000, PF_R, &[1; 16]);
    assert!(refusal(&[top.clone(), code, far]).contains("spans more"));
    assert!(refusal(&[top, data]).contains("entry point"));
}
