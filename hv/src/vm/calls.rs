//! The calls of the management VM: what it may do to other VMs and to the machine.

use super::create::{self, Fault};
use super::leave::leave;
use super::place::{self, MANAGEMENT, MAX_VMS, Place};
use super::pool::Pooled;
use super::{Vm, end, events};
use crate::machine::Machine;
use crate::{devices, event};
use core::sync::atomic::Ordering;
use hv_abi::hypercall::{Call, Status};
use hv_abi::manifest::{self, StartMode, StartState, VmManifest};
use hv_abi::status::{MAX_CLASSES, MAX_REASON, VmState, VmStatus};
use hv_arch::{cpu, percpu, power};
use hv_core::lifecycle::Step;
use hv_core::mailbox::Wish;
use hv_core::manifest::{Limits, Refusal, read};
use hv_core::memory::Owner;
use hv_core::msi;
use hv_core::sched::Class;
use spin::{Mutex, RwLockReadGuard};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// The management VM's vCPU that calls.
pub struct Caller<'a> {
    /// The management VM.
    pub vm: &'a Vm,
    /// Which vCPU.
    pub vcpu: u32,
    /// The machine.
    pub machine: &'static Machine,
}

type Outcome = Result<i64, Status>;

/// Held while VMs come and go: one change at a time.
static CHANGES: Mutex<()> = Mutex::new(());

/// A VM that lives, by its number.
fn find(vm: u64) -> Result<RwLockReadGuard<'static, Option<Pooled<Vm>>>, Status> {
    let place = guest(vm)?;
    place.vm.try_read().filter(|vm| vm.is_some()).ok_or(Status::NO_SUCH_THING)
}

/// A place by the number of a VM that is not the management VM.
fn guest(vm: u64) -> Result<&'static Place, Status> {
    let id = usize::try_from(vm).ok().filter(|&id| id != MANAGEMENT);
    id.and_then(place::get).ok_or(Status::NO_SUCH_THING)
}

fn class(number: u64) -> Result<Class, Status> {
    match number {
        0 => Ok(Class::Urgent),
        1 => Ok(Class::Front),
        2 => Ok(Class::Back),
        _ => Err(Status::BAD_ARGUMENT),
    }
}

impl Caller<'_> {
    /// Carries a call out; the result for RAX.
    pub fn call(&self, call: Call, arguments: [u64; 4]) -> i64 {
        self.carry_out(call, arguments).unwrap_or_else(|status| status.0)
    }

    fn carry_out(&self, call: Call, [first, second, third, fourth]: [u64; 4]) -> Outcome {
        match call {
            Call::IO_COMPLETE => complete(first, second),
            Call::IO_MSI => with(first, |vm| {
                let message = u32::try_from(third).ok().and_then(|data| msi::decode(second, data));
                vm.deliver(None, message.ok_or(Status::BAD_ARGUMENT)?);
                Ok(0)
            }),
            Call::IO_PIN => pin(first, second, third),
            Call::IO_DOORBELL => with(first, |vm| {
                let event = u32::try_from(fourth).map_err(|_| Status::BAD_ARGUMENT)?;
                vm.doorbells.lock().set(second, third, event).map(|()| 0)
            }),
            Call::IO_EVENTS => self.events(first, second),
            Call::MEM_WINDOW => {
                with(first, |vm| vm.ram.host(second, third).map(u64::cast_signed).ok_or(Status::BAD_ADDRESS))
            }
            Call::VM_CREATE => self.create(first),
            Call::VM_START => self.start(first, second),
            Call::VM_PAUSE => halt(first, Step::Pause),
            Call::VM_RESUME => {
                guest(first)?.step(Step::Resume).map(|_| guest(first).map(Place::call_all).map_or(-1, |()| 0))
            }
            Call::VM_STOP => halt(first, Step::Stop),
            Call::VM_DESTROY => {
                let _one = CHANGES.lock();
                leave(self.machine, guest(first)?).map(u64::cast_signed)
            }
            Call::VM_STATUS => self.status(first, second),
            Call::VM_CLASS => {
                find(first)?;
                guest(first)?.set_class(class(second)?);
                Ok(0)
            }
            Call::TIME_SET => {
                let now = self.vm.scale.nanos(cpu::tsc());
                self.machine.wall.store(first.wrapping_sub(now), Ordering::Relaxed);
                Ok(0)
            }
            Call::DEV_INFO => {
                let info = devices::info(first).ok_or(Status::NO_SUCH_THING)?;
                self.write(second, &info)
            }
            Call::DEV_READ => devices::read(first, second, third).map(i64::from),
            Call::DEV_WRITE => devices::write(first, second, third, fourth as u32).map(|()| 0),
            Call::DEV_MAP => {
                let (base, pieces) = devices::map(first, second)?;
                self.vm.map_device(&pieces).map_err(|_| Status::NO_ROOM)?;
                Ok(base.cast_signed())
            }
            Call::DEV_BIND => devices::bind(first, second, third).map(|()| 0),
            Call::POWER_RESTART => power::restart(self.machine.platform.reset),
            Call::POWER_OFF => {
                power::off(self.machine.platform.power_off.ok_or(Status::UNSUPPORTED)?);
                Ok(0)
            }
            _ => Err(Status::UNSUPPORTED),
        }
    }

    fn read<T: FromBytes + IntoBytes>(&self, address: u64) -> Result<T, Status> {
        let mut value = T::new_zeroed();
        if self.vm.ram.read(address, value.as_mut_bytes()) { Ok(value) } else { Err(Status::BAD_ADDRESS) }
    }

    fn write<T: IntoBytes + Immutable>(&self, address: u64, value: &T) -> Outcome {
        if self.vm.ram.write(address, value.as_bytes()) { Ok(0) } else { Err(Status::BAD_ADDRESS) }
    }

    fn create(&self, address: u64) -> Outcome {
        let manifest: VmManifest = self.read(address)?;
        let _one = CHANGES.lock();
        let limits = Limits {
            cores: percpu::online() as u32,
            physical_bits: self.vm.policy.physical_bits,
            free: self.machine.memory.lock().total(Owner::Free),
        };
        let wanted = read(&manifest, limits).map_err(Fault::Manifest);
        let created = wanted.and_then(|wanted| create::create(self.machine, &wanted));
        created.map(i64::from).map_err(|fault| refused(&manifest, &fault))
    }

    fn start(&self, vm: u64, address: u64) -> Outcome {
        let state: StartState = self.read(address)?;
        if state.version != manifest::VERSION || state.mode.0 > StartMode::LONG.0 {
            return Err(Status::BAD_ARGUMENT);
        }
        let _one = CHANGES.lock();
        let place = guest(vm)?;
        hv_core::lifecycle::after(place.state(), Step::Start)?;
        with(vm, |vm| {
            vm.reset(&state);
            event!(Debug, "hv.vm", vm = vm.name, state = "running", cpus = vm.bodies.len());
            place.step(Step::Start)?;
            place.call_all();
            Ok(0)
        })
    }

    fn events(&self, address: u64, vector: u64) -> Outcome {
        let vector = u8::try_from(vector).ok().filter(|&vector| vector >= 16).ok_or(Status::BAD_ARGUMENT)?;
        let page = self.vm.ram.page(address).ok_or(Status::BAD_ADDRESS)?;
        events::direct(Some(events::Events { page, vcpu: self.vcpu as usize, vector }));
        Ok(0)
    }

    fn status(&self, vm: u64, address: u64) -> Outcome {
        let place = usize::try_from(vm).ok().and_then(place::get).ok_or(Status::NO_SUCH_THING)?;
        let state = place.state();
        let home = place.vm.try_read();
        let vm = home.as_deref().and_then(Option::as_deref).ok_or(Status::NO_SUCH_THING)?;
        let mut status = VmStatus::new_zeroed();
        status.state = state;
        status.vcpus = vm.bodies.len() as u32;
        status.memory = vm.ram.bytes();
        let mut ticks = 0_u64;
        for front in vm.fronts() {
            ticks += front.ticks.load(Ordering::Relaxed);
            let counts = front.mailbox.counts();
            let (unknown, last) = counts.unknown_msrs();
            status.unknown_msrs += unknown;
            status.last_unknown_msr = if unknown > 0 { last } else { status.last_unknown_msr };
            status.exits[..MAX_CLASSES].iter_mut().zip(counts.exits()).for_each(|(sum, count)| *sum += count);
        }
        status.cpu_nanos = vm.scale.nanos(ticks);
        if let Some(reason) = *place.end.lock() {
            let text = end::describe(reason);
            let len = text.len().min(MAX_REASON);
            status.reason[..len].copy_from_slice(&text.as_bytes()[..len]);
            status.reason_len = len as u32;
        }
        self.write(address, &status)
    }
}

fn with(vm: u64, act: impl FnOnce(&Vm) -> Outcome) -> Outcome {
    match find(vm)?.as_deref() {
        Some(vm) => act(vm),
        None => Err(Status::NO_SUCH_THING),
    }
}

/// Says why in the log, and the status for it.
fn refused(manifest: &VmManifest, fault: &Fault) -> Status {
    let len = manifest.name.iter().position(|&byte| byte == 0).unwrap_or(manifest.name.len());
    let name = core::str::from_utf8(&manifest.name[..len]).unwrap_or("?");
    event!(Error, "vm.refused", vm = name, what = fault);
    match fault {
        Fault::Manifest(Refusal::TooLarge { .. }) | Fault::Memory(_) | Fault::Full => Status::NO_ROOM,
        Fault::NoPage(_) => Status::BAD_ADDRESS,
        _ => Status::BAD_ARGUMENT,
    }
}

/// The answer is in the slot: the vCPU looks for itself.
fn complete(vm: u64, vcpu: u64) -> Outcome {
    with(vm, |vm| {
        let front = usize::try_from(vcpu).ok().and_then(|vcpu| vm.fronts().get(vcpu));
        front.ok_or(Status::NO_SUCH_THING)?.post(Wish::ANSWER);
        Ok(0)
    })
}

fn pin(vm: u64, pin: u64, level: u64) -> Outcome {
    let pin = usize::try_from(pin).ok().filter(|&pin| pin < hv_core::vioapic::PINS && level <= 1);
    let pin = pin.ok_or(Status::BAD_ARGUMENT)?;
    with(vm, |vm| {
        let message = vm.ioapic.lock().set_pin(pin, level == 1);
        if let Some(message) = message {
            vm.deliver(None, message);
        }
        Ok(0)
    })
}

/// Stops every VM but the management VM; on return none of their vCPUs has a turn.
pub fn stop_all() {
    for vm in 0..MAX_VMS as u64 {
        // One that is not there, or does not run, is refused.
        let _ = halt(vm, Step::Stop);
    }
}

/// Pauses or stops it; on return no vCPU has a turn.
fn halt(vm: u64, step: Step) -> Outcome {
    let _one = CHANGES.lock();
    let before = guest(vm)?.step(step)?;
    with(vm, |vm| {
        vm.settle();
        if step == Step::Stop && before != VmState::STOPPED {
            event!(Debug, "hv.vm", vm = vm.name, state = "stopped");
        }
        Ok(0)
    })
}
