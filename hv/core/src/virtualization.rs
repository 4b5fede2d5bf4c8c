//! Whether this machine can run virtual machines, and if not, why not, in words.

use crate::features::{Features, Vendor};
use hv_defs::msr::{feature_control, vm_cr};

/// Why the machine can't run virtual machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong; a sentence.
    pub what: &'static str,
    /// What to do about it; a sentence.
    pub remedy: &'static str,
}

const NO_EXTENSION: Refusal = Refusal {
    what: "This computer's processor can't run virtual machines.",
    remedy: "Hearth needs AMD-V with nested paging, or Intel VT-x. In QEMU, use -cpu EPYC,+svm,+npt.",
};
const NO_NESTED_PAGING: Refusal = Refusal {
    what: "This computer's processor can run virtual machines, but has no nested paging.",
    remedy: "Hearth needs a processor of the last ten years. In QEMU, add +npt to -cpu.",
};
const LOCKED_OFF: Refusal = Refusal {
    what: "Virtualization is switched off in this computer's setup.",
    remedy: "Switch on \"SVM\", \"AMD-V\", \"VT-x\" or \"Virtualization\" in the BIOS setup and start again.",
};

/// How virtualization may be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may be used as things are.
    Granted,
    /// It may be used once this is written to `IA32_FEATURE_CONTROL`, on each CPU.
    SetFeatureControl(u64),
}

/// Decides whether virtual machines can run. `read_msr` reads a model-specific register that the
/// processor is known to have.
///
/// # Errors
/// [`Refusal`].
pub fn permission(features: &Features, read_msr: impl Fn(u32) -> u64) -> Result<Permission, Refusal> {
    match features.vendor {
        Vendor::Amd if features.bits.svm => {
            // APM 2, 15.4: SVMDIS set means EFER.SVME can't be set.
            if read_msr(hv_defs::msr::VM_CR) & vm_cr::SVM_DISABLED != 0 {
                Err(LOCKED_OFF)
            } else if features.bits.npt {
                Ok(Permission::Granted)
            } else {
                Err(NO_NESTED_PAGING)
            }
        }
        Vendor::Intel if features.bits.vmx => feature_control(read_msr(hv_defs::msr::FEATURE_CONTROL)),
        _ => Err(NO_EXTENSION),
    }
}

/// SDM 3, 24.7: VMXON needs the lock and the enable bit; while not locked, both may be set.
fn feature_control(value: u64) -> Result<Permission, Refusal> {
    let wanted = value | feature_control::LOCKED | feature_control::VMX;
    if value == wanted {
        Ok(Permission::Granted)
    } else if value & feature_control::LOCKED == 0 {
        Ok(Permission::SetFeatureControl(wanted))
    } else {
        Err(LOCKED_OFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Bits;

    fn machine(vendor: Vendor, bits: Bits) -> Features {
        Features { vendor, model: heapless::String::new(), physical_bits: 40, xcr0: 0, tsc_khz: None, bits }
    }

    #[test]
    fn amd_needs_svm_switched_on_and_nested_paging() {
        let whole = machine(Vendor::Amd, Bits { svm: true, npt: true, ..Bits::default() });
        assert_eq!(permission(&whole, |_| 0), Ok(Permission::Granted));
        assert_eq!(permission(&whole, |_| vm_cr::SVM_DISABLED | vm_cr::LOCKED), Err(LOCKED_OFF));
        let old = machine(Vendor::Amd, Bits { svm: true, ..Bits::default() });
        assert_eq!(permission(&old, |_| 0), Err(NO_NESTED_PAGING));
        let none = machine(Vendor::Amd, Bits::default());
        assert_eq!(permission(&none, |_| panic!("VM_CR is not there to read")), Err(NO_EXTENSION));
    }

    #[test]
    fn intel_is_unlocked_or_enabled_or_refused() {
        let whole = machine(Vendor::Intel, Bits { vmx: true, ..Bits::default() });
        assert_eq!(permission(&whole, |_| 0b101), Ok(Permission::Granted));
        assert_eq!(permission(&whole, |_| 0), Ok(Permission::SetFeatureControl(0b101)));
        assert_eq!(permission(&whole, |_| 0b100), Ok(Permission::SetFeatureControl(0b101)));
        assert_eq!(permission(&whole, |_| 0b001), Err(LOCKED_OFF));
        let other = machine(Vendor::Other, Bits { vmx: true, svm: true, ..Bits::default() });
        assert_eq!(permission(&other, |_| 0b101), Err(NO_EXTENSION));
    }
}
