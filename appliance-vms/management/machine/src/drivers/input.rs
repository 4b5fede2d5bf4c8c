//! virtio-input: a keyboard or a remote control, through `virtio-drivers`. Virtio 1.2, 5.8.

use super::transport::Pci;
use super::unusable::Unusable;
use crate::devices::Device;
use crate::dma;
use core::task::{Context, Poll};
use management::executor::{Event, Handle};
use management::remote::Keys;
use management::virtio::input::codes::kind;
use virtio_drivers::device::input::VirtIOInput;

/// The queue that events come in by, and the message that says so.
const EVENTS: u16 = 0;
const CAME: u16 = 0;
/// Values of a key's event: let go, pressed; a third repeats a key, which is told already.
const UP: u32 = 0;
const DOWN: u32 = 1;

/// Something with keys.
pub struct Input {
    driver: VirtIOInput<dma::Memory, Pci>,
    came: Event,
}

impl Input {
    /// Starts the device's driver.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(handle: &Handle, device: &Device, mut transport: Pci) -> Result<Self, Unusable> {
        let came = handle.event().ok_or(Unusable::Lacks("an event of hv's"))?;
        if device.info.messages == 0 {
            return Err(Unusable::Lacks("interrupts as messages (MSI-X)"));
        }
        transport.route(EVENTS, CAME);
        device.bind(CAME, &came)?;
        let driver =
            VirtIOInput::new(transport).map_err(|_| Unusable::Lacks("what virtio 1.0 asks of it"))?;
        Ok(Self { driver, came })
    }

    /// The next key among the events that wait.
    fn key(&mut self) -> Option<(u16, bool)> {
        loop {
            let event = self.driver.pop_pending_event()?;
            if event.event_type == kind::KEY && matches!(event.value, UP | DOWN) {
                return Some((event.code, event.value == DOWN));
            }
        }
    }
}

impl Keys for Input {
    fn poll_key(&mut self, context: &mut Context<'_>) -> Poll<(u16, bool)> {
        loop {
            if let Some(key) = self.key() {
                return Poll::Ready(key);
            }
            if self.came.poll(context).is_ready() {
                continue;
            }
            // The driver asks for the next interrupt when it takes an event; the device may have been done
            // with another one just before it saw that.
            dma::barrier();
            return self.key().map_or(Poll::Pending, Poll::Ready);
        }
    }
}
