//! Processors that a VM may find itself on: real ones, and ones that no vendor ever made.

use crate::random::Random;
use hv_core::policy::{Machine, Policy};
use raw_cpuid::CpuIdResult;

const AMD: [u32; 3] = [0x6874_7541, 0x444d_4163, 0x6974_6e65];
const INTEL: [u32; 3] = [0x756e_6547, 0x6c65_746e, 0x4965_6e69];

/// Leaves of an EPYC of the first generation, as `[leaf, subleaf, EAX, EBX, ECX, EDX]`.
const EPYC: &[[u32; 6]] = &[
    [1, 0, 0x0080_0f12, 0x0000_0800, 0xf6d8_320b, 0x078b_fbfd],
    [7, 0, 0, 0x0098_01a9, 0, 0],
    [0xd, 0, 7, 0x240, 0x340, 0],
    [0xd, 1, 5, 0x340, 0, 0],
    [0xd, 2, 0x100, 0x240, 0, 0],
    [0x8000_0001, 0, 0x0080_0f12, 0, 0x75, 0x2dd3_fbfd],
    [0x8000_0008, 0, 0x3028, 0, 0, 0],
];

/// The rules of a VM with so many vCPUs, on a processor that `random` chooses.
pub fn policy(random: &mut Random, cpus: u8) -> Policy {
    let machine = Machine { cpus, tsc_khz: 2_400_000 };
    let (kind, noise) = (random.below(4), random.next());
    let vendor = if random.below(4) == 0 { INTEL } else { AMD };
    let host = move |leaf: u32, subleaf: u32| {
        let [eax, ebx, ecx, edx] = match leaf {
            0 => [0x1f, vendor[0], vendor[1], vendor[2]],
            0x8000_0000 => [0x8000_0021, vendor[0], vendor[1], vendor[2]],
            _ if kind < 2 => known(leaf, subleaf),
            // Everything there could be.
            _ if kind == 2 => [u32::MAX; 4],
            // Anything, but the same whenever it is asked for.
            _ => {
                let mut leaf = Random(noise ^ u64::from(leaf) << 8 ^ u64::from(subleaf));
                [leaf.next() as u32, leaf.next() as u32, leaf.next() as u32, leaf.next() as u32]
            }
        };
        // But every processor with nested paging has at least 36 bits of physical address.
        let eax = if leaf == 0x8000_0008 { eax & !0xff | (36 + (eax & 0xff) % 17) } else { eax };
        CpuIdResult { eax, ebx, ecx, edx }
    };
    Policy::new(host, machine)
}

fn known(leaf: u32, subleaf: u32) -> [u32; 4] {
    let row = EPYC.iter().find(|row| (row[0], row[1]) == (leaf, subleaf));
    row.map_or([0; 4], |&[.., eax, ebx, ecx, edx]| [eax, ebx, ecx, edx])
}
