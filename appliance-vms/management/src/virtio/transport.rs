//! What driver and device agree on: the common configuration structure (virtio 1.2, 4.1.4.3), the device
//! status (2.1) and the features (2.2).

use super::Features;
use super::layout::NO_VECTOR;
use super::ring::{Fault, QueueState, Ring};
use crate::memory::GuestMemory;
use crate::pci::bytes;
use alloc::vec::Vec;

/// Bits of the ISR status (4.1.4.5).
pub(super) const ISR_QUEUE: u8 = 1;
pub(super) const ISR_CONFIG: u8 = 2;
/// Bytes of the common configuration structure.
pub(super) const COMMON_BYTES: u64 = 60;

/// Bits of the device status (2.1).
pub(super) mod status {
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 0x40;
    /// What a driver can set: ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, FAILED.
    pub const WRITABLE: u8 = 0x8f;
}

/// The fields of the common configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    DeviceFeatureSelect,
    DeviceFeature,
    DriverFeatureSelect,
    DriverFeature,
    ConfigVector,
    QueueCount,
    Status,
    Generation,
    QueueSelect,
    QueueSize,
    QueueVector,
    QueueEnable,
    NotifyOffset,
    Descriptors,
    Available,
    Used,
}

/// Where each field is, and how many bytes it has.
const FIELDS: [(u64, u8, Field); 16] = [
    (0, 4, Field::DeviceFeatureSelect),
    (4, 4, Field::DeviceFeature),
    (8, 4, Field::DriverFeatureSelect),
    (12, 4, Field::DriverFeature),
    (16, 2, Field::ConfigVector),
    (18, 2, Field::QueueCount),
    (20, 1, Field::Status),
    (21, 1, Field::Generation),
    (22, 2, Field::QueueSelect),
    (24, 2, Field::QueueSize),
    (26, 2, Field::QueueVector),
    (28, 2, Field::QueueEnable),
    (30, 2, Field::NotifyOffset),
    (32, 8, Field::Descriptors),
    (40, 8, Field::Available),
    (48, 8, Field::Used),
];

/// A queue, and the most entries it may have.
#[derive(Clone, Copy, Debug)]
struct Queue {
    most: u16,
    state: QueueState,
    /// Work that is left of this turn.
    left: u16,
}

/// The state of the transport.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    offered: u64,
    accepted: u64,
    feature_select: [u32; 2],
    config_vector: u16,
    vectors: u16,
    status: u8,
    generation: u8,
    queue_select: u16,
    queues: Vec<Queue>,
    /// The status before a reset that waits until nothing is on its way any more.
    resetting: Option<u8>,
    fault: Option<Fault>,
    /// The driver is owed an interrupt for its configuration.
    config_changed: bool,
}

impl Transport {
    /// For a device that offers `features`, with a queue for each of `queues`, its most entries, on a
    /// function with `vectors` vectors.
    pub fn new(features: u64, queues: &[u16], vectors: u16) -> Self {
        let queues =
            queues.iter().map(|&most| Queue { most, state: QueueState::default(), left: 0 }).collect();
        let mut transport = Self {
            offered: features,
            accepted: 0,
            feature_select: [0; 2],
            config_vector: NO_VECTOR,
            vectors,
            status: 0,
            generation: 0,
            queue_select: 0,
            queues,
            resetting: None,
            fault: None,
            config_changed: false,
        };
        transport.clear();
        transport
    }

    /// As after power-on.
    fn clear(&mut self) {
        self.accepted = 0;
        self.feature_select = [0; 2];
        self.config_vector = NO_VECTOR;
        self.status = 0;
        self.generation = 0;
        self.queue_select = 0;
        self.fault = None;
        self.config_changed = false;
        for queue in &mut self.queues {
            queue.state = QueueState { size: queue.most, vector: NO_VECTOR, ..QueueState::default() };
        }
    }

    /// Resets; until [`Transport::reset_done`] the driver sees that it goes on.
    pub fn reset(&mut self) {
        let before = self.resetting.unwrap_or(self.status);
        self.clear();
        self.resetting = (before != 0).then_some(before);
    }

    /// Nothing that was begun before a reset is on its way any more.
    pub fn reset_done(&mut self) {
        self.resetting = None;
    }

    /// What both sides can do.
    pub fn features(&self) -> Features {
        Features(self.accepted)
    }

    /// The driver has started the device, and neither has broken.
    pub fn is_live(&self) -> bool {
        self.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }

    /// What the driver did wrong, if it did.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The driver did something wrong: the device needs a reset (2.1.2).
    pub fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.status |= status::NEEDS_RESET;
        self.config_changed = true;
    }

    /// The device's configuration has changed.
    pub fn configuration_changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.config_changed = true;
    }

    /// The vector of a configuration interrupt that is owed (2.3).
    pub fn take_config_interrupt(&mut self) -> Option<u16> {
        let owed = core::mem::take(&mut self.config_changed);
        (owed && self.status & status::DRIVER_OK != 0).then_some(self.config_vector)
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> u16 {
        self.queues.len() as u16
    }

    /// A queue's state.
    pub fn queue(&self, number: u16) -> Option<&QueueState> {
        self.queues.get(usize::from(number)).map(|queue| &queue.state)
    }

    /// An enabled queue's ring.
    pub fn ring<'a>(&'a mut self, number: u16, memory: &'a dyn GuestMemory) -> Option<Ring<'a>> {
        let features = self.features();
        let queue = &mut self.queues.get_mut(usize::from(number)).filter(|queue| queue.state.enabled)?.state;
        Some(Ring {
            queue,
            memory,
            event_index: features.has(Features::EVENT_INDEX),
            indirect: features.has(Features::INDIRECT),
        })
    }

    /// Every queue may have `work` done in a turn that begins.
    pub fn begin_turn(&mut self, work: u16) {
        self.queues.iter_mut().for_each(|queue| queue.left = work);
    }

    /// `work` was done for a queue; how much is left of its turn.
    pub fn work(&mut self, number: u16, work: u16) -> u16 {
        let Some(queue) = self.queues.get_mut(usize::from(number)) else { return 0 };
        queue.left = queue.left.saturating_sub(work);
        queue.left
    }

    /// Reads the common configuration.
    pub fn read(&self, offset: u64, size: u8) -> u64 {
        let mut image = [0; COMMON_BYTES as usize];
        for (first, len, field) in FIELDS {
            bytes::write(&mut image, |_| 0xff, first, len, self.get(field));
        }
        bytes::read(&image, offset, size)
    }

    /// Writes the common configuration: each field that is touched changes in the bytes that are written.
    /// Whether the driver has asked for a reset.
    pub fn write(&mut self, offset: u64, size: u8, value: u64) -> bool {
        let mut reset = false;
        for (first, len, field) in FIELDS {
            if !bytes::touches(offset, size, first, u64::from(len)) {
                continue;
            }
            let mut field_bytes = self.get(field).to_le_bytes();
            for at in (0..u64::from(len)).filter(|at| bytes::touches(offset, size, first + at, 1)) {
                let byte = value >> (8 * (first + at - offset).min(7));
                bytes::write(&mut field_bytes, |_| 0xff, at, 1, byte);
            }
            reset |= self.set(field, u64::from_le_bytes(field_bytes));
        }
        reset
    }

    fn selected(&self) -> Option<&Queue> {
        self.queues.get(usize::from(self.queue_select))
    }

    fn get(&self, field: Field) -> u64 {
        let queue = self.selected();
        let state = queue.map_or(QueueState::default(), |queue| queue.state);
        match field {
            Field::DeviceFeatureSelect => self.feature_select[0].into(),
            Field::DeviceFeature => word(self.offered, self.feature_select[0]),
            Field::DriverFeatureSelect => self.feature_select[1].into(),
            Field::DriverFeature => word(self.accepted, self.feature_select[1]),
            Field::ConfigVector => self.config_vector.into(),
            Field::QueueCount => self.queues.len() as u64,
            Field::Status => self.resetting.unwrap_or(self.status).into(),
            Field::Generation => self.generation.into(),
            // A queue's number is its place among the notifications, too.
            Field::QueueSelect | Field::NotifyOffset => self.queue_select.into(),
            Field::QueueSize => state.size.into(),
            Field::QueueVector => queue.map_or(NO_VECTOR, |queue| queue.state.vector).into(),
            Field::QueueEnable => state.enabled.into(),
            Field::Descriptors => state.descriptors,
            Field::Available => state.available,
            Field::Used => state.used,
        }
    }

    fn set(&mut self, field: Field, value: u64) -> bool {
        match field {
            Field::DeviceFeatureSelect => self.feature_select[0] = value as u32,
            Field::DriverFeatureSelect => self.feature_select[1] = value as u32,
            Field::DriverFeature => self.accept(value as u32),
            Field::ConfigVector => self.config_vector = self.vector(value as u16),
            Field::Status => return self.set_status(value as u8),
            Field::QueueSelect => self.queue_select = value as u16,
            _ => self.set_queue(field, value),
        }
        false
    }

    /// A vector that the function has, or none: the driver reads it back to see.
    fn vector(&self, vector: u16) -> u16 {
        if vector < self.vectors { vector } else { NO_VECTOR }
    }

    fn accept(&mut self, value: u32) {
        if self.status & status::FEATURES_OK == 0 {
            let shift = match self.feature_select[1] {
                0 => 0,
                1 => 32,
                _ => return,
            };
            self.accepted = self.accepted & !(0xffff_ffff << shift) | u64::from(value) << shift;
        }
    }

    /// The driver only adds bits, or writes zero to reset.
    fn set_status(&mut self, value: u8) -> bool {
        if value == 0 {
            return true;
        }
        if self.resetting.is_some() {
            return false;
        }
        let mut added = value & status::WRITABLE & !self.status;
        let agreed = self.accepted & !self.offered == 0 && self.features().has(Features::VERSION_1);
        if !agreed {
            added &= !status::FEATURES_OK;
        }
        if (self.status | added) & status::FEATURES_OK == 0 {
            added &= !status::DRIVER_OK;
        }
        self.status |= added;
        false
    }

    fn set_queue(&mut self, field: Field, value: u64) {
        let vector = self.vector(value as u16);
        let agreed = self.status & status::FEATURES_OK != 0;
        let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else { return };
        if field == Field::QueueVector {
            queue.state.vector = vector;
            return;
        }
        // An enabled queue stays as it is until the device is reset.
        if queue.state.enabled {
            return;
        }
        match field {
            Field::QueueSize => queue.state.size = value as u16,
            Field::Descriptors => queue.state.descriptors = value,
            Field::Available => queue.state.available = value,
            Field::Used => queue.state.used = value,
            Field::QueueEnable if value & 1 == 1 && agreed => match queue.state.check() {
                Ok(()) if queue.state.size <= queue.most => queue.state.enabled = true,
                _ => self.fail(Fault::Queue),
            },
            _ => {}
        }
    }
}

/// One of the 32-bit words of `features`; there are two.
fn word(features: u64, select: u32) -> u64 {
    match select {
        0 => features & 0xffff_ffff,
        1 => features >> 32,
        _ => 0,
    }
}
