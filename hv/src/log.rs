//! The box log: one event a line on COM1, and the last lines kept for an epitaph.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use heapless::{HistoryBuf, String};
use hv_arch::cpu::tsc;
use hv_console::Serial;
use hv_core::clock::Tsc;
use spin::Mutex;

/// Lines that are kept.
pub const KEPT_LINES: usize = 32;
/// Bytes of a kept line; longer ones are cut.
const KEPT_BYTES: usize = 200;

/// Where the lines go.
pub struct Log {
    serial: Serial,
    /// The line that is being written.
    line: Kept,
    kept: HistoryBuf<Kept, KEPT_LINES>,
}

/// A line as it is kept.
pub type Kept = String<KEPT_BYTES>;

static LOG: Mutex<Log> =
    Mutex::new(Log { serial: Serial::closed(), line: String::new(), kept: HistoryBuf::new() });
static KHZ: AtomicU64 = AtomicU64::new(0);

/// Opens COM1.
///
/// # Safety
/// Nobody else uses COM1 from now on.
pub unsafe fn open() {
    // SAFETY: the caller's promise.
    LOG.lock().serial = unsafe { Serial::open() };
}

/// Gives the log its clock. Until then lines carry time zero.
pub fn set_clock(clock: Tsc) {
    KHZ.store(clock.khz(), Ordering::Relaxed);
}

/// The log's clock. Before it is set: one that is right to within a factor of a few, because a
/// processor's clock is.
pub fn clock() -> Tsc {
    Tsc::new(match KHZ.load(Ordering::Relaxed) {
        0 => 3_000_000,
        khz => khz,
    })
}

/// Microseconds since power-on.
fn micros() -> u64 {
    match KHZ.load(Ordering::Relaxed) {
        0 => 0,
        khz => Tsc::new(khz).micros(tsc()),
    }
}

/// Writes one line. `write` is given the sink and the time, and is [`hv_abi::line`].
///
/// The time is read inside the lock, so that it never runs backwards from line to line.
pub fn write(write: impl FnOnce(&mut Log, u64) -> fmt::Result) {
    write_to(&mut LOG.lock(), write);
}

/// As [`write`], but writes nothing if the log is in use; for code that may have interrupted it.
pub fn try_write(write: impl FnOnce(&mut Log, u64) -> fmt::Result) {
    if let Some(mut log) = LOG.try_lock() {
        write_to(&mut log, write);
    }
}

fn write_to(log: &mut Log, write: impl FnOnce(&mut Log, u64) -> fmt::Result) {
    let micros = micros();
    // The serial port never fails, and a kept line that is full is cut.
    let _ = write(log, micros);
}

/// The last lines, oldest first, each given to `tell`; for the epitaph, when no other CPU runs: a
/// lock that somebody was stopped in is broken.
///
/// # Safety
/// No other CPU is in this module, or will be.
pub unsafe fn last_words(mut tell: impl FnMut(&Kept)) {
    // SAFETY: the caller's promise: whoever holds the lock never goes on.
    unsafe { LOG.force_unlock() };
    let kept = LOG.lock().kept.clone();
    kept.oldest_ordered().for_each(&mut tell);
}

impl Write for Log {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\n' => self.kept.write(core::mem::take(&mut self.line)),
                // A line that is full is cut.
                c => drop(self.line.push(c)),
            }
        }
        self.serial.write_str(text)
    }
}

/// Writes an event to the log: `event!(Info, "hv.cpus", online = 4)`.
#[macro_export]
macro_rules! event {
    ($level:ident, $event:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::log::write(|log, micros| {
            hv_abi::line!(log, micros, hv_abi::log::Level::$level, $event $(, $key = $value)*)
        })
    };
}
