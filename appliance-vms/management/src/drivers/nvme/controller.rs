//! A controller's life: reset, set up, serving, and reset again or dead.

use super::Death;
use super::layout::{
    CC_ENABLE, CSTS_FATAL, CSTS_READY, ControllerData, NamespaceData, PAGE, register, status,
};
use super::queue::{Completion, Queue};
use super::requests::{Requests, Sent};
use super::setup::{Identity, Step};
use super::work::Work;
use crate::block::{BlockError, Geometry, Operation};
use crate::drivers::dma::{Dma, DmaMemory};
use crate::drivers::registers::DeviceRegisters;
use crate::memory::HostRange;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

/// Most entries of the queue for data.
const DEPTH: u16 = 64;
/// Entries of the queue for administration, of which one is used at a time.
const ADMIN_DEPTH: u16 = 4;
/// How long a command may take: disks that move their blocks about may take seconds.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How often to look while the disk gets ready, which it does without an interrupt.
const SOON: Duration = Duration::from_millis(1);
/// How often to look at other times, for a lost interrupt or a command that takes too long.
const TICK: Duration = Duration::from_secs(1);
/// How many resets in a row, with not one command done in between, are tried.
pub(super) const RESETS: u32 = 2;
/// The unit of CAP.TO.
const READY_UNIT: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until it is not ready any more; the time is known at the first poll.
    Disabling(Option<Duration>),
    /// Until it is ready.
    Enabling(Duration),
    /// Until it has done what the step asks.
    Setup(Step, Duration),
    Running,
    Dead(Death),
}

pub(super) struct Controller {
    registers: Box<dyn DeviceRegisters>,
    admin: Queue,
    io: Queue,
    /// A page for each command.
    lists: Box<dyn DmaMemory>,
    /// A page for answers of administration.
    data: Box<dyn DmaMemory>,
    depth: u16,
    vector: u16,
    stride: u64,
    ready_in: Duration,
    phase: Phase,
    identity: Identity,
    was_ready: bool,
    requests: Requests,
    /// The commands at the disk, by their numbers.
    slots: Vec<Option<Sent>>,
    /// Resets since a command was done.
    failures: u32,
    resets: u32,
    now: Duration,
}

impl Controller {
    pub(super) fn new(
        registers: Box<dyn DeviceRegisters>,
        dma: &dyn Dma,
        vector: u16,
    ) -> Result<Self, Death> {
        let capabilities = registers.read_wide(register::CAP);
        if capabilities == u64::MAX {
            return Err(Death::Gone);
        }
        // The smallest page is 4 KiB times two to this.
        if capabilities >> 48 & 0xf != 0 {
            return Err(Death::Unsuitable);
        }
        // The deepest queue, less one. Two is the least there is.
        let depth = (capabilities as u16).saturating_add(1).clamp(2, DEPTH);
        let lists = dma.allocate(usize::from(depth) * PAGE as usize).ok_or(Death::NoMemory)?;
        let controller = Self {
            admin: Queue::new(dma, ADMIN_DEPTH).ok_or(Death::NoMemory)?,
            io: Queue::new(dma, depth).ok_or(Death::NoMemory)?,
            lists,
            data: dma.allocate(PAGE as usize).ok_or(Death::NoMemory)?,
            depth,
            vector,
            stride: 4 << (capabilities >> 32 & 0xf),
            ready_in: READY_UNIT * ((capabilities >> 24 & 0xff) as u32).max(1),
            phase: Phase::Disabling(None),
            identity: Identity::default(),
            was_ready: false,
            requests: Requests::default(),
            // A full queue cannot be told from an empty one: one entry stays free.
            slots: (1..depth).map(|_| None).collect(),
            failures: 0,
            resets: 0,
            now: Duration::ZERO,
            registers,
        };
        controller.registers.write(register::CC, 0);
        Ok(controller)
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.identity.geometry
    }

    pub(super) fn model(&self) -> &str {
        &self.identity.model
    }

    pub(super) fn resets(&self) -> u32 {
        self.resets
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.on_their_way()
    }

    pub(super) fn was_ready(&self) -> bool {
        self.was_ready
    }

    pub(super) fn death(&self) -> Option<Death> {
        if let Phase::Dead(death) = self.phase { Some(death) } else { None }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Dead(_) => None,
            Phase::Running => Some(self.now.saturating_add(TICK)),
            _ => Some(self.now.saturating_add(SOON)),
        }
    }

    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        core::mem::take(&mut self.requests.wakers)
    }

    pub(super) fn begin(
        &mut self,
        operation: Operation,
        sector: u64,
        memory: &[HostRange],
    ) -> Result<u64, BlockError> {
        let identity = &self.identity;
        match operation {
            _ if matches!(self.phase, Phase::Dead(_)) => return Err(BlockError::Dead),
            Operation::WriteZeroes { .. } if !identity.writes_zeroes => return Err(BlockError::Unsupported),
            Operation::Discard { .. } if !identity.geometry.discards => return Err(BlockError::Unsupported),
            _ => {}
        }
        let work = Work::new(operation, sector, memory, &identity.geometry)?;
        let id = self.requests.add(work);
        if self.phase == Phase::Running {
            self.submit();
        }
        Ok(id)
    }

    pub(super) fn poll_request(
        &mut self,
        id: u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), BlockError>> {
        self.requests.poll(id, context)
    }

    pub(super) fn abandon(&mut self, id: u64) {
        self.requests.abandon(id);
    }

    /// Goes on as far as it can without waiting.
    pub(super) fn poll(&mut self, now: Duration) {
        self.now = now;
        loop {
            let before = self.phase;
            match before {
                Phase::Dead(_) => {}
                Phase::Running => self.serve(),
                Phase::Setup(step, until) => self.set_up(step, until),
                Phase::Disabling(until) => self.disable(until),
                Phase::Enabling(until) => self.enable(until),
            }
            // Each step leads to a later one, or to a reset, which waits.
            if self.phase == before || matches!(self.phase, Phase::Disabling(_)) {
                return;
            }
        }
    }

    fn disable(&mut self, until: Option<Duration>) {
        let until = until.unwrap_or(self.now.saturating_add(self.ready_in));
        self.phase = Phase::Disabling(Some(until));
        match self.registers.read(register::CSTS) {
            u32::MAX => self.die(Death::Gone),
            status if status & CSTS_READY != 0 => self.check_time(until, Death::NotReady),
            _ => {
                self.start_over();
                let (commands, completions) = self.admin.addresses();
                let size = u32::from(ADMIN_DEPTH) - 1;
                self.registers.write(register::AQA, size | size << 16);
                self.registers.write_wide(register::ASQ, commands);
                self.registers.write_wide(register::ACQ, completions);
                self.registers.write(register::CC, CC_ENABLE);
                self.phase = Phase::Enabling(self.now.saturating_add(self.ready_in));
            }
        }
    }

    /// The disk is off and reaches no memory: it is to be asked again for all that is not done. What it
    /// did not answer a second time fails.
    fn start_over(&mut self) {
        self.admin.reset();
        self.io.reset();
        for slot in &mut self.slots {
            let Some(sent) = slot.take() else { continue };
            let late = sent.since.is_some_and(|since| self.now.saturating_sub(since) >= TIMEOUT);
            if late && sent.suspect {
                self.requests.finish(sent.request, Err(BlockError::Device));
            } else {
                self.requests.again(Sent { suspect: late, ..sent });
            }
        }
    }

    fn enable(&mut self, until: Duration) {
        match self.registers.read(register::CSTS) {
            u32::MAX => self.die(Death::Gone),
            status if status & CSTS_FATAL != 0 => self.fail(Death::NotReady),
            status if status & CSTS_READY == 0 => self.check_time(until, Death::NotReady),
            _ => self.begin_step(Step::Controller),
        }
    }

    fn begin_step(&mut self, step: Step) {
        let command = step.command(self.data.host().address, &self.io, self.depth, self.vector);
        self.admin.push(&command);
        self.admin.ring(&*self.registers, 0, self.stride);
        self.phase = Phase::Setup(step, self.now.saturating_add(TIMEOUT));
    }

    fn set_up(&mut self, step: Step, until: Duration) {
        let Some(completion) = self.admin.pop() else {
            return self.check_time(until, Death::Silent);
        };
        self.admin.acknowledge(&*self.registers, 0, self.stride);
        // The number of queues is a wish: creating them tells.
        if completion.status != 0 && step != Step::Queues {
            return self.die(Death::Refused(completion.status));
        }
        let mut data = [0; PAGE as usize];
        self.data.read(0, &mut data);
        let learned = match step {
            Step::Controller => {
                self.identity.learn_controller(&ControllerData(&data));
                Ok(())
            }
            Step::Namespace => self.identity.learn_namespace(&NamespaceData(&data)),
            _ => Ok(()),
        };
        match (learned, step.next()) {
            (Err(death), _) => self.die(death),
            (Ok(()), Some(next)) => self.begin_step(next),
            (Ok(()), None) => {
                self.phase = Phase::Running;
                self.was_ready = true;
            }
        }
    }

    /// Takes in what is done, looks for what takes too long, and sends what waits.
    fn serve(&mut self) {
        let mut seen = false;
        for _ in 0..self.depth {
            let Some(completion) = self.io.pop() else { break };
            seen = true;
            self.complete(completion);
        }
        if seen {
            self.io.acknowledge(&*self.registers, 1, self.stride);
            self.failures = 0;
        }
        let now = self.now;
        let mut late = false;
        for sent in self.slots.iter_mut().flatten() {
            let since = *sent.since.get_or_insert(now);
            late |= now.saturating_sub(since) >= TIMEOUT;
        }
        if late {
            return self.fail(Death::Silent);
        }
        self.submit();
    }

    fn complete(&mut self, completion: Completion) {
        let slot = self.slots.get_mut(usize::from(completion.id));
        // A number that was never sent is the disk's mistake: what was sent will be late, if it is it.
        let Some(sent) = slot.and_then(Option::take) else { return };
        let result = match completion.status {
            0 => Ok(()),
            status::INVALID_OPCODE => Err(BlockError::Unsupported),
            status::LBA_OUT_OF_RANGE => Err(BlockError::OutOfRange),
            status::WRITE_PROTECTED | status::READ_ONLY_RANGE => Err(BlockError::ReadOnly),
            _ => Err(BlockError::Device),
        };
        self.requests.finish(sent.request, result);
    }

    fn submit(&mut self) {
        let mut pushed = false;
        for (id, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.is_none()) {
            let Some(sent) = self.requests.next(self.identity.limits) else { break };
            let command = sent.command.encode(id as u16, &*self.lists, id * PAGE as usize);
            self.io.push(&command);
            *slot = Some(sent);
            pushed = true;
        }
        if pushed {
            self.io.ring(&*self.registers, 1, self.stride);
        }
    }

    fn check_time(&mut self, until: Duration, death: Death) {
        if self.now >= until {
            self.fail(death);
        }
    }

    /// The disk does not do what it should: it is reset.
    fn fail(&mut self, death: Death) {
        if self.failures >= RESETS {
            return self.die(death);
        }
        self.failures += 1;
        self.resets += 1;
        self.registers.write(register::CC, 0);
        self.phase = Phase::Disabling(None);
    }

    fn die(&mut self, death: Death) {
        self.registers.write(register::CC, 0);
        self.phase = Phase::Dead(death);
        self.slots.iter_mut().for_each(|slot| *slot = None);
        self.requests.fail_all(BlockError::Dead);
    }
}
