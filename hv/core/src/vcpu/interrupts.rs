//! Before a turn of the guest: what came in the mail, and what is delivered now.

use super::{Activity, Vcpu, World};
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
}

impl Vcpu {
    /// Takes the mail and has the most urgent event delivered at the next turn.
    pub fn prepare<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        mailbox: &Mailbox,
    ) -> Readiness {
        if !mailbox.is_empty() {
            let wish = mailbox.take();
            self.read_mail(cpu, world, mailbox, wish);
            self.publish(mailbox);
            if wish.has(Wish::VM) {
                return Readiness::LookAtVm;
            }
        }
        match self.activity {
            Activity::Running => {}
            Activity::Halted if self.wakes(cpu) => self.activity = Activity::Running,
            _ => return Readiness::Wait,
        }
        self.deliver(cpu);
        Readiness::Run
    }

    fn read_mail<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        mailbox: &Mailbox,
        wish: Wish,
    ) {
        if wish.has(Wish::INIT) {
            self.apic.init();
            self.init_registers(cpu);
            let first = self.index == 0;
            self.activity = if first { Activity::Running } else { Activity::WaitsForStartup };
        }
        if wish.has(Wish::STARTUP) && self.activity == Activity::WaitsForStartup {
            self.start_at_page(cpu, wish.page());
        }
        if wish.has(Wish::INTERRUPTS) {
            mailbox.take_interrupts(|vector, trigger| self.apic.accept(vector, trigger));
        }
        // One NMI waits at most, as in hardware; while it waits for STARTUP a CPU takes none.
        self.nmi_pending |= wish.has(Wish::NMI) && self.activity != Activity::WaitsForStartup;
        if wish.has(Wish::ANSWER) && self.activity == Activity::WaitsForAnswer {
            self.take_answer(cpu, world);
        }
    }

    /// The timer is due: raises its interrupt if so.
    pub fn expire_timer(&mut self, world: &impl World) {
        let now = self.now(world);
        self.apic.expire(now);
    }

    /// `HLT` ends with an interrupt that is let through, or an NMI.
    fn wakes(&self, cpu: &impl VirtualCpu) -> bool {
        let let_through = cpu.get(Register::Rflags) & rflags::IF != 0;
        self.event.is_some()
            || self.nmi_pending && !self.nmi_blocked
            || let_through && self.apic.next_interrupt().is_some()
    }

    /// What was being delivered when the guest stopped is delivered again, unless the exit itself
    /// brings something that replaces it.
    pub(super) fn keep_interrupted(&mut self, cpu: &impl VirtualCpu) {
        self.event = cpu.interrupted_delivery();
        let cr8 = cpu.get(Register::Cr8);
        if cr8 != self.apic.cr8() {
            self.apic.set_tpr_from_cr8(cr8);
        }
    }

    /// Has an exception delivered next.
    pub(super) fn raise(&mut self, event: Event) {
        self.event = Some(event);
    }

    /// NMIs are let through again.
    pub(super) fn unblock_nmi(&mut self) {
        self.nmi_blocked = false;
    }

    /// Chooses what is delivered: an exception or what was interrupted, then an NMI, then the most
    /// urgent interrupt. What can't be delivered yet is watched for.
    fn deliver<C: VirtualCpu>(&mut self, cpu: &mut C) {
        let mut event = self.event.take();
        let nmi = self.nmi_pending && !self.nmi_blocked;
        let mut waits = self.apic.next_ignoring_tpr();
        if event.is_none() && (nmi || waits.is_some()) && !cpu.interrupt_shadow() {
            if nmi {
                (self.nmi_pending, self.nmi_blocked) = (false, true);
                event = Some(Event::Nmi);
            } else if cpu.get(Register::Rflags) & rflags::IF != 0
                && let Some(vector) = self.apic.next_interrupt()
            {
                self.apic.acknowledge(vector);
                event = Some(Event::Interrupt(vector));
                waits = self.apic.next_ignoring_tpr();
            }
        }
        cpu.inject(event);
        cpu.set(Register::Cr8, self.apic.cr8());
        let nmi_waits = self.nmi_pending && !self.nmi_blocked;
        let watching = (if nmi_waits { Some(0xff) } else { waits }, self.nmi_blocked);
        if watching != self.watching {
            cpu.watch(watching.0, watching.1);
            self.watching = watching;
        }
    }
}
