//! What the manual says, and where QEMU 7.2 says something else.

use super::*;
use hv_defs::svm::Vmcb;

/// A control area as the CPU leaves it.
fn control(code: u64, info_1: u64, info_2: u64) -> Control {
    // SAFETY: the block is numbers throughout, for which zeros are values.
    let mut block: Vmcb = unsafe { core::mem::zeroed() };
    block.control.exit_code = code;
    (block.control.exit_info_1, block.control.exit_info_2) = (info_1, info_2);
    block.control.clone()
}

fn why(code: u64) -> Exit {
    reason(&control(code, 0, 0))
}

#[test]
fn every_code_has_a_name_and_no_other_has() {
    let named = [
        (0x60, Exit::HostInterrupt),
        (0x61, Exit::HostNmi),
        (0x62, Exit::HostSmi),
        (0x63, Exit::HostInit),
        (0x64, Exit::InterruptWindow),
        (0x6f, Exit::PerformanceCounter),
        (0x72, Exit::Cpuid),
        (0x73, Exit::NoSuchInstruction),
        (0x74, Exit::Iret),
        (0x76, Exit::Invalidate),
        (0x77, Exit::Pause),
        (0x78, Exit::Halt),
        (0x7a, Exit::NoSuchInstruction),
        (0x7d, Exit::TaskSwitch),
        (0x7f, Exit::Shutdown),
        (0x80, Exit::NoSuchInstruction),
        (0x81, Exit::Hypercall),
        (0x82, Exit::NoSuchInstruction),
        (0x86, Exit::NoSuchInstruction),
        (0x89, Exit::WriteBack),
        (0x8a, Exit::MonitorWait),
        (0x8b, Exit::MonitorWait),
        (0x8c, Exit::MonitorWait),
        (0x8d, Exit::Xsetbv),
        (0x8e, Exit::PerformanceCounter),
        (0x65, Exit::Unknown(0x65)),
        (0x7e, Exit::Unknown(0x7e)),
        (0x88, Exit::Unknown(0x88)),
        (0x8f, Exit::Unknown(0x8f)),
        (0x3ff, Exit::Unknown(0x3ff)),
        (0x401, Exit::Unknown(0x401)),
        (0x04, Exit::Control(ControlRegister::Cr4, Access::Read)),
        (0x14, Exit::Control(ControlRegister::Cr4, Access::Write)),
        (0x18, Exit::Control(ControlRegister::Cr8, Access::Write)),
        (0x05, Exit::Unknown(5)),
        (0x27, Exit::Debug(7, Access::Read)),
        (0x36, Exit::Debug(6, Access::Write)),
    ];
    for (code, exit) in named {
        assert_eq!(why(code), exit, "{code:#x}");
    }
    for code in 0..0x1000 {
        assert!(why(code).class() < hv_core::exit::CLASSES);
    }
}

/// Deviation 2: RDTSCP exits with RDTSC's code. Neither is intercepted, and both have one name.
#[test]
fn rdtscp_may_say_that_it_is_rdtsc() {
    assert_eq!((why(0x6e), why(0x87)), (Exit::TimeStamp, Exit::TimeStamp));
}

/// Deviation 3: EXITCODE is written as 32 bits.
#[test]
fn a_refused_block_is_known_by_32_bits() {
    assert_eq!((why(u64::MAX), why(0xffff_ffff)), (Exit::Invalid, Exit::Invalid));
}

/// Deviation 4: EXITINFO2 is the next RIP of a port access, with and without next-RIP save.
#[test]
fn a_port_access_says_what_comes_after_it() {
    let port = |info| match reason(&control(0x7b, info, 0x1234)) {
        Exit::Port(port) => port,
        other => panic!("{other:?}"),
    };
    let (access, next_rip) = (Access::Read, 0x1234);
    let plain = PortAccess { port: 0x3f8, size: 1, access, string: false, repeat: false, next_rip };
    assert_eq!(port(0x03f8_0011), plain);
    assert_eq!(port(0x03f8_0020), PortAccess { size: 2, access: Access::Write, ..plain });
    assert_eq!(port(0xffff_004d), PortAccess { port: 0xffff, size: 4, string: true, repeat: true, ..plain });
}

#[test]
fn a_msr_access_has_its_direction() {
    assert_eq!(reason(&control(0x7c, 0, 0)), Exit::Msr(Access::Read));
    assert_eq!(reason(&control(0x7c, 1, 0)), Exit::Msr(Access::Write));
}

#[test]
fn an_exception_comes_with_all_that_is_known() {
    let exception = |vector, error| Exit::Exception { vector, error, address: 0xcafe };
    assert_eq!(reason(&control(0x4e, 0x1_0000_0007, 0xcafe)), exception(14, 7));
    assert_eq!(reason(&control(0x41, 0, 0xcafe)), exception(1, 0));
    assert_eq!(reason(&control(0x5f, 0, 0xcafe)), exception(31, 0));
}

/// Deviation 7: a reserved bit may be reported without P. It is the address that says what is there.
#[test]
fn a_nested_fault_is_taken_as_it_is() {
    let fault = |info| match reason(&control(0x400, info, 0xfee0_0030)) {
        Exit::Memory(fault) => fault,
        other => panic!("{other:?}"),
    };
    let (address, access) = (0xfee0_0030, Access::Read);
    let plain = NestedFault { address, access, fetch: false, present: false, in_page_walk: false };
    assert_eq!(fault(1 << 32), plain);
    assert_eq!(fault(1 << 32 | 8), plain, "reserved, without P");
    assert_eq!(fault(1 << 32 | 9), NestedFault { present: true, ..plain });
    assert_eq!(fault(1 << 32 | 6), NestedFault { access: Access::Write, ..plain });
    assert_eq!(fault(1 << 33 | 0x10), NestedFault { fetch: true, in_page_walk: true, ..plain });
}

#[test]
fn events_survive_the_way_there_and_back() {
    let exception = |vector, error| Event::Exception { vector, error };
    for (event, field) in [
        (Event::Interrupt(0x31), 0x8000_0031),
        (Event::Nmi, 0x8000_0202),
        (exception(6, None), 0x8000_0306),
        (exception(14, Some(0x15)), 0x15_8000_0b0e),
        (Event::SoftwareInterrupt(0x80), 0x8000_0480),
    ] {
        assert_eq!((to_field(event), from_field(field)), (field, Some(event)));
    }
    assert_eq!(from_field(0x0000_0031), None, "not valid");
}

/// Deviation 5: an interrupt whose delivery faults is called an exception, and injecting that is
/// refused.
#[test]
fn an_exception_above_31_is_an_interrupt() {
    for vector in 32..=255_u8 {
        let field = 0x8000_0300 | u64::from(vector);
        assert_eq!(from_field(field), Some(Event::Interrupt(vector)));
        assert_eq!(to_field(Event::Interrupt(vector)), 0x8000_0000 | u64::from(vector));
    }
}

/// APM 2, 15.15.3 and table 15-9: what is not named there VMRUN reads each time.
#[test]
fn what_hv_changes_is_not_called_clean() {
    use SegmentName::{Cs, Ds, Es, Fs, Gdtr, Gs, Idtr, Ldtr, Ss, Tr};
    let registers = [
        (Register::TscOffset, 0),
        (Register::Cr8, 3),
        (Register::Pat, 4),
        (Register::Cr0, 5),
        (Register::Cr3, 5),
        (Register::Cr4, 5),
        (Register::Efer, 5),
        (Register::Dr6, 6),
        (Register::Dr7, 6),
        (Register::Cr2, 9),
        (Register::DebugCtl, 10),
    ];
    for (register, bit) in registers {
        assert_eq!(clean_bit(register), 1 << bit, "{register:?}");
    }
    for register in [Register::Rip, Register::Rflags, Register::Star, Register::KernelGsBase] {
        assert_eq!(clean_bit(register), 0, "{register:?}");
    }
    assert!([Cs, Ds, Es, Ss].iter().all(|&name| clean_bit_of_segment(name) == 1 << 8));
    assert!([Gdtr, Idtr].iter().all(|&name| clean_bit_of_segment(name) == 1 << 7));
    assert!([Fs, Gs, Ldtr, Tr].iter().all(|&name| clean_bit_of_segment(name) == 0));
}
