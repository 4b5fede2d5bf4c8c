//! `RDMSR` and `WRMSR`: what [`Policy`](crate::policy::Policy) decided, carried out.

use super::{Vcpu, Verdict, World};
use crate::cpu::{Register, VirtualCpu, exception, gpr};
use crate::exit::Access;
use crate::kvmclock::{Place, TimeInfo, wall_clock};
use crate::policy::GeneralProtection;
use crate::policy::control::{Mode, check_address, visible_efer};
use crate::policy::msr::{Action, Native};
use crate::vlapic::{Client, Message, Now};

impl Vcpu {
    pub(super) fn msr<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        access: Access,
        length: u8,
    ) -> Verdict {
        let number = self.gprs.low(gpr::RCX);
        let action = world.policy().msr(number, access);
        let outcome = match access {
            Access::Read => {
                self.read_msr(cpu, world, number, action).map(|value| self.gprs.set_edx_eax(value))
            }
            Access::Write => self.write_msr(cpu, world, number, action, self.gprs.edx_eax()),
        };
        if outcome.is_ok() {
            self.step_over(cpu, length);
        } else {
            if action == Action::GeneralProtection {
                world.unknown_msr(self.index, number);
            }
            self.raise(exception::GP);
        }
        Verdict::Resume
    }

    fn read_msr<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        number: u32,
        action: Action,
    ) -> Result<u64, GeneralProtection> {
        Ok(match action {
            Action::Native(Native::Register(register)) | Action::Checked(register) => cpu.get(register),
            Action::Native(Native::Base(name)) => cpu.segment(name).base,
            Action::Constant(value) => value,
            Action::Kept(slot) => self.kept[slot as usize],
            Action::Efer => visible_efer(cpu.get(Register::Efer)),
            Action::Tsc => self.tsc.read(world.host_tsc()),
            Action::TscAdjust => self.tsc.adjust,
            Action::Mtrr => return self.mtrr.read(number),
            Action::ApicBase | Action::TscDeadline | Action::X2Apic(_) => {
                self.read_priority(cpu);
                let client = ApicClient { world, index: self.index, tsc: self.tsc };
                return self.apic.read_msr(number, &client);
            }
            Action::KvmClock => self.places[KVM_CLOCK].value,
            Action::KvmWallClock => self.places[KVM_WALL_CLOCK].value,
            Action::PvEoi => self.places[PV_EOI].value,
            Action::Ignore(_) | Action::Barrier | Action::GeneralProtection => {
                return Err(GeneralProtection);
            }
        })
    }

    fn write_msr<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        number: u32,
        action: Action,
        value: u64,
    ) -> Result<(), GeneralProtection> {
        match action {
            Action::Native(Native::Base(name)) => {
                let segment = crate::cpu::Segment { base: check_address(value)?, ..cpu.segment(name) };
                cpu.set_segment(name, segment);
            }
            Action::Ignore(allowed) if value & !allowed == 0 => {}
            Action::Native(Native::Register(register)) | Action::Checked(register) => {
                cpu.set(register, world.policy().check(register, value)?);
            }
            Action::Kept(slot) => {
                let value = world.policy().keep(slot, value)?;
                self.kept[slot as usize] = value;
                world.set_kept(slot, value);
            }
            Action::Barrier => {
                let which = world.policy().barrier(value)?;
                world.barrier(which);
            }
            Action::Efer => cpu.set(Register::Efer, world.policy().check_efer(value, &control_mode(cpu))?),
            Action::Tsc => {
                self.tsc.write(value, world.host_tsc());
                self.move_tsc(cpu);
            }
            Action::TscAdjust => {
                self.tsc.write_adjust(value);
                self.move_tsc(cpu);
            }
            Action::Mtrr => self.mtrr.write(number, value, world.policy().physical_bits)?,
            Action::ApicBase | Action::TscDeadline | Action::X2Apic(_) => {
                self.read_priority(cpu);
                let mut client = ApicClient { world, index: self.index, tsc: self.tsc };
                self.apic.write_msr(number, value, &mut client)?;
                cpu.set(Register::Cr8, self.apic.cr8());
            }
            Action::KvmClock => self.start_clock(world, value)?,
            Action::KvmWallClock => {
                self.places[KVM_WALL_CLOCK] = Place { value };
                let bytes = wall_clock(2, world.started_at());
                // A guest that names memory it has not got gets nothing, as with KVM.
                let _ = world.write(value & !1, &bytes);
            }
            Action::PvEoi => {
                self.places[PV_EOI] = Place::new(value)?;
                self.take_back_eoi(world);
            }
            Action::Constant(_) | Action::Ignore(_) | Action::GeneralProtection => {
                return Err(GeneralProtection);
            }
        }
        Ok(())
    }

    /// The guest's counter has moved, and its deadline on the host's with it.
    fn move_tsc<C: VirtualCpu>(&mut self, cpu: &mut C) {
        cpu.set(Register::TscOffset, self.tsc.offset);
        self.apic.tsc_moved();
    }

    /// Tells the guest the time, where it wants it. The TSC's rate is constant, so this stays right.
    fn start_clock<W: World>(&mut self, world: &W, value: u64) -> Result<(), GeneralProtection> {
        let place = Place::new(value)?;
        self.places[KVM_CLOCK] = place;
        if let Some(address) = place.address() {
            let host = world.host_tsc();
            let info = TimeInfo {
                tsc: self.tsc.read(host),
                nanos: world.nanos(host),
                scale: world.scale(),
                stable: self.tsc.adjust == 0,
                paused: false,
            };
            // As above.
            let _ = world.write(address, &info.bytes(2));
        }
        Ok(())
    }
}

/// Indices of [`Vcpu::places`].
const KVM_CLOCK: usize = 0;
const KVM_WALL_CLOCK: usize = 1;
pub(super) const PV_EOI: usize = 2;
/// How many places there are.
pub(super) const PLACES: usize = 3;

/// What the rules for one control register need to know of the others.
pub(super) fn control_mode(cpu: &impl VirtualCpu) -> Mode {
    Mode {
        cr0: cpu.get(Register::Cr0),
        cr3: cpu.get(Register::Cr3),
        cr4: cpu.get(Register::Cr4),
        efer: visible_efer(cpu.get(Register::Efer)),
    }
}

/// What the local APIC sees of the world.
pub(super) struct ApicClient<'a, W> {
    pub world: &'a mut W,
    pub index: u32,
    pub tsc: crate::policy::tsc::GuestTsc,
}

impl<W: World> Client for ApicClient<'_, W> {
    fn now(&self) -> Now {
        let host = self.world.host_tsc();
        Now { nanos: self.world.nanos(host), tsc: self.tsc.read(host) }
    }
    fn send(&mut self, message: Message) {
        self.world.send(self.index, message);
    }
    fn end_of_level_interrupt(&mut self, vector: u8) {
        self.world.end_of_level_interrupt(vector);
    }
}
