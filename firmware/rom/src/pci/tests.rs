//! A board in an array, and what becomes of it.

extern crate std;

use super::*;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Configuration space with the behaviour that counts: base addresses keep only the bits above
/// their size, and buses answer only when a bridge leads there.
pub(crate) struct Fake {
    functions: Vec<(Place, BTreeMap<u8, u32>, Vec<u32>)>,
}

/// Where a function is: device and number, and behind which bridge of bus 0, if any.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    bridge: Option<u8>,
    device: u8,
    number: u8,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self { functions: Vec::new() }
    }

    /// A function on bus 0; `bars` are the masks that its base addresses answer.
    pub(crate) fn add(&mut self, function: Function, id: u32, class: u32, bars: &[u32]) {
        self.add_behind(None, function, id, class, bars);
    }

    fn add_behind(&mut self, bridge: Option<u8>, function: Function, id: u32, class: u32, bars: &[u32]) {
        let place = Place { bridge, device: function.device, number: function.number };
        let header = if class >> 16 == 0x0604 { 1 << 16 } else { 0 };
        let registers =
            BTreeMap::from([(register::ID, id), (register::CLASS, class), (register::HEADER, header)]);
        self.functions.push((place, registers, bars.to_vec()));
    }

    fn entry(&mut self, function: Function) -> Option<&mut (Place, BTreeMap<u8, u32>, Vec<u32>)> {
        let bridge = match function.bus {
            0 => None,
            bus => {
                let leads = |(place, registers, _): &&(Place, BTreeMap<u8, u32>, Vec<u32>)| {
                    let buses = registers.get(&register::BUSES).copied().unwrap_or(0);
                    place.bridge.is_none() && buses >> 8 & 0xff == u32::from(bus)
                };
                Some(self.functions.iter().find(leads)?.0.device)
            }
        };
        let wanted = Place { bridge, device: function.device, number: function.number };
        self.functions.iter_mut().find(|(place, ..)| *place == wanted)
    }

    fn write(&mut self, function: Function, offset: u8, value: u32, keep: u32) {
        let Some((_, registers, bars)) = self.entry(function) else { return };
        let word = offset & !3;
        let shift = 8 * u32::from(offset & 3);
        let old = registers.get(&word).copied().unwrap_or(0);
        let mut new = old & !(keep << shift) | value << shift;
        let index = usize::from(word.wrapping_sub(register::BAR0) / 4);
        if word >= register::BAR0
            && let Some(mask) = bars.get(index)
        {
            // The lowest bits say what it is and can't be written; an upper half has none.
            let upper = index > 0 && bars[index - 1] & 0b111 == 0b100;
            let fixed = if upper {
                0
            } else if mask & 1 == 1 {
                0b11
            } else {
                0xf
            };
            new = new & mask & !fixed | mask & fixed;
        } else if (register::BAR0..0x18).contains(&word) {
            new = 0;
        }
        registers.insert(word, new);
    }
}

impl Config for Fake {
    fn read(&mut self, function: Function, offset: u8) -> u32 {
        assert_eq!(offset % 4, 0);
        self.entry(function).map_or(u32::MAX, |(_, registers, _)| *registers.get(&offset).unwrap_or(&0))
    }
    fn write8(&mut self, function: Function, offset: u8, value: u8) {
        self.write(function, offset, value.into(), 0xff);
    }
    fn write16(&mut self, function: Function, offset: u8, value: u16) {
        self.write(function, offset, value.into(), 0xffff);
    }
    fn write32(&mut self, function: Function, offset: u8, value: u32) {
        self.write(function, offset, value, u32::MAX);
    }
}

const IO_64: u32 = 0xffff_ffc1;
const MEM_256: u32 = 0xffff_ff00;
const MEM_4K: u32 = 0xffff_f000;
const MEM_16M_PREFETCH: u32 = 0xff00_0008;
const MEM64_16K: [u32; 2] = [0xffff_c00c, 0xffff_ffff];
const MEM64_8G: [u32; 2] = [0x0000_000c, 0xffff_fffe];
const NIC: u32 = 0x0200_0000;
const BRIDGE: u32 = 0x0604_0000;

fn windows() -> Windows {
    Windows {
        io: Window::new(PhysRange::new(0xc000, 0x4000)),
        low: Window::new(PhysRange::new(0xc000_0000, 0x3ec0_0000)),
        high: Window::new(PhysRange::new(0x1_8000_0000, 0x10_0000_0000)),
    }
}

const SLOT2: Function = Function::new(0, 2, 0);
const SLOT3: Function = Function::new(0, 3, 0);
const SLOT4: Function = Function::new(0, 4, 0);

#[test]
fn each_base_address_gets_its_own_aligned_place_and_decodes() {
    let mut board = Fake::new();
    board.add(SLOT2, 0x1111_1234, 0x0300_0000, &[MEM_16M_PREFETCH, 0, MEM_4K]);
    board.add(SLOT3, 0x1000_1af4, NIC, &[IO_64, MEM_4K, 0, 0, MEM64_16K[0], MEM64_16K[1]]);
    let outcome = assign(&mut board, Board::Q35, windows());
    assert_eq!(outcome, Outcome { functions: 2, left_out: 0 });
    assert_eq!(board.read(SLOT2, 0x10), 0xc000_0008);
    assert_eq!(board.read(SLOT3, 0x20), 0xc100_000c);
    assert_eq!(board.read(SLOT3, 0x24), 0);
    assert_eq!(board.read(SLOT3, 0x10), 0xc001);
    let pages = [board.read(SLOT2, 0x18), board.read(SLOT3, 0x14)];
    assert!(pages.contains(&0xc100_4000) && pages.contains(&0xc100_5000), "{pages:x?}");
    assert_eq!(board.read(SLOT3, register::COMMAND) as u16, command::IO | command::MEMORY);
}

#[test]
fn no_two_base_addresses_share_a_page() {
    let mut board = Fake::new();
    board.add(SLOT2, 1, NIC, &[MEM_256, MEM_256, IO_64, IO_64]);
    assign(&mut board, Board::Q35, windows());
    assert_eq!((board.read(SLOT2, 0x10), board.read(SLOT2, 0x14)), (0xc000_0000, 0xc000_1000));
    assert_eq!((board.read(SLOT2, 0x18), board.read(SLOT2, 0x1c)), (0xc001, 0xc041));
}

#[test]
fn what_does_not_fit_below_4_gib_goes_above_or_stays_silent() {
    let mut board = Fake::new();
    board.add(SLOT2, 1, NIC, &MEM64_8G);
    board.add(SLOT3, 1, NIC, &[0x8000_0000]);
    let outcome = assign(&mut board, Board::I440fx, windows());
    assert_eq!(outcome, Outcome { functions: 2, left_out: 1 });
    assert_eq!((board.read(SLOT2, 0x10), board.read(SLOT2, 0x14)), (0xc, 2));
    assert_eq!(board.read(SLOT3, 0x10), 0);
    assert_eq!(board.read(SLOT3, register::COMMAND) as u16, command::IO);
}

#[test]
fn a_bridge_passes_on_what_is_behind_it_and_no_more() {
    let mut board = Fake::new();
    board.add(SLOT2, 2, BRIDGE, &[]);
    board.add(SLOT3, 2, BRIDGE, &[]);
    board.add_behind(Some(2), Function::new(0, 0, 0), 3, NIC, &[IO_64, MEM_4K, MEM64_8G[0], MEM64_8G[1]]);
    board.add(SLOT4, 4, NIC, &[MEM_4K]);
    let outcome = assign(&mut board, Board::Q35, windows());
    assert_eq!(outcome, Outcome { functions: 4, left_out: 0 });
    assert_eq!(board.read(SLOT2, register::BUSES), 0x0001_0100);
    assert_eq!(board.read(SLOT3, register::BUSES), 0x0002_0200);
    let behind = Function::new(1, 0, 0);
    // The page of slot 4 is placed first; the bridge's range starts on the next MiB.
    assert_eq!(board.read(SLOT4, 0x10), 0xc000_0000);
    assert_eq!(board.read(behind, 0x14), 0xc010_0000);
    assert_eq!(board.read(SLOT2, bridge::MEMORY), 0xc010_c010);
    assert_eq!(board.read(SLOT2, bridge::IO) as u16, 0xc0c0);
    assert_eq!((board.read(behind, 0x18), board.read(behind, 0x1c)), (0xc, 2));
    // From where the window stood: the gap in front of an aligned place is passed on as well.
    assert_eq!(board.read(SLOT2, bridge::PREFETCHABLE) & 0xfff0_fff0, 0xfff0_8000);
    assert_eq!(board.read(SLOT2, bridge::PREFETCHABLE_BASE_HIGH), 1);
    assert_eq!(board.read(SLOT2, bridge::PREFETCHABLE_LIMIT_HIGH), 3);
    // Nothing is behind the second: all three ranges are closed, first after last.
    assert_eq!(board.read(SLOT3, bridge::MEMORY), 0x0000_fff0);
    assert_eq!(board.read(SLOT3, bridge::IO) as u16, 0x00f0);
    assert_eq!(board.read(SLOT3, bridge::PREFETCHABLE_BASE_HIGH), u32::MAX);
    assert_eq!(board.read(SLOT3, register::COMMAND) as u16 & command::MASTER, command::MASTER);
}

#[test]
fn interrupt_lines_follow_the_pins_through_bridges() {
    let mut board = Fake::new();
    board.add(SLOT2, 2, BRIDGE, &[]);
    board.add(SLOT3, 3, NIC, &[]);
    board.add_behind(Some(2), Function::new(0, 1, 0), 3, NIC, &[]);
    board.write8(SLOT3, register::INTERRUPT + 1, 1);
    // Number the bridge beforehand, to reach what is behind it.
    board.write32(SLOT2, register::BUSES, 0x0001_0100);
    board.write8(Function::new(1, 1, 0), register::INTERRUPT + 1, 1);
    assign(&mut board, Board::I440fx, windows());
    // INTA of slot 3 is input C; INTA of device 1 behind slot 2 is INTB of slot 2: input C.
    assert_eq!(board.read(SLOT3, register::INTERRUPT) as u8, 11);
    assert_eq!(board.read(Function::new(1, 1, 0), register::INTERRUPT) as u8, 11);
}
