//! virtio-net: a network port, through `virtio-drivers`. Virtio 1.2, 5.1.

use super::transport::Pci;
use super::unusable::Unusable;
use crate::devices::Device;
use crate::dma::{self, Dma};
use crate::log::event;
use alloc::string::String;
use alloc::vec::Vec;
use core::task::{Context, Poll};
use management::executor::{Event, Handle};
use management::nic::{MAX_FRAME, Mac, Nic};
use management::virtio::Features;
use management::virtio::net::{LINK_UP, feature};
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::Transport;

/// Entries of each queue.
const QUEUE: usize = 128;
/// Bytes of a buffer: a frame with the device's header before it, and no less than the driver wants.
const BUFFER: usize = 2048;
/// The device's header before a frame. 5.1.6.
const HEADER: usize = 12;
/// The queue of frames that come in; the other one never interrupts.
const RECEIVE: u16 = 0;
/// Messages: its configuration has changed; a frame has come in.
const CHANGED: u16 = 0;
const RECEIVED: u16 = 1;
/// How long no frame may leave while the queue is full, in nanoseconds.
const PATIENCE: u64 = 5_000_000_000;
/// Where the configuration says whether the cable is in. 5.1.4.
const STATUS: usize = 6;

type Raw = VirtIONetRaw<dma::Memory, Pci, QUEUE>;

/// A network port.
pub struct Port {
    name: String,
    handle: Handle,
    device: Device,
    /// Reaches the registers beside the driver.
    transport: Pci,
    /// `None`: it is dead.
    raw: Option<Raw>,
    mac: Mac,
    has_status: bool,
    link: bool,
    changed: Event,
    received: Event,
    incoming: Buffers,
    outgoing: Buffers,
    /// When a frame last left, or the queue was last empty.
    progress: u64,
}

impl Port {
    /// Starts the device's driver.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(handle: &Handle, device: &Device, mut transport: Pci, name: String) -> Result<Self, Unusable> {
        let changed = handle.event().ok_or(Unusable::Lacks("an event of hv's"))?;
        let received = handle.event().ok_or(Unusable::Lacks("an event of hv's"))?;
        if device.info.messages < 2 {
            return Err(Unusable::Lacks("interrupts as messages (MSI-X)"));
        }
        transport.route_config(CHANGED);
        transport.route(RECEIVE, RECEIVED);
        device.bind(CHANGED, &changed)?;
        device.bind(RECEIVED, &received)?;
        let has_status = Features(transport.read_device_features()).has(feature::STATUS);
        let raw = Raw::new(transport.clone()).map_err(|_| Unusable::Lacks("what virtio 1.0 asks of it"))?;
        let memory = || Buffers::new().ok_or(Unusable::Lacks("memory for frames"));
        let mut port = Self {
            name,
            handle: handle.clone(),
            device: *device,
            transport,
            mac: Mac(raw.mac_address()),
            raw: Some(raw),
            has_status,
            link: true,
            changed,
            received,
            incoming: memory()?,
            outgoing: memory()?,
            progress: handle.now(),
        };
        port.listen();
        port.read_link();
        Ok(port)
    }

    /// Gives the device all free buffers for what comes in.
    fn listen(&mut self) {
        let Some(raw) = &mut self.raw else { return };
        while let Some(buffer) = self.incoming.free.pop() {
            // SAFETY: nobody else has the buffer until the device is done with it.
            let begun = unsafe { raw.receive_begin(&mut *self.incoming.slice(buffer, BUFFER)) };
            match begun {
                Ok(token) => self.incoming.given(token, buffer),
                Err(_) => return self.incoming.free.push(buffer),
            }
        }
    }

    fn read_link(&mut self) {
        let status = self.transport.read_config_space::<u16>(STATUS);
        self.link = !self.has_status || status.is_ok_and(|status| status & LINK_UP != 0);
    }

    /// The configuration has changed.
    fn look(&mut self) {
        if self.transport.needs_reset() {
            return self.restart("it says that it can't go on");
        }
        let before = self.link;
        self.read_link();
        if self.link != before {
            event!(Info, "net.link", name = self.name, link = up_or_down(self.link));
        }
    }

    /// Resets the device and starts it anew, or gives it up. What was on its way is lost, as frames are.
    fn restart(&mut self, why: &str) {
        let followed = self.transport.reset();
        self.raw = None;
        self.incoming.take_all();
        self.outgoing.take_all();
        self.progress = self.handle.now();
        self.raw = followed.then(|| Raw::new(self.transport.clone()).ok()).flatten();
        if self.raw.is_none() {
            self.device.cut_off();
            let what = format_args!("{why}, and a reset does not help");
            event!(Error, "net.dead", name = self.name, what = what);
            self.link = false;
            return;
        }
        event!(Warn, "net.reset", name = self.name, what = why);
        self.listen();
        self.read_link();
    }

    /// The frame that came in first, if there is one.
    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let raw = self.raw.as_mut()?;
        loop {
            let token = raw.poll_receive()?;
            let Some(buffer) = self.incoming.take(token) else {
                self.restart("it answers what nobody has asked");
                return None;
            };
            let slice = self.incoming.slice(buffer, BUFFER);
            // SAFETY: the buffer that the token came with; the device is done with it.
            let received = unsafe { raw.receive_complete(token, &mut *slice) };
            // SAFETY: as above.
            let bytes = unsafe { &*slice };
            let frame = received.ok().and_then(|(header, len)| bytes.get(header..header.checked_add(len)?));
            let frame = frame.filter(|frame| (1..=MAX_FRAME).contains(&frame.len())).map(Vec::from);
            self.incoming.free.push(buffer);
            if frame.is_some() {
                return frame;
            }
        }
    }

    /// Takes back buffers of frames that have left.
    fn reclaim(&mut self) {
        let Some(raw) = &mut self.raw else { return };
        while let Some(token) = raw.poll_transmit() {
            self.progress = self.handle.now();
            let Some((buffer, len)) = self.outgoing.take_with_len(token) else {
                return self.restart("it answers what nobody has asked");
            };
            // SAFETY: the buffer that the token came with.
            let done = unsafe { raw.transmit_complete(token, &*self.outgoing.slice(buffer, len)) };
            self.outgoing.free.push(buffer);
            if done.is_err() {
                return;
            }
        }
    }
}

impl Nic for Port {
    fn mac(&self) -> Mac {
        self.mac
    }

    fn link(&self) -> bool {
        self.link
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        loop {
            while self.changed.poll(context).is_ready() {
                self.look();
            }
            if let Some(frame) = self.take_frame() {
                self.listen();
                return Poll::Ready(frame);
            }
            if self.received.poll(context).is_pending() {
                // The driver asks for the next interrupt when it takes a frame; the device may have been
                // done with another one just before it saw that.
                dma::barrier();
                if self.raw.as_ref().is_none_or(|raw| raw.poll_receive().is_none()) {
                    return Poll::Pending;
                }
            }
        }
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        self.reclaim();
        if frame.is_empty() || frame.len() > MAX_FRAME {
            return false;
        }
        let Some(buffer) = self.outgoing.free.pop() else {
            if self.handle.now().saturating_sub(self.progress) > PATIENCE {
                self.restart("no frame has left for seconds");
            }
            return false;
        };
        let len = HEADER + frame.len();
        let slice = self.outgoing.slice(buffer, len);
        // SAFETY: nobody else has the buffer.
        let bytes = unsafe { &mut *slice };
        if self.outgoing.free.len() + 1 == QUEUE {
            self.progress = self.handle.now();
        }
        if let Some((header, rest)) = bytes.split_at_mut_checked(HEADER) {
            header.fill(0);
            rest.copy_from_slice(frame);
        }
        let Some(raw) = &mut self.raw else {
            self.outgoing.free.push(buffer);
            return false;
        };
        // SAFETY: as above, until the device is done with it.
        let begun = unsafe { raw.transmit_begin(&*slice) };
        match begun {
            Ok(token) => self.outgoing.given_with_len(token, buffer, len),
            Err(_) => self.outgoing.free.push(buffer),
        }
        begun.is_ok()
    }
}

/// The word in the log.
pub const fn up_or_down(link: bool) -> &'static str {
    if link { "up" } else { "down" }
}

/// Buffers of one queue: which are free, and which the device has, by the token it knows them by.
struct Buffers {
    memory: Dma,
    free: Vec<usize>,
    with_device: [Option<(usize, usize)>; QUEUE],
}

impl Buffers {
    fn new() -> Option<Self> {
        let memory = Dma::new(QUEUE * BUFFER)?;
        Some(Self { memory, free: (0..QUEUE).rev().collect(), with_device: [None; QUEUE] })
    }

    /// The first bytes of a buffer.
    fn slice(&self, buffer: usize, len: usize) -> *mut [u8] {
        self.memory.bytes(buffer * BUFFER, len.min(BUFFER))
    }

    fn given(&mut self, token: u16, buffer: usize) {
        self.given_with_len(token, buffer, BUFFER);
    }

    fn given_with_len(&mut self, token: u16, buffer: usize, len: usize) {
        if let Some(place) = self.with_device.get_mut(usize::from(token)) {
            *place = Some((buffer, len));
        }
    }

    fn take(&mut self, token: u16) -> Option<usize> {
        self.take_with_len(token).map(|taken| taken.0)
    }

    fn take_with_len(&mut self, token: u16) -> Option<(usize, usize)> {
        self.with_device.get_mut(usize::from(token))?.take()
    }

    /// Takes all back: the device was reset.
    fn take_all(&mut self) {
        self.free = (0..QUEUE).rev().collect();
        self.with_device = [None; QUEUE];
    }
}
