//! A console and named channels (virtio 1.2, 5.3): port 0 is the console (Linux's `hvc0`), the ports from
//! 1 on are byte streams that a program in the guest opens by name (`/dev/virtio-ports/…`).

mod port;

use super::queues::Queues;
use super::ring::Fault;
use super::{Device, Features, Kind};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::iter::once;
use core::task::{Context, Poll};
use port::Port;

/// Entries of a port's queues, and of the two for control messages.
const QUEUE: u16 = 64;
const CONTROL_QUEUE: u16 = 32;
/// Numbers of those two.
const CONTROL_IN: u16 = 2;
const CONTROL_OUT: u16 = 3;
/// Most ports: each has two queues, and each queue a message of its own.
pub const MAX_PORTS: usize = 32;
/// Feature: there are more ports than one, and control messages (5.3.3).
const MULTIPORT: u32 = 1;
/// Bytes of a control message without a name: port, event, value (5.3.6.2).
const CONTROL: usize = 8;
/// With so many messages waiting the driver's own ones have to wait, too.
const MAX_MESSAGES: usize = 4 * MAX_PORTS;

/// Control messages (5.3.6.2).
mod event {
    pub const DEVICE_READY: u16 = 0;
    pub const PORT_ADD: u16 = 1;
    pub const PORT_READY: u16 = 3;
    pub const CONSOLE_PORT: u16 = 4;
    pub const PORT_OPEN: u16 = 6;
    pub const PORT_NAME: u16 = 7;
}

/// A console with its ports.
pub struct Console {
    ports: Vec<Port>,
    /// Control messages for the driver.
    messages: VecDeque<Vec<u8>>,
}

impl Console {
    /// A console, and a port for each of `names`, from 1 on; at most [`MAX_PORTS`] in all.
    pub fn new(names: &[&str]) -> Self {
        let named = names.iter().map(|name| Port::named(name));
        let ports = once(Port::console()).chain(named).take(MAX_PORTS).collect();
        Self { ports, messages: VecDeque::new() }
    }

    /// What the guest has written to a port since this was last asked. `context` is woken when there is
    /// more, when the guest opens or closes the port, and when it has read what was written. Nothing
    /// comes from a port there is not.
    ///
    /// Who doesn't ask makes writers in the guest wait; but at the console nobody waits, and the oldest
    /// bytes are lost.
    pub fn poll_read(&mut self, port: usize, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        self.ports.get_mut(port).map_or(Poll::Pending, |port| port.poll_read(context))
    }

    /// Writes to a port; how many bytes were taken: none while the guest has not opened it.
    pub fn write(&mut self, port: usize, bytes: &[u8]) -> usize {
        self.ports.get_mut(port).map_or(0, |port| port.write(bytes))
    }

    /// Whether a program in the guest has opened a port. The console always is.
    pub fn is_open(&self, port: usize) -> bool {
        self.ports.get(port).is_some_and(Port::is_open)
    }

    /// Bytes that the guest has written to the console and nobody has read in time.
    pub fn lost(&self) -> u64 {
        self.ports.first().map_or(0, Port::lost)
    }

    /// A control message for the driver.
    fn tell(&mut self, port: u32, event: u16, value: u16, name: &str) {
        let mut message = Vec::with_capacity(CONTROL + name.len());
        message.extend_from_slice(&port.to_le_bytes());
        message.extend_from_slice(&event.to_le_bytes());
        message.extend_from_slice(&value.to_le_bytes());
        message.extend_from_slice(name.as_bytes());
        self.messages.push_back(message);
    }

    /// Takes control messages from the driver.
    fn listen(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while queues.may_begin(CONTROL_OUT) {
            if self.messages.len() >= MAX_MESSAGES {
                return Ok(());
            }
            let Some(chain) = queues.pop(CONTROL_OUT)? else { return Ok(()) };
            let mut bytes = [0; CONTROL];
            if chain.readable.read(queues.memory(), &mut bytes)? == CONTROL {
                let all = u64::from_le_bytes(bytes);
                self.told(all as u32, (all >> 32) as u16, (all >> 48) as u16);
            }
            queues.push(CONTROL_OUT, chain.head, 0)?;
        }
        Ok(())
    }

    fn told(&mut self, number: u32, event: u16, value: u16) {
        if event == event::DEVICE_READY && value == 1 {
            for port in 0..self.ports.len() as u32 {
                self.tell(port, event::PORT_ADD, 1, "");
            }
            return;
        }
        let Some(port) = self.ports.get_mut(number as usize) else { return };
        match event {
            event::PORT_READY if value == 1 => {
                if let Some(name) = port.name() {
                    self.tell(number, event::PORT_NAME, 1, &name);
                } else {
                    self.tell(number, event::CONSOLE_PORT, 1, "");
                }
                self.tell(number, event::PORT_OPEN, 1, "");
            }
            event::PORT_OPEN => port.set_open(value == 1),
            _ => {}
        }
    }

    /// Hands control messages to the driver.
    fn talk(&mut self, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while !self.messages.is_empty() && queues.may_begin(CONTROL_IN) {
            let Some(chain) = queues.pop(CONTROL_IN)? else { return Ok(()) };
            let Some(message) = self.messages.pop_front() else { return Ok(()) };
            let written = chain.writable.write(queues.memory(), &message)?;
            queues.push(CONTROL_IN, chain.head, written as u64)?;
        }
        Ok(())
    }
}

/// The queues of a port, into the guest and out of it (5.3.2).
fn queues_of(port: usize) -> (u16, u16) {
    let first = if port == 0 { 0 } else { 2 + 2 * port as u16 };
    (first, first + 1)
}

impl Device for Console {
    const KIND: Kind = Kind { number: 3, class: 0x07_80_00 };

    fn features(&self) -> Features {
        Features(1 << MULTIPORT)
    }

    fn queues(&self) -> Vec<u16> {
        let more = self.ports.len().saturating_sub(1) * 2;
        let first = [QUEUE, QUEUE, CONTROL_QUEUE, CONTROL_QUEUE];
        first.into_iter().chain(core::iter::repeat_n(QUEUE, more)).collect()
    }

    /// `struct virtio_console_config` (5.3.4): columns and rows, which are not offered, ports, emergency
    /// write, which is not offered.
    fn configuration(&self) -> Vec<u8> {
        let words = [0, self.ports.len() as u32, 0];
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn poll(&mut self, context: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        if !queues.is_live() {
            return Ok(());
        }
        let ports = if queues.features().has(MULTIPORT) {
            self.listen(queues)?;
            self.talk(queues)?;
            self.ports.len()
        } else {
            1
        };
        for (number, port) in self.ports.iter_mut().enumerate().take(ports) {
            let (into, out_of) = queues_of(number);
            port.send(into, queues)?;
            port.receive(out_of, context, queues)?;
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.messages.clear();
        self.ports.iter_mut().for_each(Port::reset);
    }
}
