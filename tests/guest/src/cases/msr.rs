//! Model-specific registers: those that stock kernels touch, one by one, and all numbers in turn.

use super::cpuid::{has, is_amd};
use super::{GP, Named, Outcome, check};
use crate::traps::provoke;
use crate::{Handover, log};
use core::arch::x86_64::{__cpuid, _rdtsc};
use hv_defs::msr;

pub const ONE: &[Named] = &[
    ("msr/unknown-faults", unknown),
    ("msr/efer", efer),
    ("msr/table", table),
    ("msr/pat", pat),
    ("msr/mtrr", mtrr),
    ("msr/not-canonical", not_canonical),
    ("msr/tsc-adjust", tsc_adjust),
    ("msr/tsc", tsc),
    ("msr/apic-base", apic_base),
    ("msr/sweep", sweep),
];

/// Reads; `None`: #GP.
pub fn read(number: u32) -> Option<u64> {
    let (value, fault) = provoke!("rdmsr", number, 0);
    fault.is_none().then_some(value)
}

/// Writes; false: #GP.
pub fn write(number: u32, value: u64) -> bool {
    provoke!("wrmsr", number, value).1.is_none()
}

fn unknown(_: &Handover) -> Outcome {
    for number in [0xdead_u32, 0x4000_0000, 0xc001_ffff, 0x8ff, msr::VM_HSAVE_PA, !0] {
        check(provoke!("rdmsr", number, 0).1 == GP, "reading an MSR that is not there does not fault")?;
        check(provoke!("wrmsr", number, 1).1 == GP, "writing an MSR that is not there does not fault")?;
    }
    check(read(msr::APIC_BASE).is_some(), "reading APIC_BASE faults")
}

fn efer(_: &Handover) -> Outcome {
    use msr::efer::{LONG_MODE_ACTIVE, LONG_MODE_ENABLE, NO_EXECUTE_ENABLE, SVM_ENABLE, SYSCALL_ENABLE};
    let value = read(msr::EFER).ok_or("reading EFER faults")?;
    check(value & SVM_ENABLE == 0, "EFER shows SVM")?;
    check(value & LONG_MODE_ACTIVE != 0, "EFER does not show long mode")?;
    check(!write(msr::EFER, value | 1 << 20), "a reserved bit of EFER can be set")?;
    check(!write(msr::EFER, value | 1 << 63), "the last bit of EFER can be set")?;
    check(!write(msr::EFER, value | SVM_ENABLE), "SVM can be switched on")?;
    check(!write(msr::EFER, value & !LONG_MODE_ENABLE), "long mode can be left with paging on")?;
    check(write(msr::EFER, value & !LONG_MODE_ACTIVE), "writing EFER without LMA faults")?;
    check(read(msr::EFER) == Some(value), "LMA can be written")?;
    check(write(msr::EFER, value | SYSCALL_ENABLE | NO_EXECUTE_ENABLE), "EFER can't be written")?;
    check(read(msr::EFER) == Some(value | SYSCALL_ENABLE | NO_EXECUTE_ENABLE), "EFER reads something else")
}

/// What a read answers.
#[derive(Clone, Copy)]
enum Reads {
    Faults,
    Any,
    As(u64),
}

/// What becomes of a write.
#[derive(Clone, Copy)]
enum Writes {
    Fault(u64),
    /// It reads back.
    Keeps(u64),
    /// It is taken and changes nothing.
    Drops(u64),
}

use Reads::{Any, As, Faults};
use Writes::{Drops, Fault, Keeps};

const CANONICAL: u64 = 0xffff_9876_5432_1000;
const ZERO: Reads = As(0);

/// First, last, read, write: on every machine.
#[rustfmt::skip]
const EVERYWHERE: &[(u32, u32, Reads, Writes)] = &[
    (0x17, 0x17, ZERO, Fault(0)),                 (0x3a, 0x3a, As(1), Fault(5)),
    (0x79, 0x79, Faults, Drops(0x1000)),          (0x8b, 0x8b, As(1 << 32 | 1), Drops(0)),
    (0xce, 0xce, ZERO, Fault(0)),                 (0xfe, 0xfe, As(0x508), Fault(0x508)),
    (0xc1, 0xc4, Faults, Fault(0)),               (0x186, 0x189, Faults, Fault(0)),
    (0x174, 0x174, Any, Keeps(0x10)),             (0x175, 0x176, Any, Keeps(CANONICAL)),
    (0x179, 0x179, ZERO, Fault(0)),               (0x17a, 0x17a, ZERO, Drops(0)),
    (0x17b, 0x17b, Faults, Fault(!0)),            (0x198, 0x19c, ZERO, Drops(1)),
    (0x1a0, 0x1a0, As(0x1801), Keeps(0x1809)),    (0x1d9, 0x1d9, ZERO, Fault(1 << 40)),
    (0x1db, 0x1de, ZERO, Fault(0)),               (0x345, 0x345, Faults, Fault(0)),
    (0x38d, 0x38f, Faults, Fault(0)),             (0x400, 0x403, Faults, Fault(0)),
    (0x570, 0x571, Faults, Fault(0)),             (0x606, 0x606, Faults, Fault(0)),
    (0xd90, 0xd90, Faults, Fault(0)),             (0x10a, 0x10b, Faults, Fault(0)),
    (0x4b56_4d02, 0x4b56_4d03, Faults, Fault(1)), (0x4b56_4d04, 0x4b56_4d04, ZERO, Fault(3)),
    (0x4b56_4d05, 0x4b56_4d07, Faults, Fault(1)), (0x4b56_4d01, 0x4b56_4d01, ZERO, Keeps(0)),
    (0xe7, 0xe8, Faults, Fault(0)),               (0x4000_0000, 0x4000_0002, Faults, Fault(0)),
    (0xc000_0081, 0xc000_0081, Any, Keeps(0x0023_0010_1234_5678)),
    (0xc000_0082, 0xc000_0083, Any, Keeps(CANONICAL)), (0xc000_0084, 0xc000_0084, Any, Keeps(0x4_7700)),
    (0xc000_0100, 0xc000_0102, Any, Keeps(CANONICAL)), (0xc000_0104, 0xc000_0104, Faults, Fault(0)),
    (0xc001_0117, 0xc001_0117, Faults, Fault(0)),
];

/// On AMD's.
#[rustfmt::skip]
const AMD: &[(u32, u32, Reads, Writes)] = &[
    (0xc001_0000, 0xc001_0007, ZERO, Drops(0x53_0076)), (0xc001_0010, 0xc001_0010, ZERO, Drops(1 << 21)),
    (0xc001_0015, 0xc001_0015, As(1 << 24), Drops(1 << 24)), (0xc001_001a, 0xc001_001d, ZERO, Drops(0)),
    (0xc001_001f, 0xc001_001f, ZERO, Drops(1 << 46)),   (0xc001_0055, 0xc001_0055, ZERO, Drops(0)),
    (0xc001_0058, 0xc001_0058, ZERO, Drops(0)),         (0xc001_0061, 0xc001_006b, ZERO, Drops(1)),
    (0xc001_0111, 0xc001_0111, Faults, Fault(0)),       (0xc001_0112, 0xc001_0113, ZERO, Drops(0)),
    (0xc001_0114, 0xc001_0114, As(0x18), Drops(0)),     (0xc001_0140, 0xc001_0141, ZERO, Drops(1)),
    (0xc001_0200, 0xc001_020b, Faults, Fault(0)),       (0xc001_0290, 0xc001_0290, Faults, Fault(0)),
    (0xc001_1005, 0xc001_1005, Faults, Fault(0)),       (0xc001_1020, 0xc001_1020, Faults, Fault(0)),
    (0xc001_1021, 0xc001_1028, ZERO, Drops(1 << 4)),    (0xc001_1029, 0xc001_1029, As(2), Drops(2)),
    (0xc001_102a, 0xc001_102c, ZERO, Drops(1)),         (0xc001_1030, 0xc001_103b, Faults, Fault(0)),
];

/// One register keeps to its row.
fn keeps_to(number: u32, reads: Reads, writes: Writes) -> Outcome {
    let before = read(number);
    let as_told = match reads {
        Faults => before.is_none(),
        Any => before.is_some(),
        As(value) => before == Some(value),
    };
    check(as_told, "an MSR reads something else")?;
    match writes {
        Fault(value) => {
            check(!write(number, value), "a write to an MSR does not fault")?;
            check(read(number) == before, "a write to an MSR that faults changes it")
        }
        Drops(value) => {
            check(write(number, value), "a write to an MSR faults")?;
            check(read(number) == before, "a write to an MSR that means nothing changes it")
        }
        Keeps(value) => {
            check(write(number, value) && read(number) == Some(value), "an MSR does not read as written")?;
            check(write(number, before.unwrap_or(0)) && read(number) == before, "an MSR can't be put back")
        }
    }
}

fn table(_: &Handover) -> Outcome {
    let amd = if is_amd() { AMD } else { &[] };
    for &(first, last, reads, writes) in EVERYWHERE.iter().chain(amd) {
        for number in first..=last {
            keeps_to(number, reads, writes).inspect_err(|_| {
                log(format_args!("guest.msr {number:#x} reads {:x?}", read(number)));
            })?;
        }
    }
    let (there, gone) = ((Any, Keeps(0x0000_1003)), (Faults, Fault(0)));
    let (reads, writes) = if has(0x8000_0001, 0, 3, 27) { there } else { gone };
    keeps_to(msr::TSC_AUX, reads, writes)?;
    let (reads, writes) = if has(0xd, 1, 0, 3) { (ZERO, Fault(1)) } else { gone };
    keeps_to(0xda0, reads, writes)?;
    // SPEC_CTRL and PRED_CMD are there where CPUID says so.
    let speculation = has(7, 0, 3, 26) || [12, 14, 15, 24].iter().any(|&bit| has(0x8000_0008, 0, 1, bit));
    check(speculation || read(0x48).is_none(), "SPEC_CTRL is there and not shown")?;
    check(read(0x49).is_none(), "PRED_CMD can be read")?;
    check(!write(0x48, 1 << 40), "a reserved bit of SPEC_CTRL can be set")
}

/// What Linux writes: write-protected and write-through in the upper half.
const LINUX: u64 = 0x0407_0506_0007_0106;

fn pat(_: &Handover) -> Outcome {
    let before = read(msr::PAT).ok_or("reading PAT faults")?;
    check(before == 0x0007_0406_0007_0406, "PAT is not as after reset")?;
    for bad in [2_u64, 3, 8, 0x10, 0xff] {
        for place in [0, 24, 56] {
            check(!write(msr::PAT, bad << place), "PAT takes a type that is reserved")?;
        }
    }
    check(write(msr::PAT, LINUX) && read(msr::PAT) == Some(LINUX), "PAT does not read as written")?;
    check(write(msr::PAT, before), "PAT can't be put back")
}

fn mtrr(_: &Handover) -> Outcome {
    let bits = __cpuid(0x8000_0008).eax & 0xff;
    check(read(0x2ff) == Some(0x806), "the default type is not write-back, and on")?;
    for bad in [2, 3, 7, 0x1000, 1 << 9, 1 << bits] {
        check(!write(0x2ff, bad), "the default type takes a reserved value")?;
    }
    for pair in 0..8 {
        let (base, mask) = (0x200 + 2 * pair, 0x201 + 2 * pair);
        check(write(base, 0x8000_0006) && read(base) == Some(0x8000_0006), "a range's base is not kept")?;
        check(
            !write(base, 2) && !write(base, 0x806) && !write(base, 1 << bits),
            "a range's base takes anything",
        )?;
        check(!write(mask, 1) && !write(mask, 1 << bits), "a range's mask takes anything")?;
        check(write(mask, 0x800) && write(mask, 0) && write(base, 0), "a range can't be put back")?;
    }
    check(!write(0x210, 0) && read(0x210).is_none(), "there is a ninth range")?;
    for fixed in [0x250, 0x258, 0x259, 0x268, 0x26c, 0x26f] {
        let all = 0x0606_0505_0404_0100;
        check(write(fixed, all) && read(fixed) == Some(all), "a fixed range is not kept")?;
        check(!write(fixed, 0x0606_0302_0606_0606), "a fixed range takes a reserved type")?;
        check(write(fixed, 0), "a fixed range can't be put back")?;
    }
    Ok(())
}

/// A processor refuses addresses that are not canonical; QEMU 7.2 takes them. Either way the guest
/// lives on, through exits, and the register works afterwards.
fn not_canonical(_: &Handover) -> Outcome {
    for number in [0xc000_0082_u32, 0xc000_0083, 0xc000_0100, 0xc000_0101, 0xc000_0102, 0x175, 0x176] {
        let before = read(number).ok_or("a register of an address can't be read")?;
        for address in [0x8000_0000_0000_u64, 0xffff_7fff_ffff_ffff, 1 << 63] {
            let taken = write(number, address);
            let leaf = __cpuid(0x4000_0000);
            check(leaf.eax == 0x4000_0010, "CPUID goes wrong with an address that is not canonical")?;
            let now = read(number).ok_or("a register of an address can't be read any more")?;
            check(taken || now == before, "a write that faults changes an address")?;
        }
        check(write(number, before) && read(number) == Some(before), "an address can't be put back")?;
    }
    Ok(())
}

const TSC_ADJUST: u32 = 0x3b;

fn now() -> u64 {
    // SAFETY: reading the counter has no effect on memory.
    unsafe { _rdtsc() }
}

fn tsc_adjust(_: &Handover) -> Outcome {
    const FAR: u64 = 1 << 40;
    let before = now();
    check(write(TSC_ADJUST, FAR), "TSC_ADJUST faults")?;
    let moved = now().wrapping_sub(before);
    check((FAR..FAR * 2).contains(&moved), "the TSC does not move with TSC_ADJUST")?;
    check(read(TSC_ADJUST) == Some(FAR), "TSC_ADJUST reads something else")?;
    check(write(TSC_ADJUST, 0) && now() < FAR, "the TSC does not move back")
}

fn tsc(_: &Handover) -> Outcome {
    const FAR: u64 = 1 << 44;
    let (first, read_by_msr) = (now(), read(0x10).ok_or("reading the TSC's MSR faults")?);
    check(read_by_msr >= first && now() >= read_by_msr, "RDTSC and RDMSR differ")?;
    check(write(0x10, FAR) && (FAR..FAR * 2).contains(&now()), "the TSC can't be written")?;
    let moved = read(TSC_ADJUST).ok_or("reading TSC_ADJUST faults")?;
    check((FAR - FAR / 2..FAR).contains(&moved), "TSC_ADJUST does not move with the TSC")?;
    check(write(TSC_ADJUST, 0) && now() < FAR, "the TSC does not move back")?;
    if !has(0x8000_0001, 0, 3, 27) {
        return Ok(());
    }
    check(write(msr::TSC_AUX, 0x123), "TSC_AUX can't be written")?;
    let (value, fault) = provoke!("rdtscp\nmov eax, ecx", 0, 0);
    check(fault.is_none() && value as u32 == 0x123, "RDTSCP does not answer TSC_AUX")
}

/// What may be written to APIC_BASE while in xAPIC mode; leaving it is another case's.
fn apic_base(_: &Handover) -> Outcome {
    let value = read(msr::APIC_BASE).ok_or("reading APIC_BASE faults")?;
    check(value == 0xfee0_0900, "APIC_BASE is not as after reset")?;
    let beyond = 1 << (__cpuid(0x8000_0008).eax & 0xff);
    for bad in [1_u64, 1 << 9, 1 << 52, 1 << 63, beyond] {
        check(!write(msr::APIC_BASE, value | bad), "a reserved bit of APIC_BASE can be set")?;
    }
    check(!write(msr::APIC_BASE, value & !0x800 | 0x400), "x2APIC can be on with the APIC off")?;
    check(write(msr::APIC_BASE, value & !0x100), "APIC_BASE can't be written")?;
    check(read(msr::APIC_BASE) == Some(value), "the boot CPU's bit can be changed")
}

/// Every number of the ranges that are used: a value, which can be written back or not, or #GP.
fn sweep(_: &Handover) -> Outcome {
    let ranges = [0..0x2000, 0x4000_0000..0x4000_0200, 0x4b56_4d00..0x4b56_4d10, 0xc000_0000..0xc000_2000];
    let (mut there, mut gone) = (0_u32, 0_u32);
    for number in ranges.into_iter().flatten().chain(0xc001_0000..0xc001_2000) {
        let Some(value) = read(number) else {
            gone += 1;
            continue;
        };
        there += 1;
        // The counter goes on while it is written back.
        if number != 0x10 {
            write(number, value);
        }
    }
    log(format_args!("guest.msrs there={there} gone={gone}"));
    check(there > 40 && gone > 0x5000, "too many or too few MSRs answer")?;
    check(read(TSC_ADJUST) == Some(0), "a sweep moves the TSC")
}
