//! The 16550A serial port. National Semiconductor PC16550D data sheet, section 8.
//!
//! Its line is as fast as its owner: what is written is sent at once, so the transmitter is always
//! empty. What comes in waits outside until the receiver has room. There is no baud rate.

#[cfg(test)]
mod tests;

use crate::bus::{Registers, bytewise_read, bytewise_write};
use crate::interrupts::Pin;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Offsets of registers. Data sheet, table I.
mod register {
    /// Receiver and transmitter; with DLAB, divisor low.
    pub const DATA: u64 = 0;
    /// Interrupt enable; with DLAB, divisor high.
    pub const INTERRUPT_ENABLE: u64 = 1;
    /// Read: interrupt identification. Written: FIFO control.
    pub const INTERRUPT_FIFO: u64 = 2;
    pub const LINE_CONTROL: u64 = 3;
    pub const MODEM_CONTROL: u64 = 4;
    pub const LINE_STATUS: u64 = 5;
    pub const MODEM_STATUS: u64 = 6;
    pub const SCRATCH: u64 = 7;
}

/// Interrupt enable, 8.6.
mod enable {
    pub const RECEIVED: u8 = 1 << 0;
    pub const TRANSMITTER_EMPTY: u8 = 1 << 1;
    pub const LINE_STATUS: u8 = 1 << 2;
    pub const MODEM_STATUS: u8 = 1 << 3;
    pub const ALL: u8 = 0x0f;
}

/// Interrupt identification, table II.
mod identity {
    pub const NONE: u8 = 0x01;
    pub const LINE_STATUS: u8 = 0x06;
    pub const RECEIVED: u8 = 0x04;
    /// Something came, and is less than the trigger level.
    pub const TIMEOUT: u8 = 0x0c;
    pub const TRANSMITTER_EMPTY: u8 = 0x02;
    pub const MODEM_STATUS: u8 = 0x00;
    pub const FIFOS: u8 = 0xc0;
}

/// FIFO control, 8.4.
mod fifo {
    pub const ENABLE: u8 = 1 << 0;
    pub const CLEAR_RECEIVER: u8 = 1 << 1;
    /// Bytes, by bits 7 and 6.
    pub const TRIGGERS: [usize; 4] = [1, 4, 8, 14];
    pub const BYTES: usize = 16;
}

/// Line control: divisor latch access. 8.1.
const DLAB: u8 = 1 << 7;

/// Modem control, 8.7.
mod modem {
    pub const DTR: u8 = 1 << 0;
    pub const RTS: u8 = 1 << 1;
    pub const OUT_1: u8 = 1 << 2;
    /// On a PC, lets interrupts out.
    pub const OUT_2: u8 = 1 << 3;
    pub const LOOP: u8 = 1 << 4;
    pub const ALL: u8 = 0x1f;
}

/// Modem status, 8.8: lines in the upper half, what changed in the lower.
mod status {
    pub const CTS: u8 = 1 << 4;
    pub const DSR: u8 = 1 << 5;
    pub const RI: u8 = 1 << 6;
    pub const DCD: u8 = 1 << 7;
    /// The ring indicator tells of its falling edge only.
    pub const RING_FELL: u8 = 1 << 2;
    /// Somebody is there and listens.
    pub const CONNECTED: u8 = CTS | DSR | DCD;
}

/// Line status, 8.3.
mod line {
    pub const DATA_READY: u8 = 1 << 0;
    pub const OVERRUN: u8 = 1 << 1;
    pub const TRANSMITTER_EMPTY: u8 = 0b11 << 5;
}

/// Most bytes of output that wait for the owner; what comes after them is lost.
pub const MAX_OUTPUT: usize = 64 << 10;
/// Most bytes of input that wait for the guest.
pub const MAX_INPUT: usize = 4 << 10;

/// A serial port.
pub struct Uart {
    pin: Pin,
    divisor: [u8; 2],
    interrupt_enable: u8,
    /// FIFO control, as far as it is kept.
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    /// Bits of modem status that say what changed.
    changed: u8,
    overrun: bool,
    scratch: u8,
    /// The transmitter has become empty, and nobody has looked.
    emptied: bool,
    /// The receiver.
    received: VecDeque<u8>,
    /// What is on the line to it.
    input: VecDeque<u8>,
    output: Vec<u8>,
    lost: u64,
}

impl Uart {
    /// As after power-on; `pin` is [`crate::platform::gsi::COM1`].
    pub fn new(pin: Pin) -> Self {
        Self {
            pin,
            divisor: [12, 0],
            interrupt_enable: 0,
            fifo_control: 0,
            line_control: 0,
            modem_control: 0,
            changed: 0,
            overrun: false,
            scratch: 0,
            emptied: false,
            received: VecDeque::new(),
            input: VecDeque::new(),
            output: Vec::new(),
            lost: 0,
        }
    }

    /// What was sent since this was called last.
    pub fn take_output(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.output)
    }

    /// Bytes that were sent and lost because the owner did not take what was sent before.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Types `bytes`; answers how many there was room for.
    pub fn type_in(&mut self, bytes: &[u8]) -> usize {
        let room = MAX_INPUT.saturating_sub(self.input.len()).min(bytes.len());
        self.input.extend(bytes.iter().take(room));
        self.receive();
        self.drive_pin();
        room
    }

    fn capacity(&self) -> usize {
        if self.fifo_control & fifo::ENABLE != 0 { fifo::BYTES } else { 1 }
    }

    fn looped(&self) -> bool {
        self.modem_control & modem::LOOP != 0
    }

    /// Takes from the line what the receiver has room for. In a loop it hears itself only.
    fn receive(&mut self) {
        let room = self.capacity().saturating_sub(self.received.len()).min(self.input.len());
        if !self.looped() {
            self.received.extend(self.input.drain(..room));
        }
    }

    fn send(&mut self, byte: u8) {
        if !self.looped() {
            if self.output.len() < MAX_OUTPUT {
                self.output.push(byte);
            } else {
                self.lost = self.lost.saturating_add(1);
            }
        } else if self.received.len() < self.capacity() {
            self.received.push_back(byte);
        } else {
            self.overrun = true;
        }
        self.emptied = true;
    }

    fn modem_lines(&self) -> u8 {
        if !self.looped() {
            return status::CONNECTED;
        }
        [
            (modem::DTR, status::DSR),
            (modem::RTS, status::CTS),
            (modem::OUT_1, status::RI),
            (modem::OUT_2, status::DCD),
        ]
        .into_iter()
        .filter(|(out, _)| self.modem_control & out != 0)
        .fold(0, |lines, (_, line)| lines | line)
    }

    fn set_modem_control(&mut self, value: u8) {
        let before = self.modem_lines();
        self.modem_control = value & modem::ALL;
        let after = self.modem_lines();
        let mut changed = (before ^ after) >> 4;
        if after & status::RI != 0 {
            changed &= !status::RING_FELL;
        }
        self.changed |= changed;
        self.receive();
    }

    fn set_interrupt_enable(&mut self, value: u8) {
        // An empty transmitter interrupts whoever begins to ask for that; Linux tests it
        // (8250_port.c, "THRE test").
        if value & !self.interrupt_enable & enable::TRANSMITTER_EMPTY != 0 {
            self.emptied = true;
        }
        self.interrupt_enable = value & enable::ALL;
    }

    fn set_fifo_control(&mut self, value: u8) {
        let switched = (value ^ self.fifo_control) & fifo::ENABLE != 0;
        if switched || value & fifo::CLEAR_RECEIVER != 0 {
            self.received.clear();
        }
        self.fifo_control = if value & fifo::ENABLE == 0 { 0 } else { value & !fifo::CLEAR_RECEIVER };
        self.receive();
    }

    fn line_status(&self) -> u8 {
        let ready = if self.received.is_empty() { 0 } else { line::DATA_READY };
        let overrun = if self.overrun { line::OVERRUN } else { 0 };
        line::TRANSMITTER_EMPTY | ready | overrun
    }

    /// The most urgent interrupt that is asked for and has a cause. Table II.
    fn interrupt(&self) -> u8 {
        let trigger = fifo::TRIGGERS.get(usize::from(self.fifo_control >> 6)).copied().unwrap_or(1);
        let received = self.received.len();
        [
            (enable::LINE_STATUS, self.overrun, identity::LINE_STATUS),
            (enable::RECEIVED, received >= trigger, identity::RECEIVED),
            (enable::RECEIVED, received > 0, identity::TIMEOUT),
            (enable::TRANSMITTER_EMPTY, self.emptied, identity::TRANSMITTER_EMPTY),
            (enable::MODEM_STATUS, self.changed != 0, identity::MODEM_STATUS),
        ]
        .into_iter()
        .find(|(enable, cause, _)| self.interrupt_enable & enable != 0 && *cause)
        .map_or(identity::NONE, |(_, _, identity)| identity)
    }

    fn drive_pin(&mut self) {
        let open = self.modem_control & modem::OUT_2 != 0 && !self.looped();
        self.pin.set(open && self.interrupt() != identity::NONE);
    }

    fn read_byte(&mut self, offset: u64) -> u8 {
        let latch = self.line_control & DLAB != 0;
        let [low, high] = self.divisor;
        match offset {
            register::DATA if latch => low,
            register::INTERRUPT_ENABLE if latch => high,
            register::DATA => {
                let byte = self.received.pop_front().unwrap_or(0);
                self.receive();
                byte
            }
            register::INTERRUPT_ENABLE => self.interrupt_enable,
            register::INTERRUPT_FIFO => {
                let identity = self.interrupt();
                if identity == identity::TRANSMITTER_EMPTY {
                    self.emptied = false;
                }
                let fifos = if self.fifo_control & fifo::ENABLE != 0 { identity::FIFOS } else { 0 };
                identity | fifos
            }
            register::LINE_CONTROL => self.line_control,
            register::MODEM_CONTROL => self.modem_control,
            register::LINE_STATUS => {
                let status = self.line_status();
                self.overrun = false;
                status
            }
            register::MODEM_STATUS => self.modem_lines() | core::mem::take(&mut self.changed),
            register::SCRATCH => self.scratch,
            _ => u8::MAX,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        let latch = self.line_control & DLAB != 0;
        let [low, high] = &mut self.divisor;
        match offset {
            register::DATA if latch => *low = value,
            register::INTERRUPT_ENABLE if latch => *high = value,
            register::DATA => self.send(value),
            register::INTERRUPT_ENABLE => self.set_interrupt_enable(value),
            register::INTERRUPT_FIFO => self.set_fifo_control(value),
            register::LINE_CONTROL => self.line_control = value,
            register::MODEM_CONTROL => self.set_modem_control(value),
            register::SCRATCH => self.scratch = value,
            _ => {}
        }
    }
}

impl Registers for Uart {
    fn read(&mut self, offset: u64, size: u8) -> u64 {
        let value = bytewise_read(offset, size, |offset| self.read_byte(offset));
        self.drive_pin();
        value
    }

    fn write(&mut self, offset: u64, size: u8, value: u64) {
        bytewise_write(offset, size, value, |offset, byte| {
            self.write_byte(offset, byte);
            // The pin falls and rises again between two bytes, so that edges are seen.
            self.drive_pin();
        });
    }
}
