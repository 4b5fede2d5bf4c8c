//! Intel's gigabit network cards 82540EM ("e1000") and 82574L ("e1000e"), with legacy descriptors.
//! PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (8254x), and 82574
//! GbE Controller Family Datasheet.
//!
//! The card hears everything on the cable, because the VMs behind it have addresses of their own.
//! [`E1000::poll`] is called on its interrupt and when [`E1000::deadline`] is over. One that can't
//! interrupt by message (82540EM) is looked at every millisecond while frames come and go, and ten
//! times a second else: so an idle box sleeps, and only the first frame after a while is late.

#[cfg(test)]
mod fake;
mod layout;
mod rings;
#[cfg(test)]
mod tests;

use super::dma::Dma;
use super::registers::DeviceRegisters;
use crate::nic::{Mac, Nic};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use layout::{cause, control, eeprom, receive, register, transmit};
use rings::{Receive, Transmit};

/// How long a reset takes at most, the reading of the EEPROM included (8254x, 14.3; generous).
const RESET: Duration = Duration::from_millis(20);
/// How often the card is looked after when nothing happens.
const TICK: Duration = Duration::from_secs(1);
/// How often frames are looked for where no interrupt tells of them: while some come and go, and else.
const BUSY: Duration = Duration::from_millis(1);
const QUIET: Duration = Duration::from_millis(100);
/// How long after a frame others are expected.
const LINGER: Duration = Duration::from_millis(200);
/// How many resets in a row, with not one frame sent in between, are tried.
const RESETS: u32 = 3;
/// How often the EEPROM is asked whether a word is there: some 50 µs are usual.
const PATIENCE: u32 = 10_000;
/// At least 50 µs between interrupts, in units of 256 ns.
const MODERATION: u32 = 195;

/// Which card it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// 82540EM: PCI device 8086:100e.
    I82540em,
    /// 82574L: PCI device 8086:10d3.
    I82574l,
}

impl Model {
    /// The model of a PCI device, if it is one of these.
    pub const fn of(vendor: u16, device: u16) -> Option<Self> {
        match (vendor, device) {
            (0x8086, 0x100e) => Some(Self::I82540em),
            (0x8086, 0x10d3) => Some(Self::I82574l),
            _ => None,
        }
    }
}

/// Why a card can't be used, or can't any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// There is no memory left that it reaches.
    NoMemory,
    /// Its registers read all ones: it is not there any more.
    Gone,
    /// Its reset does not end.
    NotReady,
    /// It has no address of its own.
    NoAddress,
    /// It sends nothing, not after a reset either.
    Silent,
}

impl fmt::Display for Death {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::NoMemory => "there is no memory left for the network card's queues",
            Self::Gone => "the network card is not there any more",
            Self::NotReady => "the network card does not get ready",
            Self::NoAddress => "the network card has no address",
            Self::Silent => "the network card sends nothing",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until this time, which is known at the first poll.
    Resetting(Option<Duration>),
    Running,
    Dead(Death),
}

/// What was seen at the last look after the card.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    at: Duration,
    /// Frames that were sent until then.
    sent: u64,
    /// Whether others waited then.
    waiting: bool,
}

/// A network card.
pub struct E1000 {
    registers: Box<dyn DeviceRegisters>,
    model: Model,
    interrupts: bool,
    /// Frames come and go until then.
    busy_until: Duration,
    receive: Receive,
    transmit: Transmit,
    mac: Mac,
    phase: Phase,
    waker: Option<Waker>,
    look: Look,
    /// Resets since a frame was sent.
    failures: u32,
    resets: u32,
    now: Duration,
}

impl E1000 {
    /// Takes over a card by its registers (BAR 0) and begins its reset. It `interrupts` by message 0 of
    /// its MSI-X table, or frames have to be looked for. All its memory is taken here.
    ///
    /// # Errors
    /// [`Death`]: it can be seen at once that it can't be used.
    pub fn new(
        registers: Box<dyn DeviceRegisters>,
        dma: &dyn Dma,
        model: Model,
        interrupts: bool,
    ) -> Result<Self, Death> {
        if registers.read(register::STATUS) == u32::MAX {
            return Err(Death::Gone);
        }
        let card = Self {
            receive: Receive::new(dma).ok_or(Death::NoMemory)?,
            transmit: Transmit::new(dma).ok_or(Death::NoMemory)?,
            registers,
            model,
            interrupts,
            busy_until: Duration::ZERO,
            mac: Mac([0; 6]),
            phase: Phase::Resetting(None),
            waker: None,
            look: Look::default(),
            failures: 0,
            resets: 0,
            now: Duration::ZERO,
        };
        card.begin_reset();
        Ok(card)
    }

    /// Whether it is up, and its address known.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Why it is dead, if it is. Its right to reach memory is to be taken away then (bus mastering).
    pub fn death(&self) -> Option<Death> {
        if let Phase::Dead(death) = self.phase { Some(death) } else { None }
    }

    /// How many times it was reset because it sent nothing.
    pub fn resets(&self) -> u32 {
        self.resets
    }

    /// Frames that came in damaged, too long or too short.
    pub fn damaged(&self) -> u64 {
        self.receive.damaged
    }

    /// When to poll again even if there is no interrupt: when its reset is over, then once a second, or
    /// as often as frames are looked for. Never, once it is dead. A frame that comes or goes may make it
    /// earlier.
    pub fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Dead(_) => None,
            Phase::Running if self.interrupts => Some(self.look.at.saturating_add(TICK)),
            Phase::Running => {
                let pause = if self.now < self.busy_until { BUSY } else { QUIET };
                Some(self.now.saturating_add(pause))
            }
            Phase::Resetting(until) => Some(until.unwrap_or(self.now)),
        }
    }

    /// Goes on with a reset, looks after the card, and wakes whoever waits for a frame: that one looks
    /// whether there is any. `now` is since any fixed moment.
    pub fn poll(&mut self, now: Duration) {
        self.now = now;
        match self.phase {
            Phase::Resetting(None) => self.phase = Phase::Resetting(Some(now.saturating_add(RESET))),
            Phase::Resetting(Some(until)) if now >= until => match self.set_up() {
                Ok(()) => {
                    self.phase = Phase::Running;
                    self.look = Look { at: now, sent: self.transmit.sent, waiting: false };
                }
                Err(death) => self.die(death),
            },
            Phase::Running if now >= self.look.at.saturating_add(TICK) => self.look_after(),
            _ => {}
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn begin_reset(&self) {
        self.registers.write(register::IMC, u32::MAX);
        self.registers.write(register::RCTL, 0);
        self.registers.write(register::TCTL, 0);
        let value = self.registers.read(register::CTRL);
        self.registers.write(register::CTRL, value | control::RESET);
    }

    /// After a reset: 8254x, 14.3 to 14.5; 82574, 4.6.
    fn set_up(&mut self) -> Result<(), Death> {
        let registers = &*self.registers;
        let value = registers.read(register::CTRL);
        if value == u32::MAX {
            return Err(Death::Gone);
        }
        if value & control::RESET != 0 {
            return Err(Death::NotReady);
        }
        registers.write(register::IMC, u32::MAX);
        self.mac = self.eeprom_mac().or_else(|| self.filter_mac()).ok_or(Death::NoAddress)?;
        registers.write(register::CTRL, value & !control::CLEARED | control::LINK_UP | control::AUTO_SPEED);
        for entry in 0..128 {
            registers.write(register::MTA + 4 * entry, 0);
        }
        self.receive.start(registers);
        self.transmit.start(registers, self.model);
        if self.model == Model::I82574l {
            registers.write(register::IVAR, layout::IVAR_RECEIVE_0 | layout::IVAR_OTHER_0);
            registers.write(register::EITR, MODERATION);
        }
        registers.write(register::ITR, MODERATION);
        registers.write(register::TCTL, transmit::ENABLE);
        registers.write(register::RCTL, receive::ENABLE);
        self.arm();
        Ok(())
    }

    /// The address in the EEPROM's first three words.
    fn eeprom_mac(&self) -> Option<Mac> {
        let (shift, done) = match self.model {
            Model::I82540em => (8, eeprom::DONE),
            Model::I82574l => (2, eeprom::DONE_82574),
        };
        let mut mac = [0; 6];
        for (word, place) in (0_u32..).zip(mac.chunks_exact_mut(2)) {
            self.registers.write(register::EERD, eeprom::START | word << shift);
            let value =
                (0..PATIENCE).map(|_| self.registers.read(register::EERD)).find(|value| value & done != 0)?;
            place.copy_from_slice(&((value >> 16) as u16).to_le_bytes());
        }
        usable(mac)
    }

    /// The address that the card itself took from its EEPROM.
    fn filter_mac(&self) -> Option<Mac> {
        let low = self.registers.read(register::RAL).to_le_bytes();
        let high = self.registers.read(register::RAH).to_le_bytes();
        usable([low[0], low[1], low[2], low[3], high[0], high[1]])
    }

    /// Forgets the causes of interrupts so far, and asks for the next one.
    fn arm(&self) {
        if !self.interrupts {
            return;
        }
        self.registers.write(register::ICR, u32::MAX);
        let causes = match self.model {
            Model::I82540em => cause::WANTED,
            Model::I82574l => cause::WANTED | cause::MESSAGES,
        };
        self.registers.write(register::IMS, causes);
    }

    /// Once a second: whether the card is there, and sends what it was given.
    fn look_after(&mut self) {
        let status = self.registers.read(register::STATUS);
        if status == u32::MAX {
            return self.die(Death::Gone);
        }
        self.transmit.reclaim();
        let Look { sent, waiting, .. } = self.look;
        let progress = self.transmit.sent != sent;
        if progress {
            self.failures = 0;
        }
        self.look = Look { at: self.now, sent: self.transmit.sent, waiting: self.transmit.is_busy() };
        // Without a cable frames wait, and that is all right.
        if progress || !waiting || !self.look.waiting || status & layout::STATUS_LINK == 0 {
            return;
        }
        if self.failures >= RESETS {
            return self.die(Death::Silent);
        }
        self.failures += 1;
        self.resets += 1;
        self.begin_reset();
        self.phase = Phase::Resetting(Some(self.now.saturating_add(RESET)));
    }

    fn next_frame(&mut self) -> Option<Vec<u8>> {
        if !self.is_ready() {
            return None;
        }
        self.receive.next(&*self.registers).or_else(|| {
            // What comes from here on interrupts; what came just before is seen now.
            self.arm();
            self.receive.next(&*self.registers)
        })
    }

    fn die(&mut self, death: Death) {
        self.begin_reset();
        self.phase = Phase::Dead(death);
    }
}

/// An address of one station.
fn usable(mac: [u8; 6]) -> Option<Mac> {
    Some(Mac(mac)).filter(|mac| !mac.is_group() && mac.0 != [0; 6])
}

impl Nic for E1000 {
    fn mac(&self) -> Mac {
        self.mac
    }

    fn link(&self) -> bool {
        self.is_ready() && self.registers.read(register::STATUS) & layout::STATUS_LINK != 0
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        if let Some(frame) = self.next_frame() {
            self.busy_until = self.now.saturating_add(LINGER);
            return Poll::Ready(frame);
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        self.busy_until = self.now.saturating_add(LINGER);
        self.is_ready() && self.transmit.send(&*self.registers, frame)
    }
}
