//! Restarting the machine, and switching it off.

use hv_core::acpi::{PowerOff, Reset};
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

/// Switches the machine off. It may take a moment, so this returns; it also does where it has no effect.
pub fn off(how: PowerOff) {
    match how {
        PowerOff::Pm1(registers) => {
            // Both registers have the type before either says go (ACPI 6.5, 16.1.7).
            for go in [false, true] {
                for (port, sleep_type) in registers.into_iter().flatten() {
                    let mut register = Port::<u16>::new(port);
                    // SAFETY: ACPI's register for this; what else it holds stays.
                    unsafe {
                        let now = register.read();
                        register.write(PowerOff::pm1(now, sleep_type, go));
                    }
                }
            }
        }
        PowerOff::Sleep(port, sleep_type) => write(port, PowerOff::sleep(sleep_type)),
    }
}

fn write(port: u16, value: u8) {
    // SAFETY: the ports restart the machine or switch it off, and that is what is wanted here.
    unsafe { Port::<u8>::new(port).write(value) }
}
