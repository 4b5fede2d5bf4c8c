//! A VM's life: turns of its vCPUs, as hv's loop gives them, until it ends.

use crate::check::{self, Before, Nobody};
use crate::guest::{self, one_in, pick};
use crate::host;
use crate::random::Random;
use crate::world::{Shared, Work};
use hv_core::cpu::{Event, Register, VirtualCpu};
use hv_core::exit::{CLASSES, Exit};
use hv_core::mailbox::Wish;
use hv_core::msi;
use hv_core::testkit::FakeCpu;
use hv_core::vcpu::{Activity, Readiness, StopReason, Vcpu, Verdict};
use hv_core::vlapic::{Deadline, Now, Trigger};
use hv_defs::apic::Register as Apic;

/// What has happened in all lives.
#[derive(Default)]
pub struct Tally {
    pub steps: u64,
    pub lives: u64,
    /// Exits by class.
    pub exits: [u64; CLASSES],
    /// What was delivered: interrupts, NMIs, exceptions, interrupts of programs.
    pub delivered: [u64; 4],
    /// Deliveries that were interrupted, and made again.
    pub again: u64,
    /// VMs that ended, by reason.
    pub stops: [u64; 6],
    /// Accesses to devices, and those that were answered later.
    pub accesses: [u64; 2],
    /// Instructions that were carried out to their end.
    pub carried_out: u64,
    pub messages: u64,
    pub most: Work,
}

struct Guest {
    cpu: FakeCpu,
    vcpu: Vcpu,
    /// What was being delivered at its last exit, and whether that must be delivered again.
    interrupted: (Option<Event>, bool),
}

pub struct Vm {
    random: Random,
    shared: Shared,
    guests: Vec<Guest>,
}

impl Vm {
    /// Switches a VM on: everything in it follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let cpus = 1 + random.below(4) as usize;
        let shared = Shared::new(host::policy(&mut random, cpus as u8), cpus, random.next());
        guest::build_tables(&mut random, &shared);
        let guests = (0..cpus).map(|index| {
            let mut cpu = FakeCpu::default();
            let mut vcpu =
                Vcpu::new(&mut cpu, index as u32, &shared.policy, 1 << 40, &shared.mailboxes[index]);
            if !one_in(&mut random, 4) {
                vcpu.apic.write_page(Apic::SPURIOUS.0.into(), 4, 0x1ff, &mut Nobody);
            }
            if !one_in(&mut random, 4) {
                shared.mailboxes[index].post(Wish::startup(8));
            }
            Guest { cpu, vcpu, interrupted: (None, false) }
        });
        let guests = guests.collect();
        Self { random, shared, guests }
    }

    /// One turn of one vCPU, and whatever else happens meanwhile. `false`: the VM has ended.
    pub fn step(&mut self, tally: &mut Tally) -> bool {
        self.happen();
        let index = self.random.below(self.guests.len() as u64) as usize;
        let Self { random, shared, guests } = self;
        let ended = turn(random, shared, &mut guests[index], tally);
        tally.stops[ended.map_or(5, stop_index)] += u64::from(ended.is_some());
        ended.is_none()
    }

    /// What others do: devices, other cores, time.
    fn happen(&mut self) {
        let Self { random, shared, guests } = self;
        let index = random.below(guests.len() as u64) as usize;
        let mailbox = &shared.mailboxes[index];
        let trigger = pick(random, &[Trigger::Edge, Trigger::Edge, Trigger::Level]);
        match random.below(24) {
            0 => _ = mailbox.post(Wish::NMI),
            1 if one_in(random, 16) => _ = mailbox.post(Wish::INIT),
            1 => _ = mailbox.post(Wish::VM),
            2 => _ = mailbox.post(Wish::startup(random.next() as u8)),
            3 => _ = mailbox.post(Wish::ANSWER),
            4..=7 => _ = mailbox.post_interrupt(random.next() as u8, trigger),
            8 | 9 => {
                let (pin, level) = (random.below(26) as usize, one_in(random, 2));
                if let Some(message) = shared.ioapic.borrow_mut().set_pin(pin, level) {
                    shared.deliver(None, message);
                }
            }
            10 | 11 => {
                // Seldom INIT: a VM of which every CPU waits for STARTUP does little.
                let mode = if one_in(random, 16) { 0xcfff } else { 0xc1ff };
                let data = random.next() as u32 & mode;
                if let Some(message) = msi::decode(0xfee0_0000 | random.below(1 << 20), data) {
                    shared.deliver(None, message);
                }
            }
            12..=16 => shared.tsc.set(shared.tsc.get() + (random.next() >> (28 + random.below(30)))),
            _ => {}
        }
        for (guest, mailbox) in guests.iter().zip(&shared.mailboxes) {
            match guest.vcpu.activity {
                _ if one_in(random, 4) => {}
                Activity::WaitsForAnswer => _ = mailbox.post(Wish::ANSWER),
                Activity::WaitsForStartup => _ = mailbox.post(Wish::startup(random.below(64) as u8)),
                Activity::Halted if one_in(random, 4) => _ = mailbox.post(Wish::NMI),
                _ => {}
            }
        }
    }
}

fn stop_index(reason: StopReason) -> usize {
    match reason {
        StopReason::TripleFault => 0,
        StopReason::Unsupported(_) => 1,
        StopReason::InvalidState => 2,
        StopReason::UnknownExit(_) => 3,
        StopReason::TaskSwitch => 4,
        StopReason::NoMemory(_) => 5,
    }
}

/// As hv's loop: the timer, the mail, the guest, the exit.
fn turn(random: &mut Random, shared: &Shared, guest: &mut Guest, tally: &mut Tally) -> Option<StopReason> {
    let index = guest.vcpu.index as usize;
    let mailbox = &shared.mailboxes[index];
    timer(shared, guest);
    shared.begin();
    let before = Before::new(&guest.cpu, &guest.vcpu, mailbox);
    let mut view = shared.view(index);
    let readiness = guest.vcpu.prepare(&mut guest.cpu, &mut view, mailbox);
    tally.add(shared);
    if before.reset {
        guest.interrupted = (None, false);
    }
    if guest.vcpu.activity != Activity::WaitsForAnswer {
        // Dropped by INIT, if there was one.
        shared.promised[index].set(false);
    }
    if readiness != Readiness::Run {
        assert!(readiness == Readiness::LookAtVm || guest.vcpu.activity != Activity::Running);
        return None;
    }
    check::prepared(&before, &guest.cpu, &guest.vcpu, shared, guest.interrupted);
    tally.deliver(guest.cpu.injected, guest.interrupted.0);

    tally.steps += 1;
    let (exit, bytes) = run(random, shared, guest);
    tally.exits[exit.class()] += 1;
    shared.begin();
    let before = Before::new(&guest.cpu, &guest.vcpu, mailbox);
    let mut view = shared.view(index);
    let verdict = guest.vcpu.handle(&mut guest.cpu, &mut view, mailbox, exit, bytes.as_deref());
    tally.add(shared);
    crate::note(format_args!("{exit:x?} -> {verdict:x?}"));
    check::handled(&before, exit, &guest.cpu, &guest.vcpu, shared, verdict);
    assert_eq!(mailbox.address(), guest.vcpu.apic.address(), "the published address");
    let plain =
        matches!(exit, Exit::HostInterrupt | Exit::HostNmi | Exit::HostInit | Exit::HostSmi | Exit::Iret);
    guest.interrupted.1 = plain && guest.interrupted.0.is_some();
    if let Exit::Memory(_) = exit {
        tally.carried_out += u64::from(before.cpu.get(Register::Rip) != guest.cpu.get(Register::Rip));
    }
    match verdict {
        Verdict::Stop(reason) => Some(reason),
        _ => None,
    }
}

/// A timer that was due is not due again.
fn timer(shared: &Shared, guest: &mut Guest) {
    let view = shared.view(guest.vcpu.index as usize);
    guest.vcpu.expire_timer(&view);
    let host = shared.tsc.get();
    let now = Now { nanos: shared.scale.nanos(host - (1 << 40)), tsc: guest.vcpu.tsc.read(host) };
    assert!(match guest.vcpu.apic.deadline() {
        Some(Deadline::AtNanos(at)) => at > now.nanos,
        Some(Deadline::AtTsc(at)) => at > now.tsc,
        None => true,
    });
}

/// The guest runs until its next exit.
fn run(random: &mut Random, shared: &Shared, guest: &mut Guest) -> (Exit, Option<Vec<u8>>) {
    let Guest { cpu, vcpu, .. } = guest;
    let given = cpu.injected;
    if one_in(random, 4) {
        guest::state(random, cpu, shared);
    }
    if one_in(random, 64) {
        guest::nonsense(random, cpu);
    }
    guest::registers(random, &mut vcpu.gprs);
    cpu.shadow = one_in(random, 8);
    if one_in(random, 8) {
        cpu.set(Register::Cr8, random.below(16));
    }
    let (exit, bytes) = guest::exit(random, cpu, &mut vcpu.gprs, shared, &vcpu.apic);
    cpu.then(exit, &[]);
    assert_eq!(cpu.run(&mut vcpu.gprs), exit);
    cpu.delivered.clear();
    // A VM whose stack is no memory does not get old.
    let kept = !matches!(exit, Exit::Memory(_)) || one_in(random, 64);
    cpu.interrupted = guest::interrupted(random, given).filter(|_| kept);
    guest.interrupted = (cpu.interrupted, false);
    (exit, bytes)
}

impl Tally {
    fn deliver(&mut self, event: Option<Event>, interrupted: Option<Event>) {
        let Some(event) = event else { return };
        self.again += u64::from(Some(event) == interrupted);
        self.delivered[match event {
            Event::Interrupt(_) => 0,
            Event::Nmi => 1,
            Event::Exception { .. } => 2,
            Event::SoftwareInterrupt(_) => 3,
        }] += 1;
    }

    fn add(&mut self, shared: &Shared) {
        let work = shared.work.get();
        self.messages += work.messages;
        self.accesses[0] += work.devices;
        self.accesses[1] += u64::from(shared.later.get());
        self.most.memory = self.most.memory.max(work.memory);
        self.most.devices = self.most.devices.max(work.devices);
        self.most.messages = self.most.messages.max(work.messages);
    }
}
