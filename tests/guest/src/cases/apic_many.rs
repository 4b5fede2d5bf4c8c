//! Logical destinations in xAPIC mode, and the lowest priority.

use super::ipi::{all, receivers};
use super::{Named, Outcome, check};
use crate::{Handover, apic, smp};
use hv_defs::apic::{Register, icr};

pub const MANY: &[Named] =
    &[("apic/flat", flat), ("apic/cluster", cluster), ("apic/lowest-priority", lowest_priority)];

/// The delivery mode of lowest priority.
const LOWEST: u32 = 1 << icr::MODE_SHIFT;

fn flat(handover: &Handover) -> Outcome {
    smp::everybody(handover, false, |id| {
        apic::write(Register::DESTINATION_FORMAT, u32::MAX);
        apic::write(Register::LOGICAL_DESTINATION, 1 << (24 + id));
    })?;
    check(apic::read(Register::LOGICAL_DESTINATION) == 1 << 24, "the logical address is not kept")?;
    for bits in 1..=all(handover) {
        let got = receivers(0xc8, bits.count_ones(), || apic::send_logical(bits, icr::ASSERT | 0xc8))?;
        check(got == bits, "a flat logical address reaches another CPU")?;
    }
    Ok(())
}

/// Two CPUs a cluster.
fn cluster(handover: &Handover) -> Outcome {
    smp::everybody(handover, false, |id| {
        apic::write(Register::DESTINATION_FORMAT, 0);
        apic::write(Register::LOGICAL_DESTINATION, ((id / 2) << 4 | 1 << (id % 2)) << 24);
    })?;
    check(apic::read(Register::DESTINATION_FORMAT) == 0x0fff_ffff, "the destination format is not kept")?;
    for cluster in 0..(handover.cpus as u32).div_ceil(2) {
        for bits in 1..=3 {
            let meant = (bits << (2 * cluster)) & all(handover);
            if meant == 0 {
                continue;
            }
            let to = cluster << 4 | bits;
            let got = receivers(0xc9, meant.count_ones(), || apic::send_logical(to, icr::ASSERT | 0xc9))?;
            check(got == meant, "a cluster's logical address reaches another CPU")?;
        }
    }
    smp::everybody(handover, false, |id| {
        apic::write(Register::DESTINATION_FORMAT, u32::MAX);
        apic::write(Register::LOGICAL_DESTINATION, 1 << (24 + id));
    })
}

/// One of those that are meant takes it, and each has its turn.
fn lowest_priority(handover: &Handover) -> Outcome {
    let (cpus, all) = (handover.cpus as u32, all(handover));
    let mut turns = 0;
    for _ in 0..2 * cpus {
        let got = receivers(0xca, 1, || apic::send_logical(all, icr::ASSERT | LOWEST | 0xca))?;
        check(got.is_power_of_two(), "an interrupt of lowest priority reaches more than one CPU")?;
        turns |= got;
    }
    check(turns == all, "interrupts of lowest priority never reach some CPU")?;
    let last = cpus - 1;
    let got = receivers(0xca, 1, || apic::send(last, icr::ASSERT | LOWEST | 0xca))?;
    check(got == 1 << last, "an interrupt of lowest priority reaches another than the one that is meant")
}
