//! The machine's I/O APIC, for the few interrupts that come on a line: ISA's, on an edge, at the pins of
//! their numbers. Intel 82093AA data sheet, 3. Machines that have another one too have this one for ISA.

use hv_abi::boot::DIRECT_MAP;
use hv_defs::apic::io;

/// The I/O APIC. Where there is none, nobody takes what is written.
pub struct IoApic(());

impl IoApic {
    /// Takes it.
    ///
    /// # Safety
    /// There is one, and when it is used its page is mapped as a device's in the direct map.
    pub const unsafe fn new() -> Self {
        Self(())
    }

    /// Has a pin's interrupts reach the CPU with that APIC ID, below 255, as `vector`.
    pub fn send(&mut self, pin: u32, apic_id: u32, vector: u8) {
        // The half with the mask last: until then nothing is sent.
        self.mask(pin);
        write(2 * pin + 1, apic_id << 24);
        write(2 * pin, vector.into());
    }

    /// Has them reach nobody.
    pub fn mask(&mut self, pin: u32) {
        write(2 * pin, io::MASKED as u32);
    }
}

/// Writes half of a redirection entry.
fn write(half: u32, value: u32) {
    let words = [(io::SELECT, u32::from(io::TABLE) + half), (io::WINDOW, value)];
    for (offset, word) in words {
        let at = core::ptr::with_exposed_provenance_mut::<u32>((DIRECT_MAP + io::PAGE + offset) as usize);
        // SAFETY: by the promise of `IoApic::new`; both registers are aligned and in the page.
        unsafe { at.write_volatile(word) };
    }
}
