//! Before a turn of the guest: what came in the mail, and what is delivered now.

use super::nmi::Blocking;
use super::{Activity, StopReason, Vcpu, Verdict, World};
use crate::cpu::{Event, Register, VirtualCpu};
use crate::mailbox::{Mailbox, Wish};
use hv_defs::control::rflags;

/// Whether there is a turn to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Run the guest.
    Run,
    /// It waits.
    Wait,
    /// Look at the VM first: it is paused or stopped.
    LookAtVm,
    /// The VM ends: the answer that came is for an instruction that hv does not carry out.
    Stop(StopReason),
}

impl Vcpu {
    /// Takes the mail and has the most urgent event delivered at the next turn.
    #[inline]
    pub fn prepare<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        mailbox: &Mailbox,
    ) -> Readiness {
        if mailbox.is_empty() && self.is_quiet() {
            return Readiness::Run;
        }
        self.choose(cpu, world, mailbox)
    }

    /// Whether a vCPU that waits has nothing at all that could end it: what `prepare` would say, for less.
    #[inline]
    pub fn sleeps(&self, mailbox: &Mailbox) -> bool {
        mailbox.is_empty() && self.event.is_none() && !self.nmi_pending && self.apic.is_idle()
    }

    /// It runs, and there is nothing to deliver, to watch for or to stop watching for: most turns.
    #[inline]
    fn is_quiet(&self) -> bool {
        self.activity == Activity::Running
            && self.event.is_none()
            && !self.nmi_pending
            && self.watching == (None, false)
            && self.apic.is_idle()
    }

    #[inline(never)]
    fn choose<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        mailbox: &Mailbox,
    ) -> Readiness {
        self.read_priority(cpu);
        if !mailbox.is_empty() {
            let wish = mailbox.take();
            let ended = self.read_mail(cpu, world, mailbox, wish);
            self.publish(mailbox);
            if let Some(reason) = ended {
                return Readiness::Stop(reason);
            }
            if wish.has(Wish::VM) {
                return Readiness::LookAtVm;
            }
        }
        let waits = self.apic.next_ignoring_tpr();
        if self.activity == Activity::Halted && self.wakes(cpu, waits) {
            self.activity = Activity::Running;
        }
        if self.activity != Activity::Running {
            return Readiness::Wait;
        }
        if !self.is_quiet() {
            self.deliver(cpu, world, waits);
        }
        Readiness::Run
    }

    /// Answers why the VM ends, if it does.
    fn read_mail<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        mailbox: &Mailbox,
        wish: Wish,
    ) -> Option<StopReason> {
        if wish.has(Wish::INIT) {
            self.take_back_eoi(world);
            self.apic.init();
            self.init_registers(cpu);
            let first = self.index == 0;
            self.activity = if first { Activity::Running } else { Activity::WaitsForStartup };
        }
        let waits = self.activity == Activity::WaitsForStartup;
        if wish.has(Wish::STARTUP) && waits {
            self.start_at_page(cpu, wish.page());
        }
        if wish.has(Wish::INTERRUPTS) {
            mailbox.take_interrupts(wish, |vector, trigger| self.apic.accept(vector, trigger));
        }
        // One NMI waits at most, as in hardware; while it waits for STARTUP a CPU takes none, and what
        // came by the same mail as STARTUP came before it: there is no handler yet.
        self.nmi_pending |= wish.has(Wish::NMI) && !waits;
        let answered = wish.has(Wish::ANSWER) && self.activity == Activity::WaitsForAnswer;
        match answered.then(|| self.take_answer(cpu, world)) {
            Some(Verdict::Stop(reason)) => Some(reason),
            _ => None,
        }
    }

    /// The timer is due: raises its interrupt if so.
    pub fn expire_timer(&mut self, world: &impl World) {
        let now = self.now(world);
        self.apic.expire(now);
    }

    /// `HLT` ends with an interrupt that is let through, or an NMI.
    fn wakes(&mut self, cpu: &impl VirtualCpu, waits: Option<u8>) -> bool {
        self.event.is_some()
            || self.nmi_pending && self.nmi_open(cpu)
            || waits.is_some_and(|vector| self.lets_through(cpu, vector))
    }

    /// Whether an interrupt that waits may be delivered now.
    fn lets_through(&self, cpu: &impl VirtualCpu, vector: u8) -> bool {
        cpu.get(Register::Rflags) & rflags::IF != 0 && self.apic.lets_through(vector)
    }

    /// What was being delivered when the guest stopped is delivered again, unless the exit itself
    /// brings something that replaces it.
    #[inline]
    pub(super) fn keep_interrupted(&mut self, cpu: &impl VirtualCpu) {
        if let Some(event) = cpu.interrupted_delivery() {
            self.event = Some(event);
        }
    }

    /// The guest moves CR8 without an exit, and that is its APIC's task priority: to be called before
    /// the APIC is asked or told anything that depends on it.
    #[inline]
    pub(super) fn read_priority(&mut self, cpu: &impl VirtualCpu) {
        self.apic.set_tpr_from_cr8(cpu.get(Register::Cr8));
    }

    /// Has an exception delivered next.
    pub(super) fn raise(&mut self, event: Event) {
        self.event = Some(event);
    }

    /// Chooses what is delivered: an exception or what was interrupted, then an NMI, then the most
    /// urgent interrupt, which is the one that `waits`. What can't be delivered yet is watched for.
    fn deliver<C: VirtualCpu>(&mut self, cpu: &mut C, world: &impl World, mut waits: Option<u8>) {
        if self.granted.is_some() && !self.apic.is_idle() {
            self.take_back_eoi(world);
        }
        let mut event = self.event.take();
        let nmi = self.nmi_pending && self.nmi_open(cpu);
        if event.is_none() && (nmi || waits.is_some()) && !cpu.interrupt_shadow() {
            if nmi {
                (self.nmi_pending, self.nmi) = (false, Blocking::Handled);
                event = Some(Event::Nmi);
            } else if let Some(vector) = waits.filter(|&vector| self.lets_through(cpu, vector)) {
                self.apic.acknowledge(vector);
                event = Some(Event::Interrupt(vector));
                self.grant_eoi(world);
                waits = self.apic.next_ignoring_tpr();
            }
        }
        if event.is_some() {
            self.stop_stepping(cpu);
        } else if self.nmi_pending {
            self.step_over_iret(cpu);
        }
        cpu.inject(event);
        // An NMI that only the interrupt shadow holds up comes as soon as an interrupt could.
        let shadowed = self.nmi_pending && self.nmi == Blocking::Open;
        let watching = (if shadowed { Some(0xff) } else { waits }, self.nmi == Blocking::Handled);
        if watching != self.watching {
            cpu.watch(watching.0, watching.1);
            self.watching = watching;
        }
    }
}
