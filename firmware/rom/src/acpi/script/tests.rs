//! Scripts as QEMU writes them, and as it should not.

extern crate std;

use super::*;
use std::string::{String, ToString};
use std::vec::Vec;

struct Device {
    files: Vec<(String, Vec<u8>)>,
}

impl Device {
    fn new(files: &[(&str, &[u8])]) -> Self {
        Self { files: files.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect() }
    }
    fn find(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        self.files.iter_mut().find(|(file, _)| file == name).map(|(_, bytes)| bytes)
    }
}

impl Files for Device {
    fn len(&mut self, name: &str) -> Option<u32> {
        self.find(name).map(|bytes| bytes.len() as u32)
    }
    fn read(&mut self, name: &str, buffer: &mut [u8]) {
        buffer.copy_from_slice(self.find(name).expect("asked for its length before"));
    }
    fn write(&mut self, name: &str, offset: u32, bytes: &[u8]) -> bool {
        let offset = offset as usize;
        let target = self.find(name).and_then(|file| file.get_mut(offset..offset + bytes.len()));
        target.map(|target| target.copy_from_slice(bytes)).is_some()
    }
}

fn command(number: u32, names: &[&str], rest: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    for name in names {
        bytes.extend(name.as_bytes());
        bytes.resize(bytes.len() + NAME - name.len(), 0);
    }
    bytes.extend(rest);
    bytes.resize(COMMAND, 0);
    bytes
}

fn numbers(numbers: &[u32], size: &[u8]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).chain(size.iter().copied()).collect()
}

fn allocate(file: &str, align: u32) -> Vec<u8> {
    command(1, &[file], &numbers(&[align], &[1]))
}

fn add_pointer(target: &str, source: &str, offset: u32, size: u8) -> Vec<u8> {
    command(2, &[target, source], &numbers(&[offset], &[size]))
}

fn add_checksum(file: &str, offset: u32, start: u32, len: u32) -> Vec<u8> {
    command(3, &[file], &numbers(&[offset, start, len], &[]))
}

const TABLES: &str = "etc/acpi/tables";
const BASE: u64 = 0x1fff_0004;

/// Two tables of 16 bytes, the second points into the first by an offset of 4; a root pointer to
/// the second.
fn device() -> Device {
    let mut tables = [0x11; 32];
    tables[16..24].copy_from_slice(&4_u64.to_le_bytes());
    tables[31] = 0;
    let mut root = [0; 20];
    root[..4].copy_from_slice(&16_u32.to_le_bytes());
    Device::new(&[(TABLES, &tables), (ROOT, &root), ("etc/note", &[0; 8])])
}

fn sound() -> Vec<Vec<u8>> {
    std::vec![
        allocate(ROOT, 16),
        allocate(TABLES, 64),
        add_pointer(TABLES, TABLES, 16, 8),
        add_checksum(TABLES, 31, 16, 16),
        add_pointer(ROOT, TABLES, 0, 4),
        command(0, &[], &[]),
        command(77, &["a command of the future"], &[]),
    ]
}

fn ran(script: &[Vec<u8>], device: &mut Device) -> Result<(Placed, Vec<u8>)> {
    let script = script.concat();
    let len = memory_needed(&script, device)?;
    let mut block = std::vec![0xee; len as usize];
    let placed = run(&script, device, &mut block, BASE)?;
    Ok((placed, block))
}

#[test]
fn files_are_placed_linked_and_summed() {
    let (placed, block) = ran(&sound(), &mut device()).expect("a sound script");
    assert_eq!(placed, Placed { root: 0x1fff_0010, device_writes: false });
    let tables = 0x1fff_0040_u64;
    let at = (tables - BASE) as usize;
    assert_eq!(block[at..at + 16], [0x11; 16]);
    assert_eq!(block[at + 16..at + 24], (tables + 4).to_le_bytes());
    assert_eq!(checksum(&block[at + 16..at + 32]), 0);
    assert_eq!(block[0x10 - 4..0x14 - 4], (tables as u32 + 16).to_le_bytes());
}

#[test]
fn the_device_is_told_where_it_may_write() {
    let mut device = device();
    let mut script = sound();
    script.push(command(4, &["etc/note", TABLES], &numbers(&[0, 12], &[8])));
    let (placed, _) = ran(&script, &mut device).expect("a sound script");
    assert!(placed.device_writes);
    assert_eq!(device.find("etc/note").unwrap()[..], (0x1fff_0040_u64 + 12).to_le_bytes());
}

#[test]
fn a_command_that_reaches_outside_is_refused() {
    let bad = [
        add_pointer(TABLES, TABLES, 30, 4),
        add_pointer(TABLES, TABLES, u32::MAX, 4),
        add_pointer(TABLES, TABLES, 0, 3),
        add_pointer(TABLES, TABLES, 0, 9),
        add_pointer(TABLES, TABLES, 0, 1),
        add_pointer(TABLES, "etc/none", 0, 4),
        add_checksum(TABLES, 32, 0, 16),
        add_checksum(TABLES, 0, 16, 17),
        add_checksum(TABLES, 0, 1, u32::MAX),
        allocate("etc/none", 1),
        allocate(TABLES, 1),
        allocate("etc/note", 3),
        allocate("etc/note", 1 << 31),
        command(4, &["etc/note", TABLES], &numbers(&[1, 0], &[8])),
        command(4, &["etc/note", TABLES], &numbers(&[0, 32], &[8])),
    ];
    for (number, command) in bad.into_iter().enumerate() {
        let mut script = sound();
        script.push(command);
        assert_eq!(ran(&script, &mut device()).err(), Some(BROKEN), "number {number}");
    }
    let unterminated = command(1, &[&"x".repeat(NAME)], &numbers(&[1], &[1]));
    assert_eq!(ran(&[unterminated], &mut device()).err(), Some(BROKEN));
}

#[test]
fn a_script_without_root_pointer_or_with_too_little_memory_is_refused() {
    assert_eq!(ran(&sound()[1..4], &mut device()).err(), Some(BROKEN));
    let script = sound().concat();
    let result = run(&script, &mut device(), &mut [0; 70], BASE);
    assert_eq!(result.err(), Some(BROKEN));
}
