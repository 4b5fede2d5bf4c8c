use super::*;
use crate::policy::tests::{AMD, EPYC, QEMU64, everything, policy};

const GP: Result<u64, GeneralProtection> = Err(GeneralProtection);

#[test]
fn bits_exist_as_cpuid_says() {
    let common = cr4::VME
        | cr4::PVI
        | cr4::DE
        | cr4::PSE
        | cr4::TSD
        | cr4::PCE
        | cr4::PAE
        | cr4::MCE
        | cr4::PGE
        | cr4::OSFXSR
        | cr4::OSXMMEXCPT;
    let (epyc, small, rich) = (policy(EPYC), policy(QEMU64), everything(AMD));
    // The EPYC's EDX says 0xfbfd: it has no VME.
    let common = common & !(cr4::VME | cr4::PVI);
    assert_eq!(small.cr4, common);
    assert_eq!(epyc.cr4, common | cr4::OSXSAVE | cr4::FSGSBASE | cr4::SMEP | cr4::SMAP);
    let hidden = cr4::VMXE | cr4::SMXE | cr4::PKE | cr4::CET | cr4::LA57 | cr4::KL | cr4::PKS | cr4::UINTR;
    assert_eq!(rich.cr4 & hidden, 0);
    assert_ne!(rich.cr4 & (cr4::UMIP | cr4::PCIDE), 0);
    assert_eq!((epyc.intercept_cr4, small.intercept_cr4, rich.intercept_cr4), (false, false, true));
    assert_eq!((small.efer, epyc.efer, rich.efer), (0x901, 0x901, 0x20_4901));
}

#[test]
fn cr4_is_refused_what_a_cpu_refuses() {
    let rich = everything(AMD);
    let long = Mode { cr0: cr0::PG, cr3: 0x1000, cr4: cr4::PAE, efer: 0xd00 };
    for good in [cr4::PAE, cr4::PAE | cr4::PCIDE, cr4::PAE | cr4::SMEP | cr4::OSXSAVE] {
        assert_eq!(rich.check_cr4(good, &long), Ok(good), "{good:#x}");
    }
    for bad in [0, cr4::PAE | cr4::VMXE, cr4::PAE | cr4::PKE, cr4::PAE | 1 << 15, cr4::PAE | 1 << 63] {
        assert_eq!(rich.check_cr4(bad, &long), GP, "{bad:#x}");
    }
    let with_pcid = Mode { cr3: 0x1001, ..long };
    assert_eq!(rich.check_cr4(cr4::PAE | cr4::PCIDE, &with_pcid), GP);
    let already = Mode { cr4: cr4::PAE | cr4::PCIDE, ..with_pcid };
    assert_eq!(rich.check_cr4(already.cr4, &already), Ok(already.cr4));
    assert_eq!(rich.check_cr4(cr4::PAE | cr4::PCIDE, &Mode::default()), GP);
    assert_eq!(rich.check_cr4(0, &Mode::default()), Ok(0));
    assert_eq!(policy(QEMU64).check_cr4(cr4::SMEP, &Mode::default()), GP);
}

#[test]
fn efer_keeps_its_own_rules() {
    let (guest, mut now) = (policy(EPYC), Mode::default());
    assert_eq!(guest.check_efer(0x901, &now), Ok(0x901));
    assert_eq!(guest.check_efer(efer::LONG_MODE_ACTIVE, &now), Ok(0), "LMA is the CPU's");
    for bad in [efer::SVM_ENABLE, 1 << 1, 1 << 13, efer::AUTOMATIC_IBRS, 1 << 63] {
        assert_eq!(guest.check_efer(bad, &now), GP, "{bad:#x}");
    }
    now = Mode { cr0: cr0::PG | cr0::PE, efer: 0x500, ..now };
    assert_eq!(guest.check_efer(0x901, &now), Ok(0xd01), "LMA stays");
    assert_eq!(guest.check_efer(0x801, &now), GP, "LME may not fall while paging is on");
    now.efer = 0;
    assert_eq!(guest.check_efer(0x100, &now), GP, "nor rise");
    assert_eq!(visible_efer(0x1d01), 0xd01);
}

#[test]
fn pat_has_only_known_types() {
    for at in 0..8 {
        for byte in 0..=255u64 {
            let value = byte << (at * 8) | 0x0006_0501_0407_0006 & !(0xff << (at * 8));
            assert_eq!(check_pat(value).is_ok(), matches!(byte, 0 | 1 | 4..=7), "{value:#x}");
        }
    }
    let guest = policy(EPYC);
    assert_eq!(guest.check(Register::Pat, 2), GP);
    assert_eq!(guest.check(Register::Pat, 0x0007_0406_0007_0406), Ok(0x0007_0406_0007_0406));
    assert_eq!(guest.check(Register::DebugCtl, 0x3f), Ok(0x3f));
    assert_eq!(guest.check(Register::DebugCtl, 0x40), GP);
    assert_eq!(policy(&[]).check(Register::DebugCtl, 3), Ok(3));
    assert_eq!(policy(&[]).check(Register::DebugCtl, 4), GP);
    assert_eq!(guest.check(Register::Cr2, 77), Ok(77), "no rule, no refusal");
}
