//! A board of functions with registers that behave as the specification says: bits that can be
//! written, bits that clear when written, base addresses that tell their size.

extern crate std;
use super::*;
use crate::msi;
use hv_abi::memory::PhysRange;
use hv_defs::pci::CONFIG_SIZE;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

/// A function's configuration space, byte by byte.
#[derive(Clone)]
struct Function {
    bytes: [u8; CONFIG_SIZE],
    writable: [u8; CONFIG_SIZE],
    clears: [u8; CONFIG_SIZE],
}

impl Function {
    fn new(id: u32, class: u32, header: u8) -> Self {
        let zero = [0; CONFIG_SIZE];
        let function = Self { bytes: zero, writable: zero, clears: zero };
        let function = function.set(0, id, 0).set(8, class, 0).set(0x0c, u32::from(header) << 16, 0xffff);
        // Command: all of it can be written. Status: the upper byte clears.
        let mut function = function.set(4, 0x0010_0003, 0xffff).set(0x3c, 0, 0xff);
        function.clears[7] = 0xff;
        function.bytes[7] = 0x80;
        function
    }

    fn set(mut self, at: usize, value: u32, writable: u32) -> Self {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self.writable[at..at + 4].copy_from_slice(&writable.to_le_bytes());
        self
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }
}

#[derive(Clone, Default)]
struct Board {
    functions: BTreeMap<u16, Function>,
    /// MSI-X tables' words by address, and how often each entry was written while it was not masked.
    tables: BTreeMap<u64, u32>,
    /// Writes to tables of functions that did not decode memory, or to entries in use.
    wrong: u32,
    /// Buses that were looked at.
    seen: BTreeSet<u8>,
}

impl Bus for Board {
    fn read(&mut self, function: Address, offset: u8, size: u8) -> u32 {
        assert_eq!(offset % size, 0);
        self.seen.insert((function.0 >> 8) as u8);
        let Some(function) = self.functions.get(&function.0) else {
            return u32::MAX >> (32 - 8 * u32::from(size));
        };
        let bytes = &function.bytes[usize::from(offset)..][..usize::from(size)];
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }

    fn write(&mut self, function: Address, offset: u8, size: u8, value: u32) {
        assert_eq!(offset % size, 0);
        let Some(function) = self.functions.get_mut(&function.0) else { return };
        for (at, new) in (usize::from(offset)..).zip(&value.to_le_bytes()[..usize::from(size)]) {
            let (writable, clears) = (function.writable[at], function.clears[at]);
            let byte = &mut function.bytes[at];
            *byte = (*byte & !writable | new & writable) & !(new & clears);
        }
    }

    fn write_table(&mut self, address: u64, value: u32) {
        // The one function with a table.
        let decodes = self.functions[&NVME.0].word(4) & 2 != 0;
        let (entry, at) = (address & !15, address & 15);
        let is_open = self.tables.get(&(entry + 12)).is_some_and(|control| control & 1 == 0);
        self.wrong += u32::from(!decodes || (at < 12 && is_open));
        self.tables.insert(address, value);
    }
}

const NVME: Address = Address(0x0008);
const NIC: Address = Address(0x0500);
const TABLE: u64 = 0x8_0000_2000;

/// 00:00.0 host bridge; 00:01.0 a disk: 64-bit BAR at 32 GiB, MSI-X, power, Express; 00:02.0 bridge to
/// bus 5; 05:00.0 a NIC: 32-bit BAR, an I/O BAR, MSI with masks; 00:1f.0 ISA bridge, and 00:1f.3, with
/// nothing.
fn board() -> Board {
    let host = Function::new(0x29c0_8086, 0x0600_0000, 0);
    let disk = Function::new(0x0010_1b36, 0x0108_0202, 0)
        .set(0x10, 0x0000_0004, 0xffff_c000)
        .set(0x14, 0x0000_0008, 0xffff_ffff)
        .set(0x30, 0xfeb0_0001, 0xffff_0001)
        .set(0x34, 0x40, 0)
        .set(0x40, 0x8003_5011, 0xc000_0000)
        .set(0x44, 0x0000_2000, 0)
        .set(0x48, 0x0000_3000, 0)
        .set(0x50, 0x0003_6001, 0)
        .set(0x54, 0x0000_0000, 0x0000_0103)
        .set(0x60, 0x0002_0010, 0)
        .set(0x68, 0x0000_2810, 0x0000_ffff);
    let bridge = Function::new(0x000c_1b36, 0x0604_0000, 1).set(0x18, 0x0005_0500, 0x00ff_ffff);
    let nic = Function::new(0x100e_8086, 0x0200_0003, 0)
        .set(0x10, 0xfeb8_0000, 0xfffe_0000)
        .set(0x14, 0x0000_c001, 0xffff_ffc0)
        .set(0x34, 0xd0, 0)
        .set(0xd0, 0x0185_0005, 0x0071_0000)
        .set(0xd4, 0, 0xffff_fffc)
        .set(0xd8, 0, 0xffff_ffff)
        .set(0xdc, 0, 0x0000_ffff)
        .set(0xe0, 1, 1);
    let isa = Function::new(0x2918_8086, 0x0601_0002, 0x80);
    let smbus = Function::new(0x2930_8086, 0x0c05_0002, 0x80);
    let functions = [(0, host), (NVME.0, disk), (0x10, bridge), (NIC.0, nic), (0xf8, isa), (0xfb, smbus)];
    Board { functions: functions.into(), ..Board::default() }
}

const NOWHERE: PhysRange = PhysRange::new(0, 0);

fn stock(board: &mut Board) -> Inventory {
    let mut all = Inventory::new();
    all.take_stock(board, NOWHERE, |_| true);
    all
}

#[test]
fn devices_are_found_behind_bridges_and_bridges_are_not_handed_out() {
    let all = stock(&mut board());
    let found: Vec<_> = all.devices.iter().map(|device| std::format!("{}", device.address())).collect();
    assert_eq!(found, ["00:01.0", "00:1f.3", "05:00.0"]);
    let disk = all.get(8).expect("it is there").info;
    assert_eq!((disk.ids, disk.class, disk.messages), ([0x1b36, 0x10], 0x0108_0202, 4));
    assert_eq!(disk.bars[0], PhysRange::new(0x8_0000_0000, 0x4000));
    assert!(disk.bars[1..].iter().all(|bar| bar.is_empty()));
    let nic = all.get(0x500).expect("it is there").info;
    assert_eq!((nic.bars[0], nic.messages), (PhysRange::new(0xfeb8_0000, 0x2_0000), 1));
    assert!(nic.bars[1].is_empty(), "ports are not memory");
    assert!(all.get(0x1_0000_0008).is_none() && all.get(0).is_none());
}

#[test]
fn looking_leaves_the_board_as_it_was_but_for_messages() {
    let mut seen = board();
    stock(&mut seen);
    assert_eq!(seen.functions[&NVME.0].word(0x40), 0x0003_5011, "MSI-X is switched off");
    assert_eq!(seen.functions[&NIC.0].word(0xd0), 0x0184_0005, "MSI is switched off");
    for (address, before) in board().functions {
        for at in (0..CONFIG_SIZE).step_by(4).filter(|&at| (address, at) != (NVME.0, 0x40)) {
            if (address, at) != (NIC.0, 0xd0) {
                assert_eq!(seen.functions[&address].word(at), before.word(at), "{address:#x} {at:#x}");
            }
        }
    }
}

#[test]
fn a_circle_of_bridges_or_capabilities_ends() {
    let mut board = board();
    let bridge = |buses| Function::new(0x000c_1b36, 0x0604_0000, 1).set(0x18, buses, 0);
    board.functions.insert(0x508, bridge(0x0005_0005));
    board.functions.insert(0x510, bridge(0x0005_0505));
    board.functions.insert(0x518, bridge(0x0009_0905));
    let nic = board.functions.get_mut(&NIC.0).expect("there");
    nic.bytes[0xd1] = 0xd0;
    assert_eq!(stock(&mut board).devices.len(), 3);
    assert_eq!(board.seen, [0, 5, 9].into());
}

#[test]
fn more_devices_than_fit_are_counted() {
    let mut board = Board::default();
    for address in 0..60_u16 {
        board.functions.insert(address * 8 % 256 + address / 32, Function::new(0x1_1234, 0, 0x80));
    }
    let all = stock(&mut board);
    assert_eq!((all.devices.len(), all.left_out), (MAX_DEVICES, 60 - MAX_DEVICES));
}

#[test]
fn what_is_no_lawful_place_is_no_bar_and_no_table() {
    let mut all = Inventory::new();
    all.take_stock(&mut board(), NOWHERE, |range| range.base != 0x8_0000_0000);
    let disk = all.get(8).expect("it is there");
    assert!(disk.info.bars[0].is_empty());
    assert_eq!((disk.messages, disk.info.messages), (Messages::None, 0));
    let mut all = Inventory::new();
    all.take_stock(&mut board(), PhysRange::new(TABLE + 0x800, 0x1000), |_| true);
    assert_eq!(all.get(8).expect("it is there").messages, Messages::None);
    assert!(all.tables.is_empty());
    for (at, value, writable) in [(0x14, 0, 0), (0x10, 0x0000_1004, 0xffff_c000), (0x10, 4, 0xfff7_c000)] {
        let mut board = board();
        let disk = board.functions.remove(&NVME.0).expect("there");
        board.functions.insert(NVME.0, disk.set(at, value, writable).set(0x18, 0, 0));
        if at == 0x10 && value == 0x1004 {
            board.functions.get_mut(&NVME.0).expect("there").bytes[0x11] = 0x10;
        }
        assert!(stock(&mut board).get(8).expect("there").info.bars[0].is_empty(), "{at:#x} {value:#x}");
    }
}

#[test]
fn accesses_are_of_registers_that_there_are() {
    let mut board = board();
    let all = stock(&mut board);
    let disk = all.get(8).expect("there");
    let rows = [
        (0, 4, Some(0x0010_1b36)),
        (2, 2, Some(0x0010)),
        (0x0b, 1, Some(0x01)),
        (0xfc, 4, Some(0)),
        (1, 2, None),
        (2, 4, None),
        (0, 0, None),
        (0, 3, None),
        (0, 8, None),
        (0x100, 4, None),
        (u64::MAX - 3, 4, None),
        (0, u64::MAX, None),
    ];
    for (offset, size, want) in rows {
        assert_eq!(disk.read(&mut board, offset, size), want, "{offset:#x} {size}");
        let written = disk.write(&mut board, offset, size, 0).is_some();
        assert_eq!(written, want.is_some(), "{offset:#x} {size}");
    }
}

#[test]
fn owners_write_what_is_theirs_and_nothing_else() {
    // What is written where, and what then stands in the 32 bits around it.
    let rows = [
        ("bus master and no line, 16 bits: status is not touched", NVME, 4, 2, 0x0406, 0x8010_0406),
        ("command, upper byte alone", NVME, 5, 1, 0xff, 0x8010_0403),
        ("other bits of the command", NVME, 4, 2, 0xffff, 0x8010_0407),
        ("32 bits: the status clears what was asked for", NVME, 4, 4, 0x8000_0007, 0x0010_0007),
        ("base address", NVME, 0x10, 4, u32::MAX, 0x0000_0004),
        ("a byte of one", NVME, 0x13, 1, 0xff, 0x0000_0004),
        ("its upper half", NVME, 0x14, 4, 0, 0x0000_0008),
        ("expansion ROM", NVME, 0x30, 4, 0, 0xfeb0_0001),
        ("interrupt line", NVME, 0x3c, 1, 9, 0x0000_0009),
        ("MSI-X", NVME, 0x42, 2, 0xc000, 0x0003_5011),
        ("power state; the rest is the owner's", NVME, 0x54, 2, 0x0103, 0x0000_0100),
        ("reset; the rest is the owner's", NVME, 0x68, 2, 0xa81f, 0x0000_281f),
        ("MSI", NIC, 0xd2, 2, 1, 0x0184_0005),
        ("MSI address", NIC, 0xd4, 4, 0xfee0_0000, 0),
        ("MSI data", NIC, 0xdc, 2, 0x41, 0),
        ("MSI masks", NIC, 0xe0, 4, 0, 1),
    ];
    for (name, address, offset, size, value, want) in rows {
        let mut board = board();
        let all = stock(&mut board);
        let device = all.get(address.0.into()).expect("there");
        assert_eq!(device.write(&mut board, offset, size, value), Some(()), "{name}");
        let got = board.functions[&address.0].word(offset as usize & !3);
        assert_eq!(got, want, "{name}: {got:#x}");
    }
}

#[test]
fn a_bound_message_of_a_table_is_open_and_all_others_are_masked() {
    let mut board = board();
    let all = stock(&mut board);
    let disk = all.get(8).expect("there");
    disk.write(&mut board, 4, 2, 0).expect("the owner stops it from decoding");
    let message = msi::encode(3, 0x55).expect("it fits");
    disk.send(&mut board, 2, message);
    assert_eq!(board.wrong, 0);
    let word = |board: &Board, entry: u64, at| board.tables[&(TABLE + entry * 16 + at)];
    assert_eq!([0, 1, 2, 3].map(|entry| word(&board, entry, 12)), [1, 1, 0, 1]);
    assert_eq!([0, 4, 8].map(|at| word(&board, 2, at)), [0xfee0_3000, 0, 0x55]);
    assert_eq!(board.functions[&8].word(0x40), 0x8003_5011, "on, and not masked as a whole");
    assert_eq!(board.functions[&8].word(4) & 0xffff, 0, "decoding is the owner's again");
    disk.send(&mut board, 0, message);
    disk.send(&mut board, 2, message);
    disk.mask(&mut board, 0);
    assert_eq!([0, 1, 2, 3].map(|entry| word(&board, entry, 12)), [1, 1, 0, 1]);
    assert_eq!(board.wrong, 0);
}

#[test]
fn a_single_message_is_written_to_its_capability() {
    let mut board = board();
    let all = stock(&mut board);
    let nic = all.get(0x500).expect("there");
    nic.send(&mut board, 0, msi::encode(1, 0x44).expect("it fits"));
    let words = [0xd0, 0xd4, 0xd8, 0xdc, 0xe0].map(|at| board.functions[&NIC.0].word(at));
    assert_eq!(words, [0x0185_0005, 0xfee0_1000, 0, 0x44, 0]);
    nic.mask(&mut board, 0);
    assert_eq!(board.functions[&NIC.0].word(0xd0), 0x0184_0005);
    assert!(board.tables.is_empty());
    // The narrow form without masks has its data where the wide one has the upper half.
    let narrow = board.functions.get_mut(&NIC.0).expect("there");
    *narrow = narrow.clone().set(0xd0, 0x0004_0005, 0x0071_0000).set(0xdc, 0x5555_5555, u32::MAX);
    let all = stock(&mut board);
    all.get(0x500).expect("there").send(&mut board, 0, msi::encode(1, 0x44).expect("it fits"));
    let words = [0xd0, 0xd4, 0xd8, 0xdc].map(|at| board.functions[&NIC.0].word(at));
    assert_eq!(words, [0x0005_0005, 0xfee0_1000, 0x44, 0x5555_5555]);
}

#[test]
fn a_quiet_device_reaches_nothing_and_can_be_used_again() {
    let mut board = board();
    let all = stock(&mut board);
    let message = msi::encode(0, 0x30).expect("it fits");
    for (address, at) in [(NVME, 0x40), (NIC, 0xd0)] {
        let device = all.get(address.0.into()).expect("there");
        device.write(&mut board, 4, 2, 0x0406).expect("a register");
        device.send(&mut board, 0, message);
        let on = board.functions[&address.0].word(at);
        device.quiet(&mut board);
        assert_eq!(board.functions[&address.0].word(4) & 0xffff, 0x0402, "it still answers");
        let enable = if address == NVME { 0x8000_0000 } else { 0x0001_0000 };
        assert_eq!(board.functions[&address.0].word(at), on & !enable);
        device.send(&mut board, 0, message);
        assert_eq!(board.functions[&address.0].word(at), on);
    }
    assert_eq!(board.wrong, 0);
    let without = all.get(0xfb).expect("there");
    without.quiet(&mut board);
}

#[test]
fn a_capability_that_does_not_fit_has_no_messages() {
    for (id, entry) in [(0x05, 0x0180_0000), (0x11, 0x0003_0000)] {
        let mut board = board();
        let nic = board.functions.remove(&NIC.0).expect("there");
        let nic = nic.set(0x34, 0xfc, 0).set(0xfc, entry | id, u32::MAX);
        board.functions.insert(NIC.0, nic);
        assert_eq!(stock(&mut board).get(0x500).expect("there").messages, Messages::None);
    }
}

#[test]
fn owners_get_their_pages_but_not_those_of_tables() {
    let mut all = stock(&mut board());
    let pieces = |all: &Inventory, base, len| -> Vec<_> {
        all.pieces(PhysRange::new(base, len)).map(|piece| (piece.base, piece.end())).collect()
    };
    let bar = 0x8_0000_0000;
    assert_eq!(pieces(&all, bar, 0x4000), [(bar, TABLE), (TABLE + 0x1000, bar + 0x4000)]);
    assert_eq!(pieces(&all, 0xfeb8_0000, 0x2_0000), [(0xfeb8_0000, 0xfeba_0000)]);
    assert_eq!(pieces(&all, 0xfeb8_0100, 0x20), [(0xfeb8_0000, 0xfeb8_1000)]);
    assert_eq!(pieces(&all, TABLE, 0x1000), []);
    assert_eq!(pieces(&all, TABLE + 0x80, 0x80), []);
    for table in [bar, bar + 0x3000] {
        all.tables.push(PhysRange::new(table, 0x1000)).expect("room");
    }
    assert_eq!(pieces(&all, bar, 0x4000), [(bar + 0x1000, TABLE)]);
}

#[test]
fn any_bent_byte_of_a_header_is_survived() {
    for address in [NVME, NIC, Address(0x10)] {
        for at in 0..CONFIG_SIZE {
            for bits in [0x01, 0x80, 0xff] {
                let mut board = board();
                board.functions.get_mut(&address.0).expect("there").bytes[at] ^= bits;
                let all = stock(&mut board);
                for device in &all.devices {
                    let Messages::MsiX { table, .. } = device.messages else {
                        device.send(&mut board, 0, msi::encode(0, 0x30).expect("it fits"));
                        continue;
                    };
                    assert!(device.info.bars.iter().any(|bar| bar.contains(table)));
                }
            }
        }
    }
}
