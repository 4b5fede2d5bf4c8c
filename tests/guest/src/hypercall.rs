//! Hypercalls, from the caller's side.

use core::arch::asm;
use core::fmt::{self, Write};
use hv_abi::hypercall::{Call, MAX_LOG};

/// Calls hv.
pub fn call(number: Call, arguments: [u64; 4]) -> i64 {
    let result;
    // SAFETY: hv writes memory only where a call's arguments say, and the callers here pass their
    // own buffers.
    unsafe {
        asm!(
            "vmmcall",
            inlateout("rax") number.0 => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            options(nostack)
        );
    }
    result
}

/// An error in words, if a call was refused.
pub fn status(result: i64, otherwise: &'static str) -> Result<(), &'static str> {
    if result >= 0 { Ok(()) } else { Err(otherwise) }
}

/// A line for the box log; one that is too long is cut.
pub fn log(text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; MAX_LOG as usize], len: 0 };
    let _ = line.write_fmt(text);
    // The stack is in RAM that is mapped where it is, so its address is a physical one.
    call(Call::LOG_WRITE, [line.bytes.as_ptr().addr() as u64, line.len as u64, 0, 0]);
}

struct Line {
    bytes: [u8; MAX_LOG as usize],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}
