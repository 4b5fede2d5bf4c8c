//! What QEMU breaks by itself now and then, told from what Hearth breaks.
//!
//! QEMU 7.2 with a thread a CPU: when any CPU loads its x87 state (`FXRSTOR`, `XRSTOR`), QEMU writes the
//! flags of the first CPU (`cpu_clear_ignne`, not atomically), and may undo there what a #VMEXIT has just
//! done: nested paging stays on for the host. The host's first fetch is then an exit of its own, in which
//! the walk ends at hv's root table, and the guest's saved state is gone (hv/DECISIONS 34).

use crate::event::Event;
use std::error::Error;
use std::fmt;
use std::ops::Range;

/// The run says nothing of Hearth: it is to be made again.
#[derive(Debug)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QEMU left nested paging on behind an exit")
    }
}

impl Error for Broken {}

/// Whether this is the log of such a run: a VM ended because of a walk through hv's own tables, which no
/// guest's tables lead to, or of a fetch where hv is linked, which is no physical address.
pub fn broke(log: &[Event]) -> bool {
    let owned: Vec<Range<u64>> = log.iter().filter_map(owned_by_hv).collect();
    let is_hvs = |address| address > PHYSICAL || owned.iter().any(|range| range.contains(&address));
    log.iter().filter_map(ended_without_memory).any(is_hvs)
}

/// Most that a physical address can be. APM 2, 1.1.3.
const PHYSICAL: u64 = (1 << 52) - 1;

fn owned_by_hv(event: &Event) -> Option<Range<u64>> {
    if event.name != "hv.owner" || event.field("owner").ok()? != "hv" {
        return None;
    }
    let (from, to) = event.field("range").ok()?.split_once("..")?;
    Some(number(from)?..number(to)?)
}

/// Where there was none.
fn ended_without_memory(event: &Event) -> Option<u64> {
    let reason = event.field("reason").ok().filter(|_| event.name == "vm.exit")?;
    let address = reason.strip_prefix("code, page tables or a stack at ")?;
    number(address.strip_suffix(", where no RAM is")?)
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Line;

    fn broke_at(address: &str) -> bool {
        let log = format!(
            "0.000001 DEBUG hv.owner range=0x200000..0x302000 owner=hv\n\
             0.000002 DEBUG hv.owner range=0x302000..0x400000 owner=free\n\
             0.000003 ERROR vm.exit vm=tv reason=\"code, page tables or a stack at {address}, where no RAM is\"\n"
        );
        let events: Vec<Event> =
            log.lines().filter_map(|line| Line::read(line.as_bytes()).event().cloned()).collect();
        assert_eq!(events.len(), 3);
        broke(&events)
    }

    #[test]
    fn a_walk_through_hvs_own_memory_is_qemus_doing() {
        assert!(broke_at("0x2ffff8") && broke_at("0xffffffff800000f9"));
    }

    #[test]
    fn a_walk_anywhere_else_is_not() {
        assert!(!broke_at("0x302000") && !broke_at("0x1000") && !broke_at("0xfffffffff8"));
    }

    #[test]
    fn another_end_is_not() {
        let line = Line::read(b"0.000003 ERROR vm.exit vm=tv reason=\"a triple fault\"");
        assert!(!broke(&[line.event().expect("a line").clone()]));
    }
}
