//! What CPUID shows.

use super::{Named, Outcome, check};
use crate::{Handover, apic, smp};
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::sync::atomic::{AtomicU64, Ordering};

pub const ONE: &[Named] = &[
    ("cpuid/signature", signature),
    ("cpuid/kvm-features", kvm_features),
    ("cpuid/features", features),
    ("cpuid/hidden", hidden),
    ("cpuid/beyond", beyond),
    ("cpuid/topology", topology),
    ("cpuid/xsave-sizes", xsave_sizes),
];
pub const MANY: &[Named] = &[("cpuid/every-cpu", every_cpu)];

const AMD: u32 = 0x6874_7541;
const NOTHING: [u32; 4] = [0; 4];

fn leaf(leaf: u32, subleaf: u32) -> [u32; 4] {
    let CpuidResult { eax, ebx, ecx, edx } = __cpuid_count(leaf, subleaf);
    [eax, ebx, ecx, edx]
}

/// Made by AMD, or as AMD's.
pub fn is_amd() -> bool {
    __cpuid(0).ebx == AMD
}

/// A bit of a register (0 = EAX) of a leaf.
pub fn has(number: u32, subleaf: u32, register: usize, bit: u32) -> bool {
    let highest = __cpuid(number & 0x8000_0000).eax;
    number <= highest && leaf(number, subleaf)[register] >> bit & 1 == 1
}

fn signature(_: &Handover) -> Outcome {
    let [highest, words @ ..] = leaf(0x4000_0000, 0);
    check(words == [0x4b4d_564b, 0x564b_4d56, 0x4d], "the KVM signature is not there")?;
    check(highest == 0x4000_0010, "KVM's highest leaf is another")
}

fn kvm_features(_: &Handover) -> Outcome {
    const SHOWN: u32 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 6 | 1 << 11 | 1 << 24;
    check(leaf(0x4000_0001, 0) == [SHOWN, 0, 0, 0], "KVM's features are not exactly those promised")?;
    let [tsc_khz, bus_khz, _, _] = leaf(0x4000_0010, 0);
    check(tsc_khz > 1000 && bus_khz == 1_000_000, "the rates of the clocks make no sense")?;
    let between = (0x4000_0002..0x4000_0010).chain([0x4000_0011, 0x4000_0100, 0x4000_1000]);
    check(between.into_iter().all(|number| leaf(number, 0) == NOTHING), "another hypervisor leaf answers")
}

fn features(_: &Handover) -> Outcome {
    check(has(1, 0, 2, 31), "the hypervisor bit is not set")?;
    check(has(1, 0, 2, 21), "x2APIC is not shown")?;
    check(has(1, 0, 2, 24), "the TSC-deadline timer is not shown")?;
    check(has(1, 0, 3, 9) && has(1, 0, 3, 12), "the APIC or the MTRRs are not shown")?;
    check(has(7, 0, 1, 1), "TSC_ADJUST is not shown")?;
    check(has(6, 0, 0, 2), "the APIC's timer is said to stop")?;
    // Linux would prefer the TSC itself to kvmclock.
    check(!has(0x8000_0007, 0, 3, 8), "an invariant TSC is shown")
}

/// Leaf, sub-leaf, register, bit, and what it would mean: nothing of it may be shown.
#[rustfmt::skip]
const HIDDEN: &[(u32, u32, usize, u32, &str)] = &[
    (1, 0, 2, 3, "MONITOR is shown"),          (1, 0, 2, 5, "VMX is shown"),
    (1, 0, 2, 6, "SMX is shown"),              (1, 0, 2, 15, "PDCM is shown"),
    (1, 0, 3, 21, "the debug store is shown"), (1, 0, 2, 27, "OSXSAVE is on at the start"),
    (7, 0, 1, 2, "SGX is shown"),              (7, 0, 1, 4, "TSX is shown"),
    (7, 0, 1, 11, "TSX is shown"),             (7, 0, 1, 14, "MPX is shown"),
    (7, 0, 1, 25, "processor trace is shown"), (7, 0, 2, 3, "protection keys are shown"),
    (7, 0, 2, 4, "protection keys are on"),    (7, 0, 2, 5, "WAITPKG is shown"),
    (7, 0, 2, 7, "shadow stacks are shown"),   (7, 0, 2, 16, "LA57 is shown"),
    (7, 0, 3, 20, "CET is shown"),             (7, 0, 3, 24, "AMX is shown"),
    (0x8000_0001, 0, 2, 2, "SVM is shown"),    (0x8000_0001, 0, 2, 3, "the extended APIC space is shown"),
    (0x8000_0001, 0, 2, 10, "IBS is shown"),   (0x8000_0001, 0, 2, 12, "SKINIT is shown"),
    (0x8000_0001, 0, 2, 23, "performance counters are shown"),
    (0x8000_0001, 0, 2, 29, "MWAITX is shown"), (0x8000_0008, 0, 1, 4, "RDPRU is shown"),
];

/// Leaves that answer nothing: MONITOR, counters, SVM, IBS, memory encryption.
const EMPTY: &[u32] = &[5, 9, 0xa, 0x8000_000a, 0x8000_001b, 0x8000_001f];

fn hidden(_: &Handover) -> Outcome {
    for &(number, subleaf, register, bit, what) in HIDDEN {
        check(!has(number, subleaf, register, bit), what)?;
    }
    let highest = __cpuid(0x8000_0000).eax;
    let mut there = EMPTY.iter().filter(|&&number| number < 0x8000_0000 || number <= highest);
    check(there.all(|&number| leaf(number, 0) == NOTHING), "a leaf of what is not there answers")
}

/// AMD's CPUs answer with zeros beyond their last leaf, Intel's with the highest basic one.
fn beyond(_: &Handover) -> Outcome {
    let (basic, extended) = (__cpuid(0).eax, __cpuid(0x8000_0000).eax);
    check(basic == 0xd && extended <= 0x8000_0021, "there are more leaves than there should be")?;
    let expected = |subleaf| if is_amd() { NOTHING } else { leaf(basic, subleaf) };
    for number in [basic + 1, 0x10, 0x12, 0x14, 0x15, 0x16, 0x1d, 0x24, 0xffff, extended + 1, 0x8fff_ffff, !0]
    {
        for subleaf in [0, 1, 2, !0] {
            check(leaf(number, subleaf) == expected(subleaf), "a leaf beyond the last answers")?;
        }
    }
    check(leaf(0x2000_0000, 0) == expected(0), "a leaf between the ranges answers")
}

fn topology(handover: &Handover) -> Outcome {
    let cpus = handover.cpus as u32;
    check(__cpuid(1).ebx >> 16 & 0xff == cpus, "leaf 1 counts other CPUs")?;
    check(has(1, 0, 3, 28) == (cpus > 1), "HTT is wrong")?;
    let [shift, threads, kind, _] = leaf(0xb, 0);
    check([shift, threads, kind] == [0, 1, 1 << 8], "leaf 0xb does not show one thread a core")?;
    let [shift, cores, kind, _] = leaf(0xb, 1);
    let expected = [cpus.next_power_of_two().ilog2(), cpus, 2 << 8 | 1];
    check([shift, cores, kind] == expected, "leaf 0xb does not show the cores")?;
    check(leaf(0xb, 2)[..3] == [0, 0, 2], "leaf 0xb has a third level")?;
    if is_amd() {
        let sizes = leaf(0x8000_0008, 0)[2];
        check(sizes & 0xff == cpus - 1, "leaf 0x80000008 counts other cores")?;
        check(has(0x8000_0001, 0, 2, 1) == (cpus > 1), "CmpLegacy is wrong")?;
    }
    Ok(())
}

/// XCR0: the three states of AVX-512.
const AVX512: u32 = 0xe0;

fn xsave_sizes(_: &Handover) -> Outcome {
    let [states, now, all, high] = leaf(0xd, 0);
    if !has(1, 0, 2, 26) {
        return check((0..9).all(|subleaf| leaf(0xd, subleaf) == NOTHING), "leaf 0xd without XSAVE");
    }
    check(states & 3 == 3 && high == 0 && states & !0xe7 == 0, "states that hv does not keep are shown")?;
    check(states & AVX512 == 0 || states & AVX512 == AVX512 && states & 4 != 0, "AVX-512 is there in part")?;
    check(now == 576 && all >= 576, "sizes of the XSAVE area make no sense")?;
    for subleaf in 2..=16 {
        let [size, offset, flags, _] = leaf(0xd, subleaf);
        if subleaf < 8 && states >> subleaf & 1 == 1 {
            check(size > 0 && offset >= 576 && offset + size <= all, "a state lies outside the XSAVE area")?;
        } else {
            check([size, offset, flags] == [0; 3], "a state that is not shown has a size")?;
        }
    }
    Ok(())
}

static SUMS: [AtomicU64; smp::MOST] = [const { AtomicU64::new(0) }; smp::MOST];
/// CPUs whose leaves name their own APIC id.
static NAMED: AtomicU64 = AtomicU64::new(0);

/// A sum over all leaves, without what is the CPU's own: its id, and what follows CR4 and XCR0.
fn sum() -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for number in (0..=0xd).chain(0x4000_0000..=0x4000_0010).chain(0x8000_0000..=__cpuid(0x8000_0000).eax) {
        for subleaf in 0..=8 {
            let own = match (number, subleaf) {
                (1, _) => [0, 0xff00_0000, 1 << 27, 0],
                (0xb, _) => [0, 0, 0, !0],
                (0xd, 0 | 1) => [0, !0, 0, 0],
                (0x8000_001e, _) => [!0, 0xff, 0, 0],
                _ => NOTHING,
            };
            for (word, own) in leaf(number, subleaf).into_iter().zip(own) {
                sum = (sum ^ u64::from(word & !own)).wrapping_mul(0x100_0000_01b3);
            }
        }
    }
    sum
}

fn every_cpu(handover: &Handover) -> Outcome {
    NAMED.store(0, Ordering::SeqCst);
    smp::everybody(handover, true, |id| {
        SUMS[id as usize].store(sum(), Ordering::SeqCst);
        let extended = !has(0x8000_0001, 0, 2, 22) || leaf(0x8000_001e, 0)[..2] == [id, id];
        let mine = leaf(1, 0)[1] >> 24 == id && (0..3).all(|subleaf| leaf(0xb, subleaf)[3] == id);
        if extended && mine && apic::id() == id {
            NAMED.fetch_add(1, Ordering::SeqCst);
        }
    })?;
    check(NAMED.load(Ordering::SeqCst) == handover.cpus, "a CPU's leaves do not name its APIC id")?;
    let first = SUMS[0].load(Ordering::SeqCst);
    let mut others = SUMS[..handover.cpus as usize].iter();
    check(others.all(|sum| sum.load(Ordering::SeqCst) == first), "CPUs differ in more than their id")
}
