extern crate std;
use super::*;
use crate::platform::gsi;
use crate::testkit::FakePins;
use std::rc::Rc;

const IER: u64 = 1;
const IIR: u64 = 2;
const FCR: u64 = 2;
const LCR: u64 = 3;
const MCR: u64 = 4;
const LSR: u64 = 5;
const MSR: u64 = 6;
const NO_INTERRUPT: u64 = 1;

struct Port {
    pins: Rc<FakePins>,
    uart: Uart,
}

impl Port {
    fn new() -> Self {
        let pins = Rc::new(FakePins::default());
        Self { pins: pins.clone(), uart: Uart::new(Pin::new(pins, gsi::COM1)) }
    }

    /// As a driver leaves it: FIFOs, interrupts let out.
    fn opened() -> Self {
        let mut port = Self::new();
        port.out(FCR, 0x81);
        port.out(LCR, 3);
        port.out(MCR, 0x0b);
        port
    }

    fn read(&mut self, offset: u64) -> u64 {
        self.uart.read(offset, 1)
    }

    fn out(&mut self, offset: u64, value: u64) {
        self.uart.write(offset, 1, value);
    }

    fn edges(&self) -> Vec<bool> {
        self.pins.take().into_iter().map(|(pin, level)| (pin == gsi::COM1) && level).collect()
    }
}

/// Linux, drivers/tty/serial/8250/8250_port.c: `autoconfig` and what it calls.
#[test]
fn linux_takes_it_for_a_16550a() {
    let mut port = Port::new();
    port.out(IER, 0);
    assert_eq!(port.read(IER) & 0x0f, 0);
    port.out(IER, 0x0f);
    assert_eq!(port.read(IER), 0x0f);
    port.out(IER, 0);
    port.out(MCR, 0x10 | 0x0a);
    assert_eq!(port.read(MSR) & 0xf0, 0x90, "the loop test");
    port.out(MCR, 0);
    port.out(LCR, 0xbf);
    port.out(2, 0);
    port.out(LCR, 0);
    port.out(FCR, 1);
    assert_eq!(port.read(IIR) >> 6, 3, "FIFOs that work");
    // autoconfig_16550a: no enhanced features, no second bank, no UART unit enable.
    port.out(LCR, 0x80);
    assert_ne!(port.read(2), 0);
    port.out(LCR, 0xbf);
    assert_ne!(port.read(2), 0);
    port.out(LCR, 0);
    let before = port.read(MCR);
    port.out(LCR, 0xe0);
    let bank = port.read(2);
    port.out(LCR, 0);
    port.out(MCR, before ^ 0x10);
    port.out(LCR, 0xe0);
    let bank_after = port.read(2);
    port.out(LCR, 0);
    port.out(MCR, before);
    assert_eq!((bank ^ bank_after) & 0x10, 0, "not National's super I/O");
    port.out(IER, 0x40);
    assert_eq!(port.read(IER) & 0x40, 0, "not an XScale");
}

/// The same file, `serial8250_do_startup`: FIFO cleared, then the two tests of the transmitter's interrupt.
#[test]
fn linux_finds_no_bug_in_it() {
    let mut port = Port::new();
    port.out(FCR, 1);
    port.out(FCR, 7);
    port.out(FCR, 0);
    assert_ne!(port.read(LSR), 0xff);
    for offset in [0, IIR, MSR] {
        port.read(offset);
    }
    port.out(LCR, 3);
    for _ in 0..2 {
        port.out(IER, 2);
        assert_eq!(port.read(IIR) & NO_INTERRUPT, 0, "else it uses a backup timer");
        port.out(IER, 0);
    }
    port.out(MCR, 8);
    port.out(IER, 2);
    assert_eq!((port.read(LSR) & 0x60, port.read(IIR) & NO_INTERRUPT), (0x60, 0), "else UART_BUG_TXEN");
    port.out(IER, 0);
}

#[test]
fn what_is_sent_comes_out_and_asks_for_more() {
    let mut port = Port::opened();
    for byte in *b"early" {
        assert_eq!(port.read(LSR) & 0x60, 0x60);
        port.out(0, byte.into());
    }
    assert!(port.edges().is_empty(), "nobody asked");
    assert_eq!(port.uart.take_output(), b"early");
    port.out(IER, 2);
    assert_eq!(port.edges(), [true]);
    assert_eq!(port.read(IIR), 0xc2);
    assert_eq!((port.edges(), port.read(IIR)), (std::vec![false], 0xc1));
    port.out(0, b'x'.into());
    assert_eq!(port.edges(), [true]);
    assert_eq!((port.uart.take_output(), port.uart.take_output()), (b"x".to_vec(), Vec::new()));
}

#[test]
fn a_line_is_typed_in_and_read_in_order() {
    let mut port = Port::opened();
    port.out(IER, 1);
    assert_eq!(port.uart.type_in(b"twenty-four bytes of it\n"), 24);
    assert_eq!((port.edges(), port.read(IIR)), (std::vec![true], 0xc4));
    let mut line = Vec::new();
    while port.read(LSR) & 1 == 1 {
        line.push(port.read(0) as u8);
    }
    assert_eq!(line, b"twenty-four bytes of it\n");
    assert_eq!((port.edges(), port.read(IIR)), (std::vec![false], 0xc1));
    port.uart.type_in(b"y");
    assert_eq!((port.edges(), port.read(IIR)), (std::vec![true], 0xcc), "less than the trigger");
}

#[test]
fn without_fifos_a_byte_at_a_time() {
    let mut port = Port::opened();
    port.out(FCR, 0);
    port.out(IER, 1);
    port.uart.type_in(b"ab");
    assert_eq!(port.read(IIR), 4);
    assert_eq!((port.read(0), port.read(0), port.read(LSR) & 1), (b'a'.into(), b'b'.into(), 0));
}

#[test]
fn a_loop_hears_itself_and_nobody_else() {
    let mut port = Port::opened();
    port.out(MCR, 0x1f);
    port.uart.type_in(b"outside");
    for byte in 0..17 {
        port.out(0, byte);
    }
    port.out(IER, 4);
    assert_eq!(port.read(IIR), 0xc6);
    assert_eq!(port.read(LSR) & 3, 3, "the seventeenth overran");
    assert_eq!((port.read(LSR) & 3, port.read(IIR)), (1, 0xc1));
    assert_eq!((0..16).map(|_| port.read(0)).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
    assert_eq!(port.read(LSR) & 1, 0);
    assert!(port.uart.take_output().is_empty() && port.edges().is_empty());
    port.out(MCR, 0x0b);
    assert_eq!(port.read(0), b'o'.into());
}

#[test]
fn modem_lines_that_change_interrupt_once() {
    let mut port = Port::opened();
    port.out(IER, 8);
    assert_eq!(port.read(MSR), 0xb0);
    port.out(MCR, 0x10 | 0x04 | 0x08);
    assert_eq!(port.read(IIR), 0xc0);
    // DCD stays, RI rises, CTS and DSR fall.
    assert_eq!(port.read(MSR), 0xc3);
    assert_eq!(port.read(MSR), 0xc0);
    port.out(MCR, 0x08);
    assert_eq!(port.read(MSR), 0xb7, "RI fell");
}

#[test]
fn the_divisor_latch_is_apart_and_the_scratch_register_keeps() {
    let mut port = Port::opened();
    port.out(LCR, 0x83);
    port.uart.write(0, 2, 0x1234);
    assert_eq!(port.uart.read(0, 2), 0x1234);
    port.out(LCR, 0x03);
    port.out(7, 0x5a);
    assert_eq!((port.read(7), port.read(IER), port.read(LCR)), (0x5a, 0, 3));
    assert!(port.uart.take_output().is_empty());
}

#[test]
fn interrupts_stay_inside_without_out_2() {
    let mut port = Port::opened();
    port.out(MCR, 3);
    port.out(IER, 3);
    port.uart.type_in(b"a");
    assert!(port.edges().is_empty());
    port.out(MCR, 0x0b);
    assert_eq!(port.edges(), [true]);
}

#[test]
fn nobody_who_floods_it_gets_more_than_its_bounds() {
    let mut port = Port::opened();
    for _ in 0..MAX_OUTPUT + 10 {
        port.out(0, 1);
    }
    assert_eq!((port.uart.take_output().len(), port.uart.lost()), (MAX_OUTPUT, 10));
    let typed = port.uart.type_in(&std::vec![b'a'; 2 * MAX_INPUT]);
    assert_eq!(typed, MAX_INPUT);
    assert_eq!(port.uart.type_in(b"abcdefghijklmnopqrst"), 16, "what the receiver took made room");
}
