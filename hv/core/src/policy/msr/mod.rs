//! What becomes of a guest's `RDMSR` and `WRMSR`.

mod table;

use super::cpuid::Feature;
use super::{GeneralProtection, Policy, control::accept};
use crate::cpu::{Register, SegmentName};
use crate::exit::Access;
use crate::features::Vendor;
use hv_defs::msr::X2APIC_BASE;

/// Where the CPU keeps an MSR of its own while a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// In a register of the control block.
    Register(Register),
    /// As the base of a segment.
    Base(SegmentName),
}

/// MSRs that hv keeps as plain values, one set for each virtual CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// TSC_AUX; must be in the CPU while the guest runs.
    TscAux,
    /// IA32_MISC_ENABLE; changes nothing.
    MiscEnable,
}

impl Slot {
    /// Values after reset, by slot. MISC_ENABLE: fast strings on; no branch trace, no PEBS.
    pub const AT_RESET: [u64; 2] = [0, 1 << 0 | 1 << 11 | 1 << 12];
}

/// What to do for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The CPU keeps it for the guest and needs no intercept; if there is one all the same, the
    /// control block has it.
    Native(Native),
    /// Read: this value.
    Constant(u64),
    /// Write: dropped, if it has no bit outside these; otherwise #GP.
    Ignore(u64),
    /// There is no such MSR, or not in this direction.
    GeneralProtection,
    /// Kept in the control block; [`Policy::check`] before a write.
    Checked(Register),
    /// Kept by hv as a plain value; [`Policy::keep`] before a write.
    Kept(Slot),
    /// Write: [`Policy::barrier`], then as the guest asks.
    Barrier,
    /// [`Policy::check_efer`], [`super::control::visible_efer`].
    Efer,
    /// [`super::tsc::GuestTsc`].
    Tsc,
    /// [`super::tsc::GuestTsc`].
    TscAdjust,
    /// [`crate::mtrr::Mtrr`].
    Mtrr,
    /// The virtual APIC's base and mode.
    ApicBase,
    /// The virtual APIC's deadline.
    TscDeadline,
    /// The virtual APIC's register at this number from the x2APIC's first; #GP outside x2APIC mode.
    X2Apic(u8),
    /// kvmclock of this CPU: [`crate::kvmclock::Place`].
    KvmClock,
    /// kvmclock's wall time: written once to where the guest says, by every write.
    KvmWallClock,
    /// This CPU's end-of-interrupt word: [`crate::kvmclock::Place`].
    PvEoi,
}

/// Which VMs have an MSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    Amd,
    Has(Feature),
    /// Any bit of SPEC_CTRL.
    SpecCtrl,
    /// Any barrier.
    Barriers,
}

impl Policy {
    /// What to do when the guest reads or writes MSR `number`.
    #[inline]
    pub fn msr(&self, number: u32, access: Access) -> Action {
        if number & !0xff == X2APIC_BASE { Action::X2Apic(number as u8) } else { self.find(number, access) }
    }

    fn find(&self, number: u32, access: Access) -> Action {
        let at = table::ROWS.partition_point(|row| row.last < number);
        match table::ROWS.get(at) {
            Some(row) if row.first <= number && (row.needs == Needs::Nothing || self.meets(row.needs)) => {
                match access {
                    Access::Read => row.read,
                    Access::Write => row.write,
                }
            }
            _ => Action::GeneralProtection,
        }
    }

    /// The MSRs that need no intercept, and whether for reads and for writes: `(number, read,
    /// write)`. The vendor's permission map is made of these; everything else is intercepted.
    pub fn open_msrs(&self) -> impl Iterator<Item = (u32, bool, bool)> {
        let native = |action| matches!(action, Action::Native(_));
        let rows = table::ROWS.iter().filter(|row| self.meets(row.needs));
        rows.flat_map(move |row| {
            (row.first..=row.last).map(move |n| (n, native(row.read), native(row.write)))
        })
        .filter(|&(_, read, write)| read || write)
    }

    fn meets(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Amd => self.vendor == Vendor::Amd,
            Needs::Has(feature) => self.cpuid.has(feature),
            Needs::SpecCtrl => self.spec_ctrl != 0,
            Needs::Barriers => self.barriers != 0,
        }
    }

    /// What an MSR of [`Action::Kept`] becomes.
    ///
    /// # Errors
    /// A reserved bit.
    pub fn keep(&self, slot: Slot, new: u64) -> Result<u64, GeneralProtection> {
        match slot {
            // AMD drops the upper half, Intel refuses it.
            Slot::TscAux => accept(new & 0xffff_ffff, new >> 32 != 0 && self.vendor != Vendor::Amd),
            Slot::MiscEnable => Ok(new),
        }
    }

    /// The barriers that a write to PRED_CMD asks for, as it asks.
    ///
    /// # Errors
    /// A barrier that CPUID does not show.
    pub const fn barrier(&self, new: u64) -> Result<u64, GeneralProtection> {
        accept(new, new & !self.barriers != 0)
    }
}

#[cfg(test)]
mod tests;
