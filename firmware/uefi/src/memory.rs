//! The firmware's memory map in hv's terms. UEFI 2.10, 7.2.3 (`GetMemoryMap`) and the
//! table "Memory Type Usage after ExitBootServices" in 7.2.

use handoff::Result;
use handoff::memory_map::Builder;
use hv_abi::memory::{MemoryKind, MemoryMap, PAGE_SIZE, PhysRange};
use uefi::boot::{MemoryAttribute, MemoryDescriptor, MemoryType};

/// The machine's memory as hv finds it once boot services are over.
///
/// The firmware's stack, descriptor tables and page tables lie in boot services memory, which is
/// called usable here: hv uses its own from its first instruction on, and they are not written
/// to before.
///
/// # Errors
/// A refusal when the machine reports more pieces than hv can keep.
pub fn describe<'a>(reports: impl Iterator<Item = &'a MemoryDescriptor>) -> Result<MemoryMap> {
    collect(reports, kind)
}

/// The machine's memory as it is while boot services run: usable is what nobody has.
///
/// # Errors
/// As [`describe`].
pub fn unclaimed<'a>(reports: impl Iterator<Item = &'a MemoryDescriptor>) -> Result<MemoryMap> {
    collect(reports, |report| match kind(report) {
        MemoryKind::USABLE if report.ty != MemoryType::CONVENTIONAL => MemoryKind::RESERVED,
        kind => kind,
    })
}

fn collect<'a>(
    reports: impl Iterator<Item = &'a MemoryDescriptor>,
    kind: impl Fn(&MemoryDescriptor) -> MemoryKind,
) -> Result<MemoryMap> {
    let mut builder = Builder::new();
    for report in reports {
        let len = report.page_count.saturating_mul(PAGE_SIZE);
        builder.add(PhysRange::new(report.phys_start, len), kind(report))?;
    }
    builder.finish()
}

/// What a region is to hv, after the exit.
fn kind(report: &MemoryDescriptor) -> MemoryKind {
    // Memory that the firmware goes on using, or that can't be cached, is not for guests.
    let plain =
        report.att.contains(MemoryAttribute::WRITE_BACK) && !report.att.contains(MemoryAttribute::RUNTIME);
    match report.ty {
        MemoryType::LOADER_CODE
        | MemoryType::LOADER_DATA
        | MemoryType::BOOT_SERVICES_CODE
        | MemoryType::BOOT_SERVICES_DATA
        | MemoryType::CONVENTIONAL
            if plain =>
        {
            MemoryKind::USABLE
        }
        MemoryType::ACPI_RECLAIM => MemoryKind::ACPI_TABLES,
        MemoryType::ACPI_NON_VOLATILE => MemoryKind::ACPI_NVS,
        _ => MemoryKind::RESERVED,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    const PLAIN: MemoryAttribute = MemoryAttribute::WRITE_BACK;

    fn report(start: u64, pages: u64, ty: MemoryType, att: MemoryAttribute) -> MemoryDescriptor {
        MemoryDescriptor { ty, phys_start: start, page_count: pages, att, ..MemoryDescriptor::default() }
    }

    fn regions(map: &MemoryMap) -> Vec<(u64, u64, &'static str)> {
        map.regions()
            .iter()
            .map(|region| (region.range.base, region.range.end(), region.kind.name()))
            .collect()
    }

    #[test]
    fn what_only_the_boot_needed_is_free_after_it_and_the_rest_keeps_its_owner() {
        let reports = [
            report(0, 0x9f, MemoryType::CONVENTIONAL, PLAIN),
            report(0x10_0000, 0x10, MemoryType::LOADER_CODE, PLAIN),
            report(0x11_0000, 0x10, MemoryType::LOADER_DATA, PLAIN),
            report(0x12_0000, 0x10, MemoryType::BOOT_SERVICES_CODE, PLAIN),
            report(0x13_0000, 0x10, MemoryType::BOOT_SERVICES_DATA, PLAIN),
            report(0x14_0000, 0x10, MemoryType::RUNTIME_SERVICES_CODE, PLAIN | MemoryAttribute::RUNTIME),
            report(0x15_0000, 0x10, MemoryType::ACPI_RECLAIM, PLAIN),
            report(0x16_0000, 0x10, MemoryType::ACPI_NON_VOLATILE, PLAIN),
            report(0x17_0000, 0x10, MemoryType::PERSISTENT_MEMORY, PLAIN),
            report(0xe000_0000, 0x100, MemoryType::MMIO, MemoryAttribute::UNCACHEABLE),
        ];
        let after = [
            (0, 0x9_f000, "usable"),
            (0x10_0000, 0x14_0000, "usable"),
            (0x14_0000, 0x15_0000, "reserved"),
            (0x15_0000, 0x16_0000, "acpi-tables"),
            (0x16_0000, 0x17_0000, "acpi-nvs"),
            (0x17_0000, 0x18_0000, "reserved"),
            (0xe000_0000, 0xe010_0000, "reserved"),
        ];
        assert_eq!(regions(&describe(reports.iter()).expect("room")), after);
        let before = unclaimed(reports.iter()).expect("room");
        assert_eq!(before.total(MemoryKind::USABLE), 0x9_f000);
        assert_eq!(before.top_of_ram(), 0x17_0000);
    }

    #[test]
    fn memory_that_the_firmware_keeps_or_that_is_not_cached_is_not_for_guests() {
        let kinds = [
            (PLAIN, MemoryKind::USABLE),
            (PLAIN | MemoryAttribute::UNCACHEABLE, MemoryKind::USABLE),
            (MemoryAttribute::UNCACHEABLE, MemoryKind::RESERVED),
            (PLAIN | MemoryAttribute::RUNTIME, MemoryKind::RESERVED),
        ];
        for (attributes, expected) in kinds {
            assert_eq!(kind(&report(0, 1, MemoryType::CONVENTIONAL, attributes)), expected, "{attributes:?}");
        }
        // A type from the range that board makers may give their own meaning.
        assert_eq!(kind(&report(0, 1, MemoryType(0x7000_0000), PLAIN)), MemoryKind::RESERVED);
    }

    #[test]
    fn an_impossible_count_of_pages_does_not_wrap() {
        let reports = [report(0x1000, u64::MAX, MemoryType::MMIO, MemoryAttribute::empty())];
        let map = describe(reports.iter()).expect("room");
        assert_eq!(map.check(), Ok(()));
        assert_eq!(map.regions()[0].range.base, 0x1000);
    }
}
