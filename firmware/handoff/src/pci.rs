//! PCI configuration through ports 0xCF8 and 0xCFC, as every PC chipset has it.
//! PCI Local Bus Specification 3.0, 3.2.2.3.2 (the ports) and chapter 6 (the registers).

use x86_64::instructions::port::Port;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
/// In the address port: the data port reaches configuration space.
const ENABLE: u32 = 1 << 31;
/// Buses behind buses that [`find`] follows; more than any board nests.
const MAX_DEPTH: u32 = 8;

/// Registers of configuration space by offset. PCI 3.0, figure 6-1; PCI-to-PCI bridge 1.2, 3.2.
pub mod register {
    /// Vendor in bits 0–15, device in bits 16–31.
    pub const ID: u8 = 0x00;
    /// Command in bits 0–15, status above (written ones clear it: write 16 bits).
    pub const COMMAND: u8 = 0x04;
    /// Revision, interface, subclass, class: lowest byte first.
    pub const CLASS: u8 = 0x08;
    /// Bits 16–23 of this word: the layout of the rest.
    pub const HEADER: u8 = 0x0c;
    /// The first base address.
    pub const BAR0: u8 = 0x10;
    /// Bridge: primary, secondary, subordinate bus, latency timer: lowest byte first.
    pub const BUSES: u8 = 0x18;
    /// Legacy interrupt: line in bits 0–7, pin in bits 8–15.
    pub const INTERRUPT: u8 = 0x3c;
}

/// Bits of [`register::COMMAND`]. PCI 3.0, 6.2.2.
pub mod command {
    /// Answers on its I/O ports.
    pub const IO: u16 = 1 << 0;
    /// Answers in memory space.
    pub const MEMORY: u16 = 1 << 1;
    /// May read and write memory by itself.
    pub const MASTER: u16 = 1 << 2;
}

/// Where a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its bus.
    pub bus: u8,
    /// Its device, 0 to 31.
    pub device: u8,
    /// Its number, 0 to 7.
    pub number: u8,
}

impl Function {
    /// A function by its three numbers.
    pub const fn new(bus: u8, device: u8, number: u8) -> Self {
        Self { bus, device, number }
    }

    const fn address(self, offset: u8) -> u32 {
        let Self { bus, device, number } = self;
        ENABLE | (bus as u32) << 16 | (device as u32) << 11 | (number as u32) << 8 | (offset & !3) as u32
    }
}

/// Configuration space; tests have one that is no board's. An absent function reads all ones.
pub trait Config {
    /// The 32-bit word at `offset`, a multiple of 4.
    fn read(&mut self, function: Function, offset: u8) -> u32;
    /// Writes 8 bits.
    fn write8(&mut self, function: Function, offset: u8, value: u8);
    /// Writes 16 bits; `offset` is even.
    fn write16(&mut self, function: Function, offset: u8, value: u16);
    /// Writes 32 bits; `offset` is a multiple of 4.
    fn write32(&mut self, function: Function, offset: u8, value: u32);
}

/// Configuration space of the board.
pub struct Ports {
    address: Port<u32>,
}

impl Ports {
    /// Takes the two ports.
    ///
    /// # Safety
    /// Nobody else may use them for as long as the result lives. What is written through them is
    /// the user's responsibility: it can move devices over memory.
    pub const unsafe fn new() -> Self {
        Self { address: Port::new(ADDRESS) }
    }

    fn select(&mut self, function: Function, offset: u8) -> u16 {
        // SAFETY: the address port only chooses what the data port reaches; it is ours.
        unsafe { self.address.write(function.address(offset)) };
        DATA + u16::from(offset & 3)
    }
}

impl Config for Ports {
    fn read(&mut self, function: Function, offset: u8) -> u32 {
        let port = self.select(function, offset);
        // SAFETY: configuration registers have no read side effects (PCI 3.0, 6.1).
        unsafe { Port::new(port).read() }
    }

    fn write8(&mut self, function: Function, offset: u8, value: u8) {
        let port = self.select(function, offset);
        // SAFETY: by `Ports::new`'s promise.
        unsafe { Port::new(port).write(value) };
    }

    fn write16(&mut self, function: Function, offset: u8, value: u16) {
        let port = self.select(function, offset);
        // SAFETY: by `Ports::new`'s promise.
        unsafe { Port::new(port).write(value) };
    }

    fn write32(&mut self, function: Function, offset: u8, value: u32) {
        let port = self.select(function, offset);
        // SAFETY: by `Ports::new`'s promise.
        unsafe { Port::new(port).write(value) };
    }
}

/// How a function's header is laid out. Open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderType(pub u8);

impl HeaderType {
    /// A device.
    pub const DEVICE: Self = Self(0);
    /// A bridge to another PCI bus.
    pub const BRIDGE: Self = Self(1);
    /// Beside the layout: the device has more functions than number 0.
    const MULTI_FUNCTION: u8 = 1 << 7;

    /// The layout of `function`'s header.
    pub fn of(config: &mut impl Config, function: Function) -> Self {
        Self((config.read(function, register::HEADER) >> 16) as u8 & !Self::MULTI_FUNCTION)
    }
}

/// Calls `visit` with each function of `bus` that exists, lowest first; stops at the first `Some`.
pub fn each<C: Config, T>(
    config: &mut C,
    bus: u8,
    mut visit: impl FnMut(&mut C, Function) -> Option<T>,
) -> Option<T> {
    for device in 0..32 {
        for number in 0..8 {
            let function = Function::new(bus, device, number);
            if config.read(function, register::ID) as u16 != 0xffff
                && let Some(found) = visit(config, function)
            {
                return Some(found);
            }
            let header = config.read(function, register::HEADER) >> 16;
            if number == 0 && (header as u8 & HeaderType::MULTI_FUNCTION == 0 || header == 0xffff) {
                break;
            }
        }
    }
    None
}

/// The first function that `is` says yes to: bus 0 first, then depth-first through the bridges as
/// they are numbered.
pub fn find<C: Config>(config: &mut C, mut is: impl FnMut(&mut C, Function) -> bool) -> Option<Function> {
    find_behind(config, 0, &mut is, MAX_DEPTH)
}

fn find_behind<C: Config>(
    config: &mut C,
    bus: u8,
    is: &mut dyn FnMut(&mut C, Function) -> bool,
    depth: u32,
) -> Option<Function> {
    let here = each(config, bus, |config, function| is(config, function).then_some(function));
    if here.is_some() || depth == 0 {
        return here;
    }
    each(config, bus, |config, function| {
        if HeaderType::of(config, function) != HeaderType::BRIDGE {
            return None;
        }
        let secondary = (config.read(function, register::BUSES) >> 8) as u8;
        // A bridge that nobody has numbered leads to bus 0: that would be a circle.
        if secondary > bus { find_behind(config, secondary, is, depth - 1) } else { None }
    })
}

/// Where the memory behind base address `index` is, if the function has it, it is memory, and it
/// has been given an address.
pub fn memory_bar(config: &mut impl Config, function: Function, index: u8) -> Option<u64> {
    let offset = register::BAR0 + 4 * index;
    let low = config.read(function, offset);
    let is_io = low & 1 != 0;
    let is_64_bit = low & 0b110 == 0b100;
    let high = if is_64_bit { u64::from(config.read(function, offset + 4)) << 32 } else { 0 };
    let base = high | u64::from(low & !0xf);
    (!is_io && base != 0).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bus 0: a device 00:02.0, a bridge 00:03.0 to bus 5 and one that is not numbered; bus 5: one
    /// device with functions 0 and 3.
    struct Board;

    impl Config for Board {
        fn read(&mut self, function: Function, offset: u8) -> u32 {
            let Function { bus, device, number } = function;
            match (bus, device, number, offset) {
                (0, 2, 0, register::ID) => 0x0001_1234,
                (0, 3 | 4, 0, register::ID) => 0x0002_1234,
                (0, 3 | 4, 0, register::HEADER) => 0x0001_0000,
                (0, 3, 0, register::BUSES) => 0x0005_0500,
                (5, 9, 0, register::ID) => 0x0003_1234,
                (5, 9, 3, register::ID) => 0x0004_1234,
                (5, 9, 0, register::HEADER) => 0x0080_0000,
                (5, 9, 3, 0x10) => 0xe000_0008,
                (5, 9, 3, 0x14) => 0x8000_0004,
                (5, 9, 3, 0x18) => 0x0000_0001,
                (5, 9, 3, 0x1c) => 0x0000_c001,
                (0, 2..=4, 0, _) | (5, 9, 0 | 3, _) => 0,
                _ => 0xffff_ffff,
            }
        }
        fn write8(&mut self, _: Function, _: u8, _: u8) {}
        fn write16(&mut self, _: Function, _: u8, _: u16) {}
        fn write32(&mut self, _: Function, _: u8, _: u32) {}
    }

    #[test]
    fn functions_are_found_on_the_first_bus_and_behind_bridges() {
        let by_id = |id| find(&mut Board, |config, function| config.read(function, register::ID) == id);
        assert_eq!(by_id(0x0001_1234), Some(Function::new(0, 2, 0)));
        assert_eq!(by_id(0x0004_1234), Some(Function::new(5, 9, 3)));
        assert_eq!(by_id(0x0009_1234), None);
    }

    #[test]
    fn a_bar_is_an_address_only_if_it_is_memory_and_assigned() {
        let function = Function::new(5, 9, 3);
        assert_eq!(memory_bar(&mut Board, function, 0), Some(0xe000_0000));
        assert_eq!(memory_bar(&mut Board, function, 1), Some(0x1_8000_0000));
        assert_eq!(memory_bar(&mut Board, function, 3), None);
        assert_eq!(memory_bar(&mut Board, function, 4), None);
    }

    #[test]
    fn the_address_port_gets_the_function_and_the_word() {
        assert_eq!(Function::new(0, 31, 7).address(0x43), 0x8000_ff40);
        assert_eq!(Function::new(1, 0, 0).address(0), 0x8001_0000);
    }
}
