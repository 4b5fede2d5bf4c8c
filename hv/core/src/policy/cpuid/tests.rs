use super::*;
use crate::policy::Policy;
use crate::policy::tests::{AMD, EPYC, MACHINE, NOW, QEMU64, Rows, everything, policy, reader};
use crate::random::Random;

const INTEL: [u32; 3] = [0x756e_6547, 0x6c65_746e, 0x4965_6e69];

fn ask(policy: &Policy, leaf: u32, subleaf: u32, now: &Dynamic) -> Answer {
    let CpuIdResult { eax, ebx, ecx, edx } = policy.cpuid.lookup(leaf, subleaf, now);
    [eax, ebx, ecx, edx]
}

/// Every leaf that is not in `expected` must read as zero.
fn compare(host: Rows, expected: Rows) {
    let policy = policy(host);
    let leaves = (0..0x40).chain(0x4000_0000..0x4000_0120).chain(0x8000_0000..0x8000_0040);
    for (leaf, subleaf) in leaves.flat_map(|leaf| (0..70).map(move |subleaf| (leaf, subleaf))) {
        let subleaf = if matches!(leaf, 4 | 7 | 0xb | 0xd | AMD_CACHES) { subleaf } else { 0 };
        let row = expected.iter().find(|row| (row[0], row[1]) == (leaf, subleaf));
        let zero = if leaf == 0xb { [0, 0, subleaf, 1] } else { ZERO };
        let want = row.map_or(zero, |row| [row[2], row[3], row[4], row[5]]);
        let got = ask(&policy, leaf, subleaf, &NOW);
        assert_eq!(got, want, "{leaf:#x}.{subleaf}: {got:#x?} is not {want:#x?}");
    }
}

#[test]
fn a_guest_on_an_epyc() {
    compare(
        EPYC,
        &[
            [0, 0, 0xd, AMD[0], AMD[1], AMD[2]],
            // MONITOR is gone; x2APIC and TSC-deadline have come; two CPUs, and this is number 1.
            [1, 0, 0x0080_0f12, 0x0102_0800, 0xf7f8_3203, 0x178b_fbfd],
            [6, 0, 4, 0, 0, 0],
            [7, 0, 0, 0x0098_01ab, 0, 0],
            [0xb, 0, 0, 1, 0x100, 1],
            [0xb, 1, 1, 2, 0x201, 1],
            [0xd, 0, 7, 0x240, 0x340, 0],
            [0xd, 1, 5, 0, 0, 0],
            [0xd, 2, 0x100, 0x240, 0, 0],
            [0x4000_0000, 0, 0x4000_0010, 0x4b4d_564b, 0x564b_4d56, 0x4d],
            [0x4000_0001, 0, 0x0100_084b, 0, 0, 0],
            [0x4000_0010, 0, 2_400_000, 1_000_000, 0, 0],
            [0x8000_0000, 0, 0x8000_001e, AMD[0], AMD[1], AMD[2]],
            // SVM is gone; CmpLegacy has come.
            [0x8000_0001, 0, 0x0080_0f12, 0, 0x73, 0x2dd3_fbfd],
            [0x8000_0002, 0, 0x2044_4d41, 0x4359_5045, 0x6f72_5020, 0x7373_6563],
            [0x8000_0005, 0, 0x01ff_01ff, 0x01ff_01ff, 0x2008_0140, 0x4004_0140],
            [0x8000_0006, 0, 0, 0x4200_4200, 0x0200_6140, 0x0040_8140],
            [0x8000_0008, 0, 0x3028, 0, 0x1001, 0],
            [0x8000_001d, 0, 0x121, 0x01c0_003f, 0x3f, 1],
            [0x8000_001d, 3, 0x4163, 0x03c0_003f, 0x1fff, 6],
        ],
    );
}

#[test]
fn a_guest_on_a_small_cpu_without_xsave() {
    compare(
        QEMU64,
        &[
            [0, 0, 0xd, AMD[0], AMD[1], AMD[2]],
            [1, 0, 0x0006_0fb1, 0x0102_0800, 0x8120_2001, 0x178b_fbfd],
            [6, 0, 4, 0, 0, 0],
            [7, 0, 0, 2, 0, 0],
            [0xb, 0, 0, 1, 0x100, 1],
            [0xb, 1, 1, 2, 0x201, 1],
            [0x4000_0000, 0, 0x4000_0010, 0x4b4d_564b, 0x564b_4d56, 0x4d],
            [0x4000_0001, 0, 0x0100_084b, 0, 0, 0],
            [0x4000_0010, 0, 2_400_000, 1_000_000, 0, 0],
            [0x8000_0000, 0, 0x8000_000a, AMD[0], AMD[1], AMD[2]],
            [0x8000_0001, 0, 0x0006_0fb1, 0, 3, 0x2193_fbfd],
            [0x8000_0008, 0, 0x3028, 0, 0x1001, 0],
        ],
    );
}

#[test]
fn every_row_shows_what_it_says_and_no_more() {
    let rich = everything(AMD);
    let poor = policy(&[[0, 0, 0xd, AMD[0], AMD[1], AMD[2]], [0x8000_0000, 0, 0x8000_0021, 0, 0, 0]]);
    for row in table::ROWS {
        let name = (row.leaf, row.subleaf, row.register);
        assert!(slot(row.leaf, row.subleaf).is_some(), "{name:x?} has no place");
        // Set afterwards: topology, the highest sub-leaf, the size of a linear address.
        let (changed, topology) = match (row.leaf, row.register) {
            (1, EBX) => (0xffff_0000, 0x0102_0000),
            (1, EDX) => (1 << 28, 1 << 28),
            (7, EAX) => (!0, 0),
            (0x8000_0001, ECX) => (1 << 1, 1 << 1),
            (0x8000_0008, EAX) => (0xff00, 0),
            _ => (0, 0),
        };
        let shown = |policy| ask(policy, row.leaf, row.subleaf, &NOW)[row.register];
        assert_eq!(shown(&rich) & !changed, (row.pass | row.force) & !changed, "{name:x?}");
        assert_eq!(shown(&poor), row.force | topology, "{name:x?}");
    }
}

#[test]
fn what_hv_does_not_give_is_not_shown() {
    #[rustfmt::skip]
    let absent = [
        (1, 0, ECX, 3, "MONITOR"), (1, 0, ECX, 5, "VMX"), (1, 0, ECX, 6, "SMX"), (1, 0, ECX, 15, "PDCM"),
        (1, 0, EDX, 21, "DS"), (5, 0, ECX, 0, "MWAIT"), (6, 0, ECX, 0, "APERFMPERF"), (7, 0, EBX, 2, "SGX"),
        (7, 0, EBX, 4, "HLE"), (7, 0, EBX, 11, "RTM"), (7, 0, EBX, 12, "RDT-M"), (7, 0, EBX, 14, "MPX"),
        (7, 0, EBX, 15, "RDT-A"), (7, 0, EBX, 25, "PT"), (7, 0, ECX, 3, "PKU"), (7, 0, ECX, 5, "WAITPKG"),
        (7, 0, ECX, 7, "CET_SS"), (7, 0, ECX, 16, "LA57"), (7, 0, EDX, 22, "AMX_BF16"), (7, 0, EDX, 29, "ARCH_CAP"),
        (0xa, 0, EAX, 0, "PERFMON"), (0xd, 1, EAX, 4, "XFD"), (0x8000_0001, 0, ECX, 2, "SVM"),
        (0x8000_0001, 0, ECX, 10, "IBS"), (0x8000_0001, 0, ECX, 23, "PERFCTR"), (0x8000_0001, 0, ECX, 29, "MWAITX"),
        (0x8000_0008, 0, EBX, 4, "RDPRU"), (0x8000_000a, 0, EAX, 0, "SVM revision"), (0x8000_001b, 0, EAX, 0, "IBS"),
        (0x8000_001f, 0, EAX, 1, "SEV"), (0x8000_0021, 0, EAX, 7, "UAI"), (0x4000_0001, 0, EAX, 5, "STEAL_TIME"),
        (0x4000_0001, 0, EAX, 7, "PV_UNHALT"), (0x4000_0001, 0, EAX, 4, "ASYNC_PF"), (0x4000_0001, 0, EDX, 0, "REALTIME"),
    ];
    let guest = everything(AMD);
    for (leaf, subleaf, register, bit, name) in absent {
        assert_eq!(ask(&guest, leaf, subleaf, &NOW)[register] >> bit & 1, 0, "{name}");
    }
    assert_eq!(guest.cpuid.lookup(0x8000_0008, 0, &NOW).eax, 0x30ff, "48 linear bits");
    assert_eq!(guest.cpuid.lookup(0x8000_0000, 0, &NOW).eax, 0x8000_0021);
    assert_eq!(guest.physical_bits, 52);
    assert_eq!(policy(&[]).physical_bits, 36);
}

#[test]
fn what_the_cpu_does_shows_at_once() {
    let guest = everything(AMD);
    let now = Dynamic { apic_id: 0x103, apic_enabled: false, cr4: cr4::OSXSAVE, xcr0: 7 };
    let first = guest.cpuid.lookup(1, 0, &now);
    assert_eq!((first.ebx >> 24, first.ecx & OSXSAVE, first.edx & APIC), (3, OSXSAVE, 0));
    assert_eq!(guest.cpuid.lookup(1, 0, &NOW).ecx & OSXSAVE, 0);
    assert_eq!(guest.cpuid.lookup(0x8000_0001, 0, &now).edx & APIC, 0);
    assert_ne!(guest.cpuid.lookup(0x8000_0001, 0, &NOW).edx & APIC, 0);
    assert_eq!(guest.cpuid.lookup(0xb, 9, &now).edx, 0x103);
    assert_eq!(ask(&guest, 0x8000_001e, 0, &now), [0x103, 3, 0, 0]);
    let one = Policy::new(reader(EPYC), Machine { cpus: 0, ..MACHINE });
    assert_eq!(ask(&one, 0xb, 1, &NOW), [0, 1, 0x201, 1]);
    assert_eq!(one.cpuid.lookup(1, 0, &NOW).edx >> 28, 0, "one CPU is not many");
    assert_eq!(one.cpuid.lookup(0x8000_0008, 0, &NOW).ecx, 0);
}

/// Where Intel's AVX-512 parts keep their states, with MPX and PKRU between; 1 and 2 are XSAVE's.
const WIDE: Rows = &[
    [0, 0, 0x1f, INTEL[0], INTEL[1], INTEL[2]],
    [1, 0, 0x0005_0654, 0, 1 << 26 | 1 << 28, 0],
    [4, 0, 0x1c00_4121, 0x01c0_003f, 0x3f, 0],
    [4, 3, 0x1c03_c163, 0x0280_003f, 0x9fff, 4],
    [0xd, 0, 0x2ff, 0x240, 0xa88, 0],
    [0xd, 1, 0xf, 0x240, 0x100, 0],
    [0xd, 2, 0x100, 0x240, 0, 0],
    [0xd, 3, 0x40, 0x3c0, 0, 0],
    [0xd, 4, 0x40, 0x400, 0, 0],
    [0xd, 5, 0x40, 0x440, 0, 0],
    [0xd, 6, 0x200, 0x480, 0, 0],
    [0xd, 7, 0x400, 0x680, 2, 0],
    [0xd, 9, 8, 0xa80, 0, 0],
    [0x8000_0000, 0, 0x8000_0008, 0, 0, 0],
    [0x8000_0008, 0, 0x3927, 0, 0, 0],
];

#[test]
fn xsave_has_room_for_what_is_on_in_both_formats() {
    let guest = Policy::new(reader(WIDE), Machine { cpus: 3, tsc_khz: 1 });
    assert_eq!(guest.xcr0, 0xe7);
    let sizes = |xcr0| {
        let now = Dynamic { xcr0, ..NOW };
        (guest.cpuid.lookup(0xd, 0, &now).ebx, guest.cpuid.lookup(0xd, 1, &now).ebx)
    };
    assert_eq!(sizes(1), (0x240, 0x240));
    assert_eq!(sizes(7), (0x340, 0x340));
    // Compacted: 0x240 + AVX 0x100 + masks 0x40 + 0x200 + 0x400, with no gap where MPX is.
    assert_eq!(sizes(0xe7), (0xa80, 0x980));
    assert_eq!(sizes(!0), (0xa80, 0x980), "unknown states take no room");
    assert_eq!(ask(&guest, 0xd, 0, &NOW), [0xe7, 0x240, 0xa80, 0]);
    for hidden in [3, 4, 8, 9, 63, !0] {
        assert_eq!(ask(&guest, 0xd, hidden, &NOW), ZERO);
    }
}

#[test]
fn intel_shares_caches_by_id_and_answers_beyond_the_end() {
    let guest = Policy::new(reader(WIDE), Machine { cpus: 3, tsc_khz: 1 });
    assert_eq!(guest.cpuid.lookup(4, 0, &NOW).eax, 3 << 26 | 0x121);
    assert_eq!(guest.cpuid.lookup(4, 3, &NOW).eax, 3 << 26 | 3 << 14 | 0x163);
    assert_eq!(ask(&guest, 4, 4, &NOW), ZERO);
    assert_eq!(guest.cpuid.lookup(0x8000_0008, 0, &NOW).eax, 0x3027);
    for beyond in [0xe, 0x1f, 0x2000_0000, 0x8000_0009, 0xc000_0000, !0] {
        assert_eq!(ask(&guest, beyond, 2, &NOW), ask(&guest, 0xd, 2, &NOW), "{beyond:#x}");
        assert_eq!(ask(&policy(EPYC), beyond | 0x40, 2, &NOW), ZERO);
    }
    assert_eq!(ask(&guest, 0x4000_0002, 0, &NOW), ZERO);
}

#[test]
fn no_question_and_no_host_does_harm() {
    let mut random = Random(7);
    for round in 0..200 {
        let (vendor, seed) = ([AMD, INTEL, [0; 3]][round % 3], random.next());
        let guest = Policy::new(
            |leaf, subleaf| {
                let mut noise = Random(seed ^ u64::from(leaf) << 8 ^ u64::from(subleaf));
                let mut word = || noise.next() as u32;
                match leaf {
                    0 => CpuIdResult { eax: word(), ebx: vendor[0], ecx: vendor[1], edx: vendor[2] },
                    _ => CpuIdResult { eax: word(), ebx: word(), ecx: word(), edx: word() },
                }
            },
            Machine { cpus: random.next() as u8, tsc_khz: random.next() as u32 },
        );
        for _ in 0..500 {
            let base = [0, 0x4000_0000, 0x8000_0000, random.next() as u32][random.below(4) as usize];
            let leaf = base | random.below(0x30) as u32;
            let subleaf = if random.below(2) == 0 { random.next() as u32 } else { random.below(12) as u32 };
            let now = Dynamic { apic_id: 0, apic_enabled: false, cr4: random.next(), xcr0: random.next() };
            let again = Dynamic { xcr0: now.xcr0 & 0xe7, ..now };
            assert_eq!(ask(&guest, leaf, subleaf, &now), ask(&guest, leaf, subleaf, &again));
        }
    }
}
