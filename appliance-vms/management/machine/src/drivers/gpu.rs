//! virtio-gpu as the box's own screen, on this machine: what `management::drivers::gpu` asks, through a queue.

use super::ring::{Piece, Ring};
use super::transport::Pci;
use super::unusable::Unusable;
use crate::devices::Device;
use crate::dma::Dma;
use crate::log::event;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;
use management::display::{self, Display};
use management::drivers::gpu::{self, ANSWER, Drawn, MOST_AREAS, PIXEL, Request};
use management::executor::{Event, Handle, Sleep};
use management::virtio::Features;
use virtio_drivers::transport::{DeviceType, Transport};

/// The queue of requests, and the message that says that one was answered.
const CONTROL: u16 = 0;
const ANSWERED: u16 = 0;
/// Descriptors of the queue at most: two a request.
const QUEUE: u16 = 4 * MOST_AREAS as u16;
/// Of a request's memory: where its answer is, and all of it.
const ANSWER_AT: usize = 64;
const SLOT: usize = 512;
const _: () = assert!(gpu::REQUEST <= ANSWER_AT && ANSWER_AT + ANSWER <= SLOT);
/// How long the device may take to answer, in nanoseconds.
const PATIENCE: u64 = 5_000_000_000;

/// A screen.
pub struct Gpu {
    handle: Handle,
    device: Device,
    transport: Pci,
    /// `None`: it is dead.
    ring: Option<Ring>,
    answered: Event,
    /// Requests and their answers.
    slots: Dma,
    /// How many of them the device has, and until when it has time.
    told: usize,
    deadline: Option<Sleep>,
    size: Size,
    pixels: Dma,
    drawn: Drawn,
}

impl Gpu {
    /// Starts the device's driver, and has its first screen show a black picture.
    ///
    /// # Errors
    /// [`Unusable`].
    pub async fn begin(handle: &Handle, device: &Device) -> Result<Self, Unusable> {
        let answered = handle.event().ok_or(Unusable::Lacks("an event of hv's"))?;
        if device.info.messages == 0 {
            return Err(Unusable::Lacks("interrupts as messages (MSI-X)"));
        }
        let mut transport = Pci::new(device, DeviceType::GPU)?;
        transport.route(CONTROL, ANSWERED);
        device.bind(ANSWERED, &answered)?;
        transport.negotiate(1 << Features::VERSION_1)?;
        let ring = Ring::new(&mut transport, CONTROL, QUEUE, false);
        let ring = ring.ok_or(Unusable::Lacks("a queue, or memory for it"))?;
        transport.finish_init();
        let memory = |bytes| Dma::new(bytes).ok_or(Unusable::Lacks("memory for a picture"));
        let mut gpu = Self {
            handle: handle.clone(),
            device: *device,
            transport,
            ring: Some(ring),
            answered,
            slots: memory(2 * MOST_AREAS * SLOT)?,
            told: 0,
            deadline: None,
            size: Size::zero(),
            pixels: memory(1)?,
            drawn: Drawn::default(),
        };
        let answer = gpu.ask(Request::DisplayInfo).await?;
        gpu.size = gpu::size(&answer).ok_or(Unusable::Lacks("a screen"))?;
        let pixels = u64::from(gpu.size.width) * u64::from(gpu.size.height);
        gpu.pixels = memory((pixels * PIXEL) as usize)?;
        let memory = gpu.pixels.range(0, gpu.pixels.len());
        for request in [Request::Create(gpu.size), Request::Attach(memory), Request::Show(gpu.size)] {
            if !gpu::is_done(&gpu.ask(request).await?) {
                return Err(Unusable::Lacks("memory for a picture of that size"));
            }
        }
        Ok(gpu)
    }

    /// Asks one thing and waits for the answer.
    async fn ask(&mut self, request: Request) -> Result<[u8; ANSWER], Unusable> {
        self.tell([request]);
        poll_fn(|context| self.poll_shown(context)).await;
        let mut answer = [0; ANSWER];
        self.slots.copy_out(ANSWER_AT, &mut answer);
        self.ring.is_some().then_some(answer).ok_or(Unusable::Lacks("an answer"))
    }

    /// Asks so many things that the ring has room for: it has none of them.
    fn tell(&mut self, requests: impl IntoIterator<Item = Request>) {
        let Some(ring) = &mut self.ring else { return };
        for (slot, request) in requests.into_iter().enumerate() {
            let (at, bytes) = (slot * SLOT, request.bytes());
            self.slots.copy_in(at, &bytes);
            // An answer that was not written is none.
            self.slots.write(at + ANSWER_AT, 0_u32);
            let request = Piece { range: self.slots.range(at, bytes.len()), written: false };
            let answer = Piece { range: self.slots.range(at + ANSWER_AT, ANSWER), written: true };
            self.told += usize::from(ring.add_chain(&[request, answer]).is_some());
        }
        if ring.publish() {
            self.transport.notify(CONTROL);
        }
        self.deadline = Some(self.handle.sleep(PATIENCE));
    }

    /// Takes the answers that are there.
    fn take_answers(&mut self) {
        while let Some(ring) = &mut self.ring
            && ring.next_used().is_some()
        {
            let Some(left) = self.told.checked_sub(1) else {
                return self.die("it answers what nobody has asked");
            };
            self.told = left;
        }
    }

    /// Gives it up: there is no picture from now on.
    fn die(&mut self, what: &str) {
        self.device.cut_off();
        self.ring = None;
        event!(Error, "display.dead", driver = "virtio-gpu", what = what);
    }
}

impl Display for Gpu {
    fn size(&self) -> Size {
        self.size
    }

    fn present(&mut self, area: Rectangle, pixels: &[u32], stride: usize) {
        if self.ring.is_none() {
            return;
        }
        for (at, line) in display::lines(self.size, area, pixels, stride) {
            let pixel =
                at.y.unsigned_abs() as usize * self.size.width as usize + at.x.unsigned_abs() as usize;
            self.pixels.copy_in(pixel * PIXEL as usize, zerocopy::IntoBytes::as_bytes(line));
            self.drawn.add(Rectangle::new(at, Size::new(line.len() as u32, 1)));
        }
    }

    fn poll_shown(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            self.take_answers();
            if self.ring.is_none() {
                return Poll::Ready(());
            }
            if self.told == 0 && !self.drawn.is_empty() {
                let requests = self.drawn.requests(self.size.width);
                self.tell(requests);
            }
            if self.told == 0 {
                self.deadline = None;
                return Poll::Ready(());
            }
            if self.answered.poll(context).is_ready() {
                continue;
            }
            let late = self.deadline.as_mut().is_some_and(|alarm| Pin::new(alarm).poll(context).is_ready());
            if !late {
                return Poll::Pending;
            }
            self.die("it does not answer");
        }
    }
}
