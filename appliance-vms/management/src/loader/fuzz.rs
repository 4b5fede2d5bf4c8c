//! Kernels that say anything: files that are right but for some bytes.

extern crate std;
use super::testkit::{Hollow, Loaded, MIB, load_with, put};
use super::*;
use crate::platform::{CONVENTIONAL_END, Ram};
use crate::testkit::{Random, Run};
use std::vec::Vec;

/// Numbers that are on an edge somewhere.
fn edge(random: &mut Random) -> u64 {
    let base = [0, 1 << 20, 16 << 20, 1 << 31, 1 << 32, 1 << 63, u64::MAX][random.below(7) as usize];
    base.wrapping_add(random.below(9)).wrapping_sub(4)
}

fn mutate(random: &mut Random, file: &mut Vec<u8>, fields: &[usize]) {
    for _ in 0..=random.below(3) {
        let at = fields[random.below(fields.len() as u64) as usize];
        let len = 1 << random.below(4);
        let value = if random.below(2) == 0 { random.next() } else { edge(random) };
        if at + len <= file.len() {
            put(file, at, &value.to_le_bytes()[..len]);
        }
    }
    if random.below(8) == 0 {
        file.truncate(random.below(file.len() as u64 + 1) as usize);
    }
}

/// Loads mutations of a kernel, whose interesting places are given; some must be taken, some refused.
fn survive(name: &'static str, format: Format, mib: u64, kernel: &[u8], fields: &[usize]) {
    let mut run = Run::new(name, 2000);
    let mut random = Random(run.seed);
    let ram_end = Ram::new(mib * MIB).expect("a lawful amount").low();
    let untouched = std::vec![0xa5; (EXTENDED - CONVENTIONAL_END) as usize];
    let (mut taken, mut refused) = (0, 0);
    for step in run.by_ref() {
        let mut file = kernel.to_vec();
        mutate(&mut random, &mut file, fields);
        let len = [0, 5, 9000, 1 << 40][random.below(4) as usize];
        let initrd = Hollow { len, fails_from: if random.below(8) == 0 { 3 } else { u64::MAX } };
        let Loaded { ram, start } = load_with(format, mib, &file, Some(&initrd), "x");
        // The tables' place is nobody's, whatever the file says.
        if step % 64 == 0 {
            assert_eq!(ram.bytes(CONVENTIONAL_END, untouched.len()), untouched);
        }
        match start {
            Ok(start) => {
                taken += 1;
                assert!(start.rip < ram_end && start.rsp % 16 == 0, "{start:x?}");
            }
            Err(error) => {
                refused += 1;
                assert!(!matches!(error, LoadError::NotRam(_)), "{error}");
            }
        }
    }
    assert!(taken > 20 && refused > 20, "{taken} taken, {refused} refused");
}

#[test]
fn no_bzimage_breaks_its_loader() {
    let fields: Vec<_> = (0x1f1..0x268).chain([0, 0x1f1, 0x1f4, 0x22c, 0x258, 0x25c, 0x260]).collect();
    survive("bzimage", Format::Linux, 32, &linux::tests::kernel(), &fields);
}

#[test]
fn no_pvh_kernel_breaks_its_loader() {
    let fields: Vec<_> = (0..64).chain(64..232).chain(0x800..0x814).collect();
    survive("pvh", Format::Pvh, 4, &tests::pvh(&0x10_0040u32.to_le_bytes()), &fields);
}

#[test]
fn no_multiboot_kernel_breaks_its_loader() {
    let fields: Vec<_> = (0..52).chain(52..116).chain(0x1000..0x100c).collect();
    survive("multiboot", Format::Multiboot, 4, &tests::multiboot(), &fields);
    // With addresses: the checksum stays right, for it is not theirs.
    let at = 2 * MIB as u32;
    let flat = tests::flat([at + 0x100, at, at + 0x800, at + 0x1000, at + 0x40]);
    survive("multiboot-flat", Format::Multiboot, 4, &flat, &(0x120c..0x1220).collect::<Vec<_>>());
}
