//! What the management VM tells hv about a VM that it wants cut, and how its first vCPU starts.

use crate::memory::PhysRange;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Layout version of [`VmManifest`] and [`StartState`].
pub const VERSION: u32 = 1;
/// RAM is cut in pieces of this many bytes.
pub const GRANULE: u64 = 2 << 20;
/// Most vCPUs of a VM.
pub const MAX_VCPUS: usize = 16;
/// Most pieces of RAM that a VM has.
pub const MAX_PIECES: usize = 4;
/// Where a VM's I/O APIC and local APICs are: no RAM lies there.
pub const APICS: PhysRange = PhysRange::new(0xfec0_0000, 0x40_0000);
/// A vCPU that may live on the core of hv's choice.
pub const ANY_CORE: u8 = 0xff;

/// A VM that is wanted.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VmManifest {
    /// [`VERSION`].
    pub version: u32,
    /// vCPUs, 1 to [`MAX_VCPUS`].
    pub vcpus: u32,
    /// Name, `[a-z][a-z0-9-]{0,14}`, zero-filled.
    pub name: [u8; 16],
    /// Its RAM: guest-physical ranges in multiples of [`GRANULE`], apart from each other and from
    /// [`APICS`]; empty = unused. hv finds host memory for each, in one piece.
    pub ram: [PhysRange; MAX_PIECES],
    /// 0 urgent, 1 front, 2 back.
    pub class: u32,
    /// The event that says that a vCPU of it waits for an answer.
    pub io_event: u32,
    /// The event that says that it ended by itself.
    pub end_event: u32,
    /// Zero.
    pub reserved: u32,
    /// Its I/O request page ([`crate::ioreq`]), in the caller's RAM; 0 = none: what hv does not have
    /// reads all ones, and what is written there is dropped.
    pub io_page: u64,
    /// The core that each vCPU is pinned to, or [`ANY_CORE`].
    pub cores: [u8; MAX_VCPUS],
}

const _: () = assert!(size_of::<VmManifest>() == 128);

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
