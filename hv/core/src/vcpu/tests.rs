//! A vCPU against the fakes: exits in, verdicts and registers out.

extern crate std;

mod devices;
mod nmi;
mod privileged;
mod pv_eoi;
mod turns;

use super::*;
use crate::cpu::{Register, exception, gpr};
use crate::exit::Access;
use crate::mailbox::Wish;
use crate::policy;
use crate::testkit::{FakeCpu, FakeMemory};
use crate::vlapic::{DeliveryMode, Destination, Trigger};
use hv_abi::hypercall::{Call, KVM_SEND_IPI, Status};
use hv_abi::manifest::{StartMode, StartState};
use std::vec::Vec;

/// A VM with RAM, a clock that stands still, and a note of what was asked for.
struct FakeWorld {
    policy: Policy,
    memory: FakeMemory,
    sent: Vec<(u32, Message)>,
    accesses: Vec<DeviceAccess>,
    answer: Answer,
    late: Option<u64>,
    unknown: Vec<u32>,
    xcr0: u64,
    tsc: u64,
}

impl FakeWorld {
    fn new() -> Self {
        Self {
            policy: policy::tests::policy(policy::tests::EPYC),
            memory: FakeMemory::new(0x10_0000).identity(),
            sent: Vec::new(),
            accesses: Vec::new(),
            answer: Answer::Done(0),
            late: None,
            unknown: Vec::new(),
            xcr0: 1,
            tsc: 5_000,
        }
    }
}

impl GuestMemory for FakeWorld {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.memory.read(address, into)
    }
    fn write(&self, address: u64, from: &[u8]) -> bool {
        self.memory.write(address, from)
    }
    fn compare_exchange_u32(&self, address: u64, old: u32, new: u32) -> bool {
        self.memory.compare_exchange_u32(address, old, new)
    }
    fn compare_exchange_u64(&self, address: u64, old: u64, new: u64) -> bool {
        self.memory.compare_exchange_u64(address, old, new)
    }
    fn address_bits(&self) -> u32 {
        self.memory.address_bits()
    }
}

impl World for FakeWorld {
    fn policy(&self) -> &Policy {
        &self.policy
    }
    fn host_tsc(&self) -> u64 {
        self.tsc
    }
    fn nanos(&self, host_tsc: u64) -> u64 {
        host_tsc
    }
    fn started_at(&self) -> u64 {
        0
    }
    fn scale(&self) -> Scale {
        Scale::new(1_000_000)
    }
    fn send(&mut self, from: u32, message: Message) {
        self.sent.push((from, message));
    }
    fn end_of_level_interrupt(&mut self, _: u8) {}
    fn access(&mut self, _: u32, access: DeviceAccess) -> Answer {
        self.accesses.push(access);
        self.answer
    }
    fn answer(&mut self, _: u32) -> Option<u64> {
        self.late.take()
    }
    fn hypercall(&mut self, _: u32, number: u64, arguments: [u64; 4]) -> Option<i64> {
        (Call(number) == Call::HELLO).then(|| arguments.iter().sum::<u64>().cast_signed())
    }
    fn unknown_msr(&mut self, _: u32, number: u32) {
        self.unknown.push(number);
    }
    fn barrier(&mut self, _: u64) {}
    fn xcr0(&self) -> u64 {
        self.xcr0
    }
    fn set_xcr0(&mut self, value: u64) {
        self.xcr0 = value;
    }
    fn set_kept(&mut self, _: Slot, _: u64) {}
}

/// A vCPU in 64-bit mode at RIP 0x1000.
struct Box {
    cpu: FakeCpu,
    world: FakeWorld,
    mailbox: Mailbox,
    vcpu: Vcpu,
}

impl Box {
    fn new() -> Self {
        let (world, mailbox) = (FakeWorld::new(), Mailbox::new());
        let vcpu = Vcpu::new(&mut FakeCpu::long(), 0, &world.policy, 0, &mailbox);
        let mut cpu = FakeCpu::long();
        cpu.set(Register::Rip, 0x1000);
        Self { cpu, world, mailbox, vcpu }
    }

    /// The guest has run, so what was injected is delivered, and has stopped.
    fn exit(&mut self, exit: Exit) -> Verdict {
        self.cpu.injected = None;
        self.vcpu.handle(&mut self.cpu, &mut self.world, &self.mailbox, exit, None)
    }

    fn prepare(&mut self) -> Readiness {
        self.vcpu.prepare(&mut self.cpu, &mut self.world, &self.mailbox)
    }

    fn rip(&self) -> u64 {
        self.cpu.get(Register::Rip)
    }

    fn let_interrupts_through(&mut self) {
        let flags = self.cpu.get(Register::Rflags);
        self.cpu.set(Register::Rflags, flags | 1 << 9);
        self.vcpu.apic.write_page(0xf0, 4, 0x1ff, &mut NoClient);
    }
}

struct NoClient;
impl crate::vlapic::Client for NoClient {
    fn now(&self) -> Now {
        Now::default()
    }
    fn send(&mut self, message: Message) {
        panic!("{message:?}");
    }
    fn end_of_level_interrupt(&mut self, _: u8) {}
}

#[test]
fn cpuid_answers_and_steps_over() {
    let mut here = Box::new();
    here.vcpu.gprs.0[gpr::RAX] = 0xffff_ffff_4000_0000;
    here.vcpu.gprs.0[gpr::RBX] = !0;
    assert_eq!(here.exit(Exit::Cpuid), Verdict::Resume);
    assert_eq!(here.vcpu.gprs.0[gpr::RBX], u64::from(u32::from_le_bytes(*b"KVMK")));
    assert_eq!((here.rip(), here.mailbox.counts().exits().next()), (0x1002, Some(1)));
}

#[test]
fn an_unknown_msr_faults_and_is_counted() {
    let mut here = Box::new();
    here.vcpu.gprs.0[gpr::RCX] = 0xdead;
    for access in [Access::Read, Access::Write] {
        assert_eq!(here.exit(Exit::Msr(access)), Verdict::Resume);
        assert_eq!(here.prepare(), Readiness::Run);
        assert_eq!(here.cpu.injected, Some(exception::GP));
    }
    assert_eq!((here.rip(), here.world.unknown.as_slice()), (0x1000, [0xdead; 2].as_slice()));
}

#[test]
fn hypercalls_answer_and_unknown_ones_do_not_fault() {
    let mut here = Box::new();
    here.vcpu.gprs.0[gpr::RAX] = Call::HELLO.0;
    here.vcpu.gprs.0[gpr::RDI] = 41;
    here.vcpu.gprs.0[gpr::R10] = 1;
    assert_eq!(here.exit(Exit::Hypercall), Verdict::Resume);
    assert_eq!((here.vcpu.gprs.0[gpr::RAX], here.rip()), (42, 0x1003));
    here.vcpu.gprs.0[gpr::RAX] = 77;
    here.exit(Exit::Hypercall);
    assert_eq!(here.vcpu.gprs.0[gpr::RAX].cast_signed(), Status::NO_SUCH_CALL.0);
}

#[test]
fn kvms_ipi_reaches_the_cpus_it_names() {
    let mut here = Box::new();
    for (register, value) in
        [(gpr::RAX, KVM_SEND_IPI), (gpr::RBX, 0b101), (gpr::RCX, 0), (gpr::RDX, 1), (gpr::RSI, 0x40)]
    {
        here.vcpu.gprs.0[register] = value;
    }
    here.exit(Exit::Hypercall);
    assert_eq!(here.vcpu.gprs.0[gpr::RAX], 2);
    let to: Vec<_> = here.world.sent.iter().map(|(_, message)| message.destination).collect();
    assert_eq!(to, [Destination::Physical(1), Destination::Physical(3)]);
    assert!(here.world.sent.iter().all(|(from, message)| (*from, message.vector) == (0, 0x40)));
}

#[test]
fn halt_waits_until_an_interrupt_is_let_through() {
    let mut here = Box::new();
    here.let_interrupts_through();
    assert_eq!(here.exit(Exit::Halt), Verdict::Wait);
    assert_eq!((here.prepare(), here.rip()), (Readiness::Wait, 0x1001));
    here.mailbox.post_interrupt(0x30, Trigger::Edge);
    assert_eq!(here.prepare(), Readiness::Run);
    assert_eq!(here.cpu.injected, Some(Event::Interrupt(0x30)));
}

#[test]
fn what_can_not_be_delivered_is_watched_for() {
    let mut here = Box::new();
    here.let_interrupts_through();
    here.cpu.shadow = true;
    here.mailbox.post_interrupt(0x55, Trigger::Edge);
    assert_eq!(here.prepare(), Readiness::Run);
    assert_eq!((here.cpu.injected, here.cpu.watching), (None, (Some(0x55), false)));
    here.cpu.shadow = false;
    here.exit(Exit::InterruptWindow);
    here.prepare();
    assert_eq!((here.cpu.injected, here.cpu.watching), (Some(Event::Interrupt(0x55)), (None, false)));
}

#[test]
fn a_window_between_sti_and_hlt_ends_the_hlt() {
    let mut here = Box::new();
    here.let_interrupts_through();
    here.world.memory.put(0x8000, &[0xfb, 0xf4, 0x90]);
    here.cpu.set(Register::Rip, 0x8001);
    here.mailbox.post_interrupt(0x55, Trigger::Edge);
    here.exit(Exit::InterruptWindow);
    here.prepare();
    assert_eq!((here.cpu.injected, here.rip()), (Some(Event::Interrupt(0x55)), 0x8002));
    here.exit(Exit::InterruptWindow);
    assert_eq!(here.rip(), 0x8002, "no HLT here");
}

#[test]
fn what_comes_to_the_host_between_sti_and_hlt_does_not_come_before_the_hlt() {
    let mut here = Box::new();
    here.let_interrupts_through();
    here.world.memory.put(0x8000, &[0xfb, 0xf4, 0x90]);
    here.cpu.set(Register::Rip, 0x8001);
    assert_eq!(here.exit(Exit::HostInterrupt), Verdict::HostInterrupt);
    assert_eq!((here.prepare(), here.rip()), (Readiness::Wait, 0x8002), "it sleeps");
    here.mailbox.post_interrupt(0x55, Trigger::Edge);
    assert_eq!(here.prepare(), Readiness::Run);
    assert_eq!((here.cpu.injected, here.rip()), (Some(Event::Interrupt(0x55)), 0x8002));
    // With interrupts off there was no `STI`, and a program may not sleep.
    here.cpu.set(Register::Rip, 0x8001);
    here.cpu.set(Register::Rflags, 2);
    here.exit(Exit::HostInterrupt);
    assert_eq!((here.prepare(), here.rip()), (Readiness::Run, 0x8001));
}

#[test]
fn a_halt_with_an_interrupt_waiting_does_not_wait() {
    let mut here = Box::new();
    here.let_interrupts_through();
    here.cpu.shadow = true;
    here.mailbox.post_interrupt(0x30, Trigger::Edge);
    here.prepare();
    assert_eq!(here.cpu.injected, None);
    here.cpu.shadow = false;
    here.exit(Exit::Halt);
    assert_eq!(here.prepare(), Readiness::Run);
    assert_eq!(here.cpu.injected, Some(Event::Interrupt(0x30)));
}

#[test]
fn a_delivery_that_was_interrupted_is_made_again_before_anything_else() {
    let mut here = Box::new();
    here.let_interrupts_through();
    here.mailbox.post_interrupt(0x99, Trigger::Edge);
    here.cpu.interrupted = Some(Event::Interrupt(0x31));
    here.exit(Exit::HostInterrupt);
    here.prepare();
    assert_eq!(here.cpu.injected, Some(Event::Interrupt(0x31)));
}

#[test]
fn another_cpu_starts_by_init_and_startup() {
    let world = FakeWorld::new();
    let (mailbox, mut cpu) = (Mailbox::new(), FakeCpu::long());
    let vcpu = Vcpu::new(&mut cpu, 1, &world.policy, 0, &mailbox);
    let mut here = Box { cpu, world, mailbox, vcpu };
    assert_eq!(here.prepare(), Readiness::Wait);
    here.mailbox.post(Wish::NMI);
    assert_eq!(here.prepare(), Readiness::Wait, "an NMI starts nobody");
    here.mailbox.post(Wish::NMI);
    here.mailbox.post(Wish::INIT);
    here.mailbox.post(Wish::startup(0x9a));
    assert_eq!(here.prepare(), Readiness::Run);
    assert_eq!(here.cpu.injected, None);
    assert_eq!((here.rip(), here.cpu.segment(crate::cpu::SegmentName::Cs).base), (0, 0x9a000));
    here.mailbox.post(Wish::startup(0x55));
    here.prepare();
    assert_eq!(here.cpu.segment(crate::cpu::SegmentName::Cs).base, 0x9a000, "a second one is ignored");
}

#[test]
fn a_port_nobody_models_waits_for_its_answer() {
    use crate::exit::PortAccess;
    let mut here = Box::new();
    here.world.answer = Answer::Later;
    here.vcpu.gprs.0[gpr::RAX] = 0x1122_3344_5566_7788;
    let port = PortAccess {
        port: 0x3fd,
        size: 1,
        access: Access::Read,
        string: false,
        repeat: false,
        next_rip: 0x1001,
    };
    assert_eq!(here.exit(Exit::Port(port)), Verdict::Wait);
    assert_eq!((here.prepare(), here.vcpu.activity), (Readiness::Wait, Activity::WaitsForAnswer));
    here.world.late = Some(0xab);
    here.mailbox.post(Wish::ANSWER);
    assert_eq!(here.prepare(), Readiness::Run);
    assert_eq!((here.vcpu.gprs.0[gpr::RAX], here.rip()), (0x1122_3344_5566_77ab, 0x1001));
}

#[test]
fn the_pm_timer_and_the_apic_page_never_leave_hv() {
    use crate::exit::{NestedFault, PortAccess};
    let mut here = Box::new();
    let port = PortAccess {
        port: crate::pm_timer::PORT,
        size: 4,
        access: Access::Read,
        string: false,
        repeat: false,
        next_rip: 0x1001,
    };
    here.exit(Exit::Port(port));
    assert_eq!(here.vcpu.gprs.low(gpr::RAX), crate::pm_timer::counter(5_000));
    // mov eax, [rbx] at RIP, RBX = the APIC's version register
    here.cpu.set(Register::Rip, 0x8000);
    here.world.memory.put(0x8000, &[0x8b, 0x03]);
    here.vcpu.gprs.0[gpr::RBX] = 0xfee0_0030;
    let fault = NestedFault {
        address: 0xfee0_0030,
        access: Access::Read,
        fetch: false,
        present: false,
        in_page_walk: false,
    };
    assert_eq!(here.exit(Exit::Memory(fault)), Verdict::Resume);
    assert_eq!((here.vcpu.gprs.0[gpr::RAX], here.rip()), (0x0005_0014, 0x8002));
    assert!(here.world.accesses.is_empty());
}

#[test]
fn a_guest_that_breaks_itself_stops_its_vm_and_says_why() {
    let mut here = Box::new();
    assert_eq!(here.exit(Exit::Shutdown), Verdict::Stop(StopReason::TripleFault));
    assert_eq!(here.exit(Exit::Invalid), Verdict::Stop(StopReason::InvalidState));
    assert_eq!(here.exit(Exit::Unknown(9)), Verdict::Stop(StopReason::UnknownExit(9)));
}

#[test]
fn a_loader_gets_the_mode_it_asks_for() {
    let mut here = Box::new();
    let state = StartState {
        version: 1,
        mode: StartMode::LONG,
        rip: 0x20_0000,
        rsp: 0x8000,
        cr3: 0x3000,
        registers: [1, 2, 3, 4],
    };
    here.vcpu.start(&mut here.cpu, &state);
    assert_eq!((here.rip(), here.cpu.get(Register::Cr3)), (0x20_0000, 0x3000));
    assert_eq!(here.vcpu.gprs.0[gpr::RDI], 4);
    assert_eq!(crate::emulate::Mode::of(&here.cpu), crate::emulate::Mode::Bits64);
    here.vcpu.start(&mut here.cpu, &StartState { mode: StartMode::FLAT_32, ..state });
    assert_eq!(crate::emulate::Mode::of(&here.cpu), crate::emulate::Mode::Bits32);
    assert_eq!(here.cpu.get(Register::Efer), 0);
}

#[test]
fn messages_are_for_ipis_of_every_mode() {
    let mut here = Box::new();
    here.vcpu.apic.write_page(0xf0, 4, 0x1ff, &mut NoClient);
    // x2APIC mode, then NMI to CPU 1
    here.vcpu.gprs.0[gpr::RCX] = 0x1b;
    here.vcpu.gprs.0[gpr::RAX] = 0xfee0_0d00;
    here.exit(Exit::Msr(Access::Write));
    here.vcpu.gprs.0[gpr::RCX] = 0x830;
    here.vcpu.gprs.0[gpr::RAX] = 0x4400;
    here.vcpu.gprs.0[gpr::RDX] = 1;
    here.exit(Exit::Msr(Access::Write));
    let (_, message) = here.world.sent[0];
    assert_eq!((message.mode, message.destination), (DeliveryMode::Nmi, Destination::Physical(1)));
}
