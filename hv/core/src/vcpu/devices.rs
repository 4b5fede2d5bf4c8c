//! Accesses to what is not RAM: ports and guest-physical memory.

use super::msrs::ApicClient;
use super::{Activity, Answer, DeviceAccess, Pending, StopReason, Vcpu, Verdict, World};
use crate::cpu::{Register, VirtualCpu, gpr};
use crate::emulate::{Cause, Emulation, Machine, Other, PlainMove, Step, advance_to};
use crate::exit::{Access, NestedFault, PortAccess};
use crate::pm_timer;
use hv_abi::memory::PAGE_SIZE;

/// Bytes of the xAPIC page.
const APIC_PAGE: u64 = 0x1000;

impl Vcpu {
    /// `IN` and `OUT`; their string forms are instructions to carry out.
    pub(super) fn port<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        port: PortAccess,
    ) -> Verdict {
        if port.string {
            return self.emulate(cpu, world, Cause::Port(port), None);
        }
        let other = match port.access {
            Access::Write => Other::From(gpr::RAX),
            Access::Read => Other::Into(gpr::RAX),
        };
        let access =
            DeviceAccess { is_port: true, address: u64::from(port.port), size: port.size, write: None };
        self.transfer(cpu, world, access, other, port.next_rip)
    }

    /// A device access by an instruction that does nothing else; it ends before `next`.
    #[inline]
    fn transfer<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        access: DeviceAccess,
        other: Other,
        next: u64,
    ) -> Verdict {
        let size = access.size;
        if let Some(trap) = advance_to(cpu, next) {
            self.raise(trap);
        }
        let write = match other {
            Other::Into(_) => None,
            Other::From(gpr) => Some(self.gprs.0[gpr & 0xf] & mask(size)),
            Other::Immediate(value) => Some(value & mask(size)),
        };
        match (self.device(cpu, world, DeviceAccess { write, ..access }), other) {
            (Answer::Done(value), Other::Into(gpr)) => self.set_low_part(gpr, size, value),
            (Answer::Done(_), _) => {}
            (Answer::Later, other) => {
                self.pending = match other {
                    Other::Into(gpr) => Pending::Read { gpr, size },
                    _ => Pending::Written,
                };
                return self.wait_for_answer();
            }
        }
        Verdict::Resume
    }

    /// Guest-physical memory that is not RAM: the instruction is carried out here.
    #[inline(never)]
    pub(super) fn memory<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        fault: NestedFault,
        bytes: Option<&[u8]>,
    ) -> Verdict {
        let in_delivery = self.event.is_some();
        if fault.fetch || fault.in_page_walk || in_delivery {
            // Code or page tables where no RAM is: the bus answers all ones, which is no
            // instruction and no page table that anybody meant. Nor is a stack there; a delivery that
            // is only tried again would keep the core for ever, before any interrupt.
            return Verdict::Stop(StopReason::NoMemory(fault.address));
        }
        let moved = PlainMove::at_rip(cpu, &self.gprs, world, bytes);
        if let Some(PlainMove { length, size, other, .. }) = moved.filter(|moved| suits(world, &fault, moved))
        {
            let access = DeviceAccess { is_port: false, address: fault.address, size, write: None };
            let next = cpu.get(Register::Rip).wrapping_add(length.into());
            return self.transfer(cpu, world, access, other, next);
        }
        self.emulate(cpu, world, Cause::Memory, bytes)
    }

    #[inline(never)]
    fn emulate<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        cause: Cause,
        bytes: Option<&[u8]>,
    ) -> Verdict {
        let mut machine = Machine { cpu, gprs: &mut self.gprs, memory: &*world };
        let (emulation, step) = Emulation::begin(&mut machine, cause, bytes);
        self.go_on(cpu, world, emulation, step)
    }

    /// Carries an instruction on until it is done or waits.
    fn go_on<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        mut emulation: Emulation,
        mut step: Step,
    ) -> Verdict {
        loop {
            let access = match step {
                Step::Done => return Verdict::Resume,
                Step::Deliver(event) => return self.fault(event),
                Step::Unsupported(bytes) => return Verdict::Stop(StopReason::Unsupported(bytes)),
                Step::Access { address, size, write } => {
                    DeviceAccess { is_port: false, address, size, write }
                }
                Step::Port { port, size, write } => {
                    DeviceAccess { is_port: true, address: u64::from(port), size, write }
                }
            };
            let value = match self.device(cpu, world, access) {
                Answer::Done(value) => value,
                Answer::Later => {
                    self.pending = Pending::Instruction(emulation);
                    return self.wait_for_answer();
                }
            };
            let mut machine = Machine { cpu: &mut *cpu, gprs: &mut self.gprs, memory: &*world };
            step = emulation.resume(&mut machine, value);
        }
    }

    /// What hv has itself, the local APIC's page and the PM timer, or else what the world has.
    fn device<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        access: DeviceAccess,
    ) -> Answer {
        let DeviceAccess { is_port, address, size, write } = access;
        if is_port {
            if pm_timer::PORTS.contains(&address) {
                let now = world.nanos(world.host_tsc());
                if let Some(value) = pm_timer::read(address as u16, size, now) {
                    return Answer::Done(u64::from(value));
                }
            }
        } else if let Some(page) = self.apic.page()
            && let Some(offset) = address.checked_sub(page).filter(|&offset| offset < APIC_PAGE)
        {
            self.read_priority(cpu);
            let mut client = ApicClient { world, index: self.index, tsc: self.tsc };
            return Answer::Done(match write {
                Some(value) => {
                    self.apic.write_page(offset, size, value, &mut client);
                    cpu.set(Register::Cr8, self.apic.cr8());
                    0
                }
                None => self.apic.read_page(offset, size, &client),
            });
        }
        world.access(self.index, access)
    }

    fn wait_for_answer(&mut self) -> Verdict {
        self.activity = Activity::WaitsForAnswer;
        Verdict::Wait
    }

    /// The mailbox says that the answer is there: goes on with what waited.
    pub(super) fn take_answer<C: VirtualCpu, W: World>(&mut self, cpu: &mut C, world: &mut W) -> Verdict {
        let Some(value) = world.answer(self.index) else { return Verdict::Wait };
        self.activity = Activity::Running;
        match core::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing | Pending::Written => Verdict::Resume,
            Pending::Read { gpr, size } => {
                self.set_low_part(gpr, size, value);
                Verdict::Resume
            }
            Pending::Instruction(mut emulation) => {
                let mut machine = Machine { cpu: &mut *cpu, gprs: &mut self.gprs, memory: &*world };
                let step = emulation.resume(&mut machine, value);
                self.go_on(cpu, world, emulation, step)
            }
        }
    }

    /// One byte and two leave the rest of a register alone, four clear the upper half. APM 1, 3.1.2.
    fn set_low_part(&mut self, gpr: usize, size: u8, value: u64) {
        let register = &mut self.gprs.0[gpr & 0xf];
        *register = match size {
            4 => value & mask(4),
            size => *register & !mask(size) | value & mask(size),
        };
    }
}

/// Whether a move is what faulted, all of it, at an address that is a device's: not one that has reached it
/// from the page before, nor one for RAM that is there by now, nor beyond what the guest may address.
fn suits(world: &impl World, fault: &NestedFault, moved: &PlainMove) -> bool {
    matches!(moved.other, Other::Into(_)) == (fault.access == Access::Read)
        && (fault.address ^ moved.linear).is_multiple_of(PAGE_SIZE)
        && fault.address & (u64::from(moved.size) - 1) == 0
        && fault.address >> world.address_bits() == 0
        && world.read_u64(fault.address & !7).is_none()
}

/// The bits of so many bytes.
const fn mask(size: u8) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (size * 8)) - 1 }
}
