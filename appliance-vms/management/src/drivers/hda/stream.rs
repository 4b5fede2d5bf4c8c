//! One stream out of memory: a ring of periods that the card plays for good (3.3.35, 3.6).

use super::layout::{FORMAT, INTERRUPTS_AFTER, register, stream};
use super::{Death, TAG};
use crate::drivers::dma::{Dma, DmaMemory};
use crate::drivers::registers::PackedRegisters;
use crate::speaker::{AHEAD, Output, PERIOD, frames};
use alloc::boxed::Box;

/// Periods of the ring. It is longer than what is written ahead: what was played is silence until it is
/// written again, so that a late writer is heard as a gap and not as an echo.
const PERIODS: usize = 2 * AHEAD / PERIOD;
/// Frames and bytes of the ring. A period's bytes are a multiple of 128, as they have to be (3.6.3).
const RING: u64 = (PERIODS * PERIOD) as u64;
const FRAME: usize = size_of::<Output>();
const PERIOD_BYTES: usize = PERIOD * FRAME;
const RING_BYTES: usize = PERIODS * PERIOD_BYTES;
const _: () = assert!(PERIOD_BYTES.is_multiple_of(128) && PERIODS <= 256);
/// Bytes of an entry of the list: address, bytes, flags (3.6.3).
const ENTRY: usize = 16;
/// How often a reset is looked after: it takes some microseconds.
const LOOKS: u32 = 1000;

/// A stream. Frames are counted from its start.
pub(super) struct Stream {
    memory: Box<dyn DmaMemory>,
    list: Box<dyn DmaMemory>,
    /// Its registers.
    at: u64,
    played: u64,
    written: u64,
    /// When it was last looked where it is, in nanoseconds.
    looked: u64,
    pub dry: u64,
}

impl Stream {
    /// The first stream out, of a controller with so many in.
    pub fn new(inputs: u64, dma: &dyn Dma) -> Result<Self, Death> {
        let memory = dma.allocate(RING_BYTES).ok_or(Death::NoMemory)?;
        let list = dma.allocate(PERIODS * ENTRY).ok_or(Death::NoMemory)?;
        let base = memory.host().address;
        for period in 0..PERIODS {
            let address = base + (period * PERIOD_BYTES) as u64;
            list.write(period * ENTRY, &address.to_le_bytes());
            list.write(period * ENTRY + 8, &(PERIOD_BYTES as u32).to_le_bytes());
            list.write(period * ENTRY + 12, &INTERRUPTS_AFTER.to_le_bytes());
        }
        let at = register::STREAMS + inputs * register::STREAM;
        Ok(Self { memory, list, at, played: 0, written: 0, looked: 0, dry: 0 })
    }

    /// Begins with silence.
    pub fn start(&mut self, registers: &dyn PackedRegisters, now: u64) {
        self.stop(registers);
        registers.write(self.at + stream::CTL, stream::RESET);
        self.look_for_reset(registers, true);
        registers.write(self.at + stream::CTL, 0);
        self.look_for_reset(registers, false);
        self.silence(0, RING);
        let list = self.list.host().address;
        registers.write(self.at + stream::BDPL, list as u32);
        registers.write(self.at + stream::BDPU, (list >> 32) as u32);
        registers.write(self.at + stream::CBL, RING_BYTES as u32);
        registers.write_half(self.at + stream::LVI, (PERIODS - 1) as u16);
        registers.write_half(self.at + stream::FMT, FORMAT);
        let tag = TAG << stream::TAG_SHIFT;
        registers.write(self.at + stream::CTL, tag | stream::ON_COMPLETION);
        registers.write(self.at + stream::CTL, tag | stream::ON_COMPLETION | stream::RUN);
        (self.played, self.written, self.looked) = (0, 0, now);
    }

    pub fn stop(&self, registers: &dyn PackedRegisters) {
        let control = registers.read(self.at + stream::CTL) & 0x00ff_ffff;
        registers.write(self.at + stream::CTL, control & !(stream::RUN | stream::ON_COMPLETION));
        self.acknowledge(registers);
    }

    /// Lets it interrupt again.
    pub fn acknowledge(&self, registers: &dyn PackedRegisters) {
        registers.write_byte(self.at + stream::STS, stream::ALL);
    }

    fn look_for_reset(&self, registers: &dyn PackedRegisters, wanted: bool) {
        // Some controllers are done before they can be seen at it.
        let is_so = || (registers.read(self.at + stream::CTL) & stream::RESET != 0) == wanted;
        let _done = (0..LOOKS).any(|_| is_so());
    }

    /// How many frames it takes to be ahead again.
    pub fn room(&mut self, registers: &dyn PackedRegisters, now: u64) -> usize {
        let place = u64::from(registers.read(self.at + stream::LPIB)) / FRAME as u64 % RING;
        let step = (place + RING - self.played % RING) % RING;
        // Whoever looks seldom misses laps; the clock tells them.
        let expected = frames(now.saturating_sub(self.looked));
        let laps = (expected.saturating_sub(step) + RING / 2) / RING;
        let played = self.played + step + laps * RING;
        self.silence(self.played, (played - self.played).min(RING));
        (self.played, self.looked) = (played, now);
        if played > self.written {
            self.dry += u64::from(self.written > 0);
            self.written = played;
        }
        (played + AHEAD as u64 - self.written) as usize
    }

    pub fn write(&mut self, output: &[Output]) {
        for part in output.chunks(PERIOD) {
            let bytes = part.as_flattened().iter().flat_map(|sample| sample.to_le_bytes());
            let mut buffer = [0; PERIOD_BYTES];
            buffer.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
            self.put(self.written, &buffer[..part.len() * FRAME]);
            self.written += part.len() as u64;
        }
    }

    fn silence(&self, from: u64, count: u64) {
        for at in (0..count).step_by(PERIOD) {
            let left = (count - at).min(PERIOD as u64) as usize;
            self.put(from + at, &[0; PERIOD_BYTES][..left * FRAME]);
        }
    }

    /// Writes a period at most, from a frame on.
    fn put(&self, frame: u64, bytes: &[u8]) {
        let start = (frame % RING) as usize * FRAME;
        let (first, rest) = bytes.split_at(bytes.len().min(RING_BYTES - start));
        self.memory.write(start, first);
        self.memory.write(0, rest);
    }
}
