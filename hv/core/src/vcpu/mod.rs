//! A virtual CPU: its state, what happens before each turn of the guest ([`Vcpu::prepare`]) and after
//! ([`Vcpu::handle`]).
//!
//! The core that runs the vCPU owns it; others reach only its [`Mailbox`]. What a vCPU needs of its VM
//! and of the machine comes through [`World`].

mod devices;
mod exits;
mod interrupts;
mod msrs;
mod nmi;
mod pv_eoi;
mod registers;
#[cfg(test)]
mod tests;

pub use interrupts::Readiness;

use crate::cpu::{Event, Gprs, VirtualCpu};
use crate::emulate::{Bytes, Emulation, GuestMemory};
use crate::exit::Exit;
use crate::kvmclock::{Place, Scale};
use crate::mailbox::Mailbox;
use crate::mtrr::Mtrr;
use crate::policy::Policy;
use crate::policy::msr::Slot;
use crate::policy::tsc::GuestTsc;
use crate::vlapic::{Message, Now, Vlapic};

/// What a vCPU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It runs, or would if it had a core.
    Running,
    /// It waits for an interrupt (`HLT`).
    Halted,
    /// It waits for STARTUP, after INIT or because it is not the first.
    WaitsForStartup,
    /// It waits for the answer to an I/O request.
    WaitsForAnswer,
}

/// Why a VM ends. Nothing else ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// A fault while a double fault was delivered.
    TripleFault,
    /// An instruction on device memory that hv does not carry out.
    Unsupported(Bytes),
    /// The CPU refused the guest's state.
    InvalidState,
    /// A reason to stop that nobody asked for.
    UnknownExit(u64),
    /// A task switch, which hv does not do.
    TaskSwitch,
    /// Code, page tables, or what a delivery needs (its stack, say), at a guest-physical address where no RAM is.
    NoMemory(u64),
}

/// What comes after an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another turn.
    Resume,
    /// Somebody else may have the core first.
    Yield,
    /// Nothing to do until something is in the mailbox, or the timer is due.
    Wait,
    /// The host has an interrupt to take; then another turn.
    HostInterrupt,
    /// The VM ends.
    Stop(StopReason),
}

/// A device access that hv has no model for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccess {
    /// A port, else guest-physical memory.
    pub is_port: bool,
    /// Port or guest-physical address.
    pub address: u64,
    /// 1, 2, 4 or 8.
    pub size: u8,
    /// What is written, or it is a read.
    pub write: Option<u64>,
}

/// What becomes of a [`DeviceAccess`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done; of a read, this is the value.
    Done(u64),
    /// Somebody has been asked; the mailbox will say when the answer is there.
    Later,
}

/// What a vCPU needs of its VM and of the machine.
pub trait World: GuestMemory {
    /// The VM's rules.
    fn policy(&self) -> &Policy;
    /// The host's time stamp counter.
    fn host_tsc(&self) -> u64;
    /// Nanoseconds of the VM when the host's counter is `host_tsc`.
    fn nanos(&self, host_tsc: u64) -> u64;
    /// When the VM's nanoseconds began, in nanoseconds since 1970.
    fn started_at(&self) -> u64;
    /// Delivers a message to whom it is for.
    fn send(&mut self, from: u32, message: Message);
    /// A level-triggered interrupt has ended.
    fn end_of_level_interrupt(&mut self, vector: u8);
    /// A device access of vCPU `from`.
    fn access(&mut self, from: u32, access: DeviceAccess) -> Answer;
    /// The answer that was promised to vCPU `from`, if it is there.
    fn answer(&mut self, from: u32) -> Option<u64>;
    /// A hypercall of Hearth's; the result for RAX. `None`: there is no such call.
    fn hypercall(&mut self, from: u32, number: u64, arguments: [u64; 4]) -> Option<i64>;
    /// vCPU `from` tried an MSR that it has not got.
    fn unknown_msr(&mut self, from: u32, number: u32);
    /// A barrier of PRED_CMD.
    fn barrier(&mut self, which: u64);
    /// XCR0 of the guest; it is in the CPU while the guest is.
    fn xcr0(&self) -> u64;
    /// Sets XCR0; the value has been checked.
    fn set_xcr0(&mut self, value: u64);
    /// A register that hv keeps has changed, and may have to be in the CPU while the guest is.
    fn set_kept(&mut self, slot: Slot, value: u64);
    /// How ticks of the TSC become nanoseconds.
    fn scale(&self) -> Scale;
}

/// A virtual CPU, but for what the vendor's hardware keeps.
#[derive(Debug)]
pub struct Vcpu {
    /// Its number in its VM; also its APIC ID.
    pub index: u32,
    /// General-purpose registers.
    pub gprs: Gprs,
    /// Its local APIC.
    pub apic: Vlapic,
    /// Its time stamp counter.
    pub tsc: GuestTsc,
    /// What it does.
    pub activity: Activity,
    mtrr: Mtrr,
    kept: [u64; Slot::AT_RESET.len()],
    /// Where the guest wants KVM's clock and words.
    places: [Place; msrs::PLACES],
    /// Where the guest may end the interrupt in service without an exit.
    granted: Option<u64>,
    /// To be delivered next, before any interrupt.
    event: Option<Event>,
    nmi_pending: bool,
    nmi: nmi::Blocking,
    watching: (Option<u8>, bool),
    /// What waits for the answer of a device.
    pending: Pending,
}

/// What waits for the answer to a device access.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Nothing,
    /// So many bytes of a register.
    Read {
        gpr: usize,
        size: u8,
    },
    /// Nothing but that it was written.
    Written,
    /// The rest of an instruction.
    Instruction(Emulation),
}

impl Vcpu {
    /// As after RESET; vCPU 0 runs, the others wait for STARTUP. Its counter is zero when the
    /// host's is `tsc_start`.
    pub fn new<C: VirtualCpu>(
        cpu: &mut C,
        index: u32,
        policy: &Policy,
        tsc_start: u64,
        mailbox: &Mailbox,
    ) -> Self {
        let first = index == 0;
        let activity = if first { Activity::Running } else { Activity::WaitsForStartup };
        let mut vcpu = Self {
            index,
            gprs: Gprs::default(),
            apic: Vlapic::new(index, first, policy.physical_bits),
            tsc: GuestTsc::starting_at(tsc_start),
            activity,
            mtrr: Mtrr::default(),
            kept: Slot::AT_RESET,
            places: [Place::default(); msrs::PLACES],
            granted: None,
            event: None,
            nmi_pending: false,
            nmi: nmi::Blocking::Open,
            watching: (None, false),
            pending: Pending::Nothing,
        };
        vcpu.reset_registers(cpu);
        vcpu.publish(mailbox);
        vcpu
    }

    /// A register that hv keeps, and that may have to be in the CPU while the guest is.
    pub fn kept(&self, slot: Slot) -> u64 {
        self.kept[slot as usize]
    }

    /// The time as the guest sees it.
    fn now(&self, world: &impl World) -> Now {
        let host = world.host_tsc();
        Now { nanos: world.nanos(host), tsc: self.tsc.read(host) }
    }

    /// Says under which addresses the local APIC answers, if that has changed.
    #[inline]
    fn publish(&mut self, mailbox: &Mailbox) {
        if let Some(address) = self.apic.changed_address() {
            mailbox.publish(address);
        }
    }

    /// Counts the exit, decides, and answers what comes next.
    #[inline]
    pub fn handle<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        mailbox: &Mailbox,
        exit: Exit,
        bytes: Option<&[u8]>,
    ) -> Verdict {
        mailbox.counts().exit(exit.class());
        self.keep_interrupted(cpu);
        if self.granted.is_some() {
            self.look_at_granted_eoi(world);
        }
        let verdict = self.decide(cpu, world, exit, bytes);
        self.publish(mailbox);
        verdict
    }
}
