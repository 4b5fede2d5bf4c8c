//! Intel High Definition Audio controllers, with the first plug for sound out of them. High Definition Audio
//! Specification, revision 1.0a; numbers in brackets are its chapters.
//!
//! [`Hda::begin`] resets the controller, asks each codec what it is made of, and has the first way from a
//! converter to a plug carry our stream. From then on it is a [`Speaker`], whose interrupt comes once a
//! period.

mod codec;
#[cfg(test)]
mod fake;
mod layout;
mod link;
mod route;
mod stream;
#[cfg(test)]
mod tests;

use super::dma::Dma;
use super::registers::PackedRegisters;
use crate::speaker::{Output, Speaker};
use alloc::boxed::Box;
use codec::Codec;
use core::fmt;
use core::time::Duration;
use layout::{INTERRUPTS, RUNS, register};
use link::Link;
use route::Route;
use stream::Stream;

/// Base class and subclass of such a controller (PCI Code and ID Assignment 1.11, 1.5).
const CLASS: u32 = 0x0403;
/// Our stream's name on the link.
const TAG: u32 = 1;
/// Codecs that a controller can have.
const CODECS: u8 = 15;
/// How long it is between two looks at something that takes a while.
const LOOK: Duration = Duration::from_micros(20);
/// How often it is looked whether the controller is in reset, or out of it.
const LOOKS: u32 = 1000;
/// How long a reset lasts at least, and how long codecs take to say that they are there: 25 frames of the
/// link, 521 µs (4.3, 5.5.1.2).
const RESET: Duration = Duration::from_micros(100);
const CODECS_COME: Duration = Duration::from_millis(1);

/// Waits for so long.
pub trait Pause: AsyncFn(Duration) {}
impl<P: AsyncFn(Duration)> Pause for P {}

/// Why a card can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// There is no memory left that it reaches.
    NoMemory,
    /// Its registers read all ones: it is not there any more.
    Gone,
    /// Its reset does not end, or it lacks what every controller has.
    NotReady,
    /// A codec does not answer.
    Silent,
    /// It has no plug that this driver knows how to use.
    NoPlug,
}

impl fmt::Display for Death {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::NoMemory => "there is no memory left for the sound card's buffers",
            Self::Gone => "the sound card is not there any more",
            Self::NotReady => "the sound card does not get ready",
            Self::Silent => "the sound card does not answer",
            Self::NoPlug => "the sound card has no plug for loudspeakers that Hearth can use",
        })
    }
}

/// Whether a PCI device is such a controller, by its class, subclass, interface and revision.
pub const fn is_one(class: u32) -> bool {
    class >> 16 == CLASS
}

/// A sound card.
pub struct Hda {
    registers: Box<dyn PackedRegisters>,
    stream: Stream,
    /// The controller reads and writes its memory for as long as it runs.
    _link: Link,
}

impl Hda {
    /// Takes over a controller by its registers (BAR 0). All its memory is taken here.
    ///
    /// # Errors
    /// [`Death`].
    pub async fn begin(
        registers: Box<dyn PackedRegisters>,
        dma: &dyn Dma,
        pause: &impl Pause,
    ) -> Result<Self, Death> {
        let card = &*registers;
        reset(card, pause).await?;
        let streams = card.read_half(register::GCAP);
        let (inputs, outputs) = (streams >> 8 & 0xf, streams >> 12);
        if outputs == 0 {
            return Err(Death::NoPlug);
        }
        let there = card.read_half(register::STATESTS);
        let mut link = Link::new(card, dma, pause).await?;
        let stream = Stream::new(inputs.into(), dma)?;
        let mut found = false;
        for address in (0..CODECS).filter(|address| there >> address & 1 == 1) {
            let mut codec = Codec { registers: card, link: &mut link, address, pause };
            let widgets = codec.widgets().await?;
            if let Some(route) = Route::find(&widgets) {
                codec.open(&route).await?;
                found = true;
                break;
            }
        }
        if !found {
            return Err(Death::NoPlug);
        }
        card.write(register::INTCTL, INTERRUPTS | 1 << inputs);
        Ok(Self { registers, stream, _link: link })
    }
}

/// Resets the controller and all codecs (4.2.2).
async fn reset(card: &dyn PackedRegisters, pause: &impl Pause) -> Result<(), Death> {
    if card.read(register::GCTL) == u32::MAX {
        return Err(Death::Gone);
    }
    for bit in [0, RUNS] {
        card.write(register::GCTL, bit);
        let mut looks = LOOKS;
        while card.read(register::GCTL) & RUNS != bit {
            looks = looks.checked_sub(1).ok_or(Death::NotReady)?;
            pause(LOOK).await;
        }
        pause(if bit == 0 { RESET } else { CODECS_COME }).await;
    }
    Ok(())
}

impl Speaker for Hda {
    fn start(&mut self, now: u64) {
        self.stream.start(&*self.registers, now);
    }

    fn stop(&mut self) {
        self.stream.stop(&*self.registers);
    }

    fn room(&mut self, now: u64) -> usize {
        self.stream.room(&*self.registers, now)
    }

    fn write(&mut self, frames: &[Output]) {
        self.stream.write(frames);
    }

    fn dry(&self) -> u64 {
        self.stream.dry
    }

    fn acknowledge(&mut self) {
        self.stream.acknowledge(&*self.registers);
    }
}
