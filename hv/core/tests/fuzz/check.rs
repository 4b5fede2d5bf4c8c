//! What must be true after every step, whatever the guest did.

use crate::world::{Shared, Work};
use hv_core::cpu::{Event, Gprs, Register, SegmentName, VirtualCpu, gpr};
use hv_core::emulate::Mode;
use hv_core::exit::{Access, ControlRegister, Exit};
use hv_core::features::Vendor;
use hv_core::mailbox::{Mailbox, Wish};
use hv_core::testkit::FakeCpu;
use hv_core::vcpu::{Activity, StopReason, Vcpu, Verdict};
use hv_core::vlapic::{Client, Message, Now, Vlapic};
use hv_defs::control::{cr4, rflags, xcr0};
use hv_defs::msr::{self, efer};

/// DR6.BS.
const SINGLE_STEP: u64 = 1 << 14;
/// Most that an exit may cost which carries an instruction out: 64 elements of a string, each with
/// eight parts at devices, and so nine goes at it; a go translates at most nine addresses by five
/// tables, and eight times if the accessed bits can't be set.
const MOST_OF_AN_INSTRUCTION: Work =
    Work { memory: 64 * 9 * 9 * 8 * 10, devices: 64 * 8, messages: 64 * 8 * 24, unknown_msrs: (0, 0) };
/// Most of any other: two pages with instruction bytes, the 128 messages of `KVM_HC_SEND_IPI`.
const MOST: Work = Work { memory: 2 * 8 * 10 + 2, devices: 1, messages: 128, unknown_msrs: (1, 0) };

const REGISTERS: [Register; 22] = [
    Register::Rip,
    Register::Rflags,
    Register::Cr0,
    Register::Cr2,
    Register::Cr3,
    Register::Cr4,
    Register::Cr8,
    Register::Efer,
    Register::Dr6,
    Register::Dr7,
    Register::Pat,
    Register::Star,
    Register::Lstar,
    Register::Cstar,
    Register::Sfmask,
    Register::KernelGsBase,
    Register::SysenterCs,
    Register::SysenterEsp,
    Register::SysenterEip,
    Register::DebugCtl,
    Register::NextRip,
    Register::TscOffset,
];
const SEGMENTS: [SegmentName; 10] = [
    SegmentName::Es,
    SegmentName::Cs,
    SegmentName::Ss,
    SegmentName::Ds,
    SegmentName::Fs,
    SegmentName::Gs,
    SegmentName::Gdtr,
    SegmentName::Ldtr,
    SegmentName::Idtr,
    SegmentName::Tr,
];

/// A vCPU before a step.
pub struct Before {
    pub cpu: FakeCpu,
    pub gprs: Gprs,
    /// INIT or STARTUP is in the mail.
    pub reset: bool,
}

impl Before {
    pub fn new(cpu: &FakeCpu, vcpu: &Vcpu, mailbox: &Mailbox) -> Self {
        let mail = mailbox.take();
        mailbox.post(mail);
        let starts = vcpu.activity == Activity::WaitsForStartup && mail.has(Wish::STARTUP);
        let reset = starts || mail.has(Wish::INIT);
        Self { cpu: cpu.clone(), gprs: vcpu.gprs, reset }
    }

    /// The registers that have changed.
    fn changed<'a>(&'a self, cpu: &'a FakeCpu) -> impl Iterator<Item = Register> + 'a {
        REGISTERS.into_iter().filter(|&name| self.cpu.get(name) != cpu.get(name))
    }

    fn changed_gprs(&self, gprs: &Gprs) -> Vec<usize> {
        (0..16).filter(|&at| self.gprs.0[at] != gprs.0[at]).collect()
    }

    /// RIP stays, or moves on by one instruction; flags change as arithmetic changes them.
    fn moved_on(&self, cpu: &FakeCpu) -> bool {
        let mask = if Mode::of(cpu) == Mode::Bits64 { u64::MAX } else { 0xffff_ffff };
        let moved = cpu.get(Register::Rip).wrapping_sub(self.cpu.get(Register::Rip)) & mask;
        assert!(
            moved <= 15 || cpu.get(Register::Rip) == self.cpu.get(Register::Rip),
            "RIP moved by {moved:#x}"
        );
        let flags = cpu.get(Register::Rflags) ^ self.cpu.get(Register::Rflags);
        // TF: hv steps over the IRET that an NMI waits for.
        assert_eq!(flags & !(rflags::STATUS | rflags::RF | rflags::TF), 0, "flags {flags:#x} changed");
        let debug = cpu.get(Register::Dr6) ^ self.cpu.get(Register::Dr6);
        assert_eq!(debug & !SINGLE_STEP, 0, "DR6 changed by {debug:#x}");
        moved != 0
    }
}

/// After [`Vcpu::handle`].
pub fn handled(before: &Before, exit: Exit, cpu: &FakeCpu, vcpu: &Vcpu, shared: &Shared, verdict: Verdict) {
    verdict_is_lawful(exit, cpu, vcpu, verdict);
    bounded(shared, matches!(exit, Exit::Memory(_) | Exit::Port(_)));
    let moved = before.moved_on(cpu);
    if let Verdict::Stop(StopReason::Unsupported(_)) = verdict {
        assert!(
            !moved && shared.work.get().devices == 0,
            "half an instruction was done that hv does not know"
        );
    }
    let refused = matches!(
        exit,
        Exit::NoSuchInstruction | Exit::MonitorWait | Exit::PerformanceCounter | Exit::Exception { .. }
    );
    assert!(!moved || !refused, "RIP moved past what the guest may not do");
    if let Exit::Port(port) = exit
        && port.string
    {
        // A part of a register at least, of 16 bits.
        let elements = before.gprs.0[gpr::RCX].wrapping_sub(vcpu.gprs.0[gpr::RCX]) as u16;
        assert!(elements <= 64, "{elements} elements without a look at interrupts");
    }
    let number = before.gprs.low(gpr::RCX);
    for name in before.changed(cpu) {
        let may = match name {
            Register::Rip | Register::Rflags | Register::Dr6 => true,
            Register::Cr2 => {
                matches!(exit, Exit::Memory(_) | Exit::Port(_) | Exit::Exception { vector: 14, .. })
            }
            // Through the local APIC, in its page or its MSRs.
            Register::Cr8 => {
                let apic = matches!(exit, Exit::Memory(_) | Exit::Port(_) | Exit::Msr(Access::Write));
                apic && cpu.get(name) == vcpu.apic.cr8()
            }
            Register::Cr4 => exit == Exit::Control(ControlRegister::Cr4, Access::Write),
            _ => exit == Exit::Msr(Access::Write) && msrs_of(name).contains(&number),
        };
        assert!(may, "{name:?} changed");
    }
    for name in SEGMENTS {
        let (old, new) = (before.cpu.segment(name), cpu.segment(name));
        let its_base = [(SegmentName::Fs, 0xc000_0100), (SegmentName::Gs, msr::GS_BASE)];
        let base = exit == Exit::Msr(Access::Write) && its_base.contains(&(name, number));
        assert!(
            old == new || base && (hv_core::cpu::Segment { base: old.base, ..new }) == old,
            "{name:?} changed"
        );
        assert!(old == new || canonical(new.base), "{name:?} has base {:#x}", new.base);
    }
    let gprs = before.changed_gprs(&vcpu.gprs);
    let may: &[usize] = match exit {
        Exit::Cpuid => &[gpr::RAX, gpr::RBX, gpr::RCX, gpr::RDX],
        Exit::Msr(Access::Read) if moved => &[gpr::RAX, gpr::RDX],
        Exit::Hypercall => &[gpr::RAX],
        Exit::Port(port) if port.string => &[gpr::RCX, gpr::RSI, gpr::RDI],
        Exit::Port(port) if port.access == Access::Read => &[gpr::RAX],
        Exit::Memory(_) => &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        _ => &[],
    };
    assert!(gprs.iter().all(|at| may.contains(at)), "registers {gprs:?} changed");
    if exit == Exit::Cpuid {
        cpuid(before, cpu, vcpu);
    }
    if let Exit::Msr(_) = exit {
        let (refused, last) = shared.work.get().unknown_msrs;
        assert!(refused == 0 || refused == 1 && !moved && last == number, "an MSR there is not");
    }
    lawful(before, cpu, vcpu, shared);
}

/// MSRs that set a register.
fn msrs_of(name: Register) -> &'static [u32] {
    match name {
        Register::Efer => &[msr::EFER],
        Register::Pat => &[msr::PAT],
        Register::Star => &[0xc000_0081],
        Register::Lstar => &[0xc000_0082],
        Register::Cstar => &[0xc000_0083],
        Register::Sfmask => &[0xc000_0084],
        Register::KernelGsBase => &[0xc000_0102],
        Register::SysenterCs => &[0x174],
        Register::SysenterEsp => &[0x175],
        Register::SysenterEip => &[0x176],
        Register::DebugCtl => &[0x1d9],
        Register::SpecCtrl => &[0x48],
        Register::TscOffset => &[0x10, 0x3b],
        _ => &[],
    }
}

const fn canonical(address: u64) -> bool {
    (address << 16).cast_signed() >> 16 == address.cast_signed()
}

/// What hv lets into a register is what the CPU that the guest is shown would let in.
fn lawful(before: &Before, cpu: &FakeCpu, vcpu: &Vcpu, shared: &Shared) {
    let get = |name| cpu.get(name);
    for name in before.changed(cpu) {
        let value = get(name);
        let long = get(Register::Efer) & efer::LONG_MODE_ACTIVE != 0;
        let fine = match name {
            Register::Cr4 => {
                let pcids = value & cr4::PCIDE == 0 || long;
                value & !shared.policy.cr4 == 0 && pcids && (!long || value & cr4::PAE != 0)
            }
            Register::Efer => {
                let was = before.cpu.get(Register::Efer);
                let paging = get(Register::Cr0) & hv_defs::control::cr0::PG != 0;
                value & !(shared.policy.efer | efer::LONG_MODE_ACTIVE) == 0
                    && (value ^ was) & efer::LONG_MODE_ACTIVE == 0
                    && (!paging || (value ^ was) & efer::LONG_MODE_ENABLE == 0)
            }
            Register::Pat => value.to_le_bytes().into_iter().all(|kind| matches!(kind, 0 | 1 | 4..=7)),
            Register::DebugCtl => value & !0x3f == 0,
            Register::Lstar | Register::Cstar | Register::KernelGsBase => canonical(value),
            Register::SysenterEsp | Register::SysenterEip if shared.policy.vendor != Vendor::Amd => {
                canonical(value)
            }
            _ => true,
        };
        assert!(fine, "{name:?} became {value:#x}");
    }
    let states = shared.xcr0[vcpu.index as usize].get();
    let wide = states & xcr0::AVX512;
    assert!(
        states == 1
            || states & !shared.policy.xcr0 == 0
                && states & xcr0::X87 != 0
                && (states & xcr0::AVX == 0 || states & xcr0::SSE != 0)
                && (wide == 0 || wide == xcr0::AVX512 && states & xcr0::AVX != 0),
        "XCR0 {states:#x}"
    );
    assert_eq!(get(Register::TscOffset), vcpu.tsc.offset, "the CPU's TSC offset");
    apic(&vcpu.apic);
}

/// Which verdict may follow which exit.
fn verdict_is_lawful(exit: Exit, cpu: &FakeCpu, vcpu: &Vcpu, verdict: Verdict) {
    let kernel = cpu.segment(SegmentName::Ss).attributes >> 5 & 3 != 3;
    let lawful = match (exit, verdict) {
        (Exit::Halt, Verdict::Wait) => vcpu.activity == Activity::Halted,
        (Exit::Pause, Verdict::Yield)
        | (Exit::HostInterrupt | Exit::HostNmi, Verdict::HostInterrupt)
        | (Exit::Control(ControlRegister::Cr4, Access::Write) | Exit::InterruptWindow, Verdict::Resume) => {
            true
        }
        (Exit::Shutdown, verdict) => verdict == Verdict::Stop(StopReason::TripleFault),
        (Exit::TaskSwitch, verdict) => verdict == Verdict::Stop(StopReason::TaskSwitch),
        (Exit::Invalid, verdict) => verdict == Verdict::Stop(StopReason::InvalidState),
        (Exit::Unknown(code), verdict) => verdict == Verdict::Stop(StopReason::UnknownExit(code)),
        (Exit::Control(..) | Exit::Debug(..) | Exit::TimeStamp, verdict) => {
            verdict == Verdict::Stop(StopReason::UnknownExit(exit.class() as u64))
        }
        (Exit::Memory(fault), Verdict::Stop(StopReason::NoMemory(at))) => {
            at == fault.address && (fault.fetch || fault.in_page_walk || cpu.interrupted.is_some())
        }
        (Exit::Memory(_), Verdict::Stop(StopReason::Unsupported(_))) => kernel,
        (Exit::Port(port), Verdict::Stop(StopReason::Unsupported(_))) => kernel && port.string,
        (Exit::Memory(_) | Exit::Port(_), Verdict::Wait) => vcpu.activity == Activity::WaitsForAnswer,
        (Exit::Halt | Exit::Pause | Exit::HostInterrupt | Exit::HostNmi, _) => false,
        (_, verdict) => verdict == Verdict::Resume && vcpu.activity == Activity::Running,
    };
    assert!(lawful, "{verdict:?}, and the vCPU is {:?}", vcpu.activity);
}

/// Nobody else waits long for one guest's step.
fn bounded(shared: &Shared, instruction: bool) {
    let (work, most) = (shared.work.get(), if instruction { MOST_OF_AN_INSTRUCTION } else { MOST });
    let fine = work.memory <= most.memory && work.devices <= most.devices && work.messages <= most.messages;
    assert!(fine, "too much work: {work:?}");
}

/// What no guest may see otherwise. APM 3, appendix E; SDM 2, CPUID.
fn cpuid(before: &Before, cpu: &FakeCpu, vcpu: &Vcpu) {
    const VMX: u32 = 1 << 5;
    const SVM: u32 = 1 << 2;
    const OSXSAVE: u32 = 1 << 27;
    const HYPERVISOR: u32 = 1 << 31;
    const APIC: u32 = 1 << 9;
    let registers = [gpr::RAX, gpr::RBX, gpr::RCX, gpr::RDX];
    assert!(registers.iter().all(|&at| vcpu.gprs.0[at] >> 32 == 0), "upper halves of CPUID's answer");
    let (ecx, edx) = (vcpu.gprs.low(gpr::RCX), vcpu.gprs.low(gpr::RDX));
    match before.gprs.low(gpr::RAX) {
        1 => {
            let saves = cpu.get(Register::Cr4) & cr4::OSXSAVE != 0;
            assert!(
                ecx & (VMX | HYPERVISOR) == HYPERVISOR && (ecx & OSXSAVE != 0) == saves,
                "leaf 1: {ecx:#x}"
            );
            assert_eq!(edx & APIC != 0, vcpu.apic.enabled(), "leaf 1: {edx:#x}");
        }
        0x8000_0001 => assert_eq!(ecx & SVM, 0, "SVM is shown"),
        0x8000_000a => assert!(registers.iter().all(|&at| vcpu.gprs.0[at] == 0), "SVM's leaf is shown"),
        _ => {}
    }
}

/// After [`Vcpu::prepare`], when the guest is to run. `interrupted` is what was being delivered at the
/// last exit; `kept` says that this exit has brought nothing to replace it.
pub fn prepared(
    before: &Before,
    cpu: &FakeCpu,
    vcpu: &Vcpu,
    shared: &Shared,
    (interrupted, kept): (Option<Event>, bool),
) {
    bounded(shared, true);
    assert_eq!(vcpu.activity, Activity::Running);
    // While nothing waits, the guest's CR8 is nobody's matter.
    if vcpu.apic.next_ignoring_tpr().is_some() {
        assert_eq!(cpu.get(Register::Cr8), vcpu.apic.cr8(), "CR8 is not the task priority");
    }
    if !before.reset {
        before.moved_on(cpu);
        for name in before.changed(cpu) {
            use Register::{Cr2, Cr8, Dr6, Rflags, Rip};
            assert!(matches!(name, Rip | Rflags | Dr6 | Cr2 | Cr8), "{name:?} changed");
        }
        assert!(!kept || cpu.injected == interrupted, "{interrupted:?} was not delivered again");
    }
    injection(cpu, vcpu, interrupted);
    // What could be delivered soon is watched for.
    match (cpu.watching.0, vcpu.apic.next_ignoring_tpr()) {
        (Some(0xff), _) => {}
        (watched, waits) => assert_eq!(watched, waits, "what is watched for, and what waits"),
    }
    apic(&vcpu.apic);
}

/// What is delivered is an event that there is. APM 2, 8.2 and 15.20.
fn injection(cpu: &FakeCpu, vcpu: &Vcpu, interrupted: Option<Event>) {
    const NMI: u8 = 2;
    const WITH_ERROR: [u8; 10] = [8, 10, 11, 12, 13, 14, 17, 21, 29, 30];
    if cpu.injected == interrupted {
        return;
    }
    match cpu.injected {
        None => {}
        Some(Event::Exception { vector, error }) => {
            assert!(vector < 32 && vector != NMI, "exception {vector}");
            assert_eq!(error.is_some(), WITH_ERROR.contains(&vector), "the error code of exception {vector}");
        }
        Some(Event::Nmi) => {
            assert!(!cpu.shadow && cpu.watching.1, "an NMI, and the next one is not held back");
        }
        Some(Event::Interrupt(vector)) => {
            assert!(cpu.get(Register::Rflags) & rflags::IF != 0 && !cpu.shadow, "an interrupt at a bad time");
            assert!(
                vector >= 16 && u64::from(vector >> 4) > vcpu.apic.cr8(),
                "vector {vector:#x} is too low"
            );
            let in_service = sets(&vcpu.apic).map(|sets| sets[0]);
            let highest = in_service.map(|set| (0..=255).rev().find(|&v| has(&set, v)));
            assert!(highest.is_none_or(|highest| highest == Some(vector)), "{vector:#x} is not in service");
        }
        Some(Event::SoftwareInterrupt(vector)) => panic!("INT {vector:#x} of hv's own"),
    }
}

/// For accesses that need none.
pub struct Nobody;

impl Client for Nobody {
    fn now(&self) -> Now {
        Now::default()
    }
    fn send(&mut self, message: Message) {
        panic!("{message:?} sent by a read");
    }
    fn end_of_level_interrupt(&mut self, vector: u8) {
        panic!("{vector:#x} ended by a read");
    }
}

type Set = [u32; 8];

fn has(set: &Set, vector: u8) -> bool {
    set[usize::from(vector / 32)] >> (vector % 32) & 1 == 1
}

/// In service, requested; as the guest sees them. Not while the APIC is off.
fn sets(apic: &Vlapic) -> Option<[Set; 2]> {
    let mut copy = apic.clone();
    let mut read = |offset: u64| {
        if copy.x2apic() {
            copy.read_msr(0x800 + (offset / 16) as u32, &Nobody).ok().map(|value| value as u32)
        } else {
            copy.page().map(|_| copy.read_page(offset, 4, &Nobody) as u32)
        }
    };
    let mut set = |first: u64| -> Option<Set> {
        let mut set = [0; 8];
        for (at, word) in set.iter_mut().enumerate() {
            *word = read(first + at as u64 * 16)?;
        }
        Some(set)
    };
    Some([set(0x100)?, set(0x200)?])
}

/// SDM 3, 11.8.3 and 11.8.4: vectors below 16 there are not; interrupts nest by class; the next one
/// is above all in service and above the task priority.
fn apic(apic: &Vlapic) {
    let next = apic.next_interrupt();
    assert!(next.is_none_or(|next| next >> 4 > apic.processor_priority() >> 4), "{next:x?} is let through");
    let Some([service, request]) = sets(apic) else { return };
    assert_eq!((service[0] | request[0]) & 0xffff, 0, "a vector below 16");
    for class in service.iter().flat_map(|word| [word & 0xffff, word >> 16]) {
        assert!(class.count_ones() <= 1, "two interrupts of a class in service: {service:x?}");
    }
    assert!(next.is_none_or(|next| has(&request, next)), "{next:x?} was not requested");
    let task = apic.cr8() as u8;
    let highest = (0..=255).rev().find(|&vector| has(&service, vector)).unwrap_or(0);
    assert_eq!(apic.processor_priority() >> 4, task.max(highest >> 4), "the processor priority");
}
