//! Why a guest stopped running: every reason there is, in one vendor-neutral enum.
//!
//! The vendor layer names the reason and carries what the CPU says about it; it decides nothing.
//! Names and meanings: APM 2, chapter 15.9 to 15.14 and appendix C; SDM 3, chapter 28.

use hv_abi::status::EXIT_CLASSES;

/// Direction of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The guest wants to know.
    Read,
    /// The guest wants to change.
    Write,
}

/// `IN`, `OUT` and their string forms. APM 2, 15.10.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortAccess {
    /// First port.
    pub port: u16,
    /// Bytes: 1, 2 or 4.
    pub size: u8,
    /// Read = `IN`.
    pub access: Access,
    /// `INS`, `OUTS`.
    pub string: bool,
    /// With a `REP` prefix.
    pub repeat: bool,
    /// The instruction after it.
    pub next_rip: u64,
}

/// An access to guest-physical memory that the nested page tables don't allow. APM 2, 15.25.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NestedFault {
    /// Guest-physical address.
    pub address: u64,
    /// What was tried.
    pub access: Access,
    /// It was an instruction fetch.
    pub fetch: bool,
    /// There is a mapping, but it does not allow this.
    pub present: bool,
    /// It happened while the guest's own page tables were read.
    pub in_page_walk: bool,
}

/// A register that an intercepted `MOV` touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRegister {
    /// CR0, and `LMSW`, `CLTS`.
    Cr0,
    /// CR3.
    Cr3,
    /// CR4.
    Cr4,
    /// CR8, the task priority.
    Cr8,
}

/// Why the guest stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// `CPUID`.
    Cpuid,
    /// `HLT`.
    Halt,
    /// `PAUSE`, as often as the vendor layer lets pass.
    Pause,
    /// `VMMCALL` or `VMCALL`.
    Hypercall,
    /// `RDMSR` or `WRMSR`; the number is in RCX.
    Msr(Access),
    /// A port.
    Port(PortAccess),
    /// Guest-physical memory.
    Memory(NestedFault),
    /// An exception that is intercepted, with its error code where it has one.
    Exception {
        /// Its vector.
        vector: u8,
        /// Its error code, or 0.
        error: u32,
        /// CR2 of a page fault.
        address: u64,
    },
    /// A physical interrupt is waiting for the host.
    HostInterrupt,
    /// A physical NMI is waiting for the host.
    HostNmi,
    /// The guest can now take an interrupt.
    InterruptWindow,
    /// `IRET`: NMIs are no longer blocked once it has run.
    Iret,
    /// Triple fault.
    Shutdown,
    /// A task switch, which long mode does not have and hv does not do for legacy guests.
    TaskSwitch,
    /// `MOV` to or from a control register.
    Control(ControlRegister, Access),
    /// `MOV` to or from a debug register: its number.
    Debug(u8, Access),
    /// `XSETBV`.
    Xsetbv,
    /// `WBINVD`, `WBNOINVD`: all of the guest's memory is coherent, so nothing is owed.
    WriteBack,
    /// `INVD`.
    Invalidate,
    /// `MONITOR`, `MWAIT` and their relatives.
    MonitorWait,
    /// `RDPMC`.
    PerformanceCounter,
    /// `RDTSC`, `RDTSCP`.
    TimeStamp,
    /// `RSM`, `SKINIT`, `VMRUN`, `VMXON` …: instructions a machine without them has not got.
    NoSuchInstruction,
    /// INIT arrived at the physical CPU.
    HostInit,
    /// A system management interrupt.
    HostSmi,
    /// The vendor layer's own state was refused by the CPU: our bug, or a broken guest state.
    Invalid,
    /// A reason that is intercepted by nobody here, or not known: its number.
    Unknown(u64),
}

/// How many [`Exit::class`]es there are; [`EXIT_CLASSES`] names them.
pub const CLASSES: usize = EXIT_CLASSES.len();

impl Exit {
    /// The class it is counted in, below [`CLASSES`].
    pub const fn class(&self) -> usize {
        match self {
            Self::Cpuid => 0,
            Self::Halt => 1,
            Self::Pause => 2,
            Self::Hypercall => 3,
            Self::Msr(Access::Read) => 4,
            Self::Msr(Access::Write) => 5,
            Self::Port(_) => 6,
            Self::Memory(_) => 7,
            Self::Exception { .. } => 8,
            Self::HostInterrupt => 9,
            Self::HostNmi => 10,
            Self::InterruptWindow => 11,
            Self::Iret => 12,
            Self::Shutdown => 13,
            Self::TaskSwitch => 14,
            Self::Control(..) => 15,
            Self::Debug(..) => 16,
            Self::Xsetbv => 17,
            Self::WriteBack => 18,
            Self::Invalidate => 19,
            Self::MonitorWait => 20,
            Self::PerformanceCounter => 21,
            Self::TimeStamp => 22,
            Self::NoSuchInstruction => 23,
            Self::HostInit => 24,
            Self::HostSmi => 25,
            Self::Invalid => 26,
            Self::Unknown(_) => 27,
        }
    }
}
