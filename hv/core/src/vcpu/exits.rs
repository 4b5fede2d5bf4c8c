//! After a turn of the guest: every reason to stop, and what is done about it.

use super::msrs::control_mode;
use super::{Activity, StopReason, Vcpu, Verdict, World};
use crate::cpu::{Event, Register, SegmentName, VirtualCpu, attributes, exception, gpr};
use crate::emulate::{Mode, Target, advance, advance_to, decode_control_move, fetch, length_of};
use crate::exit::{Access, ControlRegister, Exit};
use crate::policy::cpuid::{Dynamic, LEAF_XSAVE};
use crate::policy::{GeneralProtection, xcr};
use crate::vlapic::send_ipi;
use hv_abi::hypercall::{KVM_SEND_IPI, Status};
use hv_defs::control::rflags;

/// Lengths of instructions that are intercepted without a prefix in all real code; where the CPU
/// says where the next instruction is, that is believed instead. APM 2, 15.7.1.
mod length {
    pub const HLT: u8 = 1;
    pub const CPUID: u8 = 2;
    pub const MSR: u8 = 2;
    pub const VMMCALL: u8 = 3;
}

impl Vcpu {
    /// One arm a reason; what is frequent is inlined, what is not is a call; what takes more than a line is a function of its own.
    #[inline]
    pub(super) fn decide<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &mut W,
        exit: Exit,
        bytes: Option<&[u8]>,
    ) -> Verdict {
        match exit {
            Exit::Cpuid => self.cpuid(cpu, world),
            Exit::Msr(access) => self.msr(cpu, world, access, length::MSR),
            Exit::Hypercall => self.hypercall(cpu, world),
            Exit::Halt => {
                self.activity = Activity::Halted;
                self.step_over(cpu, length::HLT);
                Verdict::Wait
            }
            Exit::Pause => self.step_over_decoded(cpu, world, Verdict::Yield),
            Exit::Port(port) => self.port(cpu, world, port),
            Exit::Memory(fault) => self.memory(cpu, world, fault, bytes),
            Exit::HostInterrupt | Exit::HostNmi => {
                self.halt_behind_sti(cpu, world);
                Verdict::HostInterrupt
            }
            Exit::InterruptWindow => {
                self.halt_behind_sti(cpu, world);
                Verdict::Resume
            }
            Exit::HostInit | Exit::HostSmi => Verdict::Resume,
            Exit::Iret => {
                self.end_nmi(cpu);
                Verdict::Resume
            }
            Exit::Xsetbv => self.xsetbv(cpu, world),
            Exit::Control(ControlRegister::Cr4, Access::Write) => self.write_cr4(cpu, world),
            // All of a guest's memory is coherent with everything that could read it.
            Exit::WriteBack | Exit::Invalidate => self.step_over_decoded(cpu, world, Verdict::Resume),
            Exit::MonitorWait | Exit::NoSuchInstruction => self.fault(exception::UD),
            Exit::PerformanceCounter => self.fault(exception::GP),
            Exit::Exception { vector: 1, .. } if self.stepped(cpu) => Verdict::Resume,
            Exit::Exception { vector, error, address } => self.reflect(cpu, vector, error, address),
            Exit::Shutdown => Verdict::Stop(StopReason::TripleFault),
            Exit::TaskSwitch => Verdict::Stop(StopReason::TaskSwitch),
            Exit::Invalid => Verdict::Stop(StopReason::InvalidState),
            Exit::Unknown(code) => Verdict::Stop(StopReason::UnknownExit(code)),
            // Not intercepted: the CPU does these for the guest.
            Exit::Control(..) | Exit::Debug(..) | Exit::TimeStamp => {
                Verdict::Stop(StopReason::UnknownExit(exit.class() as u64))
            }
        }
    }

    /// The guest gets an exception instead of what it tried.
    pub(super) fn fault(&mut self, event: Event) -> Verdict {
        self.raise(event);
        Verdict::Resume
    }

    /// The instruction is done: RIP moves behind it, by what the CPU says, or else by `length`.
    #[inline]
    pub(super) fn step_over<C: VirtualCpu>(&mut self, cpu: &mut C, length: u8) {
        let trap = match cpu.get(Register::NextRip) {
            0 => advance(cpu, length),
            next => advance_to(cpu, next),
        };
        if let Some(trap) = trap {
            self.raise(trap);
        }
    }

    /// As [`Vcpu::step_over`], for instructions that may well have prefixes: their length is read
    /// from the guest's memory. An instruction that is no longer there is tried again.
    #[inline(never)]
    fn step_over_decoded<C: VirtualCpu, W: World>(
        &mut self,
        cpu: &mut C,
        world: &W,
        verdict: Verdict,
    ) -> Verdict {
        let length = match cpu.get(Register::NextRip) {
            0 => fetch(cpu, world).ok().and_then(|(bytes, _)| length_of(bytes.as_slice(), Mode::of(cpu))),
            _ => Some(0),
        };
        if let Some(length) = length {
            self.step_over(cpu, length);
        }
        verdict
    }

    #[inline]
    fn cpuid<C: VirtualCpu, W: World>(&mut self, cpu: &mut C, world: &W) -> Verdict {
        let (leaf, sub_leaf) = (self.gprs.low(gpr::RAX), self.gprs.low(gpr::RCX));
        let now = Dynamic {
            apic_id: self.index,
            apic_enabled: self.apic.enabled(),
            cr4: cpu.get(Register::Cr4),
            // Read from the CPU, and shown in this leaf only.
            xcr0: if leaf == LEAF_XSAVE { world.xcr0() } else { 0 },
        };
        let answer = world.policy().cpuid.lookup(leaf, sub_leaf, &now);
        self.gprs.set_low(gpr::RAX, answer.eax);
        self.gprs.set_low(gpr::RBX, answer.ebx);
        self.gprs.set_low(gpr::RCX, answer.ecx);
        self.gprs.set_low(gpr::RDX, answer.edx);
        self.step_over(cpu, length::CPUID);
        Verdict::Resume
    }

    /// Hearth's calls by number in RAX; KVM's IPI, because stock kernels that see the KVM signature
    /// use it. An unknown call returns.
    fn hypercall<C: VirtualCpu, W: World>(&mut self, cpu: &mut C, world: &mut W) -> Verdict {
        let [number, rcx, rdx, rbx] =
            [gpr::RAX, gpr::RCX, gpr::RDX, gpr::RBX].map(|register| self.gprs.0[register]);
        let [rsi, rdi, r10] = [gpr::RSI, gpr::RDI, gpr::R10].map(|register| self.gprs.0[register]);
        let result = if privilege(cpu) != 0 {
            Status::DENIED.0
        } else if number == KVM_SEND_IPI {
            self.send_ipis(world, [rbx, rcx], rdx as u32, rsi as u32)
        } else {
            let result = world.hypercall(self.index, number, [rdi, rsi, rdx, r10]);
            result.unwrap_or(Status::NO_SUCH_CALL.0)
        };
        self.gprs.0[gpr::RAX] = result.cast_unsigned();
        self.step_over(cpu, length::VMMCALL);
        Verdict::Resume
    }

    /// Answers how many were sent, or `-KVM_EINVAL`.
    #[inline(never)]
    fn send_ipis(&mut self, world: &mut impl World, bitmap: [u64; 2], first: u32, command: u32) -> i64 {
        const KVM_EINVAL: i64 = 22;
        let Some(messages) = send_ipi(bitmap, first, command) else { return -KVM_EINVAL };
        messages.fold(0, |sent, message| {
            world.send(self.index, message);
            sent + 1
        })
    }

    /// SDM 2, XSETBV: register 0 only, at privilege level 0.
    #[inline(never)]
    fn xsetbv<C: VirtualCpu, W: World>(&mut self, cpu: &mut C, world: &mut W) -> Verdict {
        let value = self.gprs.edx_eax();
        let refused = self.gprs.low(gpr::RCX) != 0
            || privilege(cpu) != 0
            || xcr::check(value, world.policy().xcr0).is_err();
        if refused {
            return self.fault(exception::GP);
        }
        world.set_xcr0(value);
        self.step_over_decoded(cpu, world, Verdict::Resume)
    }

    /// Between `STI` and `HLT` no interrupt may be delivered, or the `HLT` would sleep on past what it waits
    /// for. QEMU 7.2 forgets the shadow of a `STI` that is the first instruction of a turn, so it opens the
    /// window there, and what comes to the host there says nothing of a shadow either. So a `HLT` behind a
    /// `STI` counts as done: an interrupt is the one that ends it.
    #[inline(never)]
    fn halt_behind_sti<C: VirtualCpu, W: World>(&mut self, cpu: &mut C, world: &W) {
        const STI_HLT: [u8; 2] = [0xfb, 0xf4];
        if self.event.is_some() || cpu.get(Register::Rflags) & rflags::IF == 0 || privilege(cpu) != 0 {
            return;
        }
        let rip = cpu.get(Register::Rip);
        cpu.set(Register::Rip, rip.wrapping_sub(1));
        let before = fetch(cpu, world);
        cpu.set(Register::Rip, rip);
        if before.is_ok_and(|(bytes, _)| bytes.as_slice().starts_with(&STI_HLT)) {
            self.activity = Activity::Halted;
            if let Some(trap) = advance(cpu, length::HLT) {
                self.raise(trap);
            }
        }
    }

    /// Intercepted only on a CPU that has more than the guest is shown.
    #[inline(never)]
    fn write_cr4<C: VirtualCpu, W: World>(&mut self, cpu: &mut C, world: &W) -> Verdict {
        const CR4: Target = Target::Control(ControlRegister::Cr4);
        let (bytes, mode) = (fetch(cpu, world), Mode::of(cpu));
        let decoded = bytes.ok().and_then(|(bytes, _)| decode_control_move(bytes.as_slice(), mode));
        // An instruction that is no longer there is tried again.
        let Some(written) = decoded.filter(|moved| moved.target == CR4 && moved.access == Access::Write)
        else {
            return Verdict::Resume;
        };
        let value = self.gprs.0[written.gpr & 0xf];
        let value = if mode == Mode::Bits64 { value } else { value & 0xffff_ffff };
        match world.policy().check_cr4(value, &control_mode(cpu)) {
            Ok(value) => {
                cpu.set(Register::Cr4, value);
                self.step_over(cpu, written.length);
                Verdict::Resume
            }
            Err(GeneralProtection) => self.fault(exception::GP),
        }
    }

    /// An exception that the vendor layer had to intercept and the guest shall have.
    #[inline(never)]
    fn reflect<C: VirtualCpu>(&mut self, cpu: &mut C, vector: u8, error: u32, address: u64) -> Verdict {
        const PAGE_FAULT: u8 = 14;
        /// Vectors with an error code: APM 2, 8.2.
        const WITH_ERROR: u32 = 1 << 8 | 0b11111 << 10 | 1 << 17 | 1 << 21 | 1 << 29 | 1 << 30;
        if vector == PAGE_FAULT {
            cpu.set(Register::Cr2, address);
        }
        let error = (WITH_ERROR >> (vector & 31) & 1 == 1).then_some(error);
        self.fault(Event::Exception { vector, error })
    }
}

/// The current privilege level: SS has it (APM 2, 4.9.1).
fn privilege(cpu: &impl VirtualCpu) -> u16 {
    cpu.segment(SegmentName::Ss).attributes >> attributes::DPL_SHIFT & 3
}
