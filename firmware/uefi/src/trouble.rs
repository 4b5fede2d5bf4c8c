//! When the door can't go on: said on every way out there is, then a halt.

use crate::screen;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use handoff::Refusal;
use hv_abi::boot::Door;
use hv_abi::log::Level;
use hv_console::Serial;
use uefi::{boot, system, table};

/// Whether the firmware can be called: until the exit, and not again from a panic in such a call.
static FIRMWARE_ANSWERS: AtomicBool = AtomicBool::new(true);

/// From here on the firmware is not called any more.
pub fn firmware_is_mute() {
    FIRMWARE_ANSWERS.store(false, Ordering::Relaxed);
}

/// Prints on the firmware's console, if it has one.
fn print_on_console(text: fmt::Arguments<'_>) {
    // SAFETY: the table was given to us at entry and stays.
    let stdout = table::system_table_raw().map(|table| unsafe { table.as_ref() }.stdout);
    if stdout.is_some_and(|stdout| !stdout.is_null()) {
        // The console is one of three ways out; that it can't print can be said nowhere.
        let _ = system::with_stdout(|console| console.write_fmt(text));
    }
}

/// Says why, on the firmware's console, on COM1 and on the screen; then halts for good.
pub fn refuse(why: &Refusal) -> ! {
    if FIRMWARE_ANSWERS.swap(false, Ordering::Relaxed) {
        // Else the machine would restart after five minutes, and take the sentence off the screen.
        // A code of 0x10000 and above is for programs (UEFI 2.10, 7.5.1).
        let _ = boot::set_watchdog_timer(0, 0x1_0000, None);
        print_on_console(format_args!("\nHearth can't start. {why}\n"));
    }
    // The firmware's drivers run from its timer interrupt.
    x86_64::instructions::interrupts::disable();
    // SAFETY: this is the last that the program does, and without interrupts the firmware does
    // nothing either; the screen is mapped at its physical address, as the firmware left it.
    unsafe { handoff::refuse(Door::UEFI, screen::found(), why) }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    x86_64::instructions::interrupts::disable();
    {
        // SAFETY: the program does not go on, and without interrupts the firmware's driver of the
        // port does not run.
        let mut serial = unsafe { Serial::open() };
        let unknown = &"unknown" as &dyn fmt::Display;
        let place = info.location().map_or(unknown, |place| place as &dyn fmt::Display);
        // The serial port answers no errors: what can't be sent is dropped.
        let _ = hv_abi::line!(&mut serial, 0, Level::Error, "panic", where = place, what = info.message());
    }
    refuse(&Refusal {
        what: "The program that starts Hearth has stopped over a fault of its own.",
        remedy: "Please report this, with the line that says panic on the machine's first serial port.",
    })
}
