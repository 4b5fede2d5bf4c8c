//! PVH and Multiboot kernels, in files made here.

extern crate std;
use super::testkit::{File, Loaded, MIB, RSDP, empty, load_with, put};
use super::*;
use std::string::{String, ToString};
use std::vec::Vec;

/// A program header: type, file offset, virtual and physical address, bytes in the file and in memory.
type Segment = (u32, u64, u64, u64, u64, u64);

const LOAD: u32 = 1;
const NOTE: u32 = 4;
const ENTRY: u64 = 0x10_0040;

/// A kernel's usual two segments: text at 1 MiB, data with .bss behind it.
const TEXT: Segment = (LOAD, 0x1000, 0x10_0000, 0x10_0000, 0x200, 0x200);
const DATA: Segment = (LOAD, 0x1200, 0x10_1000, 0x10_1000, 0x10, 0x3_0000);

fn elf64(machine: u16, entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut file = empty(0x2000);
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 0x10, &2u16.to_le_bytes());
    put(&mut file, 0x12, &machine.to_le_bytes());
    put(&mut file, 0x14, &1u32.to_le_bytes());
    put(&mut file, 0x18, &entry.to_le_bytes());
    put(&mut file, 0x20, &64u64.to_le_bytes());
    put(&mut file, 0x34, &[64, 0, 56, 0]);
    put(&mut file, 0x38, &(segments.len() as u16).to_le_bytes());
    for (number, (kind, offset, virt, phys, len, room)) in segments.iter().enumerate() {
        let at = 64 + 56 * number;
        put(&mut file, at, &kind.to_le_bytes());
        for (field, value) in [offset, virt, phys, len, room].into_iter().enumerate() {
            put(&mut file, at + 8 + 8 * field, &value.to_le_bytes());
        }
    }
    fill(file)
}

fn elf32(entry: u32, segments: &[Segment]) -> Vec<u8> {
    let mut file = empty(0x2000);
    put(&mut file, 0, b"\x7fELF\x01\x01\x01");
    put(&mut file, 0x10, &[2, 0, 3, 0, 1]);
    put(&mut file, 0x18, &entry.to_le_bytes());
    put(&mut file, 0x1c, &52u32.to_le_bytes());
    put(&mut file, 0x28, &[52, 0, 32, 0]);
    put(&mut file, 0x2c, &(segments.len() as u16).to_le_bytes());
    for (number, (kind, offset, virt, phys, len, room)) in segments.iter().enumerate() {
        let at = 52 + 32 * number;
        put(&mut file, at, &kind.to_le_bytes());
        for (field, value) in [offset, virt, phys, len, room].into_iter().enumerate() {
            put(&mut file, at + 4 + 4 * field, &(*value as u32).to_le_bytes());
        }
    }
    fill(file)
}

/// Gives the parts that are loaded something in them.
fn fill(mut file: Vec<u8>) -> Vec<u8> {
    file[0x1000..].iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8 | 1);
    file
}

/// A PVH kernel with its note at 0x800.
pub(super) fn pvh(entry: &[u8]) -> Vec<u8> {
    let len = 16 + entry.len() as u64;
    let mut file = elf64(62, 0, &[TEXT, DATA, (NOTE, 0x800, 0, 0, len, len)]);
    put(&mut file, 0x800, &4u32.to_le_bytes());
    put(&mut file, 0x804, &(entry.len() as u32).to_le_bytes());
    put(&mut file, 0x808, &18u32.to_le_bytes());
    put(&mut file, 0x80c, b"Xen\0");
    put(&mut file, 0x810, entry);
    file
}

/// A Multiboot header at an offset, with flags and what follows the checksum.
fn with_header(mut file: Vec<u8>, offset: usize, flags: u32, addresses: &[u32]) -> Vec<u8> {
    let sum = 0u32.wrapping_sub(0x1bad_b002).wrapping_sub(flags);
    let words = [0x1bad_b002, flags, sum];
    for (number, word) in words.iter().chain(addresses).enumerate() {
        put(&mut file, offset + 4 * number, &word.to_le_bytes());
    }
    file
}

pub(super) fn multiboot() -> Vec<u8> {
    with_header(elf32(ENTRY as u32, &[TEXT, DATA]), 0x1000, 3, &[])
}

/// A kernel that is no ELF file: its header at 0x1200, with these addresses.
pub(super) fn flat(addresses: [u32; 5]) -> Vec<u8> {
    with_header(fill(empty(0x2000)), 0x1200, 1 << 16, &addresses)
}

fn refusal(format: Format, file: &[u8]) -> String {
    load_with(format, 16, file, None, "").start.expect_err("refused").to_string()
}

#[test]
fn a_pvh_kernel_is_entered_with_its_start_info() {
    let module = File((0..9000u32).map(|at| at as u8).collect());
    let file = pvh(&(ENTRY as u32).to_le_bytes());
    let Loaded { ram, start } = load_with(Format::Pvh, 16, &file, Some(&module), "a=b");
    let start = start.expect("it is a kernel");
    assert_eq!((start.mode, start.rip, start.cr3), (StartMode::FLAT_32, ENTRY, 0));
    let [_, info, _, _] = start.registers;
    assert_eq!((ram.u32(info), ram.u32(info + 4), ram.u32(info + 12)), (0x336e_c578, 1, 1));
    assert_eq!(ram.text(ram.u64(info + 24)), "a=b");
    assert_eq!(ram.u64(info + 32), RSDP);
    let list = ram.u64(info + 16);
    // The kernel's .bss ends at 0x131000.
    assert_eq!((ram.u64(list), ram.u64(list + 8)), (0x13_1000, 9000));
    assert_eq!(ram.bytes(0x13_1000, 9000), module.0);
    let (map, entries) = (ram.u64(info + 40), ram.u32(info + 48));
    assert_eq!(entries, 4);
    assert_eq!((ram.u64(map + 48), ram.u64(map + 56), ram.u32(map + 64)), (MIB, 15 * MIB, 1));
    assert_eq!(ram.bytes(0x10_0000, 0x200), file[0x1000..0x1200]);
    assert_eq!(ram.bytes(0x10_1000, 0x10), file[0x1200..0x1210]);
    assert!(ram.bytes(0x10_1010, 0x2_fff0).iter().all(|byte| *byte == 0), ".bss is cleared");
}

#[test]
fn a_pvh_note_may_have_eight_bytes() {
    let start = load_with(Format::Pvh, 16, &pvh(&ENTRY.to_le_bytes()), None, "").start;
    assert_eq!(start.map(|start| start.rip), Ok(ENTRY));
}

#[test]
fn what_is_no_pvh_kernel_is_refused_in_words() {
    let words = |file: &[u8], words: &str| {
        let refusal = refusal(Format::Pvh, file);
        assert!(refusal.contains(words), "{refusal}");
    };
    let kernel = pvh(&(ENTRY as u32).to_le_bytes());
    words(b"MZ", "no PVH kernel: it is too short");
    words(&empty(100), "it is not an ELF file");
    words(&elf64(62, ENTRY, &[TEXT]), "no note with a PVH entry point");
    words(&elf64(183, ENTRY, &[TEXT]), "another processor");
    words(&pvh(&[0; 4]), "its entry point is in none of its segments");
    words(&pvh(&[0xff; 8]), "its entry point is in none of its segments");
    words(&kernel[..0x1100], "the kernel is cut short: it should have 4608 bytes and has 4352");
    words(&kernel[..0x80], "cut short");
    let mut many = kernel.clone();
    put(&mut many, 0x38, &[65]);
    words(&many, "too many");
}

#[test]
fn a_multiboot_kernel_is_entered_with_its_information() {
    let module = File(b"NR_CPUS=2\nMEMSIZE=16\n".to_vec());
    let Loaded { ram, start } = load_with(Format::Multiboot, 16, &multiboot(), Some(&module), "a b=c");
    let start = start.expect("it is a kernel");
    assert_eq!((start.mode, start.rip), (StartMode::FLAT_32, ENTRY));
    let [magic, info, _, _] = start.registers;
    assert_eq!(magic, 0x2bad_b002);
    let word = |offset: u64| ram.u32(info + offset);
    let text = |at: u32| ram.text(at.into());
    assert_eq!((word(0), word(4), word(8)), (0x24d, 640, 15 * 1024));
    assert_eq!((text(word(16)), text(word(64))), ("kernel a b=c".to_string(), "Hearth".to_string()));
    let list = u64::from(word(24));
    assert_eq!((word(20), ram.u32(list), ram.u32(list + 4)), (1, 0x13_1000, 0x13_1000 + 21));
    assert_eq!((ram.bytes(0x13_1000, 21), text(ram.u32(list + 8))), (module.0, "initrd".to_string()));
    let (len, map) = (word(44), u64::from(word(48)));
    assert_eq!(
        (len, ram.u32(map), ram.u64(map + 4), ram.u64(map + 12), ram.u32(map + 20)),
        (96, 20, 0, 0xa_0000, 1)
    );
    assert_eq!((ram.u64(map + 52), ram.u64(map + 60), ram.u32(map + 68)), (MIB, 15 * MIB, 1));
    assert!(ram.bytes(0x10_1010, 0x2_fff0).iter().all(|byte| *byte == 0), ".bss is cleared");
}

#[test]
fn without_words_the_command_line_is_the_file_name() {
    let Loaded { ram, start } = load_with(Format::Multiboot, 16, &multiboot(), None, "");
    let info = start.expect("it is a kernel").registers[1];
    assert_eq!((ram.text(ram.u32(info + 16).into()), ram.u32(info + 20)), ("kernel".to_string(), 0));
}

#[test]
fn an_elf_entry_may_be_virtual() {
    let high = (LOAD, 0x1000, 0xffff_ffff_8010_0000, 0x10_0000, 0x200, 0x200);
    let file = with_header(elf64(62, 0xffff_ffff_8010_0040, &[high]), 0x1000, 0, &[]);
    let start = load_with(Format::Multiboot, 16, &file, None, "").start;
    assert_eq!(start.map(|start| start.rip), Ok(ENTRY));
}

#[test]
fn addresses_in_the_header_come_before_elf() {
    // The header is 0x100 into the part that is loaded at 2 MiB, which has 0x800 bytes and 0x1000 with .bss.
    let at = 2 * MIB as u32;
    let file = flat([at + 0x100, at, at + 0x800, at + 0x1000, at + 0x40]);
    let Loaded { ram, start } = load_with(Format::Multiboot, 16, &file, None, "");
    assert_eq!(start.map(|start| start.rip), Ok(u64::from(at) + 0x40));
    assert_eq!(ram.bytes(at.into(), 0x800), file[0x1100..0x1900]);
    assert_eq!(ram.bytes(u64::from(at) + 0x800, 0x800), empty(0x800));
    assert_eq!(ram.bytes(u64::from(at) + 0x1000, 1), [0xa5], "and no further");
    // To the end of the file, without .bss.
    let file = flat([at + 0x100, at, 0, 0, at]);
    let Loaded { ram, start } = load_with(Format::Multiboot, 16, &file, None, "");
    assert_eq!(start.map(|start| start.rip), Ok(at.into()));
    assert_eq!(ram.bytes(at.into(), 0xf00), file[0x1100..]);
}

#[test]
fn what_is_no_multiboot_kernel_is_refused_in_words() {
    let words = |file: &[u8], words: &str| {
        let refusal = refusal(Format::Multiboot, file);
        assert!(refusal.contains(words), "{refusal}");
    };
    let kernel = multiboot();
    words(&elf32(ENTRY as u32, &[TEXT]), "no Multiboot header in its first 8 KiB");
    words(&with_header(empty(0x2100), 0x2000, 0, &[]), "no Multiboot header");
    words(&with_header(kernel.clone(), 0x1000, 4, &[]), "wants a Multiboot feature beside");
    words(&with_header(empty(0x2000), 0, 3, &[]), "it is not an ELF file");
    words(&with_header(empty(0x2000), 0, 1 << 16, &[0, 1, 2, 3, 4]), "make no sense");
    words(&kernel[..0x1100], "cut short");
    let segment = |phys, len, room| {
        let text = (LOAD, 0x1000, phys, phys, len, room);
        with_header(elf32(phys as u32, &[text]), 0x1000, 0, &[])
    };
    words(&segment(0x10_0000, 0x100, 0x80), "larger in its file than in memory");
    words(
        &segment(8 * MIB, 0x100, 9 * MIB),
        "needs 9216 KiB from 0x800000 on, so RAM up to 17408 KiB, and has 16384 KiB: 1024 KiB too few",
    );
    words(&segment(0xa_0000, 0x100, 0x100), "a part at 0xa0000..0xa0100, where it has no RAM to use");
    words(&segment(0xfee0_0000, 0x100, 0x100), "where it has no RAM to use");
    words(&segment(0x8_0000, 0x100, 0x100), "where its boot information is; link it from 1 MiB on");
    words(&with_header(elf32(4, &[TEXT]), 0x1000, 0, &[]), "its entry point is in none of its parts");
}
