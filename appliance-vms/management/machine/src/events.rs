//! hv's events: the page where it sets their bits. ABI.md, "I/O requests and events".

use crate::{apic, dma, hypercall};
use core::sync::atomic::{AtomicU64, Ordering};
use management::executor::EVENTS;

/// Words that have events' bits.
const WORDS: usize = EVENTS as usize / 64;

/// The page, which hv writes bits of at any time.
#[repr(C, align(4096))]
struct Page([AtomicU64; 512]);

static PAGE: Page = Page([const { AtomicU64::new(0) }; 512]);

/// Has hv set events here, and interrupt this CPU.
pub fn open() {
    let address = dma::physical(&raw const PAGE);
    if let Err(refused) = hypercall::events(address, apic::EVENTS) {
        // It is a page of this VM's RAM, and the vector is lawful.
        panic!("{refused}");
    }
}

/// Takes the events that have happened.
pub fn take(mut each: impl FnMut(u32)) {
    for (index, word) in PAGE.0[..WORDS].iter().enumerate() {
        // Mostly there are none, and a load leaves the page's cache line shared.
        if word.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let mut bits = word.swap(0, Ordering::AcqRel);
        while bits != 0 {
            each(index as u32 * 64 + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }
}
