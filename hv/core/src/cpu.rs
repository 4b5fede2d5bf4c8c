//! What a virtual CPU looks like to the decisions in this crate: registers, and one seam to the
//! vendor's hardware.

use crate::exit::Exit;

/// General-purpose registers, in the order that instructions encode them. RSP is kept here too.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gprs(pub [u64; 16]);

/// Names of [`Gprs`].
#[allow(missing_docs)] // the registers are their own names
pub mod gpr {
    pub const RAX: usize = 0;
    pub const RCX: usize = 1;
    pub const RDX: usize = 2;
    pub const RBX: usize = 3;
    pub const RSP: usize = 4;
    pub const RBP: usize = 5;
    pub const RSI: usize = 6;
    pub const RDI: usize = 7;
    pub const R8: usize = 8;
    pub const R9: usize = 9;
    pub const R10: usize = 10;
    pub const R11: usize = 11;
}

impl Gprs {
    /// Low 32 bits.
    pub const fn low(&self, at: usize) -> u32 {
        self.0[at] as u32
    }

    /// Sets a register from a 32-bit result: the upper half becomes zero.
    pub fn set_low(&mut self, at: usize, value: u32) {
        self.0[at] = u64::from(value);
    }

    /// EDX:EAX, as `RDMSR`, `WRMSR` and `XSETBV` pair them.
    pub fn edx_eax(&self) -> u64 {
        u64::from(self.low(gpr::RDX)) << 32 | u64::from(self.low(gpr::RAX))
    }

    /// Sets EDX:EAX.
    pub fn set_edx_eax(&mut self, value: u64) {
        self.set_low(gpr::RAX, value as u32);
        self.set_low(gpr::RDX, (value >> 32) as u32);
    }
}

/// Registers that the vendor's hardware keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the registers are their own names
pub enum Register {
    Rip,
    Rflags,
    Cr0,
    Cr2,
    Cr3,
    Cr4,
    /// The task priority: bits 7 to 4 of the local APIC's TPR.
    Cr8,
    Efer,
    Dr6,
    Dr7,
    Pat,
    Star,
    Lstar,
    Cstar,
    Sfmask,
    KernelGsBase,
    SysenterCs,
    SysenterEsp,
    SysenterEip,
    DebugCtl,
    /// In the CPU while the guest runs, and not while hv does.
    SpecCtrl,
    /// The instruction after the one that stopped the guest, where the CPU saves it; else 0.
    NextRip,
    /// Added to the host's TSC when the guest reads its own.
    TscOffset,
}

/// Segment registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the registers are their own names
pub enum SegmentName {
    Es,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
    Gdtr,
    Ldtr,
    Idtr,
    Tr,
}

/// A segment register with its hidden part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// What the guest sees.
    pub selector: u16,
    /// Descriptor bits 40–47 and 52–55, packed: type, S, DPL, P, AVL, L, D/B, G. APM 2, 15.5.1.
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Linear address of its first byte.
    pub base: u64,
}

/// [`Segment::attributes`].
pub mod attributes {
    /// 64-bit code.
    pub const LONG: u16 = 1 << 9;
    /// 32-bit code or stack.
    pub const BIG: u16 = 1 << 10;
    /// Present.
    pub const PRESENT: u16 = 1 << 7;
    /// Privilege level, two bits.
    pub const DPL_SHIFT: u16 = 5;
}

/// Something that is delivered to the guest through its interrupt table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A hardware interrupt.
    Interrupt(u8),
    /// A non-maskable interrupt.
    Nmi,
    /// An exception, with its error code where it has one.
    Exception {
        /// Its vector.
        vector: u8,
        /// Its error code.
        error: Option<u32>,
    },
    /// `INT n`, whose delivery was interrupted and must be tried again.
    SoftwareInterrupt(u8),
}

/// Exceptions that hv injects. APM 2, 8.2.
pub mod exception {
    use super::Event;

    /// Debug.
    pub const DB: Event = Event::Exception { vector: 1, error: None };
    /// Invalid opcode.
    pub const UD: Event = Event::Exception { vector: 6, error: None };
    /// General protection, error code 0.
    pub const GP: Event = Event::Exception { vector: 13, error: Some(0) };
}

/// The vendor seam: one virtual CPU in the vendor's hardware.
///
/// Implemented by SVM (`hv/arch`), later VT-x, and by a fake for tests. Nothing above it knows a
/// vendor's word.
pub trait VirtualCpu {
    /// Runs the guest until it stops, and says why. The event given to [`VirtualCpu::inject`] is
    /// delivered first, and no longer waits after that.
    fn run(&mut self, gprs: &mut Gprs) -> Exit;
    /// Reads a register.
    fn get(&self, register: Register) -> u64;
    /// Sets a register; the value has been checked.
    fn set(&mut self, register: Register, value: u64);
    /// Reads a segment register.
    fn segment(&self, name: SegmentName) -> Segment;
    /// Sets a segment register.
    fn set_segment(&mut self, name: SegmentName, segment: Segment);
    /// Has `event` delivered when the guest runs next; `None` takes back what was not delivered.
    fn inject(&mut self, event: Option<Event>);
    /// What was being delivered when the guest stopped, and must be given to
    /// [`VirtualCpu::inject`] again unless something more urgent replaces it.
    fn interrupted_delivery(&self) -> Option<Event>;
    /// The instruction at RIP may not be interrupted (it follows `STI` or `MOV SS`).
    fn interrupt_shadow(&self) -> bool;
    /// Forgets the shadow, because hv has moved RIP past the instruction.
    fn clear_interrupt_shadow(&mut self);
    /// Asks for [`Exit::InterruptWindow`] as soon as the guest can take the interrupt with this
    /// vector, and for [`Exit::Iret`] at its next `IRET`.
    fn watch(&mut self, interrupt_window: Option<u8>, iret: bool);
}
