//! Instructions.

use core::arch::asm;

/// Ports of one, two and four bytes.
pub mod port {
    use core::arch::asm;

    /// Writes a byte.
    pub fn write_8(port: u16, value: u8) {
        // SAFETY: a port is a device's; the program is alone in its machine.
        unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack)) }
    }

    /// Reads a byte.
    pub fn read_8(port: u16) -> u8 {
        let value;
        // SAFETY: as above.
        unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack)) }
        value
    }

    /// Writes two bytes.
    pub fn write_16(port: u16, value: u16) {
        // SAFETY: as above.
        unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack)) }
    }

    /// Writes four bytes.
    pub fn write_32(port: u16, value: u32) {
        // SAFETY: as above.
        unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) }
    }

    /// Reads four bytes.
    pub fn read_32(port: u16) -> u32 {
        let value;
        // SAFETY: as above.
        unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack)) }
        value
    }
}

/// Reads a model-specific register; one that there is not faults.
pub fn read_msr(number: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading changes nothing here.
    unsafe { asm!("rdmsr", in("ecx") number, out("eax") low, out("edx") high, options(nostack)) }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register; one that there is not faults.
pub fn write_msr(number: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the kernels write registers of the local APIC, the clock and performance counters.
    unsafe { asm!("wrmsr", in("ecx") number, in("eax") low, in("edx") high, options(nostack)) }
}

/// EAX, EBX, ECX and EDX of a leaf.
pub fn cpuid(leaf: u32) -> [u32; 4] {
    #[cfg(target_arch = "x86")]
    use core::arch::x86::__cpuid;
    #[cfg(target_arch = "x86_64")]
    use core::arch::x86_64::__cpuid;
    let found = __cpuid(leaf);
    [found.eax, found.ebx, found.ecx, found.edx]
}

/// The time stamp counter.
pub fn ticks() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: it reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack)) }
    u64::from(high) << 32 | u64::from(low)
}

/// CR0.
pub fn cr0() -> usize {
    let value;
    // SAFETY: it reads a register.
    unsafe { asm!("mov {}, cr0", out(reg) value, options(nomem, nostack)) }
    value
}

/// Calls the hypervisor with a number; what is in EAX after it.
pub fn hypercall(number: u32) -> u32 {
    let result;
    // SAFETY: an unknown call changes nothing but EAX.
    unsafe { asm!("vmmcall", inout("eax") number => result, options(nostack)) }
    result
}

/// Lets interrupts come until `done`; sleeps meanwhile.
pub fn sleep_until(mut done: impl FnMut() -> bool) {
    while !done() {
        // SAFETY: the kernel has its interrupt table by now; STI lets nothing come before HLT.
        unsafe { asm!("sti", "hlt", "cli", options(nostack)) }
    }
}

/// Lets interrupts come that are waiting.
pub fn take_interrupts() {
    // SAFETY: as for `sleep_until`; they come after the NOP.
    unsafe { asm!("sti", "nop", "cli", options(nostack)) }
}

/// Stops for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: with interrupts off nothing comes after it.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

/// An exception with nobody to handle it: the CPU shuts down.
pub fn triple_fault() -> ! {
    #[repr(C, packed)]
    struct Nothing(u16, usize);
    let nothing = Nothing(0, 0);
    // SAFETY: this is meant to end the machine.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const nothing, options(noreturn)) }
}
