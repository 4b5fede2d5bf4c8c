//! One core's loop: who is to run, a turn for them, and sleep when there is nobody.
//!
//! Everything a core keeps is its own; others leave vCPUs in its inbox or wishes in their mailboxes
//! and kick it. Interrupts are off but while a guest runs and while the core sleeps, so a kick between
//! the last look and either of them is not lost.

use crate::machine::{self, Machine};
use crate::vm::{Slot, State, Vm, VmWorld};
use core::sync::atomic::{AtomicU32, Ordering};
use heapless::Vec;
use hv_arch::cpu;
use hv_arch::percpu::{self, MAX_CPUS};
use hv_arch::svm::HostArea;
use hv_core::cpu::VirtualCpu;
use hv_core::kvmclock::Scale;
use hv_core::policy::cpuid::Feature;
use hv_core::policy::msr::Slot as Kept;
use hv_core::sched::{MAX_RUNNERS, RunQueue};
use hv_core::vcpu::{Activity, Readiness, Verdict};
use hv_core::vlapic::Deadline;
use hv_defs::msr;
use spin::Mutex;

/// A vCPU that lives on a core.
#[derive(Clone, Copy)]
pub struct Resident {
    /// Its VM.
    pub vm: &'static Vm,
    /// Its number in the VM.
    pub index: usize,
}

impl Resident {
    fn slot(&self) -> &'static Slot {
        &self.vm.slots[self.index]
    }

    /// Its number in the core's queue.
    fn id(&self) -> u32 {
        (self.vm.id * 256 + self.index) as u32
    }
}

/// What others leave for a core.
struct Inbox {
    apic_id: AtomicU32,
    newcomers: Mutex<Vec<Resident, MAX_RUNNERS>>,
}

static INBOXES: [Inbox; MAX_CPUS] =
    [const { Inbox { apic_id: AtomicU32::new(0), newcomers: Mutex::new(Vec::new()) } }; MAX_CPUS];

/// Has a core look at its mail, if that is another than the caller's: the caller looks anyway.
pub fn kick(core: u32) {
    if core != percpu::this().index()
        && let (Some(machine), Some(inbox)) = (machine::get(), INBOXES.get(core as usize))
    {
        machine.apic.send_kick(inbox.apic_id.load(Ordering::Relaxed));
    }
}

/// Gives a core a vCPU to run. Answers whether it has room.
pub fn house(core: u32, resident: Resident) -> bool {
    let Some(inbox) = INBOXES.get(core as usize) else { return false };
    let housed = inbox.newcomers.lock().push(resident).is_ok();
    kick(core);
    housed
}

/// A core's own.
struct Core {
    machine: &'static Machine,
    host: HostArea,
    inbox: &'static Inbox,
    queue: RunQueue,
    residents: Vec<Resident, MAX_RUNNERS>,
    /// Whose registers are in the CPU.
    loaded: Option<Resident>,
    scale: Scale,
    /// When the timer is armed for, in TSC ticks.
    armed: Option<u64>,
}

/// Runs the core that calls it, for good.
pub fn run(machine: &'static Machine, host: Option<HostArea>) -> ! {
    let Some(host) = host else {
        loop {
            cpu::wait_for_interrupt();
        }
    };
    let this = percpu::this();
    let inbox = &INBOXES[this.index() as usize];
    inbox.apic_id.store(this.apic_id(), Ordering::Relaxed);
    let scale = Scale::new(u32::try_from(machine.clock.khz()).unwrap_or(u32::MAX));
    let (queue, residents) = (RunQueue::new(), Vec::new());
    let mut core = Core { machine, host, inbox, queue, residents, loaded: None, scale, armed: None };
    loop {
        core.take_in();
        core.wake_ready();
        let now = core.now();
        match core.queue.pick(now) {
            Some(turn) => core.turn(turn.id, turn.until),
            None => core.sleep(),
        }
    }
}

impl Core {
    /// The core's time: nanoseconds of the TSC.
    fn now(&self) -> u64 {
        self.scale.nanos(cpu::tsc())
    }

    fn take_in(&mut self) {
        while let Some(resident) = self.inbox.newcomers.try_lock().and_then(|mut list| list.pop()) {
            // Both have room for as many as the inbox.
            if self.residents.push(resident).is_ok()
                && self.queue.add(resident.id(), resident.vm.class).is_ok()
            {
                self.queue.wake(resident.id());
            }
        }
    }

    /// Wakes those that have mail, or whose timer is due.
    fn wake_ready(&mut self) {
        let tsc = cpu::tsc();
        for resident in &self.residents {
            let id = resident.id();
            if !self.queue.is_runnable(id)
                && (!resident.slot().mailbox.is_empty()
                    || self.deadline(*resident).is_some_and(|at| at <= tsc))
            {
                self.queue.wake(id);
            }
        }
    }

    /// When a sleeping vCPU's timer is due, in TSC ticks.
    fn deadline(&self, resident: Resident) -> Option<u64> {
        // SAFETY: this core is its home, and no other body is held here.
        let vcpu = unsafe { &resident.slot().body().vcpu };
        if vcpu.activity == Activity::WaitsForStartup || resident.vm.state() == State::Stopped {
            return None;
        }
        Some(match vcpu.apic.deadline()? {
            Deadline::AtTsc(tsc) => vcpu.tsc.to_host(tsc),
            Deadline::AtNanos(nanos) => {
                resident.vm.tsc_start.wrapping_add(self.machine.clock.ticks_of_nanos(nanos))
            }
        })
    }

    /// Arms the timer for the earliest of `until` (core time) and the timers of those that live here.
    fn arm(&mut self, until: Option<u64>) {
        let now = cpu::tsc();
        let until = until.map(|at| now + self.machine.clock.ticks_of_nanos(at.saturating_sub(self.now())));
        let due = self.residents.iter().filter_map(|resident| self.deadline(*resident)).chain(until).min();
        if due == self.armed && due.is_none_or(|due| due > now) {
            return;
        }
        self.armed = due;
        match due {
            Some(due) => {
                let micros_and_more = due.saturating_sub(now);
                self.machine.apic.arm_timer(self.machine.apic_ticks(micros_and_more));
            }
            None => self.machine.apic.disarm_timer(),
        }
    }

    fn sleep(&mut self) {
        self.arm(None);
        let newcomers = !self.inbox.newcomers.lock().is_empty();
        if !newcomers && self.residents.iter().all(|resident| resident.slot().mailbox.is_empty()) {
            cpu::wait_for_interrupt();
            self.armed = None;
        }
    }

    /// One turn of a vCPU, at most until `until`.
    fn turn(&mut self, id: u32, until: Option<u64>) {
        let Some(resident) = self.residents.iter().copied().find(|resident| resident.id() == id) else {
            return self.queue.remove(id);
        };
        let from = self.now();
        self.load(resident);
        let mut world = VmWorld { vm: resident.vm, machine: self.machine };
        if self.play(resident, &mut world, until) {
            self.queue.sleep(id);
        }
        let to = self.now();
        self.queue.charge(id, from, to);
    }

    /// Runs the guest until its turn is over. Answers whether it has nothing more to do.
    fn play(&mut self, resident: Resident, world: &mut VmWorld, until: Option<u64>) -> bool {
        let slot = resident.slot();
        // The timer that hv has armed for; `None`: look again.
        let mut known = None;
        loop {
            if resident.vm.state() == State::Stopped {
                // Mail for a VM that has ended is nobody's.
                slot.mailbox.take();
                return true;
            }
            // SAFETY: this core is its home; the last loan ended with the last round.
            let body = unsafe { slot.body() };
            let look = known != Some(body.vcpu.apic.deadline());
            if look {
                body.vcpu.expire_timer(world);
                known = Some(body.vcpu.apic.deadline());
            }
            match body.vcpu.prepare(&mut body.hardware, world, &slot.mailbox) {
                Readiness::Run => {}
                Readiness::LookAtVm => continue,
                Readiness::Wait => return true,
            }
            if look {
                self.arm(until);
            }
            // SAFETY: as above; `arm` has let go of it.
            let body = unsafe { slot.body() };
            let exit = body.hardware.run(&mut body.vcpu.gprs);
            let (bytes, fetched) = body.hardware.fetched();
            let bytes = (fetched > 0).then(|| &bytes[..fetched]);
            match body.vcpu.handle(&mut body.hardware, world, &slot.mailbox, exit, bytes) {
                Verdict::HostInterrupt => {
                    cpu::take_interrupts();
                    (self.armed, known) = (None, None);
                    if self.turn_is_over(resident, until) {
                        return false;
                    }
                }
                Verdict::Yield if self.turn_is_over(resident, Some(0)) => return false,
                // Whether there is anything to wait for, `prepare` knows.
                Verdict::Resume | Verdict::Yield | Verdict::Wait => {}
                Verdict::Stop(reason) => {
                    resident.vm.stop(reason);
                    return true;
                }
            }
        }
    }

    /// The turn's time is up, or somebody more urgent has woken.
    fn turn_is_over(&mut self, resident: Resident, until: Option<u64>) -> bool {
        self.take_in();
        self.wake_ready();
        let urgent = self.residents.iter().any(|other| {
            self.queue.is_runnable(other.id()) && self.queue.preempts(other.id(), resident.id())
        });
        urgent || until.is_some_and(|until| self.now() >= until)
    }

    /// Has the vCPU's registers in the CPU.
    fn load(&mut self, resident: Resident) {
        if self.loaded.is_some_and(|loaded| loaded.id() == resident.id()) {
            return;
        }
        if let Some(loaded) = self.loaded {
            // SAFETY: this core is its home, and no other body is held.
            unsafe { loaded.slot().body() }.registers.save(self.machine.kept);
        }
        // SAFETY: as above.
        let body = unsafe { resident.slot().body() };
        body.registers.load(self.machine.kept);
        if resident.vm.policy.cpuid.has(Feature::RDTSCP) {
            // SAFETY: a processor with RDTSCP has the register.
            unsafe { cpu::write_msr(msr::TSC_AUX, body.vcpu.kept(Kept::TscAux)) };
        }
        body.hardware.enter_on(self.host);
        self.loaded = Some(resident);
    }
}
