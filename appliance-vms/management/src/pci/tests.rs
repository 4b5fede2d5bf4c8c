//! The bus, as a guest sees it.

use super::*;
use crate::virtio::Features;
use crate::virtio::ring::Fault;
use crate::virtio::testkit::{COMMAND, Machine};
use crate::virtio::{Device, Kind, Queues, VirtioFunction};
use alloc::vec;
use core::task::Context;

/// A device with one queue that does nothing.
struct Idle;

impl Device for Idle {
    const KIND: Kind = Kind { number: 2, class: 0x01_00_00 };
    fn features(&self) -> Features {
        Features(0)
    }
    fn queues(&self) -> Vec<u16> {
        vec![8, 8]
    }
    fn configuration(&self) -> Vec<u8> {
        vec![0x5a; 4]
    }
    fn poll(&mut self, _: &mut Context<'_>, _: &mut Queues<'_>) -> Result<(), Fault> {
        Ok(())
    }
    fn reset(&mut self) {}
}

fn machine(slots: &[u8]) -> Machine {
    let mut machine = Machine::new();
    for &slot in slots {
        machine.bridge.plug(slot, VirtioFunction::new(Idle, machine.guest())).unwrap();
    }
    machine
}

#[test]
fn only_what_is_plugged_in_is_there() {
    let mut machine = machine(&[3, 31]);
    let found: Vec<u8> = (0..32).filter(|&slot| machine.config_read(slot, 0, 4) != 0xffff_ffff).collect();
    assert_eq!(found, [0, 3, 31]);
    assert_eq!(machine.config_read(0, 8, 4) >> 16, 0x0600);
    assert_eq!(machine.config_read(3, 0, 4), 0x1042_1af4);
    assert_eq!(machine.config_read(3, 8, 4), 0x0100_0001);
    assert_eq!(machine.config_read(3, 0x1000, 4), 0xffff_ffff, "function 1");
    assert_eq!(machine.config_read(3, 0x100, 4), 0xffff_ffff, "extended capabilities");
    assert_eq!(machine.config_read(3, 0xfff, 8), u64::MAX);
    assert_eq!(machine.bridge.mmio_read(Machine::config_address(32, 0), 4), None);
}

#[test]
fn ports_reach_the_same_registers() {
    let mut machine = machine(&[3]);
    let bridge = &mut machine.bridge;
    assert_eq!(bridge.port_read(0xcfc, 4), Some(0xffff_ffff));
    // Linux's look for "configuration mechanism 1".
    assert!(!bridge.port_write(0xcfb, 1, 1));
    assert!(bridge.port_write(0xcf8, 4, 0x8000_0000));
    assert_eq!(bridge.port_read(0xcf8, 4), Some(0x8000_0000));
    assert_eq!(bridge.port_read(0xcfe, 2), Some(8));
    bridge.port_write(0xcf8, 4, 0x8000_1800);
    assert_eq!(bridge.port_read(0xcfc, 4), Some(0x1042_1af4));
    bridge.port_write(0xcf8, 4, 0x8000_1804);
    bridge.port_write(0xcfc, 2, 6);
    assert_eq!(bridge.port_read(0xcfc, 1), Some(6));
    bridge.port_write(0xcf8, 4, 0x8001_1800);
    assert_eq!(bridge.port_read(0xcfc, 4), Some(0xffff_ffff), "bus 1");
    assert_eq!(bridge.port_read(0xcf9, 1), None, "reset control is not the bridge's");
    assert_eq!(machine.config_read(3, COMMAND, 2), 6);
}

#[test]
fn a_full_slot_or_window_is_refused() {
    let mut machine = machine(&[3]);
    let idle = VirtioFunction::new(Idle, machine.guest());
    for slot in [0, 3, 32] {
        assert_eq!(machine.bridge.plug(slot, idle.clone()), Err(PlugError::NoSuchSlot(slot)));
    }
    // 96 KiB have room for a function's 20, of which 16 are aligned, three times.
    for slot in 4..6 {
        assert_eq!(machine.bridge.plug(slot, VirtioFunction::new(Idle, machine.guest())), Ok(()));
    }
    assert_eq!(machine.bridge.plug(6, idle), Err(PlugError::NoRoom));
}

#[test]
fn doorbells_follow_their_bar() {
    let mut machine = machine(&[3, 4]);
    machine.bridge.take_moved();
    assert_eq!(machine.bridge.doorbells(), []);
    machine.config_write(3, COMMAND, 2, 6);
    assert!(machine.bridge.take_moved());
    assert!(!machine.bridge.take_moved());
    let bell = |address, slot, queue| Doorbell { address, len: 4, slot, queue };
    assert_eq!(machine.bridge.doorbells(), [bell(0xc000_3000, 3, 0), bell(0xc000_3004, 3, 1)]);
    machine.config_write(3, 0x10, 4, 0x1234_5678);
    machine.config_write(3, 0x14, 4, 2);
    assert!(machine.bridge.take_moved());
    assert_eq!(machine.bridge.doorbells(), [bell(0x2_1234_7000, 3, 0), bell(0x2_1234_7004, 3, 1)]);
    assert_eq!(machine.bridge.mmio_read(0x2_1234_6000, 4), Some(0x5a5a_5a5a));
    assert_eq!(machine.bridge.mmio_read(0xc000_2000, 4), None);
    // On another function's BAR, the lower slot answers and has the bells.
    machine.config_write(4, 0x10, 4, 0x1234_4000);
    machine.config_write(4, 0x14, 4, 2);
    machine.config_write(4, COMMAND, 2, 6);
    assert_eq!(machine.bridge.doorbells().len(), 2);
    // On configuration space, that answers.
    machine.config_write(3, 0x14, 4, 0);
    machine.config_write(3, 0x10, 4, 0xb000_0000);
    assert_eq!(machine.bridge.doorbells().iter().map(|bell| bell.slot).collect::<Vec<_>>(), [4, 4]);
    machine.bridge.reset();
    assert!(machine.bridge.take_moved());
    assert_eq!(machine.bridge.doorbells(), []);
    assert_eq!(machine.config_read(3, 0x10, 4), 0xc000_0004);
}
