//! What only a kernel does: MSRs, CR4, XCR0, and the exits that are a line each.

use super::*;
use crate::cpu::SegmentName;
use crate::exit::{ControlRegister, NestedFault};

impl Box {
    /// `WRMSR`; what is delivered next.
    fn write_msr(&mut self, number: u32, value: u64) -> Option<Event> {
        self.vcpu.gprs.0[gpr::RCX] = number.into();
        self.vcpu.gprs.set_edx_eax(value);
        self.next(Exit::Msr(Access::Write))
    }

    /// `RDMSR`, of one that there is.
    fn read_msr(&mut self, number: u32) -> u64 {
        self.vcpu.gprs.0[gpr::RCX] = number.into();
        assert_eq!(self.next(Exit::Msr(Access::Read)), None, "{number:#x}");
        self.vcpu.gprs.edx_eax()
    }

    /// An exit of which the guest goes on; what is delivered next.
    fn next(&mut self, exit: Exit) -> Option<Event> {
        assert_eq!(self.exit(exit), Verdict::Resume, "{exit:?}");
        assert_eq!(self.prepare(), Readiness::Run);
        self.cpu.injected
    }
}

#[test]
fn msrs_are_read_as_they_were_written() {
    let mut here = Box::new();
    for (number, value) in [
        (0x10, 77),                     // TSC; the clock stands
        (0x3b, 5),                      // TSC_ADJUST
        (0x174, 8),                     // SYSENTER_CS
        (0x1a0, 0x1801),                // MISC_ENABLE
        (0x1d9, 1),                     // DEBUGCTL
        (0x2ff, 0xc06),                 // MTRRdefType
        (0x277, 0x0007_0406_0007_0401), // PAT
        (0x4b56_4d01, 0x7001),          // kvmclock
        (0x4b56_4d00, 0x6000),          // its wall clock
        (0x4b56_4d04, 0x5001),          // PV EOI
        (0xc000_0080, 0xd01),           // EFER: SCE, LME, LMA, NXE
        (0xc000_0103, 3),               // TSC_AUX
    ] {
        assert_eq!(here.write_msr(number, value), None, "{number:#x}");
        assert_eq!(here.read_msr(number), value, "{number:#x}");
    }
    assert_eq!(here.cpu.get(Register::TscOffset), here.vcpu.tsc.offset);
    assert_eq!(here.read_msr(0x17), 0, "a constant");
}

#[test]
fn msrs_refuse_what_a_cpu_refuses() {
    let mut here = Box::new();
    for (number, value) in [
        (0x17, 0),             // PLATFORM_ID: read-only
        (0x48, 1),             // SPEC_CTRL: not on this CPU
        (0x49, 1),             // PRED_CMD: no barrier
        (0x1d9, 1 << 6),       // DEBUGCTL: reserved
        (0x277, 2),            // PAT: no such type
        (0x2ff, 7),            // MTRRdefType: no such type
        (0xda0, 1),            // XSS: nothing to save
        (0x4b56_4d01, 2),      // kvmclock: not a multiple of four
        (0x4b56_4d04, 2),      // PV EOI: as well
        (0xc000_0080, 0x1d01), // EFER: SVM
        (0xc000_0080, 0),      // EFER: LME off while paging
    ] {
        let rip = here.rip();
        assert_eq!(here.write_msr(number, value), Some(exception::GP), "{number:#x}");
        assert_eq!(here.rip(), rip);
    }
}

#[test]
fn the_clock_is_told_where_the_guest_wants_it() {
    let mut here = Box::new();
    here.write_msr(0x4b56_4d01, 0x7001);
    assert_eq!((here.world.memory.number(0x7008, 8), here.world.memory.number(0x7010, 8)), (5_000, 5_000));
    here.write_msr(0x4b56_4d00, 0x6000);
    assert_eq!(here.world.memory.number(0x6000, 4), 2, "a version");
    // Where there is no RAM nothing is told, and nothing happens.
    assert_eq!(here.write_msr(0x4b56_4d01, 0xfff_ffff_f001), None);
}

#[test]
fn xcr0_takes_what_there_is_from_the_kernel() {
    let mut here = Box::new();
    here.world.memory.put(0x1000, &[0x0f, 0x01, 0xd1]);
    // Value, ECX; whether it is taken.
    for (value, register, fine) in
        [(7, 0, true), (3, 0, true), (5, 0, false), (7, 1, false), (0x10_0001, 0, false)]
    {
        let before = here.world.xcr0;
        here.cpu.set(Register::Rip, 0x1000);
        here.vcpu.gprs.0[gpr::RCX] = register;
        here.vcpu.gprs.set_edx_eax(value);
        assert_eq!(here.next(Exit::Xsetbv), (!fine).then_some(exception::GP), "{value:#x}");
        assert_eq!(here.world.xcr0, if fine { value } else { before });
    }
}

#[test]
fn small_exits_do_what_they_say() {
    let mut here = Box::new();
    for (code, exit, verdict) in [
        (&[0xf3, 0x90][..], Exit::Pause, Verdict::Yield),
        (&[0x0f, 0x09], Exit::WriteBack, Verdict::Resume),
        (&[0x66, 0x0f, 0x08], Exit::Invalidate, Verdict::Resume),
    ] {
        here.cpu.set(Register::Rip, 0x8000);
        here.world.memory.put(0x8000, code);
        assert_eq!((here.exit(exit), here.rip()), (verdict, 0x8000 + code.len() as u64));
    }
    let rip = here.rip();
    assert_eq!(here.next(Exit::MonitorWait), Some(exception::UD));
    assert_eq!(here.next(Exit::NoSuchInstruction), Some(exception::UD));
    assert_eq!(here.next(Exit::PerformanceCounter), Some(exception::GP));
    assert_eq!(here.next(Exit::HostSmi), None);
    assert_eq!(here.exit(Exit::HostNmi), Verdict::HostInterrupt);
    assert_eq!(here.rip(), rip);
}

#[test]
fn exceptions_come_back_with_what_belongs_to_them() {
    let mut here = Box::new();
    for (vector, error) in [(14, Some(7)), (17, Some(7)), (6, None), (1, None)] {
        let event = here.next(Exit::Exception { vector, error: 7, address: 0xabc });
        assert_eq!(event, Some(Event::Exception { vector, error }));
    }
    assert_eq!(here.cpu.get(Register::Cr2), 0xabc);
}

#[test]
fn what_hv_does_not_do_ends_the_vm_by_name() {
    let mut here = Box::new();
    let fault = NestedFault {
        address: 0xf000_0000,
        access: Access::Read,
        fetch: true,
        present: false,
        in_page_walk: false,
    };
    for (exit, reason) in [
        (Exit::TaskSwitch, StopReason::TaskSwitch),
        (Exit::Memory(fault), StopReason::NoMemory(0xf000_0000)),
        (
            Exit::Memory(NestedFault { fetch: false, in_page_walk: true, ..fault }),
            StopReason::NoMemory(0xf000_0000),
        ),
        (Exit::TimeStamp, StopReason::UnknownExit(Exit::TimeStamp.class() as u64)),
        (Exit::Control(ControlRegister::Cr3, Access::Write), StopReason::UnknownExit(15)),
    ] {
        assert_eq!(here.exit(exit), Verdict::Stop(reason));
    }
}

#[test]
fn a_delivery_that_needs_memory_where_none_is_ends_the_vm() {
    let mut here = Box::new();
    let fault = NestedFault {
        address: 0xf000_0000,
        access: Access::Write,
        fetch: false,
        present: false,
        in_page_walk: false,
    };
    here.cpu.interrupted = Some(Event::Exception { vector: 14, error: Some(2) });
    // The instruction has nothing to do with it: carried out, it would fault again, and for ever.
    assert_eq!(here.exit(Exit::Memory(fault)), Verdict::Stop(StopReason::NoMemory(0xf000_0000)));
}

#[test]
fn calls_of_programs_are_denied() {
    let mut here = Box::new();
    let stack = here.cpu.segment(SegmentName::Ss);
    let attributes = stack.attributes | 3 << crate::cpu::attributes::DPL_SHIFT;
    here.cpu.set_segment(SegmentName::Ss, crate::cpu::Segment { attributes, ..stack });
    here.vcpu.gprs.0[gpr::RAX] = Call::HELLO.0;
    assert_eq!(here.next(Exit::Hypercall), None);
    assert_eq!(here.vcpu.gprs.0[gpr::RAX].cast_signed(), Status::DENIED.0);
    here.vcpu.gprs.set_edx_eax(1);
    here.vcpu.gprs.0[gpr::RCX] = 0;
    assert_eq!(here.next(Exit::Xsetbv), Some(exception::GP));
}

#[test]
fn only_a_write_of_cr4_writes_cr4() {
    let mut here = Box::new();
    let exit = Exit::Control(ControlRegister::Cr4, Access::Write);
    let old = here.cpu.get(Register::Cr4);
    here.cpu.set(Register::Rip, 0x8000);
    here.vcpu.gprs.0[gpr::RBX] = old | hv_defs::control::cr4::PGE;
    // Another CPU may have changed the instruction: MOV CR0, RBX; MOV RBX, CR4; CLTS.
    for code in [&[0x0f, 0x22, 0xc3][..], &[0x0f, 0x20, 0xe3], &[0x0f, 0x06]] {
        here.world.memory.put(0x8000, code);
        assert_eq!(here.exit(exit), Verdict::Resume);
        assert_eq!((here.cpu.get(Register::Cr4), here.rip()), (old, 0x8000), "{code:x?}");
    }
    here.world.memory.put(0x8000, &[0x0f, 0x22, 0xe3]);
    here.exit(exit);
    assert_eq!((here.cpu.get(Register::Cr4), here.rip()), (here.vcpu.gprs.0[gpr::RBX], 0x8003));
    here.vcpu.gprs.0[gpr::RBX] = 0; // PAE off in long mode
    here.cpu.set(Register::Rip, 0x8000);
    here.exit(exit);
    here.prepare();
    assert_eq!((here.cpu.injected, here.rip()), (Some(exception::GP), 0x8000));
}

#[test]
fn an_address_that_can_not_be_is_refused() {
    let mut here = Box::new();
    // LSTAR, CSTAR, FS.base, GS.base, KernelGSbase
    for number in [0xc000_0082, 0xc000_0083, 0xc000_0100, 0xc000_0101, 0xc000_0102] {
        for (value, fine) in
            [(0x8000_0000_0000, false), (0xffff_8000_0000_0000, true), (0x7fff_ffff_ffff, true)]
        {
            here.vcpu.gprs.0[gpr::RCX] = number;
            here.vcpu.gprs.set_edx_eax(value);
            here.cpu.set(Register::Rip, 0x1000);
            here.exit(Exit::Msr(Access::Write));
            here.prepare();
            assert_eq!(here.cpu.injected, (!fine).then_some(exception::GP), "{number:#x} {value:#x}");
            assert_eq!(here.rip(), if fine { 0x1002 } else { 0x1000 });
            here.exit(Exit::Msr(Access::Read));
            assert_eq!(here.vcpu.gprs.edx_eax() == value, fine, "{number:#x} {value:#x}");
        }
    }
}
