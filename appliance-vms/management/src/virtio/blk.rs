//! A disk (virtio 1.2, 5.2): requests go to a [`BlockDevice`] with the guest's own buffers, side by side,
//! and are answered in the order that they are done in.

use super::queues::Queues;
use super::ring::{Buffers, Chain, Fault};
use super::{Device, Features, Kind};
use crate::block::{BlockDevice, BlockError, Geometry, Operation, Pending, SECTOR};
use crate::memory::HostRange;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::{Context, Poll};

/// Entries of a queue.
const QUEUE: u16 = 256;
/// Most pieces of a request's data: head and status have descriptors of their own.
const SEGMENTS: u32 = QUEUE as u32 - 2;
/// Most requests on their way to the disk, of all queues.
const MAX_ON_THEIR_WAY: usize = 128;
/// Most bytes of a request's data.
const MAX_DATA: u64 = 64 << 20;
/// Most sectors that one request discards, and writes zeroes to: a disk may have to write those.
const MAX_DISCARD: u32 = 1 << 22;
const MAX_ZEROES: u32 = 1 << 16;
/// Bytes of a request's head: type, reserved, sector (5.2.6).
const HEAD: usize = 16;
/// Bytes of a segment to discard or to write zeroes to: sector, sectors, flags (5.2.6).
const SEGMENT: usize = 16;
/// Flag of such a segment: the sectors may be discarded.
const UNMAP: u32 = 1;
/// Bytes of a disk's name (5.2.6, VIRTIO_BLK_T_GET_ID).
const NAME: usize = 20;

/// Features, by number (5.2.3).
#[allow(missing_docs, reason = "they are what the specification calls them")]
pub mod feature {
    pub const SEG_MAX: u32 = 2;
    pub const READ_ONLY: u32 = 5;
    pub const BLOCK_SIZE: u32 = 6;
    pub const FLUSH: u32 = 9;
    pub const TOPOLOGY: u32 = 10;
    pub const MULTI_QUEUE: u32 = 12;
    pub const DISCARD: u32 = 13;
    pub const WRITE_ZEROES: u32 = 14;
}

/// Types of requests (5.2.6).
#[allow(missing_docs, reason = "they are what the specification calls them")]
pub mod kind {
    pub const IN: u32 = 0;
    pub const OUT: u32 = 1;
    pub const FLUSH: u32 = 4;
    pub const GET_ID: u32 = 8;
    pub const DISCARD: u32 = 11;
    pub const WRITE_ZEROES: u32 = 13;
}

/// What became of a request (5.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

impl From<Result<(), BlockError>> for Status {
    fn from(result: Result<(), BlockError>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(BlockError::Unsupported) => Self::Unsupported,
            Err(_) => Self::IoError,
        }
    }
}

/// How a request is to be answered.
#[derive(Debug)]
struct Answer {
    queue: u16,
    head: u16,
    /// Where the status goes.
    status: Buffers,
    /// Bytes in the guest's buffers once it is done.
    data: u64,
}

/// A request on its way.
struct OnItsWay {
    request: Pending<'static>,
    answer: Answer,
}

/// What is asked of the disk.
struct Order {
    operation: Operation,
    sector: u64,
    memory: Vec<HostRange>,
    /// Bytes in the guest's buffers once it is done.
    data: u64,
}

/// What a request comes to.
enum Verdict {
    /// Something that the disk is asked.
    Ask(Order),
    /// An answer at once.
    Say(Status),
}

/// A disk of a guest's.
pub struct Blk {
    disk: Rc<dyn BlockDevice>,
    geometry: Geometry,
    name: [u8; NAME],
    queues: u16,
    on_their_way: Vec<OnItsWay>,
}

impl Blk {
    /// `disk` with `queues` queues, 1 to 64, one for each of the guest's vCPUs; the guest reads the first
    /// 20 bytes of `name` as its serial number.
    pub fn new(disk: Rc<dyn BlockDevice>, name: &str, queues: u16) -> Self {
        let mut bytes = [0; NAME];
        bytes.iter_mut().zip(name.bytes()).for_each(|(into, from)| *into = from);
        let geometry = disk.geometry();
        Self { disk, geometry, name: bytes, queues: queues.clamp(1, 64), on_their_way: Vec::new() }
    }

    /// How many requests are on their way to the disk.
    pub fn on_their_way(&self) -> usize {
        self.on_their_way.len()
    }

    /// Answers requests that are done.
    fn finish(&mut self, context: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        let mut next = 0;
        while let Some(entry) = self.on_their_way.get_mut(next) {
            let Poll::Ready(result) = entry.request.as_mut().poll(context) else {
                next += 1;
                continue;
            };
            let answer = self.on_their_way.swap_remove(next).answer;
            answer.give(Status::from(result), queues)?;
        }
        Ok(())
    }

    /// Takes new requests from a queue.
    fn begin(&mut self, queue: u16, context: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        while queues.may_begin(queue) {
            // With the disk full, the next request that is done makes room, and no driver need notify.
            if self.on_their_way.len() >= MAX_ON_THEIR_WAY {
                return Ok(());
            }
            let Some(chain) = queues.pop(queue)? else { return Ok(()) };
            self.request(queue, chain, context, queues)?;
        }
        Ok(())
    }

    fn request(
        &mut self,
        queue: u16,
        mut chain: Chain,
        context: &mut Context<'_>,
        queues: &mut Queues<'_>,
    ) -> Result<(), Fault> {
        // The status is the last byte to write (5.2.6).
        let room = chain.writable.len().checked_sub(1).ok_or(Fault::Request)?;
        let data = chain.writable.take(room);
        let mut answer = Answer { queue, head: chain.head, status: chain.writable, data: 0 };
        let mut head = [0; HEAD];
        if chain.readable.take(HEAD as u64).read(queues.memory(), &mut head)? < HEAD {
            return answer.give(Status::IoError, queues);
        }
        let all = u128::from_le_bytes(head);
        let (number, sector) = (all as u32, (all >> 64) as u64);
        let verdict = match number {
            kind::IN => self.transfer(Operation::Read, sector, &data, queues)?,
            kind::OUT => self.transfer(Operation::Write, sector, &chain.readable, queues)?,
            kind::FLUSH => {
                Verdict::Ask(Order { operation: Operation::Flush, sector: 0, memory: Vec::new(), data: 0 })
            }
            kind::DISCARD | kind::WRITE_ZEROES => self.erase(number, &chain.readable, queues)?,
            kind::GET_ID => {
                answer.data = data.write(queues.memory(), &self.name)? as u64;
                Verdict::Say(Status::Ok)
            }
            _ => Verdict::Say(Status::Unsupported),
        };
        let order = match verdict {
            Verdict::Ask(order) => order,
            Verdict::Say(status) => return answer.give(status, queues),
        };
        answer.data = order.data;
        // Without FLUSH the driver can't ask for durability: then writes are durable at once (5.2.6.2).
        let through = !queues.features().has(feature::FLUSH);
        let mut request = carry_out(self.disk.clone(), order, through);
        match request.as_mut().poll(context) {
            Poll::Ready(result) => answer.give(Status::from(result), queues),
            Poll::Pending => {
                self.on_their_way.push(OnItsWay { request, answer });
                Ok(())
            }
        }
    }

    /// A read or write.
    fn transfer(
        &self,
        operation: Operation,
        sector: u64,
        buffers: &Buffers,
        queues: &Queues<'_>,
    ) -> Result<Verdict, Fault> {
        let len = buffers.len();
        let writes = operation == Operation::Write;
        if len == 0 || len > MAX_DATA || !len.is_multiple_of(SECTOR) || !self.holds(sector, len / SECTOR) {
            return Ok(Verdict::Say(Status::IoError));
        }
        if writes && self.geometry.read_only {
            return Ok(Verdict::Say(Status::IoError));
        }
        let memory = buffers.host(queues.memory())?;
        Ok(Verdict::Ask(Order { operation, sector, memory, data: if writes { 0 } else { len } }))
    }

    /// Discarding or writing zeroes (5.2.6.2). A request has one segment, as the
    /// configuration says.
    fn erase(&self, number: u32, buffers: &Buffers, queues: &Queues<'_>) -> Result<Verdict, Fault> {
        let mut segment = [0; SEGMENT];
        if buffers.len() != SEGMENT as u64 {
            return Ok(Verdict::Say(Status::IoError));
        }
        buffers.read(queues.memory(), &mut segment)?;
        let all = u128::from_le_bytes(segment);
        let (sector, sectors, flags) = (all as u64, (all >> 64) as u32, (all >> 96) as u32);
        let discards = number == kind::DISCARD;
        let (most, flags_allowed) = if discards { (MAX_DISCARD, 0) } else { (MAX_ZEROES, UNMAP) };
        if flags & !flags_allowed != 0 || discards && !self.geometry.discards {
            return Ok(Verdict::Say(Status::Unsupported));
        }
        if self.geometry.read_only || sectors > most || !self.holds(sector, sectors.into()) {
            return Ok(Verdict::Say(Status::IoError));
        }
        let sectors = sectors.into();
        let operation =
            if discards { Operation::Discard { sectors } } else { Operation::WriteZeroes { sectors } };
        Ok(Verdict::Ask(Order { operation, sector, memory: Vec::new(), data: 0 }))
    }

    /// Whether the disk has those sectors.
    fn holds(&self, sector: u64, sectors: u64) -> bool {
        sector.checked_add(sectors).is_some_and(|end| end <= self.geometry.sectors)
    }
}

/// The request, with all that it needs.
fn carry_out(disk: Rc<dyn BlockDevice>, order: Order, through: bool) -> Pending<'static> {
    Box::pin(async move {
        let Order { operation, sector, memory, .. } = order;
        disk.request(operation, sector, &memory).await?;
        if through && matches!(operation, Operation::Write | Operation::WriteZeroes { .. }) {
            disk.request(Operation::Flush, 0, &[]).await?;
        }
        Ok(())
    })
}

impl Answer {
    fn give(self, status: Status, queues: &mut Queues<'_>) -> Result<(), Fault> {
        if !queues.is_live() {
            return Ok(());
        }
        self.status.write(queues.memory(), &[status as u8])?;
        // The length tells how much from the start on was written (2.7.8): of a read that failed nobody
        // knows.
        let written = if status == Status::Ok { self.data + 1 } else { 0 };
        queues.push(self.queue, self.head, written)
    }
}

impl Device for Blk {
    const KIND: Kind = Kind { number: 2, class: 0x01_00_00 };

    fn features(&self) -> Features {
        let always = 1 << feature::SEG_MAX
            | 1 << feature::BLOCK_SIZE
            | 1 << feature::FLUSH
            | 1 << feature::TOPOLOGY
            | 1 << feature::MULTI_QUEUE;
        let writable = !self.geometry.read_only;
        let if_writable = if writable { 1 << feature::WRITE_ZEROES } else { 1 << feature::READ_ONLY };
        let if_discards = if writable && self.geometry.discards { 1 << feature::DISCARD } else { 0 };
        Features(always | if_writable | if_discards)
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE; self.queues.into()]
    }

    /// `struct virtio_blk_config` (5.2.4).
    fn configuration(&self) -> Vec<u8> {
        let block = self.geometry.block;
        let align = block / SECTOR as u32;
        let mut bytes = Vec::with_capacity(60);
        bytes.extend_from_slice(&self.geometry.sectors.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes()); // size_max, not offered
        bytes.extend_from_slice(&SEGMENTS.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]); // cylinders, heads, sectors, not offered
        bytes.extend_from_slice(&block.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]); // physical_block_exp, alignment_offset
        bytes.extend_from_slice(&1u16.to_le_bytes()); // min_io_size in blocks
        bytes.extend_from_slice(&0u32.to_le_bytes()); // opt_io_size: no advice
        bytes.extend_from_slice(&[0, 0]); // writeback, not offered
        bytes.extend_from_slice(&self.queues.to_le_bytes());
        for limit in [MAX_DISCARD, 1, align, MAX_ZEROES, 1] {
            bytes.extend_from_slice(&limit.to_le_bytes());
        }
        bytes.extend_from_slice(&[1, 0, 0, 0]); // write_zeroes_may_unmap
        bytes
    }

    fn poll(&mut self, context: &mut Context<'_>, queues: &mut Queues<'_>) -> Result<(), Fault> {
        self.finish(context, queues)?;
        (0..self.queues).try_for_each(|queue| self.begin(queue, context, queues))
    }

    fn reset(&mut self) {
        // The disk still has the guest's memory: the requests stay until they are done, and only then
        // the reset is. Nobody is live until then, so they are not answered.
    }

    fn is_quiet(&self) -> bool {
        self.on_their_way.is_empty()
    }
}
