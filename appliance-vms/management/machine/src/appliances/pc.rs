//! A guest's PC: its board, its bus and the functions on it, and who answers its accesses.

use super::network::{Card, Network};
use super::{House, entropy};
use crate::guest::{GuestRam, Lines as Wires};
use crate::hypercall::{self, Bell};
use crate::log::event;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::mem::discriminant;
use core::task::Poll;
use hv_abi::appliance::Devices;
use management::block::BlockDevice;
use management::bus::nobody;
use management::executor::{Event, Handle, Task};
use management::interrupts::Interrupts;
use management::models::Request;
use management::models::board::Board;
use management::models::lines::Lines;
use management::net::switch::PortId;
use management::pci::{Bridge, Bus, Shared};
use management::platform::{BARS_32, ECAM};
use management::virtio::blk::Blk;
use management::virtio::console::Console;
use management::virtio::gpu::{Gpu, Mode};
use management::virtio::input::{Description, Input};
use management::virtio::net::Net;
use management::virtio::rng::Rng;
use management::virtio::sound::Sound;
use management::virtio::{Device, Guest, VirtioFunction};

/// Most bytes of a guest's line in the box log.
const LINE: usize = 100;
/// The port on which an appliance's agent speaks.
pub const AGENT: &str = "org.hearth.agent";

/// A guest's screen, and the remote control that it hears.
pub type Screen = Shared<VirtioFunction<Gpu>>;
/// See [`Screen`].
pub type Remote = Shared<VirtioFunction<Input>>;
/// A guest's sound card.
pub type SoundCard = Shared<VirtioFunction<Sound>>;

/// A function on the bus, as its doorbells see it.
struct Plugged {
    slot: u8,
    rung: Rc<Event>,
}

/// A guest's PC.
pub struct Pc {
    vm: u64,
    /// Its appliance's.
    pub name: String,
    handle: Handle,
    board: Board,
    bus: Bridge,
    functions: Vec<Plugged>,
    /// Doorbells as hv has them.
    bells: Vec<u64>,
    tasks: Vec<Task>,
    port: Option<PortId>,
    network: Rc<Network>,
    console: Option<Lines>,
    /// Its screen, if it has one.
    pub screen: Option<Screen>,
    /// Its remote control, if it has one.
    pub remote: Option<Remote>,
    /// Its sound card, if it has one.
    pub sound: Option<SoundCard>,
}

/// An access of a guest.
pub struct Access {
    /// A port, else guest-physical memory.
    pub is_port: bool,
    /// Where.
    pub address: u64,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// What is written, or it is a read.
    pub write: Option<u64>,
}

/// Why a PC can't be put together: there are too many of something, in words.
#[derive(Debug)]
pub struct TooMany(&'static str);

impl core::fmt::Display for TooMany {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "there are too many {}", self.0)
    }
}

impl Pc {
    /// An empty one for a VM that has been cut, and the guest as devices see it.
    pub fn new(house: &House, (vm, name): (u64, &str), ram: GuestRam, devices: Devices) -> (Self, Guest) {
        let wires: Rc<dyn Interrupts> = Rc::new(Wires { vm });
        let pc = Self {
            vm,
            name: name.into(),
            handle: house.handle.clone(),
            board: Board::new(&wires, house.clock.clone(), devices.debug_exit),
            bus: Bridge::new(Bus { ecam: ECAM.base, window: BARS_32.base..BARS_32.end() }),
            functions: Vec::new(),
            bells: Vec::new(),
            tasks: Vec::new(),
            port: None,
            network: Rc::clone(&house.network),
            console: devices.log_console.then(|| Lines::new(LINE)),
            screen: None,
            remote: None,
            sound: None,
        };
        (pc, Guest { memory: Rc::new(ram), interrupts: wires })
    }

    /// Plugs in what an appliance has. Its screen shows a mode, and its pictures have so many bytes.
    ///
    /// # Errors
    /// [`TooMany`]; what was begun ends by [`Pc::take_apart`].
    pub fn equip(
        &mut self,
        guest: &Guest,
        devices: Devices,
        disks: Vec<Rc<dyn BlockDevice>>,
        vcpus: u16,
        (mode, budget): (Mode, usize),
    ) -> Result<(), TooMany> {
        for (number, disk) in disks.into_iter().enumerate() {
            let serial = format!("{}-{number}", self.name);
            self.plug(Blk::new(disk, &serial, vcpus), guest)?;
        }
        if devices.network {
            let mac = self.network.mac(&self.name);
            let card: Card = self.plug(Net::new(mac), guest)?;
            let port = self.network.plug(&self.name, mac, &card).ok_or(TooMany("network ports"))?;
            self.port = Some(port);
            let network = Rc::clone(&self.network);
            self.spawn("vm-network", network.send_all(port, mac, card))?;
        }
        self.plug(Console::new(&[AGENT]), guest)?;
        if let Some(processor) = entropy::Processor::find() {
            self.plug(Rng::new(Box::new(processor)), guest)?;
        }
        if devices.display {
            self.screen = Some(self.plug(Gpu::new(mode, budget), guest)?);
        }
        if devices.input {
            self.remote = Some(self.plug(Input::new(Description::remote(&self.name)), guest)?);
        }
        if devices.sound {
            self.sound = Some(self.plug(Sound::new(), guest)?);
        }
        self.bind_doorbells();
        Ok(())
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + 'static) -> Result<(), TooMany> {
        let task = self.handle.spawn(name, task).map_err(|_| TooMany("tasks"))?;
        self.tasks.push(task);
        Ok(())
    }

    /// Plugs a device into the next slot, and has a task drive it.
    fn plug<D: Device + 'static>(
        &mut self,
        device: D,
        guest: &Guest,
    ) -> Result<Shared<VirtioFunction<D>>, TooMany> {
        let function = VirtioFunction::new(device, guest.clone());
        let slot = self.functions.len() as u8 + 1;
        self.bus.plug(slot, function.clone()).map_err(|_| TooMany("devices"))?;
        let rung = Rc::new(self.handle.event().ok_or(TooMany("events"))?);
        self.functions.push(Plugged { slot, rung: Rc::clone(&rung) });
        let name = self.name.clone();
        self.spawn("vm-device", drive(Rc::clone(&function), rung, name, slot))?;
        Ok(function)
    }

    /// Tells hv where the doorbells are now.
    fn bind_doorbells(&mut self) {
        for bell in self.bells.drain(..) {
            // It was put there; a VM that is gone has none.
            let _ = hypercall::doorbell(self.vm, Bell::Memory(bell), 1, None);
        }
        for bell in self.bus.doorbells() {
            let Some(function) = self.functions.iter().find(|one| one.slot == bell.slot) else { continue };
            let event = Some(function.rung.number());
            // Where hv has no room for another, the write comes here as an access and works as well.
            if hypercall::doorbell(self.vm, Bell::Memory(bell.address), bell.len, event).is_ok() {
                self.bells.push(bell.address);
            }
        }
    }

    /// Answers an access; also what the guest asks of whoever runs it.
    pub fn access(&mut self, access: &Access) -> (u64, Option<Request>) {
        let Access { is_port, address, size, write } = *access;
        let answer = if is_port {
            let board = self.board.access(address, size, write);
            board.or_else(|| self.bus_port(address as u16, size, write))
        } else {
            match write {
                None => self.bus.mmio_read(address, size),
                Some(value) => self.bus.mmio_write(address, size, value).then_some(0),
            }
        };
        if self.bus.take_moved() {
            self.bind_doorbells();
        }
        self.tell_console();
        (answer.unwrap_or(nobody(size)), self.board.take_request())
    }

    fn bus_port(&mut self, port: u16, size: u8, write: Option<u64>) -> Option<u64> {
        match write {
            None => self.bus.port_read(port, size),
            Some(value) => self.bus.port_write(port, size, value).then_some(0),
        }
    }

    /// What the guest has written on its first serial port goes to the box log, if it is wanted there.
    fn tell_console(&mut self) {
        let output = self.board.uart.take_output();
        if let Some(lines) = self.console.as_mut().filter(|_| !output.is_empty()) {
            lines.push(&output, |text| event!(Info, "vm.console", vm = self.name, text = text));
        }
    }

    /// What was written without an end of line, for a while: a prompt.
    pub fn tell_rest(&mut self) {
        if let Some(lines) = self.console.as_mut() {
            lines.flush(|text| event!(Info, "vm.console", vm = self.name, text = text));
        }
    }

    /// Presses the power button.
    pub fn press_button(&mut self) {
        self.board.power.press_button();
    }

    /// The VM runs no more: its devices forget it. To be asked until it is true: a disk may still write
    /// into its memory before that.
    pub fn is_quiet(&self) -> bool {
        self.bus.is_quiet()
    }

    /// See [`Pc::is_quiet`].
    pub fn reset(&mut self) {
        self.bus.reset();
        self.tell_rest();
    }

    /// Ends what its devices do, once they are quiet.
    pub fn take_apart(&mut self) {
        if let Some(port) = self.port.take() {
            self.network.unplug(port);
        }
        for task in self.tasks.drain(..) {
            self.handle.cancel(task);
        }
    }
}

/// Drives a device for good: when its doorbell rings, and when it has something to do by itself.
async fn drive<D: Device + 'static>(
    function: Rc<RefCell<VirtioFunction<D>>>,
    rung: Rc<Event>,
    vm: String,
    slot: u8,
) {
    // Each kind of fault is told once: a guest that resets its device and errs again fills no log.
    let mut told = Vec::new();
    poll_fn(|context| {
        // Each turn looks at all queues, however often it has rung; until it has not, nobody is woken.
        while rung.poll(context).is_ready() {}
        let mut function = function.borrow_mut();
        function.poll(context);
        if let Some(fault) = function.fault().filter(|fault| !told.contains(&discriminant(fault))) {
            told.push(discriminant(&fault));
            event!(Warn, "vm.device", vm = vm, slot = slot, kind = D::KIND.number, what = fault);
        }
        Poll::<()>::Pending
    })
    .await;
}
