//! PCI by ports 0xcf8 and 0xcfc: bus 0, functions 0. PCI 3.0, 3.2.2.3.2.

use crate::cpu::port;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;
const DEVICES: u8 = 32;
/// COMMAND: memory, and mastership of the bus.
const COMMAND: u8 = 4;
const MEMORY_AND_MASTER: u32 = 6;
const BARS: u8 = 0x10;
const CAPABILITIES: u8 = 0x34;

/// Reads four bytes of a device's configuration space.
pub fn read_32(device: u8, offset: u8) -> u32 {
    port::write_32(ADDRESS, ENABLE | u32::from(device) << 11 | u32::from(offset & 0xfc));
    port::read_32(DATA)
}

/// Writes them.
pub fn write_32(device: u8, offset: u8, value: u32) {
    port::write_32(ADDRESS, ENABLE | u32::from(device) << 11 | u32::from(offset & 0xfc));
    port::write_32(DATA, value);
}

fn read_8(device: u8, offset: u8) -> u8 {
    (read_32(device, offset) >> (8 * (offset & 3))) as u8
}

/// Devices that are there, with their IDs: vendor in the lower half.
pub fn devices() -> impl Iterator<Item = (u8, u32)> {
    (0..DEVICES).map(|device| (device, read_32(device, 0))).filter(|(_, ids)| *ids != u32::MAX)
}

/// Where a device's BAR is, of 32 bits or with nothing in its upper half.
pub fn bar(device: u8, number: u8) -> u64 {
    u64::from(read_32(device, BARS + 4 * number) & !15)
}

/// Puts BARs back where they were, and has the device answer and use memory.
pub fn enable(device: u8, bars: &[u32; 6]) {
    (0..).zip(bars).for_each(|(number, bar)| write_32(device, BARS + 4 * number, *bar));
    write_32(device, COMMAND, MEMORY_AND_MASTER);
}

/// All BARs as they are.
pub fn bars(device: u8) -> [u32; 6] {
    core::array::from_fn(|number| read_32(device, BARS + 4 * number as u8))
}

/// Capabilities: where each is, and its number.
pub fn capabilities(device: u8) -> impl Iterator<Item = (u8, u8)> {
    let mut at = read_8(device, CAPABILITIES);
    // There is room for no more than 48.
    (0..48).map_while(move |_| {
        let here = at;
        at = read_8(device, at.saturating_add(1));
        (here != 0).then(|| (here, read_8(device, here)))
    })
}
