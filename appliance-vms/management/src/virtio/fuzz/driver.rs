//! A driver that does anything, and often enough what a driver does, so that it gets somewhere.

use super::requests;
use crate::memory::GuestMemory;
use crate::virtio::Device;
use crate::virtio::testkit::{COMMAND, Driver, DriverQueue, INDIRECT, Machine, NEXT, Random, WRITE};

const RAM: u64 = 0x20_0000;
/// Where an indirect table is, and where data are.
const TABLE: u64 = 0x8000;
const DATA: u64 = 0x1_0000;
/// Where BARs are at first.
const BARS: [u64; 3] = [0xc000_0004, 0, 0xc000_4000];
const SIZES: [u8; 4] = [1, 2, 4, 8];

/// Makes the device work, with any features.
pub fn restart<D: Device + 'static>(driver: &mut Driver<D>, random: &mut Random) {
    let bars = [0x10, 0x14, 0x18].map(|at| driver.config_read(at, 4));
    if random.once_in(4) || bars != BARS {
        driver.machine.bridge.reset();
    }
    driver.config_write(COMMAND, 2, 6);
    driver.find_structures();
    // A reset goes on while a disk has memory; then the driver comes back later.
    write(driver, driver.common + 20, 1, 0);
    if read(driver, driver.common + 20, 1) == 0 {
        let any = random.next();
        let features = random.one_of(&[u64::MAX, !(1 << 29), !(1 << 28), any]);
        if driver.negotiate(features | 1 << 32) {
            if random.once_in(8) {
                set_up_any_queue(driver, random);
            } else {
                driver.set_up_queues();
            }
            driver.set_status(0xf);
        }
    }
}

/// Enables a queue of any size that may lie anywhere.
fn set_up_any_queue<D: Device>(driver: &mut Driver<D>, random: &mut Random) {
    write(driver, driver.common + 22, 2, random.below(2));
    for (field, size) in [(24, 2), (32, 8), (40, 8), (48, 8)] {
        if random.once_in(2) {
            write(driver, driver.common + field, size, value(random));
        }
    }
    write(driver, driver.common + 28, 2, 1);
}

fn read<D>(driver: &mut Driver<D>, address: u64, size: u8) -> u64 {
    driver.machine.bridge.mmio_read(address, size).unwrap_or(u64::MAX)
}

fn write<D>(driver: &mut Driver<D>, address: u64, size: u8, value: u64) {
    driver.machine.bridge.mmio_write(address, size, value);
}

fn value(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => random.next(),
        1 => u64::MAX,
        2 => 1 << random.below(64),
        3 => random.below(RAM),
        _ => random.below(8),
    }
}

/// One step.
pub fn step<D: Device + 'static>(driver: &mut Driver<D>, random: &mut Random) {
    match random.below(32) {
        0 => access_config(driver, random),
        1..5 => access_register(driver, random),
        5 => any_ring_word(driver, random),
        6 if random.once_in(8) => long_chains(driver, random),
        6 => any_chain(driver, random),
        7 if random.once_in(4) => write(driver, driver.common + 20, 1, 0),
        7 | 8 if driver.function.borrow().fault().is_some() => restart(driver, random),
        9 if random.once_in(4) || !driver.function.borrow().is_live() => restart(driver, random),
        _ => request(driver, random),
    }
}

fn access_config<D: Device>(driver: &mut Driver<D>, random: &mut Random) {
    let (offset, size) = (random.below(0x108), random.one_of(&SIZES));
    let address = Machine::config_address(3, offset);
    if random.once_in(2) {
        read(driver, address, size);
    } else {
        write(driver, address, size, value(random));
    }
    if random.once_in(2) {
        let bells = driver.machine.bridge.doorbells();
        assert!(bells.windows(2).all(|pair| pair[0].address + pair[0].len <= pair[1].address));
    }
}

fn access_register<D: Device>(driver: &mut Driver<D>, random: &mut Random) {
    let page = random.one_of(&[
        driver.common,
        driver.common,
        driver.isr,
        driver.notify,
        driver.configuration,
        driver.table,
    ]);
    let within = if random.once_in(4) { 0x1000 } else { 64 };
    let (address, size) = (page + random.below(within), random.one_of(&SIZES));
    if random.once_in(2) {
        read(driver, address, size);
    } else {
        write(driver, address, size, value(random));
    }
}

/// A queue of the driver's, if it has come so far.
fn queue<'a, D>(driver: &'a mut Driver<D>, random: &mut Random) -> Option<&'a mut DriverQueue> {
    let count = driver.queues.len() as u64;
    if count == 0 {
        return None;
    }
    driver.queues.get_mut(random.below(count) as usize)
}

/// Anything, anywhere in a ring.
fn any_ring_word<D>(driver: &mut Driver<D>, random: &mut Random) {
    let Some(queue) = queue(driver, random) else { return };
    let word = value(random) as u16;
    let address = match random.below(4) {
        0 => queue.available + 2,
        1 => queue.available + 2 * random.below(8),
        2 => queue.used + 2 * random.below(8),
        _ => queue.descriptors + 2 * random.below(64),
    };
    queue.memory.store_u16(address, word).unwrap();
}

/// Any descriptors, direct and in a table, and one of them made available.
fn any_chain<D>(driver: &mut Driver<D>, random: &mut Random) {
    let Some(queue) = queue(driver, random) else { return };
    for table in [queue.descriptors, TABLE] {
        for at in 0..8 {
            let address = match random.below(8) {
                0 => value(random),
                1 => TABLE,
                2 => RAM - random.below(32),
                _ => DATA + random.below(0x1000),
            };
            let any = random.next() as u32;
            let len = random.one_of(&[0, 1, 16, 32, 128, 512, 4096, any]);
            let flags = random.one_of(&[0, NEXT, NEXT, WRITE, NEXT | WRITE, INDIRECT, INDIRECT | NEXT]);
            queue.describe(table, at, address, len, flags, random.below(9) as u16);
        }
    }
    queue.make_available(random.below(9) as u16);
}

/// As many chains as a queue holds, all as long as they may be, and with next to nothing in them.
fn long_chains<D>(driver: &mut Driver<D>, random: &mut Random) {
    let Some(queue) = queue(driver, random) else { return };
    let (flags, len) = (random.one_of(&[0, WRITE]), random.below(2) as u32);
    for at in 0..1023 {
        queue.describe(TABLE, at, DATA, len, if at < 1022 { NEXT | flags } else { WRITE }, at + 1);
    }
    queue.describe(queue.descriptors, 0, TABLE, 16 * 1023, INDIRECT, 0);
    queue.answers();
    for _ in 0..queue.size {
        queue.make_available(0);
    }
}

/// Something like a request.
fn request<D: Device + 'static>(driver: &mut Driver<D>, random: &mut Random) {
    let number = random.below(driver.queues.len().max(1) as u64) as usize;
    let pieces = requests::pieces(driver, number, random);
    let Some(queue) = driver.queues.get_mut(number) else { return };
    queue.answers();
    if random.once_in(3) {
        queue.offer_indirect(TABLE, &pieces);
    } else {
        queue.offer(&pieces);
    }
    if !random.once_in(4) {
        write(driver, driver.notify + 4 * number as u64, 2, number as u64);
    }
}
