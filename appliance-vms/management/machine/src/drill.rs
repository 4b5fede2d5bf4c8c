//! Faults on purpose (`mgmt.test=…` on the command line), to see that they are told well, and that hv
//! starts this program again. The next life goes on, but after `mgmt.test=panics`.

use crate::entry::Handover;
use core::hint::black_box;

/// The word on the command line, before the fault.
const WORD: &str = "mgmt.test=";

/// Makes the fault that was asked for.
pub fn run(handover: &Handover) {
    let asked = handover.options.split_whitespace().find_map(|word| word.strip_prefix(WORD));
    match (asked, handover.lives) {
        (Some("panic"), 0) | (Some("panics"), _) => panic!("a panic was asked for"),
        (Some("page-fault"), 0) => page_fault(),
        (Some("stack-overflow"), 0) => drop(black_box(overflow(1))),
        _ => {}
    }
}

fn page_fault() {
    // All below 4 GiB is mapped, and so is the end of the address space; this is far from both.
    let nowhere = core::ptr::without_provenance::<u8>(0x1234_5678_9abc);
    // SAFETY: it is not safe: it faults, and that is what was asked for.
    black_box(unsafe { nowhere.read_volatile() });
}

#[allow(unconditional_recursion)]
fn overflow(depth: u64) -> u64 {
    black_box(black_box(depth) + overflow(black_box(depth) + 1))
}
