//! Numbers of virtio over PCI that a device has and its driver looks for (virtio 1.2, 2.7 and 4.1).

/// The vendor of all virtio devices (4.1.2).
pub const VENDOR: u16 = 0x1af4;
/// Numbers of devices begin here; the rest is the type (4.1.2.1).
pub const FIRST_DEVICE: u16 = 0x1040;
/// Identifier of a vendor's capability (PCI 3.0, appendix H).
pub const VENDOR_CAPABILITY: u8 = 9;
/// "No vector": what does not interrupt (4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

/// What a vendor's capability leads to (4.1.4).
#[allow(missing_docs, reason = "they are what the specification calls them")]
pub mod structure {
    pub const COMMON: u8 = 1;
    pub const NOTIFY: u8 = 2;
    pub const ISR: u8 = 3;
    pub const DEVICE: u8 = 4;
    /// Reaches the other structures through configuration space.
    pub const WINDOW: u8 = 5;
}

/// Flags of a descriptor (2.7.5).
pub mod descriptor {
    /// Another one follows.
    pub const NEXT: u16 = 1;
    /// The device writes; else it reads.
    pub const WRITABLE: u16 = 2;
    /// It is a table of descriptors.
    pub const INDIRECT: u16 = 4;
}
