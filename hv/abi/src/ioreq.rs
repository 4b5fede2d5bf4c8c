//! The I/O request page: what a VM did to a device that hv does not have.
//!
//! One page a VM, in the management VM's memory; one slot a vCPU. hv fills the slot, sets its state
//! to [`State::REQUESTED`] and the VM's request event; the vCPU waits. The management VM reads the
//! slot, writes the data of a read, sets [`State::ANSWERED`] and calls `io.complete`. hv copies the
//! slot out once and believes nothing else in it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most vCPUs of a VM: slots in a page.
pub const SLOTS: usize = 32;

/// Whose turn a slot is. Open.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct State(pub u32);

impl State {
    /// Nobody's.
    pub const FREE: Self = Self(0);
    /// The management VM's.
    pub const REQUESTED: Self = Self(1);
    /// hv's.
    pub const ANSWERED: Self = Self(2);
}

/// Where the access went. Open.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Space(pub u8);

impl Space {
    /// An I/O port.
    pub const PORT: Self = Self(0);
    /// Guest-physical memory.
    pub const MEMORY: Self = Self(1);
}

/// One access.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Slot {
    /// Whose turn it is.
    pub state: State,
    /// Where it went.
    pub space: Space,
    /// 0 = read, 1 = write.
    pub write: u8,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// Zero.
    pub reserved: u8,
    /// Port or guest-physical address.
    pub address: u64,
    /// What is written, or was read; bytes above the size are zero.
    pub data: u64,
    /// Zero.
    pub reserved_2: u64,
}

const _: () = assert!(size_of::<Slot>() == 32);
const _: () = assert!(size_of::<Slot>() * SLOTS <= 4096);

/// Event 0 of the event page: some vCPU of some VM waits for an answer.
pub const REQUEST_EVENT: u32 = 0;
/// Events in the event page: one bit each.
pub const EVENTS: u32 = 1024;
