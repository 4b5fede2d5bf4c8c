//! Intel's network cards on this machine: who polls the library's driver, and what the log says of it.

use super::memory::Heap;
use super::net::up_or_down;
use super::unusable::Unusable;
use super::woken;
use crate::devices::Device;
use crate::log::event;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::task::{Context, Poll};
use core::time::Duration;
use management::drivers::e1000::{Death, E1000, Model};
use management::executor::{Event, Handle, Signal};
use management::nic::{Mac, Nic};

/// The BAR with its registers.
const BAR: usize = 0;
/// The one message that is used.
const MESSAGE: u16 = 0;

/// Which card a device is, if it is one of these.
pub const fn model(device: &Device) -> Option<Model> {
    let [vendor, id] = device.info.ids;
    Model::of(vendor, id)
}

/// A network port.
pub struct Port(Rc<Shared>);

/// What the port and its task share.
struct Shared {
    name: String,
    handle: Handle,
    device: Device,
    card: RefCell<E1000>,
    /// The card is to be polled earlier than was said.
    sooner: Signal,
}

impl Port {
    /// Starts the device's driver, and waits until it is ready.
    ///
    /// # Errors
    /// [`Unusable`].
    pub async fn begin(
        handle: &Handle,
        device: &Device,
        model: Model,
        name: String,
    ) -> Result<Self, Unusable> {
        let interrupt = handle.event().ok_or(Unusable::Lacks("an event of hv's"))?;
        let interrupts = device.info.messages > 0;
        let registers = device.map(BAR)?;
        device.switch_on()?;
        if interrupts {
            device.bind(MESSAGE, &interrupt)?;
        }
        let card = RefCell::new(E1000::new(Box::new(registers), &Heap, model, interrupts)?);
        let shared =
            Shared { name, handle: handle.clone(), device: *device, card, sooner: Signal::default() };
        let shared = Rc::new(shared);
        loop {
            shared.turn()?;
            if shared.card.borrow().is_ready() {
                break;
            }
            shared.rest(&interrupt).await;
        }
        let worker = Rc::clone(&shared);
        let task = handle.spawn("net", async move { worker.work(interrupt).await });
        task.map_err(|_| Unusable::Lacks("room for its task"))?;
        Ok(Self(shared))
    }

    /// Does something with the card, and sees to it that it is polled in time after that.
    fn with<T>(&self, what: impl FnOnce(&mut E1000) -> T) -> T {
        let card = &mut *self.0.card.borrow_mut();
        let before = card.deadline();
        let answer = what(card);
        if card.deadline() != before {
            self.0.sooner.raise();
        }
        answer
    }
}

impl Shared {
    fn turn(&self) -> Result<(), Death> {
        let mut card = self.card.borrow_mut();
        card.poll(Duration::from_nanos(self.handle.now()));
        card.death().map_or(Ok(()), Err)
    }

    async fn rest(&self, interrupt: &Event) {
        let deadline = self.card.borrow().deadline();
        woken(&self.handle, &[interrupt, &self.sooner], deadline).await;
    }

    /// Does the driver's work, for as long as the device lives.
    async fn work(&self, interrupt: Event) {
        let (mut link, mut resets) = (self.card.borrow().link(), self.card.borrow().resets());
        loop {
            self.rest(&interrupt).await;
            if let Err(death) = self.turn() {
                self.device.cut_off();
                self.device.unbind(MESSAGE);
                event!(Error, "net.dead", name = self.name, what = death);
                return;
            }
            let card = self.card.borrow();
            if resets != card.resets() {
                resets = card.resets();
                event!(Warn, "net.reset", name = self.name, what = "no frame has left for seconds");
            }
            // During a reset the cable stays where it is.
            if card.is_ready() && card.link() != link {
                link = card.link();
                event!(Info, "net.link", name = self.name, link = up_or_down(link));
            }
        }
    }
}

impl Nic for Port {
    fn mac(&self) -> Mac {
        self.0.card.borrow().mac()
    }

    fn link(&self) -> bool {
        self.0.card.borrow().link()
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        self.with(|card| card.poll_receive(context))
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        self.with(|card| card.send(frame))
    }
}
