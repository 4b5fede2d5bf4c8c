//! One virtual CPU: a control block behind `hv-core`'s [`VirtualCpu`].

use super::decode::{clean_bit, clean_bit_of_segment, from_field, reason, to_field};
use super::{HostArea, PermissionMaps};
use crate::cpu::write_msr;
use hv_abi::boot::DIRECT_MAP;
use hv_core::cpu::{Event, Gprs, Register, Segment, SegmentName, VirtualCpu, gpr};
use hv_core::exit::Exit;
use hv_defs::msr::{self, efer};
use hv_defs::svm::{Abilities, TLB_FLUSH_ALL, Vmcb, clean, intercept_1, intercept_2, virtual_interrupt};

unsafe extern "C" {
    /// `world_switch.S`.
    fn svm_switch(gprs: *mut Gprs, guest: u64, host: u64);
}

/// A virtual CPU on SVM.
pub struct Vcpu {
    block: *mut Vmcb,
    physical: u64,
    host: u64,
    /// Of the CPU that it runs on.
    abilities: Abilities,
    /// [`Abilities::all_clean`] of it.
    all_clean: u64,
    /// SPEC_CTRL of the guest, where VMRUN does not load it; 0 is hv's own.
    spec_ctrl: u64,
}

// SAFETY: the control block is this value's alone, wherever it goes.
unsafe impl Send for Vcpu {}

/// Exceptions that are intercepted, and handed on: #DB and #AC, because a guest can have the delivery
/// of each cause the next for ever, inside one instruction and with interrupts held off
/// (CVE-2015-8104, CVE-2015-5307).
const EXCEPTIONS: u32 = 1 << 1 | 1 << 17;
/// Intercepts that every guest has. What is not here the guest does by itself: CR0, CR3, CR4 and the
/// debug registers are its own under nested paging, and so is INVLPG.
const INTERCEPTS_1: u32 = intercept_1::INTR
    | intercept_1::NMI
    | intercept_1::SMI
    | intercept_1::INIT
    | intercept_1::RDPMC
    | intercept_1::CPUID
    | intercept_1::RSM
    | intercept_1::INVD
    | intercept_1::PAUSE
    | intercept_1::HLT
    | intercept_1::INVLPGA
    | intercept_1::IO
    | intercept_1::MSR
    | intercept_1::TASK_SWITCH
    | intercept_1::FERR_FREEZE
    | intercept_1::SHUTDOWN;
const INTERCEPTS_2: u32 = intercept_2::VMRUN
    | intercept_2::VMMCALL
    | intercept_2::VMLOAD
    | intercept_2::VMSAVE
    | intercept_2::STGI
    | intercept_2::CLGI
    | intercept_2::SKINIT
    | intercept_2::WBINVD
    | intercept_2::MONITOR
    | intercept_2::MWAIT
    | intercept_2::XSETBV
    | intercept_2::RDPRU;

impl Vcpu {
    /// Pages that a virtual CPU needs.
    pub const PAGES: u64 = 1;

    /// A virtual CPU in the page at `physical`; its registers are all zero. With `intercept_cr4`
    /// the guest's writes to CR4 are exits.
    ///
    /// # Safety
    /// The page is this value's alone, in the direct map. `nested_root` is the root of nested page
    /// tables that give the guest its own memory and nothing else.
    pub unsafe fn new(
        physical: u64,
        nested_root: u64,
        maps: PermissionMaps,
        asid: u32,
        intercept_cr4: bool,
    ) -> Self {
        let block = core::ptr::with_exposed_provenance_mut::<Vmcb>((DIRECT_MAP + physical) as usize);
        // SAFETY: the page is ours; a block of zeros is a block.
        unsafe { block.cast::<u8>().write_bytes(0, size_of::<Vmcb>()) };
        let mut vcpu =
            Self { block, physical, host: 0, abilities: Abilities::default(), all_clean: 0, spec_ctrl: 0 };
        let control = &mut vcpu.block_mut().control;
        control.intercept_exceptions = EXCEPTIONS;
        control.intercept_1 = INTERCEPTS_1;
        control.intercept_cr_write = if intercept_cr4 { 1 << 4 } else { 0 };
        control.intercept_2 = INTERCEPTS_2;
        control.io_permission_map = maps.io;
        control.msr_permission_map = maps.msr;
        control.asid = asid;
        control.tlb_control = TLB_FLUSH_ALL;
        control.virtual_interrupt = virtual_interrupt::MASKING;
        control.nested_paging = 1;
        control.nested_cr3 = nested_root;
        vcpu.block_mut().state.efer = efer::SVM_ENABLE;
        vcpu
    }

    /// From now on it runs on the CPU that `host` belongs to, where another may have run with its ASID.
    pub fn enter_on(&mut self, host: HostArea) {
        if self.host != host.own_block {
            self.host = host.own_block;
            self.abilities = host.abilities;
            self.all_clean = host.abilities.all_clean();
            let control = &mut self.block_mut().control;
            // What another CPU knows of the block, this one does not.
            control.clean = 0;
            (control.pause_filter_count, control.pause_filter_threshold) = host.abilities.pause_filter();
            self.set(Register::SpecCtrl, self.get(Register::SpecCtrl));
        }
        self.flush();
    }

    /// Nothing that the guest's translations led to before is believed at its next turn.
    pub fn flush(&mut self) {
        self.block_mut().control.tlb_control = self.abilities.flush();
    }

    /// Instruction bytes at the exit, and how many, where the CPU saves them; else none.
    pub fn fetched(&self) -> ([u8; 15], usize) {
        let control = &self.block().control;
        (control.instruction_bytes, usize::from(control.fetched_bytes & 0xf).min(15))
    }

    fn block(&self) -> &Vmcb {
        // SAFETY: the block is this value's alone, and the CPU reads and writes it only in `run`.
        unsafe { &*self.block }
    }

    fn block_mut(&mut self) -> &mut Vmcb {
        // SAFETY: as above.
        unsafe { &mut *self.block }
    }

    fn segment_index(name: SegmentName) -> usize {
        match name {
            SegmentName::Es => 0,
            SegmentName::Cs => 1,
            SegmentName::Ss => 2,
            SegmentName::Ds => 3,
            SegmentName::Fs => 4,
            SegmentName::Gs => 5,
            SegmentName::Gdtr => 6,
            SegmentName::Ldtr => 7,
            SegmentName::Idtr => 8,
            SegmentName::Tr => 9,
        }
    }
}

/// Where each register is in the control block; `Cr8` and `Efer` share their field with others.
macro_rules! field {
    ($block:expr, $register:expr, $($borrow:tt)+) => {{
        let Vmcb { control, state, .. } = $block;
        match $register {
            Register::Rip => $($borrow)+ state.rip,
            Register::Rflags => $($borrow)+ state.rflags,
            Register::Cr0 => $($borrow)+ state.cr0,
            Register::Cr2 => $($borrow)+ state.cr2,
            Register::Cr3 => $($borrow)+ state.cr3,
            Register::Cr4 => $($borrow)+ state.cr4,
            Register::Cr8 => $($borrow)+ control.virtual_interrupt,
            Register::Efer => $($borrow)+ state.efer,
            Register::Dr6 => $($borrow)+ state.dr6,
            Register::Dr7 => $($borrow)+ state.dr7,
            Register::Pat => $($borrow)+ state.pat,
            Register::Star => $($borrow)+ state.star,
            Register::Lstar => $($borrow)+ state.lstar,
            Register::Cstar => $($borrow)+ state.cstar,
            Register::Sfmask => $($borrow)+ state.sfmask,
            Register::KernelGsBase => $($borrow)+ state.kernel_gs_base,
            Register::SysenterCs => $($borrow)+ state.sysenter_cs,
            Register::SysenterEsp => $($borrow)+ state.sysenter_esp,
            Register::SysenterEip => $($borrow)+ state.sysenter_eip,
            Register::DebugCtl => $($borrow)+ state.debug_control,
            Register::SpecCtrl => $($borrow)+ state.spec_ctrl,
            Register::NextRip => $($borrow)+ control.next_rip,
            Register::TscOffset => $($borrow)+ control.tsc_offset,
        }
    }};
}

impl VirtualCpu for Vcpu {
    #[inline]
    fn run(&mut self, gprs: &mut Gprs) -> Exit {
        let (physical, host, spec_ctrl, all_clean) =
            (self.physical, self.host, self.spec_ctrl, self.all_clean);
        let block = self.block_mut();
        block.state.rax = gprs.0[gpr::RAX];
        block.state.rsp = gprs.0[gpr::RSP];
        if spec_ctrl != 0 {
            // SAFETY: only a guest that is shown the register sets it, and only its known bits.
            unsafe { write_msr(msr::SPEC_CTRL, spec_ctrl) };
        }
        // SAFETY: `new`'s caller vouched for the nested page tables, `super::enable` for the host's
        // block; interrupts are off and GIF is set wherever hv runs.
        unsafe { svm_switch(gprs, physical, host) };
        if spec_ctrl != 0 {
            // SAFETY: as above.
            unsafe { write_msr(msr::SPEC_CTRL, 0) };
        }
        let block = self.block_mut();
        gprs.0[gpr::RAX] = block.state.rax;
        gprs.0[gpr::RSP] = block.state.rsp;
        block.control.event_injection = 0;
        block.control.tlb_control = 0;
        block.control.clean = all_clean;
        reason(&block.control)
    }

    #[inline]
    fn get(&self, register: Register) -> u64 {
        let value = *field!(self.block(), register, &);
        match register {
            Register::Efer => value & !efer::SVM_ENABLE,
            Register::Cr8 => value & 0xf,
            _ => value,
        }
    }

    #[inline]
    fn set(&mut self, register: Register, value: u64) {
        self.block_mut().control.clean &= !clean_bit(register);
        let field = field!(self.block_mut(), register, &mut);
        *field = match register {
            Register::Efer => value | efer::SVM_ENABLE,
            Register::Cr8 => *field & !0xf | value & 0xf,
            _ => value,
        };
        if matches!(register, Register::Cr0 | Register::Cr3 | Register::Cr4 | Register::Efer) {
            self.flush();
        }
        if register == Register::SpecCtrl {
            self.spec_ctrl = if self.abilities.switches_spec_ctrl() { 0 } else { value };
        }
    }

    #[inline]
    fn segment(&self, name: SegmentName) -> Segment {
        let state = &self.block().state;
        let raw = state.segments[Self::segment_index(name)];
        let mut attributes = raw.attributes;
        if name == SegmentName::Ss {
            // The privilege level has a field of its own: SYSRET does not change SS's. APM 2, 15.5.1.
            let shift = hv_core::cpu::attributes::DPL_SHIFT;
            attributes = attributes & !(3 << shift) | u16::from(state.cpl & 3) << shift;
        }
        Segment { selector: raw.selector, attributes, limit: raw.limit, base: raw.base }
    }

    fn set_segment(&mut self, name: SegmentName, segment: Segment) {
        let Segment { selector, attributes, limit, base } = segment;
        let Vmcb { control, state, .. } = self.block_mut();
        control.clean &= !clean_bit_of_segment(name);
        let raw = &mut state.segments[Self::segment_index(name)];
        (raw.selector, raw.attributes, raw.limit, raw.base) = (selector, attributes, limit, base);
        if name == SegmentName::Ss {
            state.cpl = (attributes >> hv_core::cpu::attributes::DPL_SHIFT) as u8 & 3;
        }
    }

    #[inline]
    fn inject(&mut self, event: Option<Event>) {
        self.block_mut().control.event_injection = event.map_or(0, to_field);
    }

    #[inline]
    fn interrupted_delivery(&self) -> Option<Event> {
        from_field(self.block().control.exit_int_info)
    }

    #[inline]
    fn interrupt_shadow(&self) -> bool {
        self.block().control.interrupt_shadow & 1 != 0
    }

    #[inline]
    fn clear_interrupt_shadow(&mut self) {
        self.block_mut().control.interrupt_shadow = 0;
    }

    fn watch(&mut self, interrupt_window: Option<u8>, iret: bool) {
        use virtual_interrupt::{PENDING, PRIORITY, PRIORITY_SHIFT};
        let control = &mut self.block_mut().control;
        control.clean &= !(clean::INTERCEPTS | clean::VIRTUAL_INTERRUPT);
        let set = |bits: u32, bit: u32, on: bool| if on { bits | bit } else { bits & !bit };
        let window = interrupt_window.is_some();
        control.intercept_1 = set(control.intercept_1, intercept_1::VIRTUAL_INTERRUPT, window);
        control.intercept_1 = set(control.intercept_1, intercept_1::IRET, iret);
        // A virtual interrupt of the vector's priority: taking it is intercepted, so it is never
        // delivered; it only tells when IF and the task priority would let one through.
        let pending = interrupt_window.map_or(0, |vector| PENDING | u64::from(vector >> 4) << PRIORITY_SHIFT);
        control.virtual_interrupt = control.virtual_interrupt & !(PENDING | PRIORITY) | pending;
    }
}
