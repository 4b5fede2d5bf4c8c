//! Virtual machines that the micro-guest cuts. What runs in them is a copy of this program, which enters
//! at [`program`]'s entry and does one job.

pub mod fuzz;
pub mod jobs;
mod program;

pub use program::{Job, Room};

use crate::hypercall::{call, status};
use crate::manager::{self, IO_FRAMES};
use crate::{Handover, window};
use core::sync::atomic::Ordering;
use hv_abi::hypercall::Call;
use hv_abi::ioreq::NO_EVENT;
use hv_abi::manifest::{ANY_CORE, MAX_PIECES, StartMode, StartState, VERSION, VmManifest};
use hv_abi::memory::PhysRange;
use hv_abi::status::{VmState, VmStatus};
use hv_defs::paging::bits;
use zerocopy::{FromZeros, IntoBytes};

unsafe extern "C" {
    /// First byte after this program.
    static guest_image_end: u8;
}

/// Where this program is linked, and where it lies in a child: a page of two megabytes.
const LINKED_AT: u64 = 0xffff_ffff_8000_0000;
const IMAGE: u64 = 2 << 20;
/// A child's RAM: low memory, and the program.
pub const RAM: u64 = 4 << 20;
/// In low memory: the page that both see, the first of six pages of tables, and the top of the stack.
pub const ROOM: u64 = 0x7000;
const TABLES: u64 = 0x1_0000;
const STACK: u64 = 0x8_0000;
/// Where its other CPUs start.
pub const LOW: u64 = 0x2_0000;

/// What a child is to be.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// vCPUs.
    pub vcpus: u32,
    /// 0 urgent, 1 front, 2 back.
    pub class: u32,
    /// The core of all its vCPUs.
    pub core: u8,
    /// Whether somebody answers its device accesses.
    pub devices: bool,
}

impl Plan {
    /// One vCPU, class back, on the last core.
    pub fn new(handover: &Handover, name: &'static str) -> Self {
        Self { name, vcpus: 1, class: 2, core: handover.cpus as u8 - 1, devices: false }
    }

    /// The manifest for it. `slot` tells children that live at a time apart.
    pub fn manifest(&self, handover: &Handover, slot: u32) -> VmManifest {
        let mut manifest = VmManifest::new_zeroed();
        manifest.version = VERSION;
        manifest.vcpus = self.vcpus;
        manifest.name[..self.name.len()].copy_from_slice(self.name.as_bytes());
        manifest.ram = [PhysRange::new(0, 0); MAX_PIECES];
        manifest.ram[0] = PhysRange::new(0, RAM);
        manifest.class = self.class;
        manifest.io_event = if self.devices { io_event(slot) } else { NO_EVENT };
        manifest.end_event = end_event(slot);
        manifest.io_page = if self.devices { io_page(handover, slot) } else { 0 };
        manifest.cores = [ANY_CORE; 16];
        manifest.cores[..self.vcpus as usize].fill(self.core);
        manifest
    }
}

/// Events of the child in a slot.
pub const fn io_event(slot: u32) -> u32 {
    slot * 8
}

/// See [`io_event`].
pub const fn end_event(slot: u32) -> u32 {
    slot * 8 + 1
}

fn io_page(handover: &Handover, slot: u32) -> u64 {
    window::frame(handover, IO_FRAMES + u64::from(slot))
}

/// Cuts a VM; its number, or the status of the refusal.
pub fn create(manifest: &VmManifest) -> i64 {
    // The stack is in RAM that is mapped where it is.
    call(Call::VM_CREATE, [core::ptr::from_ref(manifest).addr() as u64, 0, 0, 0])
}

/// A virtual machine that was cut.
pub struct Child {
    /// Its number.
    pub vm: u64,
    /// Where its RAM is in ours.
    pub window: u64,
    /// Where its I/O request page is, if it has one.
    pub io_page: u64,
    slot: u32,
}

impl Child {
    /// Cuts one as planned.
    pub fn new(handover: &Handover, slot: u32, plan: &Plan) -> Result<Self, &'static str> {
        manager::open(handover)?;
        let manifest = plan.manifest(handover, slot);
        if plan.devices {
            window::put(io_page(handover, slot), &[0; 4096]);
        }
        // Of who was in this slot before.
        let _ = [io_event(slot), end_event(slot)].map(|event| manager::take(handover, event));
        let vm = create(&manifest);
        status(vm, "a VM can't be cut")?;
        let vm = vm.cast_unsigned();
        let window = call(Call::MEM_WINDOW, [vm, 0, RAM, 0]);
        status(window, "a VM's RAM can't be seen")?;
        let io_page = if plan.devices { io_page(handover, slot) } else { 0 };
        Ok(Self { vm, window: window.cast_unsigned(), io_page, slot })
    }

    /// The page that it sees too.
    pub fn room(&self) -> &'static Room {
        // SAFETY: RAM that stays mapped while the child lives; all words of it are atomic.
        unsafe { &*core::ptr::with_exposed_provenance((self.window + ROOM) as usize) }
    }

    /// Puts the program there and starts it with a job.
    pub fn start(&self, job: Job, cpus: u64, words: &[u64]) -> Result<(), &'static str> {
        self.load();
        let room = self.room();
        room.reset(job, cpus, words);
        let state = StartState {
            version: VERSION,
            mode: StartMode::LONG,
            rip: program::entry(),
            rsp: STACK - 8,
            cr3: TABLES,
            registers: [0, 0, 0, ROOM],
        };
        self.start_at(&state)
    }

    /// Starts it as it is.
    pub fn start_at(&self, state: &StartState) -> Result<(), &'static str> {
        let at = core::ptr::from_ref(state).addr() as u64;
        status(call(Call::VM_START, [self.vm, at, 0, 0]), "a VM can't be started")
    }

    fn put(&self, at: u64, value: u64) {
        manager::shared(self.window + at).store(value, Ordering::Relaxed);
    }

    /// The program and its tables: the first four gigabytes where they are, the program where it is
    /// linked.
    fn load(&self) {
        let len = (&raw const guest_image_end).addr() as u64 - LINKED_AT;
        let image = core::ptr::with_exposed_provenance::<u64>(LINKED_AT as usize);
        for offset in (0..len).step_by(8) {
            // SAFETY: this program's own memory; what changes while it is copied is the child's to reset.
            self.put(IMAGE + offset, unsafe { image.add(offset as usize / 8).read_volatile() });
        }
        let table = |number: u64| TABLES + number * 4096;
        (0..7 * 512).for_each(|entry| self.put(TABLES + entry * 8, 0));
        self.put(table(0), table(1) | window::RW);
        self.put(table(0) + 511 * 8, table(1) | window::RW);
        for gigabyte in 0..4 {
            self.put(table(1) + gigabyte * 8, table(2 + gigabyte) | window::RW);
            for large in 0..512 {
                let at = gigabyte << 30 | large << 21;
                self.put(table(2 + gigabyte) + large * 8, at | bits::LARGE | window::RW);
            }
        }
        self.put(table(1) + 510 * 8, table(6) | window::RW);
        self.put(table(6), IMAGE | bits::LARGE | window::RW);
    }

    /// One of the calls that take a VM alone.
    pub fn step(&self, step: Call) -> i64 {
        call(step, [self.vm, 0, 0, 0])
    }

    /// What hv knows of it.
    pub fn status(&self) -> VmStatus {
        let mut status = VmStatus::new_zeroed();
        call(Call::VM_STATUS, [self.vm, status.as_mut_bytes().as_mut_ptr().addr() as u64, 0, 0]);
        status
    }

    /// Whether it has ended by itself; that is told once.
    pub fn ended(&self, handover: &Handover) -> bool {
        manager::take(handover, end_event(self.slot))
    }

    /// Sleeps until its job is done, or it has ended.
    pub fn finish(&self) -> Result<(), &'static str> {
        let over = || self.room().is_done() || self.status().state != VmState::RUNNING;
        if !manager::sleep_until(over) {
            return Err("a VM does not come to its end");
        }
        if self.room().is_done() { Ok(()) } else { Err("a VM ended before its job was done") }
    }

    /// Takes it away, however it is.
    pub fn destroy(self) -> Result<(), &'static str> {
        self.step(Call::VM_STOP);
        for _ in 0..100_000 {
            match self.step(Call::VM_DESTROY) {
                0 => return Ok(()),
                left if left > 0 => manager::sleep(50),
                _ => return Err("a VM can't be destroyed"),
            }
        }
        Err("a VM does not go away")
    }
}
