//! What is exact although the common way through a turn leaves it out.

use super::*;

#[test]
fn xcr0_is_what_the_guest_has_set_with_or_without_an_exit() {
    // QEMU 7.2, deviation 1: XSETBV is never an exit, so only the CPU knows.
    let mut here = Box::new();
    for (xcr0, size) in [(1, 0x240), (7, 0x340)] {
        here.world.xcr0 = xcr0;
        here.vcpu.gprs.0[gpr::RAX] = 0xd;
        here.vcpu.gprs.0[gpr::RCX] = 0;
        here.exit(Exit::Cpuid);
        assert_eq!(here.vcpu.gprs.low(gpr::RBX), size);
    }
}

#[test]
fn where_the_cpu_says_what_is_next_it_is_believed() {
    // Deviation 4: it may not say so. The lengths are tested with their instructions.
    let mut here = Box::new();
    here.cpu.set(Register::NextRip, 0x1005);
    here.exit(Exit::Cpuid);
    assert_eq!(here.rip(), 0x1005, "with prefixes");
}

#[test]
fn a_time_stamp_exit_is_nobodys() {
    // Deviation 2: RDTSC and RDTSCP can't be told apart by length, so neither is intercepted.
    let mut here = Box::new();
    let class = Exit::TimeStamp.class() as u64;
    assert_eq!(here.exit(Exit::TimeStamp), Verdict::Stop(StopReason::UnknownExit(class)));
}

#[test]
fn rip_wraps_where_it_is_32_bits_wide() {
    let mut here = Box::new();
    here.cpu.set(Register::Rip, 0xffff_ffff);
    here.exit(Exit::Cpuid);
    assert_eq!(here.rip(), 0x1_0000_0001);
    here.cpu = FakeCpu::protected();
    here.cpu.set(Register::Rip, 0xffff_ffff);
    here.exit(Exit::Cpuid);
    assert_eq!(here.rip(), 1);
}

#[test]
fn the_task_priority_is_the_one_that_the_guest_moved_without_an_exit() {
    let mut here = Box::new();
    here.let_interrupts_through();
    here.cpu.set(Register::Cr8, 5);
    here.mailbox.post_interrupt(0x51, Trigger::Edge);
    here.prepare();
    assert_eq!((here.cpu.injected, here.cpu.watching.0), (None, Some(0x51)));
    here.cpu.set(Register::Cr8, 4);
    here.exit(Exit::InterruptWindow);
    here.prepare();
    assert_eq!((here.cpu.injected, here.cpu.watching.0), (Some(Event::Interrupt(0x51)), None));
}

#[test]
fn the_task_priority_has_two_names() {
    let mut here = Box::new();
    // x2APIC mode; then TPR by its register shows in CR8, and CR8 shows in TPR.
    for (msr, value) in [(0x1b, 0xfee0_0d00), (0x808, 0x93)] {
        here.vcpu.gprs.0[gpr::RCX] = msr;
        here.vcpu.gprs.set_edx_eax(value);
        here.exit(Exit::Msr(Access::Write));
    }
    assert_eq!(here.cpu.get(Register::Cr8), 9);
    here.vcpu.gprs.0[gpr::RCX] = 0x808;
    for (cr8, tpr) in [(9, 0x93), (4, 0x40)] {
        here.cpu.set(Register::Cr8, cr8);
        here.exit(Exit::Msr(Access::Read));
        assert_eq!(here.vcpu.gprs.edx_eax(), tpr);
    }
}

#[test]
fn a_guest_is_left_alone_until_somebody_wants_something() {
    let mut here = Box::new();
    here.let_interrupts_through();
    here.prepare();
    // Whatever is in the hardware now stays there.
    here.cpu.watching = (Some(1), true);
    for _ in 0..3 {
        here.exit(Exit::Cpuid);
        assert_eq!((here.prepare(), here.cpu.watching), (Readiness::Run, (Some(1), true)));
    }
    here.mailbox.post_interrupt(0x51, Trigger::Edge);
    here.prepare();
    assert_eq!(here.cpu.injected, Some(Event::Interrupt(0x51)));
}

#[test]
fn the_timer_is_asked_for_when_it_has_moved_and_only_then() {
    let mut here = Box::new();
    here.let_interrupts_through();
    assert!(here.vcpu.apic.timer_moved());
    here.exit(Exit::Cpuid);
    assert!(!here.vcpu.apic.timer_moved());
    here.vcpu.apic.write_page(0x320, 4, 0x4_0050, &mut NoClient);
    assert!(here.vcpu.apic.timer_moved(), "its mode");
    here.vcpu.gprs.0[gpr::RCX] = 0x6e0;
    here.vcpu.gprs.set_edx_eax(6_000);
    here.exit(Exit::Msr(Access::Write));
    assert!(here.vcpu.apic.timer_moved() && here.vcpu.apic.deadline().is_some(), "its deadline");
    here.world.tsc = 6_001;
    here.vcpu.expire_timer(&here.world);
    assert!(here.vcpu.apic.timer_moved() && here.vcpu.apic.deadline().is_none(), "it was due");
    here.vcpu.expire_timer(&here.world);
    assert!(!here.vcpu.apic.timer_moved());
    here.vcpu.apic.write_page(0xf0, 4, 0xff, &mut NoClient);
    assert!(here.vcpu.apic.timer_moved(), "masked with all others");
}

#[test]
fn speculation_control_goes_to_the_cpu() {
    let mut here = Box::new();
    here.world.policy = policy::tests::everything(policy::tests::AMD);
    here.vcpu.gprs.0[gpr::RCX] = 0x48;
    for (value, kept) in [(5, 5), (8, 5), (0, 0)] {
        here.vcpu.gprs.set_edx_eax(value);
        here.exit(Exit::Msr(Access::Write));
        assert_eq!(here.cpu.get(Register::SpecCtrl), kept, "{value}");
    }
}

#[test]
fn a_deadline_moves_with_the_counter_it_is_meant_on() {
    const TSC_ADJUST: u64 = 0x3b;
    let mut here = Box::new();
    here.vcpu.apic.timer_moved();
    here.vcpu.gprs.0[gpr::RCX] = TSC_ADJUST;
    here.vcpu.gprs.0[gpr::RAX] = 1000;
    assert_eq!(here.exit(Exit::Msr(Access::Write)), Verdict::Resume);
    assert!(here.vcpu.apic.timer_moved(), "hv's timer is set anew");
}
