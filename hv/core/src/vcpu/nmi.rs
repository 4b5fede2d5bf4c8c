//! When NMIs are blocked: from the delivery of one until the next `IRET` has run. SDM 3, 6.7.1; APM 2,
//! 8.2.3.
//!
//! The hardware's own notion is not relied on, because QEMU 7.2 does not block NMIs after one was
//! injected. `IRET` is intercepted, which happens before it runs. If another NMI waits by then, the
//! guest goes on in a single step: hv sets RFLAGS.TF and takes the #DB behind the `IRET` for itself.
//! If none waits there is no step: whenever RIP is found elsewhere, the `IRET` has run.

use super::Vcpu;
use crate::cpu::{Register, VirtualCpu};
use hv_defs::control::{dr6, rflags};

/// Whether NMIs are let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Blocking {
    /// They are.
    #[default]
    Open,
    /// One is being handled: its `IRET` is watched for.
    Handled,
    /// The `IRET` that ends the handling is here, and perhaps has not run yet.
    Ends(u64),
    /// The same, in a single step; `traced` if the guest itself has asked for single steps.
    Stepped { iret: u64, traced: bool },
}

impl Vcpu {
    /// `IRET` is about to run.
    pub(super) fn end_nmi<C: VirtualCpu>(&mut self, cpu: &C) {
        self.nmi = Blocking::Ends(cpu.get(Register::Rip));
    }

    /// Whether an NMI could be delivered where the guest is now.
    pub(super) fn nmi_open<C: VirtualCpu>(&mut self, cpu: &C) -> bool {
        if let Blocking::Ends(iret) | Blocking::Stepped { iret, .. } = self.nmi
            && cpu.get(Register::Rip) != iret
        {
            self.nmi = Blocking::Open;
        }
        self.nmi == Blocking::Open
    }

    /// An NMI waits for an `IRET` that is next: has the guest stop right behind it.
    pub(super) fn step_over_iret<C: VirtualCpu>(&mut self, cpu: &mut C) {
        if let Blocking::Ends(iret) = self.nmi {
            let flags = cpu.get(Register::Rflags);
            self.nmi = Blocking::Stepped { iret, traced: flags & rflags::TF != 0 };
            cpu.set(Register::Rflags, flags | rflags::TF);
        }
    }

    /// Something else is delivered first, and shall not see the flag of hv's.
    pub(super) fn stop_stepping<C: VirtualCpu>(&mut self, cpu: &mut C) {
        if let Blocking::Stepped { iret, traced } = self.nmi {
            self.nmi = Blocking::Ends(iret);
            if !traced {
                cpu.set(Register::Rflags, cpu.get(Register::Rflags) & !rflags::TF);
            }
        }
    }

    /// A #DB: whether it is hv's own alone, behind the `IRET`. The flags are the guest's again, because
    /// `IRET` has loaded them.
    pub(super) fn stepped<C: VirtualCpu>(&mut self, cpu: &mut C) -> bool {
        let debug = cpu.get(Register::Dr6);
        let Blocking::Stepped { traced, .. } = self.nmi else { return false };
        if debug & dr6::SINGLE_STEP == 0 {
            return false;
        }
        self.nmi = Blocking::Open;
        if traced {
            return false;
        }
        cpu.set(Register::Dr6, debug & !dr6::SINGLE_STEP);
        debug & dr6::BREAKPOINTS == 0
    }
}
