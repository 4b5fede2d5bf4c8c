//! How a VM's first vCPU starts.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Layout version of [`StartState`].
pub const VERSION: u32 = 1;
/// RAM is cut in pieces of this many bytes.
pub const GRANULE: u64 = 2 << 20;
/// How a vCPU begins. Open.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct StartMode(pub u32);

impl StartMode {
    /// As after RESET, at the reset vector (APM 2, 14.1.3).
    pub const RESET: Self = Self(0);
    /// 32-bit protected mode, flat segments, paging off: Multiboot and PVH kernels.
    pub const FLAT_32: Self = Self(1);
    /// Long mode, flat segments, paging on with CR3: Linux's 64-bit boot protocol.
    pub const LONG: Self = Self(2);
}

/// Where vCPU 0 of a VM begins.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct StartState {
    /// [`VERSION`].
    pub version: u32,
    /// How.
    pub mode: StartMode,
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Root of the guest's page tables; [`StartMode::LONG`] only.
    pub cr3: u64,
    /// RAX, RBX, RSI, RDI.
    pub registers: [u64; 4],
}

const _: () = assert!(size_of::<StartState>() == 64);
