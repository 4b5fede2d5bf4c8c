//! COM1, by polling.

use crate::cpu::port;
use core::fmt;

const PORT: u16 = 0x3f8;
/// Line status: the transmitter holds nothing.
const EMPTY: u8 = 1 << 5;

/// Sets the port up: 115 200 baud, 8N1, no interrupts, FIFO, DTR, RTS and OUT2.
pub fn set_up() {
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 0xc7), (4, 0x0b)] {
        port::write_8(PORT + register, value);
    }
}

/// The port as text goes to it.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while port::read_8(PORT + 5) & EMPTY == 0 {
                core::hint::spin_loop();
            }
            port::write_8(PORT, byte);
        }
        Ok(())
    }
}

/// Prints a line.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {{
        use core::fmt::Write;
        // The port takes everything.
        let _ = writeln!($crate::console::Console, $($words)*);
    }};
}
