//! What became of a VM, and what it used.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a VM does. Open.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VmState(pub u32);

impl VmState {
    /// It has been cut and was not started yet.
    pub const CREATED: Self = Self(1);
    /// It runs.
    pub const RUNNING: Self = Self(2);
    /// It is paused.
    pub const PAUSED: Self = Self(3);
    /// It has ended.
    pub const STOPPED: Self = Self(4);
    /// Its memory is being cleared.
    pub const LEAVING: Self = Self(5);
}

/// Most classes of exits; [`EXIT_CLASSES`] names the ones in use.
pub const MAX_CLASSES: usize = 32;

/// The classes' names, in the order of [`VmStatus::exits`].
pub const EXIT_CLASSES: [&str; 28] = [
    "cpuid",
    "hlt",
    "pause",
    "hypercall",
    "rdmsr",
    "wrmsr",
    "port",
    "memory",
    "exception",
    "host-interrupt",
    "host-nmi",
    "interrupt-window",
    "iret",
    "shutdown",
    "task-switch",
    "control-register",
    "debug-register",
    "xsetbv",
    "wbinvd",
    "invd",
    "mwait",
    "rdpmc",
    "rdtsc",
    "no-such-instruction",
    "host-init",
    "host-smi",
    "invalid",
    "unknown",
];

/// Most bytes of a reason.
pub const MAX_REASON: usize = 88;

/// What hv knows of a VM.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct VmStatus {
    /// What it does.
    pub state: VmState,
    /// Its vCPUs.
    pub vcpus: u32,
    /// Bytes of RAM.
    pub memory: u64,
    /// Nanoseconds that its vCPUs had a core, what hv did for them included.
    pub cpu_nanos: u64,
    /// Accesses to MSRs that it has not got.
    pub unknown_msrs: u64,
    /// The last of them.
    pub last_unknown_msr: u32,
    /// Bytes of the reason; 0 = none.
    pub reason_len: u32,
    /// Exits by class ([`EXIT_CLASSES`]), of all its vCPUs since it was started.
    pub exits: [u64; MAX_CLASSES],
    /// Why it ended: a sentence, UTF-8.
    pub reason: [u8; MAX_REASON],
}

const _: () = assert!(size_of::<VmStatus>() == 384);
