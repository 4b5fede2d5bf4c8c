//! Registers, features, resets and interrupts, whatever the device.

use crate::pci::Function;
use crate::virtio::blk::Blk;
use crate::virtio::ring::Fault;
use crate::virtio::testkit::{COMMAND, Driver, Machine};
use crate::virtio::tests::blk::{FakeDisk, SECTORS};
use alloc::vec;

fn blk() -> Blk {
    Blk::new(FakeDisk::new(&Machine::new()), "disk", 2)
}

#[test]
fn features_are_what_both_can_do() {
    let mut driver = Driver::probe(blk());
    assert_eq!(driver.offered() >> 28, 0b1_0011);
    assert!(!driver.negotiate(!(1 << 32)), "a driver of version 0 is not served");
    assert!(driver.negotiate(u64::MAX));
    // Too late to change.
    driver.write(driver.common + 8, 4, 0);
    driver.write(driver.common + 12, 4, 0);
    assert_eq!(driver.read(driver.common + 12, 4), driver.features & 0xffff_ffff);
    // What is not offered can't be had.
    driver.set_status(0);
    driver.set_status(3);
    for (select, word) in [(0, 1 << 27), (1, 1)] {
        driver.write(driver.common + 8, 4, select);
        driver.write(driver.common + 12, 4, word);
    }
    driver.set_status(0xb);
    assert_eq!(driver.status(), 3);
    driver.set_status(0xf);
    assert_eq!(driver.status(), 3, "and without features nothing starts");
}

#[test]
fn registers_answer_all_widths() {
    let mut driver = Driver::probe(blk());
    driver.negotiate(u64::MAX);
    let common = driver.common;
    driver.write(common + 20, 4, 0x0001_000b);
    assert_eq!(driver.read(common + 20, 4), 0x0001_000b);
    assert_eq!(driver.read(common + 22, 2), 1);
    driver.write(common + 32, 8, 0x1122_3344_5566_7788);
    driver.write(common + 33, 1, 0xff);
    driver.write(common + 35, 8, 0x0a09_0807_0605_0403);
    assert_eq!(driver.read(common + 32, 8), 0x0706_0504_0366_ff88);
    assert_eq!(driver.read(common + 40, 8), 0x0a_0908);
    assert_eq!(driver.read(common + 58, 8) >> 16, 0xffff_ffff_ffff);
    assert_eq!(driver.read(driver.configuration, 8), SECTORS);
    assert_eq!(driver.read(driver.configuration + 60, 4), 0xffff_ffff);
    assert_eq!(driver.read(driver.isr, 1), 0);
    assert_eq!(driver.read(driver.notify, 8), u64::MAX);
    // A queue that there is not.
    driver.write(common + 22, 2, 9);
    driver.write(common + 28, 2, 1);
    assert_eq!([driver.read(common + 24, 2), driver.read(common + 28, 2)], [0, 0]);
    // A vector that there is not.
    driver.write(common + 16, 2, 3);
    assert_eq!(driver.read(common + 16, 2), 0xffff);
}

#[test]
fn a_queue_of_a_wrong_size_breaks_the_device() {
    for size in [0, 3, 512, 0xffff] {
        let mut driver = Driver::probe(blk());
        driver.negotiate(u64::MAX);
        driver.write(driver.common + 24, 2, size);
        driver.write(driver.common + 28, 2, 1);
        assert_eq!(driver.status(), 0x4b);
        assert_eq!(driver.function.borrow().fault(), Some(Fault::Queue));
        driver.restart(u64::MAX);
        assert_eq!(driver.function.borrow().fault(), None);
    }
}

#[test]
fn an_enabled_queue_does_not_move() {
    let mut driver = Driver::start(blk(), u64::MAX);
    driver.write(driver.common + 22, 2, 0);
    let before = driver.read(driver.common + 32, 8);
    driver.write(driver.common + 32, 8, 0);
    driver.write(driver.common + 24, 2, 1);
    driver.write(driver.common + 28, 2, 0);
    assert_eq!(driver.read(driver.common + 32, 8), before);
    assert_eq!(driver.read(driver.common + 24, 2), 256);
    assert_eq!(driver.read(driver.common + 28, 2), 1);
}

#[test]
fn a_broken_driver_is_told_and_left_alone() {
    let mut driver = Driver::start(blk(), u64::MAX);
    driver.request(0, &[(0x40_0000, 16, false), (0x1000, 1, true)]);
    assert_eq!(driver.status(), 0x4f);
    assert_eq!(driver.vectors(), [0], "by an interrupt for the configuration");
    assert!(matches!(driver.function.borrow().fault(), Some(Fault::NotRam(_))));
    driver.set_status(0xf);
    driver.request(1, &[(0x1000, 16, false), (0x1010, 1, true)]);
    assert_eq!((driver.queues[1].answers(), driver.vectors(), driver.status()), (vec![], vec![], 0x4f));
    driver.restart(u64::MAX);
    assert_eq!(driver.status(), 0xf);
    let head = driver.request(1, &[(0x1000, 16, false), (0x1010, 1, true)]);
    assert_eq!(driver.queues[1].answers(), [(head, 0)]);
}

#[test]
fn without_messages_the_isr_status_says_why() {
    let mut driver = Driver::start(blk(), u64::MAX);
    driver.config_write(0x42, 2, 0);
    driver.request(0, &[(0x1000, 16, false), (0x1010, 1, true)]);
    assert_eq!(driver.vectors(), []);
    assert_eq!([driver.read(driver.isr, 1), driver.read(driver.isr, 1)], [1, 0]);
}

#[test]
fn without_leave_to_use_memory_a_device_waits() {
    let mut driver = Driver::start(blk(), u64::MAX);
    driver.config_write(COMMAND, 2, 2);
    let head = driver.request(0, &[(0x1000, 16, false), (0x1010, 1, true)]);
    assert_eq!((driver.queues[0].answers(), driver.vectors()), (vec![], vec![]));
    driver.config_write(COMMAND, 2, 6);
    driver.poll();
    assert_eq!((driver.queues[0].answers(), driver.vectors()), (vec![(head, 0)], vec![1]));
}

#[test]
fn registers_can_be_reached_through_configuration_space() {
    let mut driver = Driver::probe(blk());
    let mut window = driver.config_read(0x34, 1);
    while driver.config_read(window + 3, 1) != 5 || driver.config_read(window, 1) != 9 {
        window = driver.config_read(window + 1, 1);
        assert_ne!(window, 0);
    }
    driver.config_write(window + 4, 1, 0);
    driver.config_write(window + 8, 4, 20);
    driver.config_write(window + 12, 4, 1);
    driver.config_write(window + 16, 4, 3);
    assert_eq!(driver.status(), 3);
    assert_eq!(driver.config_read(window + 16, 1), 3);
    driver.config_write(window + 8, 4, 18);
    driver.config_write(window + 12, 4, 2);
    assert_eq!(driver.config_read(window + 16, 2), 2, "queues");
    driver.config_write(window + 12, 4, 3);
    driver.config_write(window + 8, 4, 20);
    driver.config_write(window + 16, 4, 0);
    assert_eq!(driver.status(), 3, "three bytes are no access");
}

#[test]
fn a_bus_reset_is_as_power_on() {
    let mut driver = Driver::start(blk(), u64::MAX);
    driver.machine.bridge.reset();
    assert!(driver.machine.bridge.is_quiet());
    assert_eq!(driver.config_read(COMMAND, 2), 0);
    assert!(!driver.function.borrow().is_live());
    assert_eq!(driver.function.borrow().config().read(0x42, 2), 2);
    driver.config_write(COMMAND, 2, 6);
    driver.find_structures();
    driver.restart(u64::MAX);
    assert_eq!(driver.status(), 0xf);
}
