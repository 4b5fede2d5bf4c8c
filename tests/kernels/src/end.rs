//! How a kernel ends.

use crate::acpi;
use crate::cpu::{self, port};
use crate::memory;

/// Written to port 0xf4 if all was well; QEMU's rule makes it status 33.
pub const PASSED: u32 = 0x10;
/// If something was not: status 35.
pub const FAILED: u32 = 0x11;

/// Fields of the FADT: where the sleep control register and the reset register are. ACPI 6.5, 5.2.9.
const SLEEP_CONTROL: u64 = 244;
const RESET_REGISTER: u64 = 116;
const RESET_VALUE: u64 = 128;
/// Sleep control: sleep now, in state 5. ACPI 6.5, 4.8.3.7.
const SLEEP_NOW: u8 = 1 << 5 | 5 << 2;

/// Ends the virtual machine with a value by isa-debug-exit.
pub fn exit(value: u32) -> ! {
    port::write_32(0xf4, value);
    // Nobody was there.
    cpu::halt()
}

/// The port in a generic address of the FADT's. ACPI 6.5, 5.2.3.2.
fn fadt_port(field: u64) -> Option<u16> {
    const IN_PORTS: u8 = 1;
    let address = acpi::table(*b"FACP")? + field;
    (memory::load::<u8>(address) == IN_PORTS).then(|| memory::load_64(address + 4) as u16)
}

/// Ends as the command line says (`end=`), else with the status.
pub fn as_told(how: Option<&str>, passed: bool) -> ! {
    match how {
        Some("power-off") => {
            if let Some(at) = fadt_port(SLEEP_CONTROL) {
                port::write_8(at, SLEEP_NOW);
            }
        }
        Some("reset") => {
            let value = acpi::table(*b"FACP").map(|fadt| memory::load(fadt + RESET_VALUE));
            if let Some((at, value)) = fadt_port(RESET_REGISTER).zip(value) {
                port::write_8(at, value);
            }
        }
        Some("triple-fault") => cpu::triple_fault(),
        _ => {}
    }
    exit(if passed { PASSED } else { FAILED })
}
