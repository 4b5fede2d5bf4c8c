//! CMOS memory: a register number to port 0x70, its value from port 0x71.

use x86_64::instructions::port::Port;

/// Reads a register.
pub fn read(register: u8) -> u8 {
    // Bit 7 of the number would hold back NMIs; there is nobody to take them, and none come.
    // SAFETY: on every board that the door knows CMOS is there, and reading changes nothing.
    unsafe {
        Port::new(0x70).write(register);
        Port::new(0x71).read()
    }
}
