//! Cutting a VM: memory, page tables, vCPUs, and the cores that they live on.

use super::leave::NOTHING_CLEARED;
use super::place::{self, Front, Place};
use super::pool::{Pooled, pages, pointer};
use super::{Body, Vm};
use crate::inbox::{self, Newcomer};
use crate::machine::Machine;
use crate::memory;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use derive_more::{Display, From};
use heapless::Vec;
use hv_abi::manifest::{GRANULE, MAX_PIECES, MAX_VCPUS, StartState};
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use hv_abi::status::VmState;
use hv_arch::address_space::AddressSpace;
use hv_arch::guest_ram::{GuestRam, Piece, SharedPage};
use hv_arch::{cpu, svm, xstate};
use hv_core::doorbell::Doorbells;
use hv_core::kvmclock::Scale;
use hv_core::manifest::{Refusal, Wanted};
use hv_core::memory::{Frames, Owner, OwnershipError, OwnershipMap};
use hv_core::policy::{self, Policy};
use hv_core::vcpu::Vcpu;
use hv_core::vioapic::Vioapic;
use hv_defs::paging::{MapError, Mapping, PageSize, Rights, tables_needed};
use spin::Mutex;

/// Anywhere but where CPUs start.
const ANYWHERE: PhysRange = PhysRange::new(1 << 20, u64::MAX - (1 << 20));

/// Why a VM could not be cut.
#[derive(Display, From)]
pub enum Fault {
    /// Its manifest.
    Manifest(Refusal),
    /// Memory, or its page tables.
    #[from(OwnershipError, MapError)]
    Memory(memory::Fault),
    /// hv's own memory for it was reckoned too small.
    #[display("hv reckoned its own memory for it too small")]
    NoFrames,
    /// What should run in it is not a program.
    NoProgram(&'static str),
    /// Its I/O request page is not a page of the management VM's RAM.
    #[display("its I/O request page {_0:#x} is not a page of the caller's RAM")]
    NoPage(u64),
    /// There are as many VMs as hv can keep, or a core is home to as many vCPUs as it can be.
    #[display("hv has no place for another virtual machine, or a core is full")]
    Full,
}

/// Memory and cores that are taken for a VM; given back when it does not come about.
pub struct Claims<'a> {
    owners: &'a Mutex<OwnershipMap>,
    memory: Vec<(PhysRange, Owner), { MAX_PIECES + 1 }>,
    cores: Vec<u32, MAX_VCPUS>,
}

impl<'a> Claims<'a> {
    /// Nothing yet.
    pub const fn new(owners: &'a Mutex<OwnershipMap>) -> Self {
        Self { owners, memory: Vec::new(), cores: Vec::new() }
    }

    /// Claims memory.
    ///
    /// # Errors
    /// [`OwnershipError`].
    pub fn memory(
        &mut self,
        len: u64,
        align: u64,
        window: PhysRange,
        to: Owner,
    ) -> Result<PhysRange, OwnershipError> {
        let range = self.owners.lock().claim(len, align, window, to)?;
        // As many places as a VM has pieces, and its pool.
        let _ = self.memory.push((range, to));
        Ok(range)
    }

    fn core(&mut self, pinned: Option<u32>) -> Result<(), Fault> {
        let core = inbox::reserve(pinned).ok_or(Fault::Full)?;
        // As many places as a VM has vCPUs.
        let _ = self.cores.push(core);
        Ok(())
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        for (range, owner) in &self.memory {
            // They are what was claimed.
            let _ = self.owners.lock().give(*range, *owner, Owner::Free);
        }
        self.cores.iter().for_each(|core| inbox::release(*core));
    }
}

/// Cuts a VM from a manifest that makes sense; answers its number.
///
/// # Errors
/// [`Fault`]; then nothing has changed.
pub fn create(machine: &Machine, wanted: &Wanted) -> Result<u8, Fault> {
    let (id, place) = place::vacant().ok_or(Fault::Full)?;
    let manager = place::management();
    let manager = manager.as_deref().and_then(Option::as_deref).ok_or(Fault::Full)?;
    let io_page = match wanted.io_page {
        Some(address) => Some(manager.ram.page(address).ok_or(Fault::NoPage(address))?),
        None => None,
    };
    let mut claims = Claims::new(&machine.memory);
    let mut pieces = Vec::<Piece, MAX_PIECES>::new();
    for piece in &wanted.ram {
        let host = claims.memory(piece.len, GRANULE, ANYWHERE, Owner::Vm(id as u8))?;
        let _ = pieces.push(Piece { guest: piece.base, host });
    }
    // SAFETY: claimed for this VM just now; RAM is in the direct map; the VM lets go of it in `leave`.
    let ram = unsafe { GuestRam::new(pieces.iter().copied()) };
    let vm = Cut { machine, id, place, wanted, ram, io_page, ports: &[], more_tables: 0 }.cut(&mut claims)?;
    let mapped = manager.map_windows(&vm.ram);
    if let Err(error) = mapped {
        manager.unmap_windows(&vm.ram);
        return Err(error.into());
    }
    move_in(vm, wanted, claims);
    Ok(id as u8)
}

/// The VM is there: who is to know it is told.
pub fn move_in(vm: Pooled<Vm>, wanted: &Wanted, mut claims: Claims<'_>) {
    let (id, place) = (vm.id, vm.place);
    place.set_class(wanted.class);
    let mut home = place.vm.write();
    let life = place.next_life();
    *home = Some(vm);
    drop(home);
    place.set_state(VmState::CREATED);
    claims.memory.clear();
    for (index, core) in core::mem::take(&mut claims.cores).into_iter().enumerate() {
        inbox::house(core, Newcomer { vm: id, index, life });
    }
}

/// What a VM is cut from.
pub struct Cut<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The number of its place.
    pub id: usize,
    /// Its place.
    pub place: &'static Place,
    /// What it shall be.
    pub wanted: &'a Wanted,
    /// Its RAM.
    pub ram: GuestRam,
    /// Where its requests go.
    pub io_page: Option<SharedPage>,
    /// Ports that are the machine's.
    pub ports: &'static [u16],
    /// Page tables that it may need later, beyond those of its RAM.
    pub more_tables: u64,
}

impl Cut<'_> {
    /// Pages of hv's own memory that it needs.
    fn pages(&self) -> u64 {
        let vcpus = self.wanted.cores.len();
        let tables: u64 = self.ram.pieces().map(|piece| tables_needed(piece.host.len, self.largest())).sum();
        let vcpu = svm::Vcpu::PAGES + xstate::BYTES as u64 / PAGE_SIZE;
        1 + tables
            + self.more_tables
            + svm::PermissionMaps::PAGES
            + pages::<Vm>(1)
            + pages::<Mutex<Body>>(vcpus)
            + vcpu * vcpus as u64
    }

    fn largest(&self) -> PageSize {
        if self.machine.features.bits.gib_pages { PageSize::OneGib } else { PageSize::TwoMib }
    }

    /// Cuts it, with memory and cores of `claims`.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn cut(self, claims: &mut Claims<'_>) -> Result<Pooled<Vm>, Fault> {
        let pool = claims.memory(self.pages() * PAGE_SIZE, PAGE_SIZE, ANYWHERE, Owner::Hypervisor)?;
        for pinned in &self.wanted.cores {
            claims.core(*pinned)?;
        }
        let mut frames = Frames::new(pool);
        let space = self.nested(&mut frames)?;
        let vcpus = self.wanted.cores.len();
        let khz = u32::try_from(self.machine.clock.khz()).unwrap_or(u32::MAX);
        let policy = Policy::new(cpu::cpuid, policy::Machine { cpus: vcpus as u8, tsc_khz: khz });
        let maps = frames.take(svm::PermissionMaps::PAGES).ok_or(Fault::NoFrames)?;
        // SAFETY: pages of hv's own, taken for this.
        let maps = unsafe { svm::PermissionMaps::build(maps.base, self.ports, policy.open_msrs()) };
        let tsc = cpu::tsc();
        let make = |frames: &mut Frames, index: usize| {
            let front = &self.place.fronts[index];
            front.core.store(claims.cores[index], Ordering::Relaxed);
            let body = self.body(frames, &policy, (space.root(), maps), (index, front), tsc)?;
            Some(Mutex::new(body))
        };
        // SAFETY: the pool is hv's own until the VM has left (`leave::finish`).
        let bodies = unsafe { Pooled::slice(&mut frames, vcpus, make) }.ok_or(Fault::NoFrames)?;
        let home = frames.take(pages::<Vm>(1)).ok_or(Fault::NoFrames)?;
        let vm = Vm {
            id: self.id,
            place: self.place,
            name: self.wanted.name.clone(),
            policy,
            ram: self.ram,
            tsc_start: AtomicU64::new(tsc),
            scale: Scale::new(khz),
            ioapic: Mutex::new(Vioapic::new()),
            doorbells: Mutex::new(Doorbells::new()),
            io_page: self.io_page,
            io_event: self.wanted.io_event,
            end_event: self.wanted.end_event,
            bodies,
            nested: Mutex::new((space, frames)),
            pool,
            cleared: AtomicU64::new(NOTHING_CLEARED),
            last_lowest: AtomicU32::new(0),
        };
        // SAFETY: as for the bodies.
        unsafe { Pooled::new(&mut Frames::new(home), vm) }.ok_or(Fault::NoFrames)
    }

    /// Nested page tables: the VM's RAM, and nothing else.
    fn nested(&self, frames: &mut Frames) -> Result<AddressSpace, MapError> {
        let mappings = self.ram.pieces().map(|piece| Mapping {
            virt: piece.guest,
            phys: piece.host.base,
            len: piece.host.len,
            rights: Rights::Guest,
            largest: self.largest(),
        });
        // SAFETY: the frames are hv's own, in the direct map.
        unsafe { AddressSpace::build(frames, mappings) }
    }

    fn body(
        &self,
        frames: &mut Frames,
        policy: &Policy,
        (nested, maps): (u64, svm::PermissionMaps),
        (index, front): (usize, &Front),
        tsc: u64,
    ) -> Option<Body> {
        // QEMU lets a guest set reserved bits of CR4, and then refuses to run it (7.2, VMRUN's checks).
        let intercept_cr4 = policy.intercept_cr4 || self.machine.features.bits.nested;
        let asid = 1 + (self.id * MAX_VCPUS + index) as u32;
        let block = frames.take(svm::Vcpu::PAGES)?;
        let area = pointer(frames.take(xstate::BYTES as u64 / PAGE_SIZE)?);
        // SAFETY: pages of hv's own, taken for this; the nested tables give the guest its RAM only.
        let (mut hardware, registers) = unsafe {
            (svm::Vcpu::new(block.base, nested, maps, asid, intercept_cr4), xstate::State::new(area))
        };
        front.mailbox.clear();
        front.ticks.store(0, Ordering::Relaxed);
        front.flushed.store(self.place.flush.load(Ordering::Relaxed), Ordering::Relaxed);
        let vcpu = Vcpu::new(&mut hardware, index as u32, policy, tsc, &front.mailbox);
        Some(Body { vcpu, hardware, registers, start: 0 })
    }
}

/// Counts starts, so that no two are taken for one.
static STARTS: AtomicU64 = AtomicU64::new(1);

impl Vm {
    /// Everything as after power-on, but its RAM; then its first vCPU at `state`. It does not run yet.
    pub fn reset(&self, state: &StartState) {
        let tsc = cpu::tsc();
        self.tsc_start.store(tsc, Ordering::Relaxed);
        *self.ioapic.lock() = Vioapic::new();
        *self.place.end.lock() = None;
        for (index, (body, front)) in self.bodies.iter().zip(self.fronts()).enumerate() {
            let mut body = body.lock();
            let Body { vcpu, hardware, registers, start } = &mut *body;
            front.mailbox.clear();
            front.ticks.store(0, Ordering::Relaxed);
            *vcpu = Vcpu::new(hardware, index as u32, &self.policy, tsc, &front.mailbox);
            registers.reset();
            *start = STARTS.fetch_add(1, Ordering::Relaxed);
            if index == 0 {
                vcpu.start(hardware, state);
            }
        }
    }

    /// Waits until no vCPU has a turn: each core leaves the guest when it is told to look, and comes
    /// back only if the state lets it.
    pub fn settle(&self) {
        self.place.call_all();
        self.bodies.iter().for_each(|body| drop(body.lock()));
    }

    /// Maps another VM's RAM where it is.
    fn map_windows(&self, ram: &GuestRam) -> Result<(), MapError> {
        ram.pieces().try_for_each(|piece| self.map_where_it_is(piece.host))
    }

    /// Maps parts of a device where they are; what was mapped before stays.
    ///
    /// # Errors
    /// [`MapError`]: there are no tables left.
    pub fn map_device(&self, parts: &[PhysRange]) -> Result<(), MapError> {
        let mapped = |part: &PhysRange| self.nested.lock().0.translate(part.base).is_some();
        parts.iter().filter(|part| !mapped(part)).try_for_each(|part| self.map_where_it_is(*part))
    }

    fn map_where_it_is(&self, range: PhysRange) -> Result<(), MapError> {
        let (virt, phys, len) = (range.base, range.base, range.len);
        let mapping = Mapping { virt, phys, len, rights: Rights::Guest, largest: PageSize::TwoMib };
        let (space, frames) = &mut *self.nested.lock();
        // SAFETY: the frames are hv's own; these tables are changed under this lock only.
        unsafe { space.map(frames, mapping) }
    }

    /// Takes that away. Its vCPUs forget it at their next turn.
    pub fn unmap_windows(&self, ram: &GuestRam) {
        let nested = self.nested.lock();
        for piece in ram.pieces() {
            // SAFETY: a window is nobody's need; as above.
            unsafe { nested.0.unmap(piece.host.base, piece.host.len) };
        }
        drop(nested);
        self.place.flush.fetch_add(1, Ordering::AcqRel);
        self.place.call_all();
    }

    /// Whether all its vCPUs have forgotten what was taken away.
    pub fn has_forgotten(&self) -> bool {
        let wanted = self.place.flush.load(Ordering::Acquire);
        self.fronts().iter().all(|front| front.flushed.load(Ordering::Acquire) == wanted)
    }
}
