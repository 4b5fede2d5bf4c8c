//! The console and its ports.

use crate::virtio::console::Console;
use crate::virtio::ring::Fault;
use crate::virtio::testkit::{Driver, Woken};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};

const AGENT: usize = 1;
const AGENT_IN: usize = 4;
const AGENT_OUT: usize = 5;
const CONTROL_IN: usize = 2;
const CONTROL_OUT: usize = 3;
const BUFFER: u64 = 0x2000;
const TEXT: u64 = 0x8_0000;

fn read(driver: &mut Driver<Console>, port: usize, woken: &Arc<Woken>) -> Option<Vec<u8>> {
    let waker = Waker::from(woken.clone());
    let read = driver.function.borrow_mut().device_mut().poll_read(port, &mut Context::from_waker(&waker));
    driver.poll();
    match read {
        Poll::Ready(bytes) => Some(bytes),
        Poll::Pending => None,
    }
}

fn write(driver: &mut Driver<Console>, port: usize, bytes: &[u8]) -> usize {
    let taken = driver.function.borrow_mut().device_mut().write(port, bytes);
    driver.poll();
    taken
}

/// Offers buffers for control messages.
fn offer_control(driver: &mut Driver<Console>, buffers: u64) {
    for at in 0..buffers {
        driver.queues[CONTROL_IN].offer(&[(BUFFER + 0x100 * at, 0x100, true)]);
    }
    driver.ring(CONTROL_IN);
}

fn tell(driver: &mut Driver<Console>, port: u32, event: u16, value: u16) {
    driver.put(0x1000, &port.to_le_bytes());
    driver.put(0x1004, &event.to_le_bytes());
    driver.put(0x1006, &value.to_le_bytes());
    let head = driver.request(CONTROL_OUT, &[(0x1000, 8, false)]);
    assert_eq!(driver.queues[CONTROL_OUT].answers(), [(head, 0)]);
}

/// Port, event, value and name of each control message.
fn told(driver: &mut Driver<Console>) -> Vec<(u8, u8, u8, Vec<u8>)> {
    let answers = driver.queues[CONTROL_IN].answers();
    let message = |&(head, len): &(u16, u32)| {
        let bytes = driver.machine.memory.bytes(BUFFER + 0x100 * u64::from(head), len.into());
        (bytes[0], bytes[4], bytes[6], bytes[8..].to_vec())
    };
    answers.iter().map(message).collect()
}

fn start() -> Driver<Console> {
    Driver::start(Console::new(&["org.hearth.agent"]), u64::MAX)
}

fn open_agent(driver: &mut Driver<Console>) {
    tell(driver, AGENT as u32, 6, 1);
}

#[test]
fn ports_are_announced_as_linux_expects() {
    let mut driver = start();
    assert_eq!(driver.queues.len(), 6);
    assert_eq!(driver.read(driver.configuration + 4, 4), 2);
    offer_control(&mut driver, 16);
    tell(&mut driver, 0, 0, 1);
    assert_eq!(told(&mut driver), [(0, 1, 1, vec![]), (1, 1, 1, vec![])]);
    tell(&mut driver, 0, 3, 1);
    tell(&mut driver, 1, 3, 1);
    let name = b"org.hearth.agent".to_vec();
    let expected = [(0, 4, 1, vec![]), (0, 6, 1, vec![]), (1, 7, 1, name), (1, 6, 1, vec![])];
    assert_eq!(told(&mut driver), expected);
    for (port, event, value) in [(2, 3, 1), (1, 3, 0), (0, 0, 0), (u32::MAX, 6, 1), (0, 99, 1)] {
        tell(&mut driver, port, event, value);
    }
    assert_eq!(told(&mut driver), []);
}

#[test]
fn the_console_is_read_and_written() {
    let mut driver = start();
    let woken = Arc::new(Woken::default());
    assert_eq!(read(&mut driver, 0, &woken), None);
    driver.put(TEXT, b"hello");
    let head = driver.request(1, &[(TEXT, 2, false), (TEXT + 2, 3, false)]);
    assert_eq!(driver.queues[1].answers(), [(head, 0)]);
    assert_eq!(woken.take(), 1);
    assert_eq!(read(&mut driver, 0, &woken).unwrap(), b"hello");
    assert_eq!(write(&mut driver, 0, b"root\n"), 5);
    let one = driver.request(0, &[(BUFFER, 3, true)]);
    let two = driver.request(0, &[(BUFFER + 3, 100, true)]);
    assert_eq!(driver.queues[0].answers(), [(one, 3), (two, 2)]);
    assert_eq!(driver.machine.memory.bytes(BUFFER, 5), b"root\n");
}

#[test]
fn without_ports_there_is_the_console() {
    let mut driver = Driver::start(Console::new(&["org.hearth.agent"]), !2);
    driver.put(TEXT, b"hello");
    driver.request(1, &[(TEXT, 5, false)]);
    driver.put(TEXT, &[0; 8]);
    driver.request(CONTROL_OUT, &[(TEXT, 8, false)]);
    assert_eq!([driver.queues[1].answers().len(), driver.queues[CONTROL_OUT].answers().len()], [1, 0]);
}

#[test]
fn a_channel_works_while_it_is_open() {
    let mut driver = start();
    let woken = Arc::new(Woken::default());
    assert_eq!(read(&mut driver, AGENT, &woken), None);
    assert_eq!(write(&mut driver, AGENT, b"too early"), 0);
    open_agent(&mut driver);
    assert_eq!(woken.take(), 1, "that it was opened is told");
    assert!(driver.function.borrow().device().is_open(AGENT));
    assert_eq!(write(&mut driver, AGENT, &vec![7; 0x1_0001]), 0x1_0000);
    tell(&mut driver, AGENT as u32, 6, 0);
    open_agent(&mut driver);
    write(&mut driver, AGENT, b"news");
    assert_eq!(read(&mut driver, AGENT, &woken), None);
    let head = driver.request(AGENT_IN, &[(BUFFER, 100, true)]);
    assert_eq!(driver.queues[AGENT_IN].answers(), [(head, 4)]);
    assert_eq!(woken.take(), 1, "that there is room again is told");
    driver.restart(u64::MAX);
    assert!(!driver.function.borrow().device().is_open(AGENT));
}

#[test]
fn who_does_not_read_a_channel_makes_its_writers_wait() {
    let mut driver = start();
    let woken = Arc::new(Woken::default());
    open_agent(&mut driver);
    driver.put(TEXT, &vec![1; 0x1_0000]);
    driver.put(TEXT + 0xffff, &[2]);
    let one = driver.request(AGENT_OUT, &[(TEXT, 0x1_0000, false), (TEXT + 0xffff, 1, false)]);
    assert_eq!(driver.queues[AGENT_OUT].answers(), []);
    let two = driver.request(AGENT_OUT, &[(TEXT, 3, false)]);
    assert_eq!(read(&mut driver, AGENT, &woken).unwrap().len(), 0x1_0000);
    assert_eq!(driver.queues[AGENT_OUT].answers(), [(one, 0), (two, 0)]);
    assert_eq!(read(&mut driver, AGENT, &woken).unwrap(), [2, 1, 1, 1]);
}

#[test]
fn who_does_not_read_the_console_loses_its_oldest_bytes() {
    let mut driver = start();
    let woken = Arc::new(Woken::default());
    driver.put(TEXT, &vec![1; 0x1_0000]);
    for _ in 0..2 {
        driver.request(1, &[(TEXT, 0x1_0000, false), (TEXT, 5, false)]);
    }
    assert_eq!(driver.queues[1].answers().len(), 2);
    assert_eq!(driver.function.borrow().device().lost(), 0x1_000a);
    assert_eq!(read(&mut driver, 0, &woken).unwrap().len(), 0x1_0000);
}

#[test]
fn messages_do_not_pile_up() {
    let mut driver = start();
    driver.put(0x1000, &[0, 0, 0, 0, 0, 0, 1, 0]);
    let mut answered = 0;
    for _ in 0..20 {
        for _ in 0..16 {
            driver.queues[CONTROL_OUT].offer(&[(0x1000, 8, false)]);
        }
        driver.ring(CONTROL_OUT);
        let now = driver.queues[CONTROL_OUT].answers().len();
        answered += now;
        if now < 16 {
            break;
        }
    }
    assert_eq!(answered, 64, "each makes two, and 128 may wait");
    assert_eq!(driver.function.borrow().fault(), None);
    offer_control(&mut driver, 32);
    assert_eq!(told(&mut driver).len(), 32);
}

#[test]
fn a_buffer_of_nothing_is_a_fault() {
    let mut driver = start();
    write(&mut driver, 0, b"x");
    driver.request(0, &[(BUFFER, 1, false)]);
    assert_eq!(driver.function.borrow().fault(), Some(Fault::Request));
}
