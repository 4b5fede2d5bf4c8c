//! Modern virtio over PCI, with its interrupts as MSI-X messages. Virtio 1.2, 4.1.

use super::unusable::Unusable;
use crate::devices::{Device, Registers};
use crate::hypercall::Refused;
use management::virtio::Features;
use management::virtio::layout::{FIRST_DEVICE, NO_VECTOR, VENDOR, VENDOR_CAPABILITY, structure};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Device IDs of devices that also speak as before virtio 1.0, and their types. 4.1.2.1.
const TRANSITIONAL: [(u16, u16); 3] = [(0x1000, 1), (0x1001, 2), (0x1003, 3)];
/// Queues whose notification addresses are kept.
const QUEUES: usize = 8;
/// How often a reset is looked for: more than a millisecond on any bus, and less than a task may hold the CPU.
const RESET_LOOKS: usize = 1000;

/// The common configuration, by offset. 4.1.4.3.
mod common {
    pub const DEVICE_FEATURE_SELECT: u64 = 0;
    pub const DEVICE_FEATURE: u64 = 4;
    pub const DRIVER_FEATURE_SELECT: u64 = 8;
    pub const DRIVER_FEATURE: u64 = 12;
    pub const CONFIG_MESSAGE: u64 = 16;
    pub const STATUS: u64 = 20;
    pub const GENERATION: u64 = 21;
    pub const QUEUE_SELECT: u64 = 22;
    pub const QUEUE_SIZE: u64 = 24;
    pub const QUEUE_MESSAGE: u64 = 26;
    pub const QUEUE_ENABLE: u64 = 28;
    pub const QUEUE_NOTIFY_OFFSET: u64 = 30;
    pub const QUEUE_DESCRIPTORS: u64 = 32;
    pub const QUEUE_DRIVER: u64 = 40;
    pub const QUEUE_DEVICE: u64 = 48;
    pub const LEN: u64 = 56;
}

/// The type of a virtio device; `None`: it is another device, or not one that is known.
pub fn device_type(device: &Device) -> Option<DeviceType> {
    let [vendor, id] = device.info.ids;
    let transitional = TRANSITIONAL.iter().find(|row| row.0 == id).map(|row| row.1);
    let number = transitional.or_else(|| id.checked_sub(FIRST_DEVICE)).filter(|_| vendor == VENDOR)?;
    DeviceType::try_from(number).ok()
}

/// A virtio device's registers. A copy reaches the same device.
#[derive(Clone)]
pub struct Pci {
    kind: DeviceType,
    common: Registers,
    notify: Registers,
    notify_multiplier: u64,
    config: Option<Registers>,
    /// Message of each queue, and of changes of the configuration, once they are bound.
    messages: [u16; QUEUES],
    config_message: u16,
    /// Where each queue is notified.
    doorbells: [u64; QUEUES],
}

impl Pci {
    /// Finds the registers of a virtio device, and switches it on.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(device: &Device, kind: DeviceType) -> Result<Self, Unusable> {
        let (mut common, mut notify, mut config) = (None, None, None);
        for (_, at) in device.capabilities().filter(|capability| capability.0 == VENDOR_CAPABILITY) {
            // The first of each kind that can be reached is the one to use. 4.1.4.1. 4.1.4: kind at 3, BAR at 4,
            // offset at 8, length at 12; 4.1.4.4: multiplier at 16.
            let place = match (device.read(at, 4)? >> 24) as u8 {
                structure::COMMON => &mut common,
                structure::NOTIFY => &mut notify,
                structure::DEVICE => &mut config,
                _ => continue,
            };
            if place.is_none() {
                *place = registers(device, at)?.map(|registers| (registers, at));
            }
        }
        let common = common.filter(|part| part.0.len() >= common::LEN);
        let (common, _) = common.ok_or(Unusable::Lacks("the registers of virtio 1.0"))?;
        let (notify, at) = notify.ok_or(Unusable::Lacks("a place to notify it at"))?;
        let notify_multiplier = device.read(at + 16, 4)?.into();
        device.switch_on()?;
        Ok(Self {
            kind,
            common,
            notify,
            notify_multiplier,
            config: config.map(|part| part.0),
            messages: [NO_VECTOR; QUEUES],
            config_message: NO_VECTOR,
            doorbells: [0; QUEUES],
        })
    }

    /// From the next start on, message `message` says that `queue` has used something.
    pub fn route(&mut self, queue: u16, message: u16) {
        if let Some(place) = self.messages.get_mut(usize::from(queue)) {
            *place = message;
        }
    }

    /// From the next start on, message `message` says that the configuration has changed.
    pub fn route_config(&mut self, message: u16) {
        self.config_message = message;
    }

    /// Resets the device. Answers whether it has followed.
    pub fn reset(&mut self) -> bool {
        self.common.write(common::STATUS, 0_u8);
        (0..RESET_LOOKS).any(|_| self.common.read::<u8>(common::STATUS) == 0)
    }

    /// Whether it says that it can't go on without a reset. 2.1.
    pub fn needs_reset(&self) -> bool {
        self.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    /// Resets the device and agrees with it on those features of `wanted` that it has; virtio 1.0 is one of
    /// them. Queues and [`Transport::finish_init`] follow. 3.1.1.
    ///
    /// # Errors
    /// It does not agree.
    pub fn negotiate(&mut self, wanted: u64) -> Result<Features, Unusable> {
        self.set_status(DeviceStatus::empty());
        self.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        let features = Features(self.read_device_features() & wanted);
        self.write_driver_features(features.0);
        self.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK);
        let agrees = self.get_status().contains(DeviceStatus::FEATURES_OK);
        let modern = features.has(Features::VERSION_1) && agrees;
        modern.then_some(features).ok_or(Unusable::Lacks("what virtio 1.0 asks of it"))
    }

    fn select(&self, queue: u16) {
        self.common.write(common::QUEUE_SELECT, queue);
    }

    /// 64-bit registers are written in halves, which every device takes. 4.1.3.1.
    fn write_address(&self, offset: u64, address: u64) {
        self.common.write(offset, address as u32);
        self.common.write(offset + 4, (address >> 32) as u32);
    }

    fn config_part(&self, offset: usize, len: usize) -> Result<Registers, Error> {
        let config = self.config.ok_or(Error::ConfigSpaceMissing)?;
        config.part(offset as u64, len as u64).ok_or(Error::ConfigSpaceTooSmall)
    }
}

/// The registers that a capability names; `None`: they are not in a BAR that there is.
fn registers(device: &Device, at: u8) -> Result<Option<Registers>, Refused> {
    let bar = device.read(at + 4, 1)? as usize;
    let (offset, len) = (device.read(at + 8, 4)?, device.read(at + 12, 4)?);
    let there = device.info.bars.get(bar).is_some_and(|bar| !bar.is_empty());
    if !there {
        return Ok(None);
    }
    Ok(device.map(bar)?.part(offset.into(), len.into()))
}

impl Transport for Pci {
    fn device_type(&self) -> DeviceType {
        self.kind
    }

    fn read_device_features(&mut self) -> u64 {
        let half = |select: u32| {
            self.common.write(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.common.read::<u32>(common::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    fn write_driver_features(&mut self, features: u64) {
        for (select, half) in [(0_u32, features as u32), (1, (features >> 32) as u32)] {
            self.common.write(common::DRIVER_FEATURE_SELECT, select);
            self.common.write(common::DRIVER_FEATURE, half);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        self.common.read::<u16>(common::QUEUE_SIZE).into()
    }

    fn notify(&mut self, queue: u16) {
        if let Some(&offset) = self.doorbells.get(usize::from(queue)) {
            self.notify.write(offset, queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.common.read::<u8>(common::STATUS).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        if status.is_empty() {
            // One that does not follow shows in what it does next.
            self.reset();
            self.common.write(common::CONFIG_MESSAGE, self.config_message);
            return;
        }
        self.common.write(common::STATUS, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {
        // Only devices before virtio 1.0 want to know.
    }

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        let (Some(&message), Some(doorbell)) =
            (self.messages.get(usize::from(queue)), self.doorbells.get_mut(usize::from(queue)))
        else {
            return;
        };
        self.common.write(common::QUEUE_SELECT, queue);
        let notify = self.common.read::<u16>(common::QUEUE_NOTIFY_OFFSET);
        *doorbell = u64::from(notify) * self.notify_multiplier;
        self.common.write(common::QUEUE_SIZE, size as u16);
        self.common.write(common::QUEUE_MESSAGE, message);
        self.write_address(common::QUEUE_DESCRIPTORS, descriptors);
        self.write_address(common::QUEUE_DRIVER, driver_area);
        self.write_address(common::QUEUE_DEVICE, device_area);
        self.common.write(common::QUEUE_ENABLE, 1_u16);
    }

    fn queue_unset(&mut self, _: u16) {
        // A queue goes with a reset (4.1.4.3.2).
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.common.read::<u16>(common::QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // Messages are not acknowledged. 4.1.5.3.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.common.read::<u8>(common::GENERATION).into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let part = self.config_part(offset, size_of::<T>())?;
        let mut value = T::new_zeroed();
        // The widest accesses that a field's own width allows. 4.1.3.1.
        match value.as_mut_bytes() {
            [byte] => *byte = part.read(0),
            bytes if bytes.len() == 2 => bytes.copy_from_slice(&part.read::<u16>(0).to_le_bytes()),
            bytes if bytes.len().is_multiple_of(4) => {
                for (at, word) in bytes.chunks_mut(4).enumerate() {
                    word.copy_from_slice(&part.read::<u32>(at as u64 * 4).to_le_bytes());
                }
            }
            bytes => bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = part.read(at as u64)),
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<(), Error> {
        let bytes = value.as_bytes();
        let part = self.config_part(offset, bytes.len())?;
        for (at, byte) in bytes.iter().enumerate() {
            part.write(at as u64, *byte);
        }
        Ok(())
    }
}
