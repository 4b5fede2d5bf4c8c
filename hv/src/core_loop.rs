//! One core's loop: who is to run, a turn for them, and sleep when there is nobody.
//!
//! Everything a core keeps is its own; others leave vCPUs in its inbox or wishes in their mailboxes
//! and kick it. Interrupts are off but while a guest runs and while the core sleeps, so a kick between
//! the last look and either of them is not lost.

use crate::inbox::{self, Inbox, Newcomer};
use crate::machine::Machine;
use crate::vm::place::{self, Front, Place};
use crate::vm::{self, Body, Vm, VmWorld};
use core::sync::atomic::Ordering;
use heapless::Vec;
use hv_arch::cpu;
use hv_arch::svm::HostArea;
use hv_core::clock::Ratio;
use hv_core::cpu::VirtualCpu;
use hv_core::exit::Exit;
use hv_core::policy::msr::Slot as Kept;
use hv_core::sched::{Class, MAX_RUNNERS, RunQueue};
use hv_core::vcpu::{Activity, Readiness, Verdict};
use hv_core::vlapic::Deadline;
use hv_defs::msr;

/// Later than any tick of the TSC.
const NEVER: u64 = u64::MAX;

/// A vCPU that lives on this core.
#[derive(Clone, Copy)]
struct Resident {
    who: Newcomer,
    /// Its number in the core's queue.
    id: u32,
    place: &'static Place,
    front: &'static Front,
    class: Class,
    /// When its timer is due, in TSC ticks, while it has no turn.
    due: u64,
}

impl Resident {
    /// Whether its VM is still the one that it came with.
    fn lives(&self) -> bool {
        self.place.life.load(Ordering::Relaxed) == self.who.life
    }

    /// Whether it has something to do.
    fn stirs(&self, tsc: u64) -> bool {
        self.place.runs() && (!self.front.mailbox.is_empty() || self.due <= tsc)
    }
}

/// Whose registers are in the CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Loaded {
    vm: usize,
    index: usize,
    start: u64,
}

/// A core's own.
struct Core {
    machine: &'static Machine,
    host: HostArea,
    inbox: &'static Inbox,
    queue: RunQueue,
    residents: Vec<Resident, MAX_RUNNERS>,
    /// The last of [`place::moves`] that it has seen to.
    moves: u32,
    loaded: Option<Loaded>,
    apic_ticks: Ratio,
    /// When the timer is armed for, in TSC ticks.
    armed: u64,
    /// Since when the turn is not charged yet, in TSC ticks.
    since: u64,
}

/// Runs the core that calls it, for good.
pub fn run(machine: &'static Machine, host: Option<HostArea>) -> ! {
    let Some(host) = host else {
        loop {
            cpu::wait_for_interrupt();
        }
    };
    let mut core = Core {
        machine,
        host,
        inbox: inbox::open(machine.apic),
        queue: RunQueue::new(machine.clock.khz()),
        residents: Vec::new(),
        moves: 0,
        loaded: None,
        apic_ticks: Ratio::new(machine.apic_khz.load(Ordering::Relaxed), machine.clock.khz()),
        armed: NEVER,
        since: 0,
    };
    loop {
        vm::management::revive(machine);
        if core.inbox.looks() {
            core.look_around();
        }
        match core.queue.pick(cpu::tsc()) {
            Some(turn) => core.turn(turn.id, turn.until.unwrap_or(NEVER)),
            None => core.sleep(),
        }
    }
}

impl Core {
    /// Wakes who has something to do, once those have come and gone who do.
    fn look_around(&mut self) {
        self.inbox.looks();
        let moves = place::moves();
        if moves != self.moves {
            self.moves = moves;
            self.see_to_moves();
        }
        let tsc = cpu::tsc();
        for resident in &mut self.residents {
            if resident.stirs(tsc) {
                // It looks at its timer itself when it has its turn.
                resident.due = NEVER;
                self.queue.wake(resident.id);
            }
        }
    }

    /// Takes in who has come, lets go of who has left, and learns who is how urgent.
    #[inline(never)]
    fn see_to_moves(&mut self) {
        while let Some(who) = self.inbox.newcomer() {
            self.take_in(who);
        }
        let queue = &mut self.queue;
        self.residents.retain_mut(|resident| {
            if !resident.lives() {
                queue.remove(resident.id);
                return false;
            }
            let class = resident.place.class();
            if class != resident.class {
                resident.class = class;
                queue.set_class(resident.id, class);
            }
            true
        });
    }

    fn take_in(&mut self, who: Newcomer) {
        let (Some(place), Some(front)) = (place::get(who.vm), place::front(who.vm, who.index)) else {
            return;
        };
        let id = (who.vm * place.fronts.len() + who.index) as u32;
        let resident = Resident { who, id, place, front, class: place.class(), due: NEVER };
        // One of an earlier life has the same number, and leaves.
        self.residents.retain(|other| other.id != resident.id);
        // There is room: its place was reserved.
        if self.residents.push(resident).is_ok() && self.queue.add(resident.id, resident.class).is_ok() {
            self.queue.wake(resident.id);
        }
    }

    /// Arms the timer for `due` or the earliest timer of those that have no turn; it may fire earlier, and is
    /// armed anew then.
    fn arm(&mut self, mut due: u64) {
        for resident in &self.residents {
            if resident.due < due && resident.place.runs() {
                due = resident.due;
            }
        }
        let now = cpu::tsc();
        if self.armed <= due && (self.armed > now || due == NEVER) {
            return;
        }
        self.armed = due;
        let ticks = self.apic_ticks.of(due.saturating_sub(now));
        self.machine.apic.arm_timer(u32::try_from(ticks).unwrap_or(u32::MAX));
    }

    /// Until there may be something to do.
    fn sleep(&mut self) {
        self.arm(NEVER);
        let tsc = cpu::tsc();
        if self.inbox.is_empty() && !self.residents.iter().any(|resident| resident.stirs(tsc)) {
            cpu::wait_for_interrupt();
            self.armed = NEVER;
        }
        self.look_around();
    }

    /// One turn of a vCPU, at most until `until`.
    fn turn(&mut self, id: u32, until: u64) {
        let Some(resident) = self.find(id) else { return self.queue.remove(id) };
        // While it has its turn its timer is looked at in `play`.
        resident.due = NEVER;
        let resident = *resident;
        self.since = cpu::tsc();
        let due = self.visit(&resident, until);
        self.charge(&resident);
        // It may have left meanwhile, and others with it.
        if let Some(resident) = self.find(id) {
            resident.due = due;
        }
    }

    fn find(&mut self, id: u32) -> Option<&mut Resident> {
        self.residents.iter_mut().find(|resident| resident.id == id)
    }

    /// Charges what the turn took so far.
    fn charge(&mut self, resident: &Resident) {
        let (from, to) = (self.since, cpu::tsc());
        self.since = to;
        self.queue.charge(resident.id, from, to);
        resident.front.ticks.fetch_add(to - from, Ordering::Relaxed);
    }

    /// Its turn, if it still lives here and its VM runs. Answers when its timer is due.
    fn visit(&mut self, resident: &Resident, until: u64) -> u64 {
        let home = resident.place.vm.try_read();
        // The life changes under the write lock only.
        let lives = resident.lives() && resident.place.runs();
        let vm = home.as_deref().and_then(Option::as_deref).filter(|_| lives);
        let Some((vm, body)) = vm.and_then(|vm| Some((vm, vm.bodies.get(resident.who.index)?))) else {
            self.queue.sleep(resident.id);
            return NEVER;
        };
        // Nobody else holds it for longer than a moment: it lives here.
        let mut body = body.lock();
        self.load(resident, &mut body);
        if self.play(resident, vm, &mut body, until) {
            self.queue.sleep(resident.id);
        }
        self.deadline(vm, &body)
    }

    /// When a vCPU's timer is due, in TSC ticks.
    fn deadline(&self, vm: &Vm, body: &Body) -> u64 {
        if body.vcpu.activity == Activity::WaitsForStartup {
            return NEVER;
        }
        match body.vcpu.apic.deadline() {
            None => NEVER,
            Some(Deadline::AtTsc(tsc)) => body.vcpu.tsc.to_host(tsc, cpu::tsc()),
            Some(Deadline::AtNanos(nanos)) => {
                let start = vm.tsc_start.load(Ordering::Relaxed);
                start.wrapping_add(self.machine.clock.ticks_of_nanos(nanos))
            }
        }
    }

    /// Runs the guest until its turn is over. Answers whether it has nothing more to do.
    fn play(&mut self, resident: &Resident, vm: &Vm, body: &mut Body, mut until: u64) -> bool {
        let mut world = VmWorld { vm, machine: self.machine };
        let mailbox = &resident.front.mailbox;
        // Whether hv's timer must be set to the guest's, or the turn's end.
        let mut stale = true;
        let mut own = NEVER;
        loop {
            stale |= body.vcpu.apic.timer_moved();
            if stale {
                own = self.deadline(vm, body);
                if own <= cpu::tsc() {
                    body.vcpu.expire_timer(&world);
                    body.vcpu.apic.timer_moved();
                    own = self.deadline(vm, body);
                }
            }
            match body.vcpu.prepare(&mut body.hardware, &mut world, mailbox) {
                Readiness::Run => {}
                Readiness::Wait => return true,
                Readiness::LookAtVm => {
                    forget(resident, body);
                    if resident.place.runs() {
                        continue;
                    }
                    return true;
                }
                Readiness::Stop(reason) => {
                    vm::end(vm, reason);
                    return true;
                }
            }
            if core::mem::take(&mut stale) {
                self.arm(until.min(own));
            }
            let exit = body.hardware.run(&mut body.vcpu.gprs);
            let fetched = matches!(exit, Exit::Memory(_)).then(|| body.hardware.fetched());
            let bytes =
                fetched.as_ref().and_then(|(bytes, len)| bytes.get(..*len)).filter(|some| !some.is_empty());
            let verdict = body.vcpu.handle(&mut body.hardware, &mut world, mailbox, exit, bytes);
            if !matches!(verdict, Verdict::Resume) {
                if matches!(verdict, Verdict::Wait) && body.vcpu.sleeps(mailbox) {
                    return true;
                }
                stale |= matches!(verdict, Verdict::HostInterrupt);
                if let Some(done) = self.heed(verdict, resident, vm, &mut until) {
                    return done;
                }
            }
            // What it did may have woken somebody on this core.
            if self.inbox.looks() {
                let before = until;
                if self.turn_is_over(resident, &mut until) {
                    return false;
                }
                stale |= until != before;
            }
        }
    }

    /// Acts on a verdict. Answers, if the turn is over by it, whether there is nothing more to do.
    #[inline(never)]
    fn heed(&mut self, verdict: Verdict, resident: &Resident, vm: &Vm, until: &mut u64) -> Option<bool> {
        let over = match verdict {
            Verdict::HostInterrupt => {
                cpu::take_interrupts();
                self.armed = NEVER;
                self.turn_is_over(resident, until)
            }
            Verdict::Yield => self.turn_is_over(resident, &mut 0),
            // Whether there is anything to wait for, `prepare` knows.
            Verdict::Resume | Verdict::Wait => false,
            Verdict::Stop(reason) => {
                vm::end(vm, reason);
                return Some(true);
            }
        };
        over.then_some(false)
    }

    /// The turn's time is up, or somebody more urgent has woken. A turn without an end is given one if
    /// somebody waits by now.
    fn turn_is_over(&mut self, resident: &Resident, until: &mut u64) -> bool {
        self.charge(resident);
        self.look_around();
        let (somebody_waits, more_urgent) = self.queue.beside(resident.id);
        if somebody_waits && *until == NEVER {
            *until = self.queue.end_of_slice(self.since);
        }
        more_urgent || self.since >= *until
    }

    /// Has the vCPU's registers in the CPU.
    fn load(&mut self, resident: &Resident, body: &mut Body) {
        let Newcomer { vm: id, index, .. } = resident.who;
        let wanted = Loaded { vm: id, index, start: body.start };
        if self.loaded == Some(wanted) {
            return;
        }
        if let Some(old) = self.loaded {
            self.save(old, resident);
        }
        body.registers.load(self.machine.kept);
        if self.machine.features.bits.rdtscp {
            // SAFETY: a processor with RDTSCP has the register.
            unsafe { cpu::write_msr(msr::TSC_AUX, body.vcpu.kept(Kept::TscAux)) };
        }
        body.hardware.enter_on(self.host);
        self.loaded = Some(wanted);
    }

    /// Takes the registers out of the CPU, if whose they are still lives.
    fn save(&self, old: Loaded, next: &Resident) {
        // The same vCPU, started anew: its old registers are nobody's.
        let same = (old.vm, old.index) == (next.who.vm, next.who.index);
        let Some(place) = place::get(old.vm).filter(|_| !same) else { return };
        let home = place.vm.try_read();
        let vm = home.as_deref().and_then(Option::as_deref);
        if let Some(body) = vm.and_then(|vm| vm.bodies.get(old.index)) {
            let mut body = body.lock();
            if body.start == old.start {
                body.registers.save(self.machine.kept);
            }
        }
    }
}

/// Forgets translations that its VM has changed.
fn forget(resident: &Resident, body: &mut Body) {
    let change = resident.place.flush.load(Ordering::Acquire);
    if resident.front.flushed.load(Ordering::Relaxed) != change {
        body.hardware.flush();
        resident.front.flushed.store(change, Ordering::Release);
    }
}
