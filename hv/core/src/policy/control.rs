//! What a guest may write to control registers, and to the MSRs like them.
//!
//! Under nested paging CR0, CR3, CR4 and the debug registers are the guest's own, and the CPU checks
//! what is written. hv decides where it intercepts: CR4 on a CPU that has more than the guest is
//! shown ([`super::Policy::intercept_cr4`]), EFER because SVM's enable bit is in it, PAT and DEBUGCTL
//! because they are written once in a boot and the check costs nothing.

use super::cpuid::{EAX, EBX, ECX, EDX, Feature};
use super::{GeneralProtection, Policy};
use crate::cpu::Register;
use crate::features::Vendor;
use hv_defs::control::{cr0, cr4};
use hv_defs::msr::efer;

/// Bits of a register that exist where CPUID says so.
pub(super) type Bits = &'static [(Feature, u64)];

const fn bit(leaf: u32, subleaf: u32, register: usize, number: u8, bits: u64) -> (Feature, u64) {
    (Feature::new(leaf, subleaf, register, number), bits)
}

/// CR4. SDM 3, 2.5; APM 2, 3.1.3. PCE has no CPUID bit of its own: it is where MSRs are.
#[rustfmt::skip]
pub(super) const CR4: Bits = &[
    bit(1, 0, EDX, 1, cr4::VME | cr4::PVI), bit(1, 0, EDX, 2, cr4::DE),   bit(1, 0, EDX, 3, cr4::PSE),
    bit(1, 0, EDX, 4, cr4::TSD),            bit(1, 0, EDX, 5, cr4::PCE),  bit(1, 0, EDX, 6, cr4::PAE),
    bit(1, 0, EDX, 7, cr4::MCE),            bit(1, 0, EDX, 13, cr4::PGE), bit(1, 0, EDX, 24, cr4::OSFXSR),
    bit(1, 0, EDX, 25, cr4::OSXMMEXCPT),    bit(1, 0, ECX, 17, cr4::PCIDE), bit(1, 0, ECX, 26, cr4::OSXSAVE),
    bit(7, 0, EBX, 0, cr4::FSGSBASE),       bit(7, 0, EBX, 7, cr4::SMEP), bit(7, 0, EBX, 20, cr4::SMAP),
    bit(7, 0, ECX, 2, cr4::UMIP),
    // Never shown to a guest, so always reserved for it:
    bit(1, 0, ECX, 5, cr4::VMXE),           bit(1, 0, ECX, 6, cr4::SMXE), bit(7, 0, ECX, 3, cr4::PKE),
    bit(7, 0, ECX, 7, cr4::CET),            bit(7, 0, ECX, 16, cr4::LA57), bit(7, 0, ECX, 23, cr4::KL),
    bit(7, 0, ECX, 31, cr4::PKS),           bit(7, 0, EDX, 5, cr4::UINTR), bit(7, 0, EDX, 20, cr4::CET),
    bit(7, 1, EAX, 6, cr4::LASS),           bit(7, 1, EAX, 17, cr4::FRED), bit(7, 1, EAX, 26, cr4::LAM_SUP),
];

/// EFER, but for LMA. APM 2, 3.1.7. SVME is not there, as SVM is not.
pub(super) const EFER: Bits = &[
    bit(0x8000_0001, 0, EDX, 11, efer::SYSCALL_ENABLE),
    bit(0x8000_0001, 0, EDX, 20, efer::NO_EXECUTE_ENABLE),
    bit(0x8000_0001, 0, EDX, 25, efer::FAST_FXSAVE),
    bit(0x8000_0001, 0, EDX, 29, efer::LONG_MODE_ENABLE),
    bit(0x8000_0021, 0, EAX, 8, efer::AUTOMATIC_IBRS),
];

/// SPEC_CTRL: IBRS, STIBP, SSBD, PSFD; Intel's CPUID bits first. SDM 4, table 2-2; APM 2, 3.2.9.
pub(super) const SPEC_CTRL: Bits = &[
    bit(7, 0, EDX, 26, 1 << 0),
    bit(7, 0, EDX, 27, 1 << 1),
    bit(7, 0, EDX, 31, 1 << 2),
    bit(0x8000_0008, 0, EBX, 14, 1 << 0),
    bit(0x8000_0008, 0, EBX, 15, 1 << 1),
    bit(0x8000_0008, 0, EBX, 24, 1 << 2),
    bit(0x8000_0008, 0, EBX, 28, 1 << 7),
];

/// PRED_CMD: IBPB, by Intel's bit and AMD's; SBPB. SDM 4, table 2-2; APM 2, 3.2.9.
pub(super) const BARRIERS: Bits =
    &[bit(7, 0, EDX, 26, 1 << 0), bit(0x8000_0008, 0, EBX, 12, 1 << 0), bit(0x8000_0021, 0, EAX, 27, 1 << 7)];

/// The bits of `table` that a CPU with these features has.
pub(super) fn bits(table: Bits, has: impl Fn(Feature) -> bool) -> u64 {
    table.iter().filter(|row| has(row.0)).fold(0, |all, row| all | row.1)
}

/// What the rules for one register need to know of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER, as the guest sees it.
    pub efer: u64,
}

pub(super) const fn accept(value: u64, refused: bool) -> Result<u64, GeneralProtection> {
    if refused { Err(GeneralProtection) } else { Ok(value) }
}

/// EFER as the guest sees it: without the bit that is the vendor layer's.
pub const fn visible_efer(real: u64) -> u64 {
    real & !efer::SVM_ENABLE
}

/// An address that the CPU has to be able to jump to, or to add to. APM 2, 5.3.1; guests have no LA57.
///
/// # Errors
/// Bits 63 to 47 are not all the same.
pub const fn check_address(new: u64) -> Result<u64, GeneralProtection> {
    accept(new, (new << 16).cast_signed() >> 16 != new.cast_signed())
}

/// PAT: eight memory types. SDM 3, 12.12.2; APM 2, 7.8.1.
///
/// # Errors
/// A type that is reserved (2, 3 and above 7).
pub const fn check_pat(new: u64) -> Result<u64, GeneralProtection> {
    // Of each byte bits 3 to 7 must be clear, and bit 1 may only stand with bit 2.
    let reserved = new & 0xf8f8_f8f8_f8f8_f8f8;
    let middle = new & 0x0202_0202_0202_0202;
    accept(new, reserved != 0 || middle & !(new >> 1) != 0)
}

impl Policy {
    /// What CR4 becomes. SDM 3, 2.5 and 4.10.1.
    ///
    /// # Errors
    /// A reserved bit; in long mode PAE off; PCIDs on outside it, or switched on with one in CR3.
    pub const fn check_cr4(&self, new: u64, now: &Mode) -> Result<u64, GeneralProtection> {
        let long = now.efer & efer::LONG_MODE_ACTIVE != 0;
        let rises = new & !now.cr4 & cr4::PCIDE != 0;
        let refused = new & !self.cr4 != 0
            || long && new & cr4::PAE == 0
            || !long && new & cr4::PCIDE != 0
            || rises && now.cr3 & 0xfff != 0;
        accept(new, refused)
    }

    /// What EFER becomes for the guest; the vendor layer adds its own SVME. LMA is the CPU's: what is
    /// written to it is ignored (SDM 4, table 2-2).
    ///
    /// # Errors
    /// A reserved bit; LME changed while paging is on (APM 2, 14.6.1).
    pub const fn check_efer(&self, new: u64, now: &Mode) -> Result<u64, GeneralProtection> {
        let new = new & !efer::LONG_MODE_ACTIVE;
        let paging = now.cr0 & cr0::PG != 0;
        let refused = new & !self.efer != 0 || paging && (new ^ now.efer) & efer::LONG_MODE_ENABLE != 0;
        accept(new | now.efer & efer::LONG_MODE_ACTIVE, refused)
    }

    /// What a register becomes that an MSR stands for.
    ///
    /// # Errors
    /// What the register's own rule refuses.
    pub const fn check(&self, register: Register, new: u64) -> Result<u64, GeneralProtection> {
        match register {
            Register::Pat => check_pat(new),
            Register::SpecCtrl => accept(new, new & !self.spec_ctrl != 0),
            // LBR and BTF; on AMD also what the PB pins show. SDM 3, 18.4.1; APM 2, 13.1.1.6.
            Register::DebugCtl if matches!(self.vendor, Vendor::Amd) => accept(new, new & !0x3f != 0),
            Register::DebugCtl => accept(new, new & !3 != 0),
            Register::Lstar | Register::Cstar | Register::KernelGsBase => check_address(new),
            // AMD looks at the low halves only.
            Register::SysenterEsp | Register::SysenterEip if !matches!(self.vendor, Vendor::Amd) => {
                check_address(new)
            }
            _ => Ok(new),
        }
    }
}

#[cfg(test)]
mod tests;
