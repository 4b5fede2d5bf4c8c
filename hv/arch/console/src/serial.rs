//! COM1, 115 200 baud, 8N1: where the box log goes.

use core::fmt;
use uart_16550::backend::PioBackend;
use uart_16550::{BaudRate, Config, Uart16550};

/// The first serial port of a PC.
const COM1: u16 = 0x3f8;

/// How often a full transmitter is asked before the rest of a line is dropped. A FIFO of 16 bytes
/// empties in 1.4 ms; a port read takes about a microsecond on silicon.
const PATIENCE: u32 = 100_000;

/// A serial port that is written to and never blocks for long: where no port answers, or one stops
/// taking bytes, what is written is dropped.
pub struct Serial {
    port: Option<Uart16550<PioBackend>>,
}

impl Serial {
    /// A port that nothing has been sent to; drops all until [`Serial::open`].
    pub const fn closed() -> Self {
        Self { port: None }
    }

    /// Takes COM1 and sets it up. Whatever was on its line before, what follows starts on a new one.
    ///
    /// # Safety
    /// Nobody else may use COM1 for as long as the result lives.
    pub unsafe fn open() -> Self {
        // SAFETY: COM1's ports have no meaning but the UART; exclusive by the caller's promise.
        let port = unsafe { Uart16550::new_port(COM1) };
        let config = Config { baud_rate: BaudRate::Baud115200, ..Config::DEFAULT };
        let port = port.ok().and_then(|mut port| port.init(config).is_ok().then_some(port));
        let mut serial = Self { port };
        serial.send(b"\r\n");
        serial
    }

    fn send(&mut self, mut bytes: &[u8]) {
        let Some(port) = &mut self.port else { return };
        let mut patience = PATIENCE;
        while !bytes.is_empty() && patience > 0 {
            let sent = port.send_bytes(bytes);
            bytes = &bytes[sent..];
            patience = if sent > 0 { PATIENCE } else { patience - 1 };
            core::hint::spin_loop();
        }
    }
}

impl fmt::Write for Serial {
    /// Sends `text`, each line end as carriage return and line feed. Never fails.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(line) => {
                    self.send(line.as_bytes());
                    self.send(b"\r\n");
                }
                None => self.send(piece.as_bytes()),
            }
        }
        Ok(())
    }
}
