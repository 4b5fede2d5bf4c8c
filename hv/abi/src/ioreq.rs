//! Requests and events: how hv tells the management VM that it is wanted.
//!
//! **I/O requests.** An access of a VM to a port or to guest-physical memory that hv has no model for
//! stands in a page of the management VM's RAM, one page a VM and one slot a vCPU, as
//! [`crate::manifest::VmManifest::io_page`] said. hv fills the slot, makes its state
//! [`State::REQUESTED`] and sets the VM's event; the vCPU waits. The management VM writes what a read
//! finds into the slot, makes it [`State::ANSWERED`], and calls `io.complete`. hv reads the slot once,
//! and only its state and data.
//!
//! **Events.** [`EVENTS`] bits in a page of the management VM's RAM (`io.events`): event `n` is bit
//! `n % 64` of the `n / 64`-th word. hv sets bits and never clears one; setting one that was clear
//! raises the interrupt. The management VM takes a word with an exchange.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

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
    /// Guest-physical memory.
    pub const MEMORY: Self = Self(0);
    /// An I/O port.
    pub const PORT: Self = Self(1);
}

/// One access; as words: state to size, address, data, zero.
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
const _: () = assert!(size_of::<Slot>() * crate::manifest::MAX_VCPUS <= 4096);

/// Flag of a doorbell's address: it is a port.
pub const PORT: u64 = 1 << 63;
/// Events in the event page.
pub const EVENTS: u32 = 1024;
/// No event.
pub const NO_EVENT: u32 = u32::MAX;
