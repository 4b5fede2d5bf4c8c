//! CPUID of known hosts, as `[leaf, subleaf, EAX, EBX, ECX, EDX]` (what is not listed is 0), and the
//! tests of the small modules.

use super::{GeneralProtection, Machine, Policy, cpuid::Dynamic, tsc::GuestTsc, xcr};
use raw_cpuid::CpuIdResult;

pub type Rows = &'static [[u32; 6]];
pub const AMD: [u32; 3] = [0x6874_7541, 0x444d_4163, 0x6974_6e65];
pub const MACHINE: Machine = Machine { cpus: 2, tsc_khz: 2_400_000 };
pub const NOW: Dynamic = Dynamic { apic_id: 1, apic_enabled: true, cr4: 0, xcr0: 1 };

/// An EPYC of the first generation, as QEMU has it; with the SVM leaf and what a hypervisor hides.
pub const EPYC: Rows = &[
    [0, 0, 0xd, AMD[0], AMD[1], AMD[2]],
    [1, 0, 0x0080_0f12, 0x0000_0800, 0xf6d8_320b, 0x078b_fbfd],
    [5, 0, 0, 0, 3, 0],
    [6, 0, 4, 0, 0, 0],
    [7, 0, 0, 0x0098_01a9, 0, 0],
    [0xb, 0, 0, 1, 0x100, 0],
    [0xd, 0, 7, 0x240, 0x340, 0],
    [0xd, 1, 5, 0x340, 0, 0],
    [0xd, 2, 0x100, 0x240, 0, 0],
    [0x8000_0000, 0, 0x8000_001e, AMD[0], AMD[1], AMD[2]],
    [0x8000_0001, 0, 0x0080_0f12, 0, 0x75, 0x2dd3_fbfd],
    [0x8000_0002, 0, 0x2044_4d41, 0x4359_5045, 0x6f72_5020, 0x7373_6563],
    [0x8000_0005, 0, 0x01ff_01ff, 0x01ff_01ff, 0x2008_0140, 0x4004_0140],
    [0x8000_0006, 0, 0, 0x4200_4200, 0x0200_6140, 0x0040_8140],
    [0x8000_0008, 0, 0x3028, 0, 0, 0],
    [0x8000_000a, 0, 1, 0x10, 0, 1],
    [0x8000_001d, 0, 0x121, 0x01c0_003f, 0x3f, 1],
    [0x8000_001d, 3, 0x163, 0x03c0_003f, 0x1fff, 6],
];

/// QEMU's `qemu64,+svm,+npt`.
pub const QEMU64: Rows = &[
    [0, 0, 0xd, AMD[0], AMD[1], AMD[2]],
    [1, 0, 0x0006_0fb1, 0x0000_0800, 0x8000_2001, 0x078b_fbfd],
    [0xb, 0, 0, 1, 0x100, 0],
    [0x8000_0000, 0, 0x8000_000a, AMD[0], AMD[1], AMD[2]],
    [0x8000_0001, 0, 0x0006_0fb1, 0, 5, 0x2193_fbfd],
    [0x8000_0008, 0, 0x3028, 0, 0, 0],
    [0x8000_000a, 0, 1, 0x10, 0, 1],
];

pub fn reader(rows: Rows) -> impl Fn(u32, u32) -> CpuIdResult {
    move |leaf, subleaf| {
        let row = rows.iter().find(|row| (row[0], row[1]) == (leaf, subleaf));
        row.map_or(CpuIdResult { eax: 0, ebx: 0, ecx: 0, edx: 0 }, |row| CpuIdResult {
            eax: row[2],
            ebx: row[3],
            ecx: row[4],
            edx: row[5],
        })
    }
}

pub fn policy(rows: Rows) -> Policy {
    Policy::new(reader(rows), MACHINE)
}

/// A host of a given vendor that says yes to every bit of every leaf.
pub fn everything(vendor: [u32; 3]) -> Policy {
    let host = move |leaf, _| match leaf {
        0 => CpuIdResult { eax: !0 >> 1, ebx: vendor[0], ecx: vendor[1], edx: vendor[2] },
        _ => CpuIdResult { eax: !0, ebx: !0, ecx: !0, edx: !0 },
    };
    Policy::new(host, MACHINE)
}

#[test]
fn only_whole_groups_are_supported() {
    let supported = |host| xcr::supported(host, |_| 0);
    assert_eq!(supported(0x207), 7, "PKRU is not kept");
    assert_eq!(supported(0x2ff), 0xe7);
    assert_eq!(supported(0x67), 7);
    assert_eq!(supported(0xe3), 3);
    assert_eq!(supported(1), 0);
}

#[test]
fn a_state_that_hv_has_no_room_for_is_not_there() {
    // Where the last state of AVX-512 ends, where AVX does, and what is left.
    for (wide, avx, left) in
        [(2688, 832, 0xe7), (4096, 832, 0xe7), (4097, 832, 7), (u32::MAX, 4096, 7), (2688, 4097, 3)]
    {
        let end = |state| if state == 7 { wide } else { avx };
        assert_eq!(xcr::supported(0x2e7, end), left, "{wide} {avx}");
    }
}

#[test]
fn states_depend_on_each_other() {
    for value in [1, 3, 7, 0xe7] {
        assert_eq!(xcr::check(value, 0xe7), Ok(()), "{value:#x}");
    }
    for value in [0, 2, 5, 6, 0x67, 0xe3, 0x1f, 0x207, 1 << 63 | 1] {
        assert_eq!(xcr::check(value, 0xe7), Err(GeneralProtection), "{value:#x}");
    }
    assert_eq!(xcr::check(7, 3), Err(GeneralProtection));
    assert_eq!(xcr::check(1, 0), Err(GeneralProtection));
}

#[test]
fn counter_and_adjustment_move_together() {
    let mut tsc = GuestTsc::starting_at(1_000);
    assert_eq!(tsc.read(1_500), 500);
    tsc.write(10_000, 1_500);
    assert_eq!((tsc.read(1_500), tsc.adjust), (10_000, 9_500));
    tsc.write_adjust(0);
    assert_eq!((tsc.read(1_600), tsc.adjust), (600, 0));
    tsc.write_adjust(u64::MAX);
    assert_eq!(tsc.read(1_600), 599, "backwards, as two's complement");
    tsc.write(0, 2_000);
    assert_eq!(tsc.read(2_001), 1);
    assert_eq!(tsc.to_host(tsc.read(3_077), 3_000), 3_077);
    assert_eq!(tsc.to_host(tsc.read(2_999), 3_000), 0, "over");
    assert_eq!(tsc.to_host(u64::MAX, 3_000), u64::MAX, "never, and not long ago");
}
