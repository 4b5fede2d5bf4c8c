//! What the codecs are told, and what they answer: two rings in memory (3.7 and 4.4).

use super::layout::{RESPONSE, REWIND, RING_RUNS, TOLD, UNSOLICITED, register};
use super::{Death, LOOK, Pause};
use crate::drivers::dma::{Dma, DmaMemory};
use crate::drivers::registers::PackedRegisters;
use alloc::boxed::Box;

/// Entries of a ring by the bits that say which sizes there are, and how each is chosen.
const SIZES: [(u8, u16, u8); 3] = [(1 << 6, 256, 2), (1 << 5, 16, 1), (1 << 4, 2, 0)];
/// Where responses are, after up to 256 commands of 4 bytes.
const RESPONSES: usize = 1024;
/// Bytes of both rings.
const BYTES: usize = RESPONSES + 256 * 8;
/// How often a response is looked for: a codec answers within a frame of the link, 21 µs.
const LOOKS: u32 = 1000;

/// The rings. Commands are given one at a time.
pub(super) struct Link {
    memory: Box<dyn DmaMemory>,
    /// Entries of commands' ring and the last one written; of responses' ring, and the last one read.
    commands: (u16, u16),
    responses: (u16, u16),
}

impl Link {
    /// Sets the rings up; the controller runs, and the rings don't yet.
    pub async fn new(
        registers: &dyn PackedRegisters,
        dma: &dyn Dma,
        pause: &impl Pause,
    ) -> Result<Self, Death> {
        let memory = dma.allocate(BYTES).ok_or(Death::NoMemory)?;
        registers.write_byte(register::CORBCTL, 0);
        registers.write_byte(register::RIRBCTL, 0);
        let at = memory.host().address;
        for (low, high, at) in [
            (register::CORBLBASE, register::CORBUBASE, at),
            (register::RIRBLBASE, register::RIRBUBASE, at + RESPONSES as u64),
        ] {
            registers.write(low, at as u32);
            registers.write(high, (at >> 32) as u32);
        }
        let commands = size(registers, register::CORBSIZE).ok_or(Death::NotReady)?;
        let responses = size(registers, register::RIRBSIZE).ok_or(Death::NotReady)?;
        registers.write_half(register::CORBWP, 0);
        registers.write_half(register::CORBRP, REWIND);
        // Controllers say so when it is done, as they should, or never.
        for _ in 0..LOOKS {
            if registers.read_half(register::CORBRP) & REWIND != 0 {
                break;
            }
            pause(LOOK).await;
        }
        registers.write_half(register::CORBRP, 0);
        registers.write_half(register::RIRBWP, REWIND);
        registers.write_half(register::RINTCNT, 1);
        registers.write_byte(register::RIRBSTS, RESPONSE);
        registers.write_byte(register::CORBCTL, RING_RUNS);
        // Without INTCTL's bit for it, that interrupts nobody.
        registers.write_byte(register::RIRBCTL, RING_RUNS | TOLD);
        Ok(Self { memory, commands: (commands, 0), responses: (responses, 0) })
    }

    /// Tells a node of a codec a verb of 20 bits, and answers its response.
    pub async fn ask(
        &mut self,
        registers: &dyn PackedRegisters,
        (codec, node): (u8, u8),
        verb: u32,
        pause: &impl Pause,
    ) -> Result<u32, Death> {
        let (entries, last) = &mut self.commands;
        *last = (*last + 1) % *entries;
        let command = u32::from(codec) << 28 | u32::from(node) << 20 | verb;
        self.memory.store(usize::from(*last) * 4, command);
        registers.write_half(register::CORBWP, *last);
        for _ in 0..LOOKS {
            if let Some(response) = self.response(registers) {
                registers.write_byte(register::RIRBSTS, RESPONSE);
                return Ok(response);
            }
            pause(LOOK).await;
        }
        Err(Death::Silent)
    }

    fn response(&mut self, registers: &dyn PackedRegisters) -> Option<u32> {
        let (entries, read) = &mut self.responses;
        while registers.read_half(register::RIRBWP) % *entries != *read {
            *read = (*read + 1) % *entries;
            let at = RESPONSES + usize::from(*read) * 8;
            if self.memory.load(at + 4) & UNSOLICITED == 0 {
                return Some(self.memory.load(at));
            }
        }
        None
    }
}

/// Takes the largest size that there is; its entries.
fn size(registers: &dyn PackedRegisters, at: u64) -> Option<u16> {
    let offered = registers.read_byte(at);
    let (_, entries, choice) = SIZES.into_iter().find(|&(bit, ..)| offered & bit != 0)?;
    registers.write_byte(at, choice);
    Some(entries)
}
