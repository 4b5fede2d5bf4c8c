//! Looks after one appliance: carries out what its supervisor decides, and tells it what happens.

use super::House;
use super::vm::{Fault, Vm};
use crate::log::event;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::RefCell;
use core::time::Duration;
use hv_abi::appliance::Appliance;
use management::executor::{Signal, Task};
use management::supervisor::{Command, End, Event, State, Supervisor};
use ui::tv::VmId;

/// What happened to an appliance and was not told to its supervisor yet.
#[derive(Default)]
pub struct Mail {
    events: RefCell<VecDeque<Event>>,
    came: Signal,
}

impl Mail {
    /// Tells its supervisor.
    pub fn send(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.came.raise();
    }

    async fn next(&self) -> Event {
        loop {
            let event = self.events.borrow_mut().pop_front();
            match event {
                Some(event) => return event,
                None => self.came.wait().await,
            }
        }
    }
}

/// An appliance that is looked after.
struct Charge {
    house: Rc<House>,
    appliance: Appliance,
    /// What the television knows it as.
    id: VmId,
    mail: Rc<Mail>,
    vm: Option<Rc<Vm>>,
    /// Who answers its VM's accesses, and who waits for its end.
    watchers: heapless::Vec<Task, 2>,
}

/// Looks after an appliance for good, by what its mail says; the television knows it as `id`.
pub async fn look_after(house: Rc<House>, appliance: Appliance, mail: Rc<Mail>, id: VmId) {
    let mut supervisor = Supervisor::new();
    let mut charge =
        Charge { house, appliance, id, mail: Rc::clone(&mail), vm: None, watchers: heapless::Vec::new() };
    let mut state = supervisor.state();
    loop {
        let event = mail.next().await;
        charge.tell_end(&event);
        let now = Duration::from_nanos(charge.house.handle.now());
        for command in supervisor.on(now, event) {
            charge.carry_out(command).await;
        }
        if state != supervisor.state() {
            state = supervisor.state();
            charge.house.desk.is_now(id, state);
            charge.tell(state, supervisor.reason());
        }
    }
}

impl Charge {
    /// The log says what it does.
    fn tell(&self, state: State, reason: &str) {
        let vm = &self.appliance.name;
        match state {
            State::Ready => event!(Info, "vm.ready", vm = vm),
            State::Failed => event!(Error, "vm.failed", vm = vm, reason = reason),
            State::Stopped | State::Starting | State::Running | State::Stopping => {
                let state = match state {
                    State::Stopped => "stopped",
                    State::Starting => "starting",
                    State::Running => "running",
                    _ => "stopping",
                };
                event!(Info, "vm.state", vm = vm, state = state, reason = reason);
            }
        }
    }

    /// An end that hv did not make is told here; hv tells of its own.
    fn tell_end(&self, event: &Event) {
        let vm = &self.appliance.name;
        match event {
            Event::Ended(End::PowerOff) => {
                event!(Info, "vm.exit", vm = vm, reason = "it switched itself off");
            }
            Event::Ended(End::Reset) => event!(Info, "vm.exit", vm = vm, reason = "it restarted itself"),
            Event::Ended(End::Exit(status)) => {
                event!(
                    Info,
                    "vm.exit",
                    vm = vm,
                    reason = format_args!("exit status {status}"),
                    status = status
                );
            }
            Event::Refused(why) | Event::NotStarted(why) => event!(Error, "vm.refused", vm = vm, what = why),
            _ => {}
        }
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Create => {
                let event = match Vm::create(&self.house, &self.appliance).await {
                    Ok(vm) => {
                        self.house.desk.runs_as(self.id, vm.faces());
                        self.vm = Some(vm);
                        Event::Created
                    }
                    Err(Fault::Now(why)) => Event::NotStarted(why),
                    Err(Fault::Always(why)) => Event::Refused(why),
                };
                self.mail.send(event);
            }
            Command::Start => self.start(),
            Command::PressPowerButton => {
                if let Some(vm) = &self.vm {
                    vm.pc.borrow_mut().press_button();
                }
            }
            Command::Stop => {
                if let Some(vm) = &self.vm {
                    vm.stop();
                }
            }
            Command::Destroy => {
                for task in core::mem::take(&mut self.watchers) {
                    self.house.handle.cancel(task);
                }
                self.house.desk.is_gone(self.id);
                if let Some(vm) = self.vm.take() {
                    vm.take_away(&self.house).await;
                }
                self.mail.send(Event::Gone);
            }
            Command::After(number, time) => {
                let (mail, handle) = (Rc::clone(&self.mail), self.house.handle.clone());
                let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                let timer = async move {
                    handle.sleep(nanos).await;
                    mail.send(Event::Timer(number));
                };
                if self.house.handle.spawn("timer", timer).is_err() {
                    // Too early is better than never.
                    self.mail.send(Event::Timer(number));
                }
            }
        }
    }

    /// Lets the VM run, and watches it.
    fn start(&mut self) {
        let Some(vm) = &self.vm else { return };
        let (serves, waits) = (Rc::clone(vm), Rc::clone(vm));
        let (mail, house) = (Rc::clone(&self.mail), Rc::clone(&self.house));
        let serve = self.house.handle.spawn("vm-requests", async move {
            let end = serves.serve(&house).await;
            serves.stop();
            mail.send(Event::Ended(end));
        });
        let mail = Rc::clone(&self.mail);
        let wait = self.house.handle.spawn("vm-end", async move {
            let end = waits.died().await;
            mail.send(Event::Ended(end));
        });
        let spawned = [serve, wait].map(|task| task.map(|task| self.watchers.push(task)));
        if spawned.iter().any(Result::is_err) {
            return self.mail.send(Event::NotStarted("there are too many tasks".into()));
        }
        if let Err(refused) = vm.start() {
            use alloc::string::ToString;
            self.mail.send(Event::NotStarted(refused.to_string()));
        }
    }
}
