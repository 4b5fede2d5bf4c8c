//! When hv can't run on this machine: a sentence in the log and on the screen, then a clean halt.

use crate::{event, screen};
use core::fmt;
use hv_abi::boot::Door;
use hv_arch::cpu;
use hv_core::virtualization::Refusal;
use ui::notice::{Notice, Tone};

/// A sentence that is put together on the spot.
pub type Sentence = heapless::String<200>;

/// Puts a sentence together; one that is too long is cut.
pub fn sentence(text: fmt::Arguments<'_>) -> Sentence {
    let mut sentence = Sentence::new();
    let _ = fmt::write(&mut sentence, text);
    sentence
}

/// Says why hv does not start, and what to do; halts for good.
pub fn refuse(door: Door, what: &str, remedy: &str) -> ! {
    event!(Error, "boot.refused", door = door, what = what, remedy = remedy);
    screen::show(&Notice { tone: Tone::Trouble, title: "Hearth can't start", text: what, detail: remedy });
    cpu::halt_forever()
}

/// As [`refuse`], for what `hv-core` decided.
pub fn refuse_machine(door: Door, why: &Refusal) -> ! {
    refuse(door, why.what, why.remedy)
}
