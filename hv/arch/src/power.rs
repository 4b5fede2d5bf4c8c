//! Restarting the machine.

use hv_core::acpi::Reset;
use x86_64::instructions::port::Port;
use x86_64::structures::DescriptorTablePointer;

/// Restarts the machine by the first way that works: ACPI's reset register, the chipset's, the
/// keyboard controller's, a triple fault.
pub fn restart(reset: Option<Reset>) -> ! {
    x86_64::instructions::interrupts::disable();
    if let Some(Reset { register, value }) = reset
        && register.is_port
        && let Ok(port) = u16::try_from(register.address)
    {
        write(port, value);
    }
    // Intel ICH9 data sheet, 13.7.5: RST_CNT at 0xcf9; bit 1 = hard reset, then bit 2 does it.
    write(0xcf9, 0x02);
    write(0xcf9, 0x06);
    // 8042: command 0xfe pulses the CPU's reset line.
    write(0x64, 0xfe);
    let nothing = DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
    // SAFETY: without a table the next exception can't be delivered, which resets the CPU; this is
    // the end on purpose.
    unsafe {
        x86_64::instructions::tables::lidt(&nothing);
        core::arch::asm!("int3", options(noreturn));
    }
}

fn write(port: u16, value: u8) {
    // SAFETY: the ports restart the machine, and that is what is wanted here.
    unsafe { Port::<u8>::new(port).write(value) }
}
