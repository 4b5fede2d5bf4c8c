//! What is left of a BIOS: the reset vector, for kernels that reset by it.
//!
//! Linux takes the BIOS's way where ACPI is hardware-reduced and there is no EFI (it means to ask EFI,
//! arch/x86/kernel/reboot.c, `efi_reboot_required`, and finds none): it goes back to real mode and jumps to
//! F000:FFF0, as the processor does after a reset (SDM 3, 10.1.4).

use crate::memory::{GuestMemory, NotRam};
use crate::models::power::register;

/// F000:FFF0.
const RESET_VECTOR: u64 = 0xf_fff0;
const PORT: [u8; 2] = (register::port(register::RESET) as u16).to_le_bytes();
/// Writes the reset register, and waits for what comes of it.
const CODE: [u8; 10] = [
    0xfa, // cli
    0xb0,
    register::RESET_VALUE, // mov al, RESET_VALUE
    0xba,
    PORT[0],
    PORT[1], // mov dx, PORT
    0xee,    // out dx, al
    0xf4,    // hlt
    0xeb,
    0xfd, // jmp to the hlt
];

/// Puts it into a guest's RAM, which the memory map keeps for it.
///
/// # Errors
/// [`NotRam`]: the guest has no memory there.
pub fn install(memory: &dyn GuestMemory) -> Result<(), NotRam> {
    memory.write(RESET_VECTOR, &CODE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{CONVENTIONAL_END, EXTENDED, TABLES};

    #[test]
    fn it_is_the_guests_to_read_and_nobodys_to_use() {
        let end = RESET_VECTOR + CODE.len() as u64;
        assert!((CONVENTIONAL_END..EXTENDED).contains(&RESET_VECTOR) && end <= EXTENDED);
        assert!(TABLES.base + TABLES.len >= end, "what is at the end of the tables' place");
        assert!(
            crate::acpi::tables(crate::platform::Ram::new(256 << 30).expect("lawful"), 16).len() < 0xfff0
        );
    }

    #[test]
    fn it_writes_the_reset_value_to_the_reset_register() {
        let [_, load, value, place, low, high, out, ..] = CODE;
        assert_eq!((load, place, out), (0xb0, 0xba, 0xee));
        assert_eq!((value, [low, high]), (register::RESET_VALUE, PORT));
    }
}
