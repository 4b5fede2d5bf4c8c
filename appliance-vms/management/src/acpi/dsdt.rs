//! The devices that no bus tells of, as AML. ACPI 6.5, 19.6 and 20.
//!
//! ```text
//! \_SB.PCI0  host bridge of bus 0           \_SB.PWRB  power button
//! \_SB.MRES  what belongs to the board      \_SB.GED_  tells of the button
//! \_SB.COM1  first serial port              \_S5_      off
//! \_SB.RTC0  clock
//! ```

use super::{OEM, OEM_TABLE, REVISION};
use crate::models::power::{self, register};
use crate::platform::{BARS_32, ECAM, Ram, gsi, port};
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Device, EISAName, Field, FieldAccessType, FieldEntry,
    FieldLockRule, FieldUpdateRule, IO, If, Interrupt, Local, Memory32Fixed, Method, Name, Notify, OpRegion,
    OpRegionSpace, Package, Path, ResourceTemplate, Scope, Store, ZERO,
};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};
use alloc::vec;
use alloc::vec::Vec;
use hv_abi::memory::PhysRange;

/// Bytes of a table's header. ACPI 6.5, 5.2.6.
const HEADER: u32 = 36;
/// Revision 2: integers have 64 bits.
const INTEGERS_64: u8 = 2;
/// Notification of a power button that was pressed. ACPI 6.5, table 5.159.
const PRESSED: u8 = 0x80;

/// The table, for a guest with so much RAM.
pub(super) struct Dsdt(pub Ram);

impl Aml for Dsdt {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let mut table = Sdt::new(*b"DSDT", HEADER, INTEGERS_64, OEM, OEM_TABLE, REVISION);
        let bridge = HostBridge(self.0);
        let devices = Scope::new("\\_SB_".into(), vec![&bridge, &Board, &Com1, &Rtc, &PowerButton, &Events]);
        let off = Package::new(vec![&power::S5, &ZERO, &ZERO, &ZERO]);
        let mut aml = vec![];
        devices.to_aml_bytes(&mut aml);
        Name::new("_S5_".into(), &off).to_aml_bytes(&mut aml);
        table.append_slice(&aml);
        sink.vec(table.as_slice());
    }
}

/// A range of ports that does not move.
fn ports(range: PhysRange) -> IO {
    IO::new(range.base as u16, range.base as u16, 1, range.len as u8)
}

/// A device with an identity, resources, and what else belongs to it.
fn device(
    sink: &mut dyn AmlSink,
    name: &str,
    identity: &dyn Aml,
    resources: Vec<&dyn Aml>,
    more: &[&dyn Aml],
) {
    let (identity, number) = (Name::new("_HID".into(), identity), Name::new("_UID".into(), &ZERO));
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(resources));
    let mut children: Vec<&dyn Aml> = vec![&identity, &number, &resources];
    children.extend(more);
    Device::new(name.into(), children).to_aml_bytes(sink);
}

/// The bridge to PCI's bus 0, which has memory BARs only. Its devices interrupt by messages: no _PRT.
struct HostBridge(Ram);

impl Aml for HostBridge {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const UNCACHED: AddressSpaceCacheable = AddressSpaceCacheable::NotCacheable;
        let (low, high) = (BARS_32, self.0.bars_64());
        let buses = AddressSpace::new_bus_number(0u16, ((ECAM.len >> 20) - 1) as u16);
        let low = AddressSpace::new_memory(UNCACHED, true, low.base as u32, (low.end() - 1) as u32, None);
        let high = AddressSpace::new_memory(UNCACHED, true, high.base, high.end() - 1, None);
        let conventional = Name::new("_CID".into(), &EISAName::new("PNP0A03"));
        let (segment, bus) = (Name::new("_SEG".into(), &ZERO), Name::new("_BBN".into(), &ZERO));
        device(
            sink,
            "PCI0",
            &EISAName::new("PNP0A08"),
            vec![&buses, &ports(port::PCI_CONFIG), &low, &high],
            &[&conventional, &segment, &bus],
        );
    }
}

/// What nothing else may be placed on: kernels believe the MCFG only if this names its range (PCI
/// Firmware Specification 3.3, 4.1.2, note 2).
struct Board;

impl Aml for Board {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let ecam = Memory32Fixed::new(true, ECAM.base as u32, ECAM.len as u32);
        let (power, timer) = (ports(port::POWER), ports(port::PM_TIMER));
        device(sink, "MRES", &EISAName::new("PNP0C02"), vec![&ecam, &power, &timer], &[]);
    }
}

/// First serial port.
struct Com1;

impl Aml for Com1 {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let interrupt = Interrupt::new(true, true, false, false, gsi::COM1.into());
        device(sink, "COM1", &EISAName::new("PNP0501"), vec![&ports(port::COM1), &interrupt], &[]);
    }
}

/// CMOS clock, without interrupt: its alarm wakes nobody.
struct Rtc;

impl Aml for Rtc {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        device(sink, "RTC0", &EISAName::new("PNP0B00"), vec![&ports(port::RTC)], &[]);
    }
}

/// The power button; [`Events`] says when it was pressed.
struct PowerButton;

impl Aml for PowerButton {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let identity = Name::new("_HID".into(), &EISAName::new("PNP0C0C"));
        Device::new("PWRB".into(), vec![&identity]).to_aml_bytes(sink);
    }
}

/// The generic event device. ACPI 6.5, 5.6.9. Its register says what happened, and reading it
/// forgets that.
struct Events;

impl Aml for Events {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let first = register::port(register::EVENTS) as u16;
        let region = OpRegion::new("EREG".into(), OpRegionSpace::SystemIO, &first, &1u8);
        let field = Field::new(
            "EREG".into(),
            FieldAccessType::Byte,
            FieldLockRule::NoLock,
            FieldUpdateRule::Preserve,
            vec![FieldEntry::Named(*b"STAT", 8)],
        );
        let (status, happened, button) = (Path::new("STAT"), Local(0), Path::new("\\_SB_.PWRB"));
        let look = Store::new(&happened, &status);
        let pressed = And::new(&ZERO, &happened, &power::EVENT_BUTTON);
        let tell = Notify::new(&button, &PRESSED);
        let if_pressed = If::new(&pressed, vec![&tell]);
        let event = Method::new("_EVT".into(), 1, true, vec![&look, &if_pressed]);
        let interrupt = Interrupt::new(true, false, false, false, gsi::EVENT.into());
        device(sink, "GED_", &"ACPI0013", vec![&interrupt], &[&region, &field, &event]);
    }
}
