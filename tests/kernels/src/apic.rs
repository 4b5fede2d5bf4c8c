//! The local APIC: the xAPIC page, or x2APIC MSRs once a CPU has switched over. SDM volume 3, chapter 11.

use crate::cpu::{cpuid, read_msr, write_msr};
use crate::memory;
use core::sync::atomic::{AtomicBool, Ordering};

const PAGE: u64 = 0xfee0_0000;
/// Bits of `IA32_APIC_BASE`: enabled, and in x2APIC mode.
const BASE_MSR: u32 = 0x1b;
const MODES: u64 = 3 << 10;

/// Registers by their offset in the page.
pub const ID: u32 = 0x20;
/// Version.
pub const VERSION: u32 = 0x30;
/// Task priority.
pub const TASK_PRIORITY: u32 = 0x80;
/// End of interrupt.
pub const EOI: u32 = 0xb0;
/// Spurious vector and software enable.
pub const SPURIOUS: u32 = 0xf0;
/// First of eight: requested vectors.
pub const REQUEST: u32 = 0x200;
/// Interrupt command.
pub const ICR: u32 = 0x300;
/// Timer's entry of the local vector table; bits 18-17 choose its mode.
pub const LVT_TIMER: u32 = 0x320;
/// Pins' entries.
pub const LVT_LINT0: u32 = 0x350;
/// Timer's initial count.
pub const TIMER_INITIAL: u32 = 0x380;
/// Timer's current count.
pub const TIMER_CURRENT: u32 = 0x390;
/// Timer's divisor.
pub const TIMER_DIVIDE: u32 = 0x3e0;
/// Interrupt to this CPU; x2APIC only.
pub const SELF_IPI: u32 = 0x3f0;

/// Commands of the ICR: INIT, start-up at page, and a fixed vector.
pub const INIT: u32 = 0x4500;
/// See [`INIT`]; plus the page's number.
pub const STARTUP: u32 = 0x4600;
/// See [`INIT`]; plus the vector.
pub const FIXED: u32 = 0x4000;

/// With a command: to all other CPUs, whoever it is sent to.
pub const OTHERS: u32 = 3 << 18;

static X2: AtomicBool = AtomicBool::new(false);

/// Reads a register.
pub fn read(register: u32) -> u32 {
    if X2.load(Ordering::Relaxed) {
        return read_msr(0x800 + register / 16) as u32;
    }
    memory::load(PAGE + u64::from(register))
}

/// Writes a register.
pub fn write(register: u32, value: u32) {
    if X2.load(Ordering::Relaxed) {
        return write_msr(0x800 + register / 16, u64::from(value));
    }
    memory::store(PAGE + u64::from(register), value);
}

/// Sends a command to a CPU.
pub fn send(to: u32, command: u32) {
    if X2.load(Ordering::Relaxed) {
        return write_msr(0x800 + ICR / 16, u64::from(to) << 32 | u64::from(command));
    }
    write(ICR + 0x10, to << 24);
    write(ICR, command);
}

/// This CPU's ID.
pub fn id() -> u32 {
    if X2.load(Ordering::Relaxed) { read(ID) } else { read(ID) >> 24 }
}

/// Has this CPU's APIC deliver interrupts.
pub fn enable() {
    write(SPURIOUS, 0x1ff);
    write(TASK_PRIORITY, 0);
}

/// Switches this CPU's APIC off and on again, as suites begin; whether CPUID says so meanwhile.
pub fn restart() -> bool {
    const ENABLED: u64 = 1 << 11;
    const CPUID_APIC: u32 = 1 << 9;
    let is_there = || cpuid(1)[3] & CPUID_APIC != 0;
    write_msr(BASE_MSR, read_msr(BASE_MSR) & !MODES);
    let off = !is_there();
    write_msr(BASE_MSR, read_msr(BASE_MSR) | ENABLED);
    off && is_there()
}

/// Switches this CPU to x2APIC mode; all others are to follow before they use their APIC.
pub fn switch_to_x2() {
    write_msr(BASE_MSR, read_msr(BASE_MSR) | MODES);
    X2.store(true, Ordering::Relaxed);
}

/// Whether CPUs are to be in x2APIC mode.
pub fn mode_is_x2() -> bool {
    X2.load(Ordering::Relaxed)
}

/// Whether this CPU is in x2APIC mode.
pub fn is_x2() -> bool {
    read_msr(BASE_MSR) & MODES == MODES
}

/// Whether a vector is requested of this CPU.
pub fn is_requested(vector: u32) -> bool {
    read(REQUEST + vector / 32 * 0x10) & 1 << (vector % 32) != 0
}
