//! A kernel in long mode that uses the local APIC by x2APIC MSRs.

#![no_std]
#![no_main]
// It is a program for a bare (virtual) machine.
#![allow(unsafe_code)]

use test_kernels::boot::Boot;
use test_kernels::checks::Checks;
use test_kernels::{apic, cpu, interrupts, kernel, smp};

kernel!(run);

const EFER: u32 = 0xc000_0080;
const TSC_DEADLINE: u32 = 0x6e0;
/// CPUID leaf 1, ECX: x2APIC, and the timer's deadline mode.
const X2APIC: u32 = 1 << 21;
const DEADLINE: u32 = 1 << 24;
/// The timer's modes.
const PERIODIC: u32 = 1 << 17;
const BY_DEADLINE: u32 = 2 << 17;

fn run(boot: &Boot) -> bool {
    let mut checks = Checks::default();
    checks.is("long mode is active", cpu::read_msr(EFER) & 0x500, 0x500);
    checks.holds("the map names RAM", boot.ram_end() > 1 << 20);
    let features = cpu::cpuid(1)[2];
    checks.is("CPUID has x2APIC and its timer's deadline", features & (X2APIC | DEADLINE), X2APIC | DEADLINE);
    checks.holds("the APIC goes off and on", apic::restart());
    apic::switch_to_x2();
    checks.is("x2APIC mode", (apic::is_x2(), apic::id()), (true, 0));
    checks.is("version", apic::read(apic::VERSION) & 0xf0, 0x10);
    apic::enable();
    requests(&mut checks);
    timers(&mut checks);
    checks.holds("the other CPU starts", smp::start(1, 0));
    comes("an IPI from the other CPU", &mut checks, &mut || smp::interrupt(0));
    checks.tell()
}

/// Something interrupts, once.
fn comes(name: &str, checks: &mut Checks, cause: &mut dyn FnMut()) {
    let before = interrupts::count();
    cause();
    cpu::sleep_until(|| interrupts::count() != before);
    checks.is(name, interrupts::count(), before + 1);
}

/// IPIs to itself, both ways, and what is seen of one before it is taken.
fn requests(checks: &mut Checks) {
    let vector = interrupts::VECTOR;
    comes("an IPI by the self-IPI register", checks, &mut || apic::write(apic::SELF_IPI, vector));
    comes("an IPI by the 64-bit ICR", checks, &mut || apic::send(0, apic::FIXED | vector));
    comes("a request is seen before it is taken", checks, &mut || {
        apic::write(apic::SELF_IPI, vector);
        assert!(apic::is_requested(vector));
    });
    apic::write(apic::TASK_PRIORITY, 0xf0);
    apic::write(apic::SELF_IPI, vector);
    checks.holds("the task's priority holds it back", apic::is_requested(vector));
    comes("until it sinks", checks, &mut || apic::write(apic::TASK_PRIORITY, 0));
}

/// The timer's three modes.
fn timers(checks: &mut Checks) {
    let vector = interrupts::VECTOR;
    apic::write(apic::TIMER_DIVIDE, 0xb);
    apic::write(apic::LVT_TIMER, vector);
    comes("the timer, once", checks, &mut || apic::write(apic::TIMER_INITIAL, 100_000));
    let before = interrupts::count();
    apic::write(apic::LVT_TIMER, vector | PERIODIC);
    apic::write(apic::TIMER_INITIAL, 100_000);
    cpu::sleep_until(|| interrupts::count() >= before + 5);
    apic::write(apic::TIMER_INITIAL, 0);
    cpu::take_interrupts();
    apic::write(apic::LVT_TIMER, vector | BY_DEADLINE);
    let deadline = cpu::ticks() + 1_000_000;
    comes("the timer, by deadline", checks, &mut || cpu::write_msr(TSC_DEADLINE, deadline));
    checks.holds("not before it", cpu::ticks() >= deadline);
    checks.is("the deadline is over", cpu::read_msr(TSC_DEADLINE), 0);
}
