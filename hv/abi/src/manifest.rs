//! What the management VM tells hv about a VM that it wants cut, and how its first vCPU starts.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Layout version of [`VmManifest`] and [`StartState`].
pub const VERSION: u32 = 1;
/// RAM is cut in pieces of this many bytes.
pub const GRANULE: u64 = 2 << 20;
/// Guest-physical RAM below this address; what does not fit follows at 4 GiB.
pub const LOW_RAM_END: u64 = 0xc000_0000;
/// Where RAM goes on.
pub const HIGH_RAM: u64 = 1 << 32;
/// A vCPU that may run on the core of hv's choice.
pub const ANY_CORE: u8 = 0xff;

/// A VM that is wanted.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VmManifest {
    /// [`VERSION`].
    pub version: u32,
    /// vCPUs, 1 to 32.
    pub vcpus: u32,
    /// Name, `[a-z][a-z0-9-]{0,14}`, zero-filled.
    pub name: [u8; 16],
    /// RAM in bytes; a multiple of [`GRANULE`].
    pub memory: u64,
    /// 0 urgent, 1 front, 2 back.
    pub class: u32,
    /// Zero.
    pub reserved: u32,
    /// Guest-physical address, in the caller's RAM, of the VM's I/O request page; 0 = none: accesses
    /// to what hv does not have read all ones and are otherwise ignored.
    pub io_page: u64,
    /// The core that each vCPU is pinned to, or [`ANY_CORE`].
    pub cores: [u8; 32],
}

const _: () = assert!(size_of::<VmManifest>() == 80);

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
