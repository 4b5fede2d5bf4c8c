//! A VM of an appliance: cut, loaded, served, and taken away.

use super::House;
use super::pc::{Access, Pc};
use crate::dma::Dma;
use crate::guest::GuestRam;
use crate::hypercall::{self, Refused};
use crate::log::event;
use crate::tv::Faces;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use core::cell::RefCell;
use hv_abi::appliance::Appliance;
use hv_abi::hypercall::Status;
use hv_abi::ioreq::{self, Space, State};
use hv_abi::log::Hex;
use hv_abi::manifest::{self, ANY_CORE, MAX_VCPUS, StartState, VmManifest};
use management::acpi;
use management::executor::Event;
use management::firmware;
use management::loader::{self, LoadError, Program, Source};
use management::models::Request;
use management::platform::Ram;
use management::supervisor::End;
use zerocopy::FromZeros;

/// How urgent an appliance is until somebody looks at it: the last class.
const CLASS: u32 = 2;
/// A guest's unfinished line is told after so many nanoseconds of silence: a prompt, not a line that
/// waits for its CPU.
const SILENCE: u64 = 1_000_000_000;
/// How often a VM's devices are asked whether they are done with its memory, in nanoseconds.
const QUIET: u64 = 1_000_000;
/// Bytes of a slot in the I/O request page.
const SLOT: usize = size_of::<ioreq::Slot>();

/// Why a VM did not come about.
#[derive(Debug)]
pub enum Fault {
    /// It might another time.
    Now(String),
    /// It never will as it is.
    Always(String),
}

/// A VM that has been cut and loaded.
pub struct Vm {
    /// hv's number for it.
    number: u64,
    vcpus: usize,
    state: StartState,
    /// Its devices.
    pub pc: RefCell<Pc>,
    requests: Event,
    ended: Event,
    /// Its I/O request page: hv writes it for as long as the VM is there.
    page: Dma,
}

fn now(what: &impl ToString) -> Fault {
    Fault::Now(what.to_string())
}

impl Vm {
    /// Cuts one for an appliance, puts its devices together and its kernel into it.
    ///
    /// # Errors
    /// [`Fault`]; then nothing is left of it.
    pub async fn create(house: &House, appliance: &Appliance) -> Result<Rc<Self>, Fault> {
        let ram = Ram::new(appliance.memory).map_err(|error| Fault::Always(error.to_string()))?;
        let vcpus = usize::from(appliance.cpus).min(house.cpus as usize).clamp(1, MAX_VCPUS);
        let disks = house.storage.disks(appliance).await.map_err(|error| now(&error))?;
        let events = house.handle.event().zip(house.handle.event());
        let (requests, ended) = events.ok_or_else(|| now(&"there are too many events"))?;
        let page = Dma::new(4096).ok_or_else(|| now(&"the management VM has no memory left"))?;
        let manifest = describe(appliance, ram, vcpus, (&requests, &ended), page.range(0, 4096).address);
        let number = hypercall::create(&manifest).map_err(|refused| refusal(&refused))?;
        let pieces = ram.pieces().map(|piece| (piece.base, piece.len));
        let windows = match GuestRam::new(number, pieces) {
            Ok(windows) => windows,
            Err(refused) => {
                destroy(house, number).await;
                return Err(now(&refused));
            }
        };
        let (pc, guest) = Pc::new(house, (number, &appliance.name), windows, appliance.devices);
        let state = StartState::new_zeroed();
        let mut vm = Self { number, vcpus, state, pc: RefCell::new(pc), requests, ended, page };
        let equipped = vm.pc.get_mut().equip(&guest, appliance.devices, disks, vcpus as u16, house.pictures);
        let loaded = match equipped {
            Ok(()) => load(house, appliance, &*guest.memory, ram, vcpus).await,
            Err(why) => Err(now(&why)),
        };
        match loaded {
            Ok(state) => {
                vm.state = state;
                Ok(Rc::new(vm))
            }
            Err(fault) => {
                vm.take_away(house).await;
                Err(fault)
            }
        }
    }

    /// What the television needs of it.
    pub fn faces(&self) -> Faces {
        let pc = self.pc.borrow();
        Faces {
            number: self.number,
            name: pc.name.clone(),
            screen: pc.screen.clone(),
            remote: pc.remote.clone(),
            sound: pc.sound.clone(),
        }
    }

    /// Lets it run.
    ///
    /// # Errors
    /// hv's.
    pub fn start(&self) -> Result<(), Refused> {
        hypercall::start(self.number, &self.state)
    }

    /// Lets it run no more.
    pub fn stop(&self) {
        // One that ended by itself is stopped already.
        let _ = hypercall::stop(self.number);
    }

    /// Answers its accesses until it ends.
    pub async fn serve(&self, house: &House) -> End {
        loop {
            let rung = house.handle.within(SILENCE, self.requests.wait()).await;
            if rung.is_none() {
                self.pc.borrow_mut().tell_rest();
                self.requests.wait().await;
            }
            for vcpu in 0..self.vcpus {
                if let Some(request) = self.answer(vcpu) {
                    return match request {
                        Request::PowerOff => End::PowerOff,
                        Request::Reset => End::Reset,
                        Request::Exit(status) => End::Exit(status),
                    };
                }
            }
        }
    }

    /// Waits until hv ends it, and answers why.
    pub async fn died(&self) -> End {
        self.ended.wait().await;
        let reason = hypercall::status(self.number).ok().map(|status| {
            let reason = status.reason.get(..status.reason_len as usize).unwrap_or_default();
            String::from_utf8_lossy(reason).into_owned()
        });
        End::Died(reason.unwrap_or_else(|| "hv ended it".into()))
    }

    /// Answers what a vCPU waits for, if it does. What asks for an end of the VM is not answered.
    fn answer(&self, vcpu: usize) -> Option<Request> {
        let at = vcpu * SLOT;
        let head: u64 = self.page.read(at);
        if head as u32 != State::REQUESTED.0 {
            return None;
        }
        let [space, write, size, _] = ((head >> 32) as u32).to_le_bytes();
        let data: u64 = self.page.read(at + 16);
        let access = Access {
            is_port: space == Space::PORT.0,
            address: self.page.read(at + 8),
            size,
            write: (write != 0).then_some(data),
        };
        let (value, request) = self.pc.borrow_mut().access(&access);
        if request.is_some() {
            return request;
        }
        self.page.write(at + 16, value);
        self.page.write(at, State::ANSWERED.0);
        // A VM that was stopped meanwhile needs no answer.
        let _ = hypercall::complete(self.number, vcpu as u64);
        None
    }

    /// Takes away all there is of it; it does not run.
    pub async fn take_away(&self, house: &House) {
        self.pc.borrow_mut().reset();
        while !self.pc.borrow().is_quiet() {
            house.handle.sleep(QUIET).await;
        }
        self.pc.borrow_mut().take_apart();
        destroy(house, self.number).await;
    }
}

/// The manifest for hv.
fn describe(
    appliance: &Appliance,
    ram: Ram,
    vcpus: usize,
    (requests, ended): (&Event, &Event),
    page: u64,
) -> VmManifest {
    let mut manifest = VmManifest::new_zeroed();
    manifest.version = manifest::VERSION;
    manifest.vcpus = vcpus as u32;
    // Names that are too long never were in an index.
    manifest.name.iter_mut().zip(appliance.name.bytes()).for_each(|(into, from)| *into = from);
    manifest.ram = ram.pieces();
    manifest.class = CLASS;
    manifest.io_event = requests.number();
    manifest.end_event = ended.number();
    manifest.io_page = page;
    manifest.cores = [ANY_CORE; MAX_VCPUS];
    manifest
}

fn refusal(refused: &Refused) -> Fault {
    match refused.status {
        Status::BAD_ARGUMENT => Fault::Always(refused.to_string()),
        _ => now(&refused),
    }
}

/// Puts tables and kernel into the RAM.
async fn load(
    house: &House,
    appliance: &Appliance,
    memory: &dyn management::memory::GuestMemory,
    ram: Ram,
    vcpus: usize,
) -> Result<StartState, Fault> {
    acpi::install(memory, ram, vcpus as u8)
        .and_then(|()| firmware::install(memory))
        .map_err(|_| Fault::Always("it has too little RAM for its tables".into()))?;
    let kernel = house.storage.file(&appliance.kernel.image);
    let initrd = appliance.kernel.initrd.as_ref().map(|blob| house.storage.file(blob));
    for (what, file) in [("kernel", Some(&kernel)), ("initrd", initrd.as_ref())] {
        let Some(file) = file else { continue };
        match file.is_genuine().await {
            Ok(true) => {}
            Ok(false) => return Err(Fault::Always(format!("its {what} is not the one that was installed"))),
            Err(error) => return Err(now(&format!("its {what} can't be read: {error}"))),
        }
    }
    let program = Program {
        format: appliance.kernel.format,
        kernel: &kernel,
        initrd: initrd.as_ref().map(|file| file as &dyn Source),
        cmdline: &appliance.kernel.cmdline,
    };
    let state = loader::load(&program, &loader::Guest { memory, ram, rsdp: acpi::ROOT }).await;
    let state = state.map_err(|error| match error {
        LoadError::Unreadable { .. } => now(&error),
        error => Fault::Always(error.to_string()),
    })?;
    event!(
        Info,
        "vm.start",
        vm = appliance.name,
        sha256 = Hex(&appliance.kernel.image.digest),
        cpus = vcpus,
        memory_kib = ram.bytes() >> 10
    );
    Ok(state)
}

async fn destroy(house: &House, number: u64) {
    loop {
        match hypercall::destroy(number) {
            Ok(0) => return,
            // A vCPU of ours must forget the windows first, or there is more to clear.
            Ok(_) => house.handle.give_way().await,
            Err(refused) => {
                event!(
                    Warn,
                    "mgmt.trouble",
                    what = format_args!("VM {number} can't be taken away"),
                    why = refused
                );
                return;
            }
        }
    }
}
