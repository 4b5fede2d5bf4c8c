//! A pin of one of the machine's I/O APICs. Intel 82093AA data sheet, 3.

use hv_abi::boot::DIRECT_MAP;
use hv_core::acpi::Line;
use hv_defs::apic::io;

/// A pin that sends on an edge.
pub struct Pin(Line);

impl Pin {
    /// Takes the pin.
    ///
    /// # Safety
    /// The page is an I/O APIC's, and mapped as a device's in the direct map when the pin is used; nobody
    /// else uses it meanwhile.
    pub const unsafe fn new(line: Line) -> Self {
        Self(line)
    }

    /// Has its interrupts reach the CPU with that APIC ID as `vector`.
    pub fn send(&self, apic_id: u8, vector: u8) {
        // The half with the mask last: until then nothing is sent.
        self.mask();
        self.write(1, u32::from(apic_id) << 24);
        self.write(0, vector.into());
    }

    /// Has them reach nobody.
    pub fn mask(&self) {
        self.write(0, io::MASKED as u32);
    }

    /// Writes a half of its redirection entry.
    fn write(&self, half: u32, value: u32) {
        let register = |offset: u64| {
            core::ptr::with_exposed_provenance_mut::<u32>((DIRECT_MAP + self.0.io_apic + offset) as usize)
        };
        // SAFETY: by the promise of `new`; both registers are aligned and in the page.
        unsafe {
            register(io::SELECT).write_volatile(u32::from(io::TABLE) + 2 * u32::from(self.0.pin) + half);
            register(io::WINDOW).write_volatile(value);
        }
    }
}
