//! When a door can't go on: a sentence on COM1 and on the screen, then a clean halt.

use core::fmt;
use hv_abi::boot::{Door, Framebuffer};
use hv_abi::log::Level;
use hv_console::{Screen, Serial};
use ui::notice::{Notice, Tone};

/// Why a door does not go on, in words for whoever stands before the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong; a sentence.
    pub what: &'static str,
    /// What to do about it; a sentence.
    pub remedy: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.remedy)
    }
}

/// What the fallible steps of a door answer.
pub type Result<T> = core::result::Result<T, Refusal>;

/// Says why on COM1 and, if there is one, on the screen; then halts for good.
///
/// Doors have no clock that is set, so the line carries time zero.
///
/// # Safety
/// COM1 and the framebuffer (mapped at its physical address) must be the caller's to use: with
/// UEFI, boot services are over or the call is the last that the application makes.
pub unsafe fn refuse(door: Door, screen: Framebuffer, why: &Refusal) -> ! {
    // SAFETY: the caller's promise.
    let (mut serial, mut screen) = unsafe { (Serial::open(), Screen::open(screen, 0)) };
    // The serial port answers no errors: what can't be sent is dropped.
    let _ = hv_abi::line!(
        &mut serial,
        0,
        Level::Error,
        "boot.refused",
        door = door,
        what = why.what,
        remedy = why.remedy
    );
    screen.show(&Notice {
        tone: Tone::Trouble,
        title: "Hearth can't start",
        text: why.what,
        detail: why.remedy,
    });
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
