//! Registers after RESET, INIT and STARTUP, and as a loader wants them. APM 2, 14.1.3; SDM 3, table 10-1.

use super::nmi::Blocking;
use super::{Activity, Pending, Vcpu};
use crate::cpu::{Gprs, Register, Segment, SegmentName, VirtualCpu, gpr};
use crate::mtrr::Mtrr;
use crate::policy::msr::Slot;
use hv_abi::manifest::{StartMode, StartState};
use hv_defs::control::{cr0, cr4};
use hv_defs::msr::efer;

/// PAT after reset: WB, WT, UC-, UC, twice. SDM 3, 12.12.4.
const PAT_AT_RESET: u64 = 0x0007_0406_0007_0406;
/// RFLAGS with nothing but the bit that is always one.
const RFLAGS: u64 = 2;
/// CR0 after reset: caches off, ET.
const CR0_AT_RESET: u64 = 0x6000_0010;

const CODE_16: u16 = 0x09b;
const CODE_32: u16 = 0xc9b;
const CODE_64: u16 = 0xa9b;
const DATA_16: u16 = 0x093;
const DATA_32: u16 = 0xc93;
const LDT: u16 = 0x082;
const TSS_BUSY: u16 = 0x08b;

impl Vcpu {
    /// All as after RESET.
    pub(super) fn reset_registers<C: VirtualCpu>(&mut self, cpu: &mut C) {
        self.mtrr = Mtrr::default();
        self.kept = Slot::AT_RESET;
        self.places = [crate::kvmclock::Place::default(); super::msrs::PLACES];
        for register in [
            Register::Star,
            Register::Lstar,
            Register::Cstar,
            Register::Sfmask,
            Register::KernelGsBase,
            Register::SysenterCs,
            Register::SysenterEsp,
            Register::SysenterEip,
            Register::DebugCtl,
            Register::SpecCtrl,
        ] {
            cpu.set(register, 0);
        }
        cpu.set(Register::Pat, PAT_AT_RESET);
        cpu.set(Register::TscOffset, self.tsc.offset);
        self.init_registers(cpu);
    }

    /// What INIT resets; memory types, XCR0, and most MSRs stay. SDM 3, table 10-1.
    pub(super) fn init_registers<C: VirtualCpu>(&mut self, cpu: &mut C) {
        self.gprs = Gprs::default();
        self.event = None;
        self.nmi_pending = false;
        self.nmi = Blocking::Open;
        self.pending = Pending::Nothing;
        let plain = [
            (Register::Rflags, RFLAGS),
            (Register::Cr0, CR0_AT_RESET),
            (Register::Cr2, 0),
            (Register::Cr3, 0),
            (Register::Cr4, 0),
            (Register::Cr8, 0),
            (Register::Efer, 0),
            (Register::Dr6, 0xffff_0ff0),
            (Register::Dr7, 0x400),
            (Register::Rip, 0xfff0),
        ];
        for (register, value) in plain {
            cpu.set(register, value);
        }
        let data = Segment { selector: 0, attributes: DATA_16, limit: 0xffff, base: 0 };
        for name in [SegmentName::Es, SegmentName::Ss, SegmentName::Ds, SegmentName::Fs, SegmentName::Gs] {
            cpu.set_segment(name, data);
        }
        let code = Segment { selector: 0xf000, attributes: CODE_16, limit: 0xffff, base: 0xffff_0000 };
        cpu.set_segment(SegmentName::Cs, code);
        for (name, attributes) in [
            (SegmentName::Gdtr, 0),
            (SegmentName::Idtr, 0),
            (SegmentName::Ldtr, LDT),
            (SegmentName::Tr, TSS_BUSY),
        ] {
            cpu.set_segment(name, Segment { selector: 0, attributes, limit: 0xffff, base: 0 });
        }
        cpu.clear_interrupt_shadow();
        cpu.inject(None);
    }

    /// STARTUP: real mode at `page`. SDM 3, 9.4.4.
    pub(super) fn start_at_page<C: VirtualCpu>(&mut self, cpu: &mut C, page: u8) {
        let base = u64::from(page) << 12;
        let selector = u16::from(page) << 8;
        let code = Segment { selector, attributes: CODE_16, limit: 0xffff, base };
        cpu.set_segment(SegmentName::Cs, code);
        cpu.set(Register::Rip, 0);
        self.activity = Activity::Running;
    }

    /// Sets the registers that a loader asked for, from the state after RESET.
    pub fn start<C: VirtualCpu>(&mut self, cpu: &mut C, state: &StartState) {
        self.reset_registers(cpu);
        self.activity = Activity::Running;
        let (code, selector) = match state.mode {
            StartMode::FLAT_32 => (CODE_32, 0x08),
            StartMode::LONG => (CODE_64, 0x08),
            _ => return,
        };
        let flat = |attributes, selector| Segment { selector, attributes, limit: u32::MAX, base: 0 };
        cpu.set_segment(SegmentName::Cs, flat(code, selector));
        for name in [SegmentName::Es, SegmentName::Ss, SegmentName::Ds, SegmentName::Fs, SegmentName::Gs] {
            cpu.set_segment(name, flat(DATA_32, 0x10));
        }
        cpu.set(Register::Cr0, cr0::PE | cr0::ET);
        if state.mode == StartMode::LONG {
            cpu.set(Register::Cr0, cr0::PE | cr0::ET | cr0::NE | cr0::WP | cr0::PG);
            cpu.set(Register::Cr4, cr4::PAE);
            cpu.set(Register::Cr3, state.cr3);
            let long = efer::LONG_MODE_ENABLE | efer::LONG_MODE_ACTIVE | efer::NO_EXECUTE_ENABLE;
            cpu.set(Register::Efer, long);
        }
        cpu.set(Register::Rip, state.rip);
        let [rax, rbx, rsi, rdi] = state.registers;
        for (at, value) in
            [(gpr::RAX, rax), (gpr::RBX, rbx), (gpr::RSI, rsi), (gpr::RDI, rdi), (gpr::RSP, state.rsp)]
        {
            self.gprs.0[at] = value;
        }
    }
}
