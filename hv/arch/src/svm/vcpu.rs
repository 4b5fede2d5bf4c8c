//! One virtual CPU: a control block behind `hv-core`'s [`VirtualCpu`].

use super::decode::{from_field, reason, to_field};
use super::{HostArea, PermissionMaps};
use hv_abi::boot::DIRECT_MAP;
use hv_core::cpu::{Event, Gprs, Register, Segment, SegmentName, VirtualCpu, gpr};
use hv_core::exit::Exit;
use hv_defs::msr::efer;
use hv_defs::svm::{TLB_FLUSH_ALL, Vmcb, intercept_1, intercept_2, virtual_interrupt};

unsafe extern "C" {
    /// `world_switch.S`.
    fn svm_switch(gprs: *mut Gprs, guest: u64, host: u64);
}

/// A virtual CPU on SVM.
pub struct Vcpu {
    block: *mut Vmcb,
    physical: u64,
    host: u64,
}

// SAFETY: the control block is this value's alone, wherever it goes.
unsafe impl Send for Vcpu {}

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

    /// A virtual CPU in the page at `physical`; its registers are all zero.
    ///
    /// # Safety
    /// The page is this value's alone, in the direct map. `nested_root` is the root of nested page
    /// tables that give the guest its own memory and nothing else.
    pub unsafe fn new(physical: u64, nested_root: u64, maps: PermissionMaps, asid: u32) -> Self {
        let block = core::ptr::with_exposed_provenance_mut::<Vmcb>((DIRECT_MAP + physical) as usize);
        // SAFETY: the page is ours; a block of zeros is a block.
        unsafe { block.cast::<u8>().write_bytes(0, size_of::<Vmcb>()) };
        let mut vcpu = Self { block, physical, host: 0 };
        let control = &mut vcpu.block_mut().control;
        control.intercept_1 = INTERCEPTS_1;
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

    /// From now on it runs on the CPU that `host` belongs to.
    pub fn enter_on(&mut self, host: HostArea) {
        self.host = host.own_block;
        self.flush();
    }

    /// Nothing that the guest's translations led to before is believed at its next turn.
    pub fn flush(&mut self) {
        self.block_mut().control.tlb_control = TLB_FLUSH_ALL;
    }

    /// Instruction bytes at the exit, where the CPU saves them.
    pub fn instruction_bytes(&self) -> &[u8] {
        let control = &self.block().control;
        &control.instruction_bytes[..usize::from(control.fetched_bytes & 0xf).min(15)]
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

    /// Where a register is; EFER and the TSC offset are seen to by the callers.
    fn slot(&mut self, register: Register) -> &mut u64 {
        let Vmcb { control, state, .. } = self.block_mut();
        match register {
            Register::Rip => &mut state.rip,
            Register::Rflags => &mut state.rflags,
            Register::Cr0 => &mut state.cr0,
            Register::Cr2 => &mut state.cr2,
            Register::Cr3 => &mut state.cr3,
            Register::Cr4 => &mut state.cr4,
            Register::Cr8 => &mut control.virtual_interrupt,
            Register::Efer => &mut state.efer,
            Register::Dr6 => &mut state.dr6,
            Register::Dr7 => &mut state.dr7,
            Register::Pat => &mut state.pat,
            Register::Star => &mut state.star,
            Register::Lstar => &mut state.lstar,
            Register::Cstar => &mut state.cstar,
            Register::Sfmask => &mut state.sfmask,
            Register::KernelGsBase => &mut state.kernel_gs_base,
            Register::SysenterCs => &mut state.sysenter_cs,
            Register::SysenterEsp => &mut state.sysenter_esp,
            Register::SysenterEip => &mut state.sysenter_eip,
            Register::DebugCtl => &mut state.debug_control,
            Register::TscOffset => &mut control.tsc_offset,
        }
    }
}

impl VirtualCpu for Vcpu {
    fn run(&mut self, gprs: &mut Gprs) -> Exit {
        let (physical, host) = (self.physical, self.host);
        let block = self.block_mut();
        block.state.rax = gprs.0[gpr::RAX];
        block.state.rsp = gprs.0[gpr::RSP];
        // SAFETY: `new`'s caller vouched for the nested page tables, `super::enable` for the host's
        // block; interrupts are off and GIF is set wherever hv runs.
        unsafe { svm_switch(gprs, physical, host) };
        let block = self.block_mut();
        gprs.0[gpr::RAX] = block.state.rax;
        gprs.0[gpr::RSP] = block.state.rsp;
        block.control.event_injection = 0;
        block.control.tlb_control = 0;
        reason(&block.control)
    }

    fn get(&self, register: Register) -> u64 {
        let Vmcb { control, state, .. } = self.block();
        match register {
            Register::Rip => state.rip,
            Register::Rflags => state.rflags,
            Register::Cr0 => state.cr0,
            Register::Cr2 => state.cr2,
            Register::Cr3 => state.cr3,
            Register::Cr4 => state.cr4,
            Register::Cr8 => control.virtual_interrupt & 0xf,
            Register::Efer => state.efer & !efer::SVM_ENABLE,
            Register::Dr6 => state.dr6,
            Register::Dr7 => state.dr7,
            Register::Pat => state.pat,
            Register::Star => state.star,
            Register::Lstar => state.lstar,
            Register::Cstar => state.cstar,
            Register::Sfmask => state.sfmask,
            Register::KernelGsBase => state.kernel_gs_base,
            Register::SysenterCs => state.sysenter_cs,
            Register::SysenterEsp => state.sysenter_esp,
            Register::SysenterEip => state.sysenter_eip,
            Register::DebugCtl => state.debug_control,
            Register::TscOffset => control.tsc_offset,
        }
    }

    fn set(&mut self, register: Register, value: u64) {
        let value = match register {
            Register::Efer => value | efer::SVM_ENABLE,
            Register::Cr8 => self.block().control.virtual_interrupt & !0xf | value & 0xf,
            _ => value,
        };
        *self.slot(register) = value;
    }

    fn segment(&self, name: SegmentName) -> Segment {
        let raw = self.block().state.segments[Self::segment_index(name)];
        Segment { selector: raw.selector, attributes: raw.attributes, limit: raw.limit, base: raw.base }
    }

    fn set_segment(&mut self, name: SegmentName, segment: Segment) {
        let Segment { selector, attributes, limit, base } = segment;
        let state = &mut self.block_mut().state;
        let raw = &mut state.segments[Self::segment_index(name)];
        (raw.selector, raw.attributes, raw.limit, raw.base) = (selector, attributes, limit, base);
        if name == SegmentName::Ss {
            state.cpl = (attributes >> hv_core::cpu::attributes::DPL_SHIFT) as u8 & 3;
        }
    }

    fn inject(&mut self, event: Option<Event>) {
        self.block_mut().control.event_injection = event.map_or(0, to_field);
    }

    fn interrupted_delivery(&self) -> Option<Event> {
        from_field(self.block().control.exit_int_info)
    }

    fn interrupt_shadow(&self) -> bool {
        self.block().control.interrupt_shadow & 1 != 0
    }

    fn clear_interrupt_shadow(&mut self) {
        self.block_mut().control.interrupt_shadow = 0;
    }

    fn watch(&mut self, interrupt_window: bool, iret: bool) {
        use virtual_interrupt::{IGNORE_TPR, PENDING, PRIORITY};
        let control = &mut self.block_mut().control;
        let set = |bits: u32, bit: u32, on: bool| if on { bits | bit } else { bits & !bit };
        control.intercept_1 = set(control.intercept_1, intercept_1::VIRTUAL_INTERRUPT, interrupt_window);
        control.intercept_1 = set(control.intercept_1, intercept_1::IRET, iret);
        // A pending virtual interrupt of highest priority: taking it is intercepted, so it is never
        // delivered; it only tells when one could be.
        let pending = if interrupt_window { PENDING | PRIORITY | IGNORE_TPR } else { 0 };
        control.virtual_interrupt = control.virtual_interrupt & !(PENDING | PRIORITY | IGNORE_TPR) | pending;
    }
}
