//! From the control block's exit code to `hv-core`'s [`Exit`]. Names, no decisions.

use hv_core::cpu::{Event, Register, SegmentName};
use hv_core::exit::{Access, ControlRegister, Exit, NestedFault, PortAccess};
use hv_defs::svm::{Control, clean, event, exit, io_info, nested_fault};

/// The architectural name of the reason in `control`. QEMU writes 32 bits of the code.
#[inline]
pub fn reason(control: &Control) -> Exit {
    let code = control.exit_code as u32;
    if code < exit::INTR { register_or_exception(code, control) } else { other(code, control) }
}

/// Codes in groups, a register or vector each. None of them is frequent.
#[cold]
fn register_or_exception(code: u32, control: &Control) -> Exit {
    match code {
        exit::CR0_READ..exit::DR0_READ => control_register(code),
        exit::DR0_READ..exit::EXCEPTION_0 => {
            let access = if code < exit::DR0_WRITE { Access::Read } else { Access::Write };
            Exit::Debug(code as u8 & 0xf, access)
        }
        _ => Exit::Exception {
            vector: (code - exit::EXCEPTION_0) as u8,
            error: control.exit_info_1 as u32,
            address: control.exit_info_2,
        },
    }
}

#[inline]
fn other(code: u32, control: &Control) -> Exit {
    match code {
        exit::INTR => Exit::HostInterrupt,
        exit::NMI => Exit::HostNmi,
        exit::SMI => Exit::HostSmi,
        exit::INIT => Exit::HostInit,
        exit::VINTR => Exit::InterruptWindow,
        exit::RDTSC | exit::RDTSCP => Exit::TimeStamp,
        exit::RDPMC | exit::RDPRU => Exit::PerformanceCounter,
        exit::CPUID => Exit::Cpuid,
        exit::IRET => Exit::Iret,
        exit::INVD => Exit::Invalidate,
        exit::PAUSE => Exit::Pause,
        exit::HLT => Exit::Halt,
        exit::IO => Exit::Port(port(control)),
        exit::MSR if control.exit_info_1 & 1 == 0 => Exit::Msr(Access::Read),
        exit::MSR => Exit::Msr(Access::Write),
        exit::TASK_SWITCH => Exit::TaskSwitch,
        exit::SHUTDOWN => Exit::Shutdown,
        exit::VMMCALL => Exit::Hypercall,
        exit::WBINVD => Exit::WriteBack,
        exit::MONITOR | exit::MWAIT | exit::MWAIT_ARMED => Exit::MonitorWait,
        exit::XSETBV => Exit::Xsetbv,
        // VMRUN to SKINIT, and RSM outside system management mode.
        exit::VMRUN..=exit::SKINIT | exit::INVLPGA | exit::RSM => Exit::NoSuchInstruction,
        exit::NESTED_PAGE_FAULT => Exit::Memory(nested(control)),
        exit::INVALID => Exit::Invalid,
        code => Exit::Unknown(u64::from(code)),
    }
}

fn control_register(code: u32) -> Exit {
    let access = if code < exit::CR0_WRITE { Access::Read } else { Access::Write };
    let register = match code & 0xf {
        0 => ControlRegister::Cr0,
        3 => ControlRegister::Cr3,
        4 => ControlRegister::Cr4,
        8 => ControlRegister::Cr8,
        _ => return Exit::Unknown(u64::from(code)),
    };
    Exit::Control(register, access)
}

/// APM 2, 15.10.2. EXITINFO2 is the next RIP, with or without next-RIP save.
fn port(control: &Control) -> PortAccess {
    let info = control.exit_info_1;
    PortAccess {
        port: (info >> io_info::PORT_SHIFT) as u16,
        size: (info >> io_info::SIZE_SHIFT) as u8 & 0b111,
        access: if info & io_info::IN != 0 { Access::Read } else { Access::Write },
        string: info & io_info::STRING != 0,
        repeat: info & io_info::REPEAT != 0,
        next_rip: control.exit_info_2,
    }
}

/// APM 2, 15.25.6.
fn nested(control: &Control) -> NestedFault {
    let info = control.exit_info_1;
    NestedFault {
        address: control.exit_info_2,
        access: if info & nested_fault::WRITE != 0 { Access::Write } else { Access::Read },
        fetch: info & nested_fault::FETCH != 0,
        present: info & nested_fault::PRESENT != 0,
        in_page_walk: info & nested_fault::IN_PAGE_WALK != 0,
    }
}

/// The event as the control block writes it. APM 2, 15.20.
pub fn to_field(what: Event) -> u64 {
    event::VALID
        | match what {
            Event::Interrupt(vector) => event::INTERRUPT | u64::from(vector),
            Event::Nmi => event::NMI | 2,
            Event::Exception { vector, error: None } => event::EXCEPTION | u64::from(vector),
            Event::Exception { vector, error: Some(error) } => {
                event::EXCEPTION | event::ERROR_VALID | u64::from(vector) | u64::from(error) << 32
            }
            Event::SoftwareInterrupt(vector) => event::SOFTWARE | u64::from(vector),
        }
}

/// What a field of the control block says was being delivered.
#[inline]
pub fn from_field(field: u64) -> Option<Event> {
    if field & event::VALID == 0 { None } else { Some(delivered(field)) }
}

#[cold]
fn delivered(field: u64) -> Event {
    let vector = field as u8;
    let error = (field & event::ERROR_VALID != 0).then_some((field >> 32) as u32);
    match field & event::TYPE_MASK {
        event::NMI => Event::Nmi,
        // QEMU calls an interrupt whose delivery faults an exception; there are only 32 of those.
        event::EXCEPTION if vector < 32 => Event::Exception { vector, error },
        event::SOFTWARE => Event::SoftwareInterrupt(vector),
        _ => Event::Interrupt(vector),
    }
}

/// The clean bit that covers a register; 0 for those that VMRUN or VMLOAD always reads.
/// APM 2, 15.15.3.
#[inline]
pub const fn clean_bit(register: Register) -> u64 {
    match register {
        Register::Cr0 | Register::Cr3 | Register::Cr4 | Register::Efer => clean::CONTROL_REGISTERS,
        Register::Cr2 => clean::CR2,
        Register::Cr8 => clean::VIRTUAL_INTERRUPT,
        Register::Dr6 | Register::Dr7 => clean::DEBUG_REGISTERS,
        Register::Pat => clean::NESTED_PAGING,
        Register::DebugCtl => clean::LAST_BRANCH,
        Register::TscOffset => clean::INTERCEPTS,
        _ => 0,
    }
}

/// As [`clean_bit`], for segments.
pub const fn clean_bit_of_segment(name: SegmentName) -> u64 {
    match name {
        SegmentName::Es | SegmentName::Cs | SegmentName::Ss | SegmentName::Ds => clean::SEGMENTS,
        SegmentName::Gdtr | SegmentName::Idtr => clean::DESCRIPTOR_TABLES,
        SegmentName::Fs | SegmentName::Gs | SegmentName::Ldtr | SegmentName::Tr => 0,
    }
}

#[cfg(test)]
mod tests;
