//! The switch between the home's network, the VMs, and the management VM's own stack.

use super::entropy::Processor;
use crate::log::event;
use crate::tv::Desk;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::poll_fn;
use core::time::Duration;
use management::executor::{Handle, Signal};
use management::net::snoop::Snoop;
use management::net::stack::{Change, Stack};
use management::net::switch::{PortId, Station, Switch};
use management::nic::{Mac, Nic};
use management::pci::Shared;
use management::tv;
use management::virtio::VirtioFunction;
use management::virtio::net::{Frame, Net};

/// Name that the box's own address is made from where it has no network card of its own to borrow from.
const OWN: &str = "hearth";

/// A VM's network card.
pub type Card = Shared<VirtioFunction<Net>>;

/// A physical port on the switch.
type Cable = (PortId, Rc<RefCell<Box<dyn Nic>>>);

/// A VM on the switch.
struct Tenant {
    port: PortId,
    mac: Mac,
    vm: String,
    card: Card,
}

/// The switch and who is on it.
pub struct Network {
    handle: Handle,
    switch: RefCell<Switch>,
    snoop: RefCell<Snoop>,
    cables: RefCell<Vec<Cable>>,
    own: Option<(PortId, RefCell<Stack>)>,
    /// Frames came for the own stack.
    for_us: Signal,
    tenants: RefCell<Vec<Tenant>>,
    /// What the television is told.
    desk: Rc<Desk>,
    /// What makes the VMs' addresses this box's: its first card's address.
    box_id: [u8; 6],
}

impl Network {
    /// A switch with these cards as its ways out, and the stack on it.
    pub fn new(handle: &Handle, nics: Vec<Box<dyn Nic>>, desk: Rc<Desk>) -> Rc<Self> {
        let mut switch = Switch::new();
        let box_id = nics.first().map_or([0; 6], |nic| nic.mac().0);
        let mut cables = Vec::new();
        for nic in nics {
            // A switch that is new has room.
            if let Ok(port) = switch.add(Station::Physical) {
                cables.push((port, Rc::new(RefCell::new(nic))));
            }
        }
        let mac = Mac::of_vm(&box_id, OWN);
        let now = Duration::from_nanos(handle.now());
        let seed = Processor::find().map_or_else(|| handle.now(), |processor| processor.word());
        let own = switch.add(Station::Own(mac)).ok();
        let own = own.map(|port| (port, RefCell::new(Stack::new(mac, seed, now))));
        let network = Rc::new(Self {
            handle: handle.clone(),
            switch: RefCell::new(switch),
            snoop: RefCell::new(Snoop::new()),
            cables: RefCell::new(cables),
            own,
            for_us: Signal::default(),
            tenants: RefCell::default(),
            desk,
            box_id,
        });
        network.begin();
        network
    }

    fn begin(self: &Rc<Self>) {
        let cables: Vec<_> = self.cables.borrow().iter().map(|(port, nic)| (*port, Rc::clone(nic))).collect();
        for (port, nic) in cables {
            let network = Rc::clone(self);
            let receive = async move {
                loop {
                    let bytes = poll_fn(|context| nic.borrow_mut().poll_receive(context)).await;
                    network.forward(port, None, &Frame::whole(bytes));
                }
            };
            self.spawn("cable", receive);
        }
        self.spawn("stack", Rc::clone(self).serve_stack());
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        if self.handle.spawn(name, task).is_err() {
            event!(
                Error,
                "mgmt.trouble",
                what = format_args!("no task for {name}"),
                why = "there are too many"
            );
        }
    }

    /// Asks the home's router for an address again, as if for the first time.
    pub fn reconnect(&self) {
        if let Some((_, stack)) = &self.own {
            stack.borrow_mut().restart();
            self.for_us.raise();
        }
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.handle.now())
    }

    /// The address of a VM's card.
    pub fn mac(&self, vm: &str) -> Mac {
        Mac::of_vm(&self.box_id, vm)
    }

    /// Puts a VM's card on the switch; `None`: there is no port left for it.
    pub fn plug(&self, vm: &str, mac: Mac, card: &Card) -> Option<PortId> {
        let port = self.switch.borrow_mut().add(Station::Vm(mac)).ok()?;
        self.snoop.borrow_mut().watch(mac);
        self.tenants.borrow_mut().push(Tenant { port, mac, vm: vm.into(), card: Rc::clone(card) });
        Some(port)
    }

    /// Takes it off again.
    pub fn unplug(&self, port: PortId) {
        self.switch.borrow_mut().remove(port);
        let mut tenants = self.tenants.borrow_mut();
        if let Some(at) = tenants.iter().position(|tenant| tenant.port == port) {
            self.snoop.borrow_mut().forget(tenants.swap_remove(at).mac);
        }
    }

    /// Takes what a VM sends to the switch, for as long as it is on it.
    pub async fn send_all(self: Rc<Self>, port: PortId, mac: Mac, card: Card) {
        loop {
            let frame = poll_fn(|context| card.borrow_mut().device_mut().poll_sent(context)).await;
            self.forward(port, Some(mac), &frame);
        }
    }

    /// Gives a frame to whom it is for.
    fn forward(&self, from: PortId, vm: Option<Mac>, frame: &Frame) {
        let targets = self.switch.borrow_mut().frame(from, &frame.bytes, self.now());
        if targets.is_empty() {
            return;
        }
        self.listen(vm, frame);
        let mut whole: Option<Vec<u8>> = None;
        for port in targets {
            let mut complete = || whole.get_or_insert_with(|| frame.clone().complete()).clone();
            let taken = if let Some((_, stack)) = self.own.as_ref().filter(|(own, _)| *own == port) {
                self.for_us.raise();
                stack.borrow_mut().receive(complete())
            } else if let Some((_, nic)) = self.cables.borrow().iter().find(|(cable, _)| *cable == port) {
                nic.borrow_mut().send(&complete())
            } else {
                let card =
                    self.tenants.borrow().iter().find(|one| one.port == port).map(|one| Rc::clone(&one.card));
                card.is_some_and(|card| card.borrow_mut().device_mut().receive(frame.clone()))
            };
            if !taken {
                self.switch.borrow_mut().lost(port);
            }
        }
    }

    /// A VM may have got an address by this frame.
    fn listen(&self, vm: Option<Mac>, frame: &Frame) {
        let heard = self.snoop.borrow_mut().frame(vm, &frame.bytes, self.now());
        let Some((mac, ip)) = heard else { return };
        if let Some(tenant) = self.tenants.borrow().iter().find(|tenant| tenant.mac == mac) {
            event!(Info, "vm.net", vm = tenant.vm, ip = ip, mac = mac);
        }
    }

    async fn serve_stack(self: Rc<Self>) {
        let Some((port, stack)) = &self.own else { return };
        loop {
            let change = stack.borrow_mut().poll(self.now());
            if change.is_some() {
                self.desk.tell(ui::tv::Event::Network(tv::network(stack.borrow().address())));
            }
            match change {
                Some(Change::Address(address)) => {
                    event!(Info, "net.address", ip = address.ip, prefix = address.prefix);
                }
                Some(Change::Lost) => event!(Warn, "net.address", ip = "none"),
                None => {}
            }
            loop {
                let frame = stack.borrow_mut().send();
                let Some(frame) = frame else { break };
                self.forward(*port, None, &Frame::whole(frame));
            }
            let deadline = stack.borrow_mut().deadline(self.now());
            match deadline {
                Some(deadline) => {
                    let left = deadline.saturating_sub(self.now()).as_nanos();
                    let left = u64::try_from(left).unwrap_or(u64::MAX);
                    self.handle.within(left, self.for_us.wait()).await;
                }
                None => self.for_us.wait().await,
            }
        }
    }
}
