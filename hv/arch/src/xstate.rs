//! Register states that hv does not use and every guest may: x87, SSE, AVX, debug addresses.
//! SDM 1, chapter 13; APM 2, 11.5.
//!
//! hv is built without floating point, so a guest's registers stay in the CPU through its exits and
//! are exchanged only when another guest gets the core.

use core::arch::asm;

use hv_core::features::Features;
use x86_64::registers::xcontrol::XCr0;

/// Bytes of a state: enough for AVX-512 (2 688), and a page; the policy lets no guest have more.
pub const BYTES: usize = hv_core::policy::xcr::AREA as usize;
/// MXCSR after reset, and where it lies in the area. SDM 1, 10.2.3, table 10-2.
const MXCSR: u32 = 0x1f80;
const MXCSR_AT: usize = 24;
/// FCW after reset.
const FCW: u16 = 0x37f;

/// A guest's registers while another has the core.
pub struct State {
    area: *mut u8,
    xcr0: u64,
    /// DR0 to DR3. DR6 and DR7 are in the control block, and VMRUN and #VMEXIT exchange them.
    debug: [u64; 4],
}

// SAFETY: the area is this value's alone.
unsafe impl Send for State {}

/// What the CPU keeps by XSAVE: the states that are exchanged; `None` = FXSAVE only.
#[derive(Clone, Copy, Debug)]
pub struct Kept(Option<u64>);

impl Kept {
    /// Those that hv exchanges of those that the processor has: `kept` is the policy's set.
    pub fn choose(features: &Features, kept: u64) -> Self {
        Self(features.bits.xsave.then_some(kept).filter(|&kept| kept & 1 != 0))
    }

    /// XCR0 of the guest whose registers are in the CPU.
    pub fn xcr0(self) -> u64 {
        // With XSAVE, hv has set CR4.OSXSAVE (`cpu::set_control_registers`).
        self.0.map_or(1, |_| XCr0::read_raw())
    }

    /// Sets it.
    ///
    /// # Safety
    /// The value obeys `policy::xcr::check` with what this processor has.
    pub unsafe fn set_xcr0(self, value: u64) {
        if self.0.is_some() {
            // SAFETY: the caller's promise.
            unsafe { XCr0::write_raw(value) };
        }
    }
}

impl State {
    /// The state after reset.
    ///
    /// # Safety
    /// `area` is [`BYTES`] bytes, 64-byte aligned, writable, and this value's alone.
    pub unsafe fn new(area: *mut u8) -> Self {
        let mut state = Self { area, xcr0: 1, debug: [0; 4] };
        state.reset();
        state
    }

    /// As after reset.
    pub fn reset(&mut self) {
        // SAFETY: the area is this value's alone, by `new`'s promise.
        unsafe {
            self.area.write_bytes(0, BYTES);
            self.area.copy_from_nonoverlapping(FCW.to_le_bytes().as_ptr(), 2);
            self.area.add(MXCSR_AT).copy_from_nonoverlapping(MXCSR.to_le_bytes().as_ptr(), 4);
        }
        (self.xcr0, self.debug) = (1, [0; 4]);
    }

    /// Takes the registers out of the CPU.
    pub fn save(&mut self, kept: Kept) {
        self.xcr0 = kept.xcr0();
        // SAFETY: the area is large enough for what `kept` may hold; all its states are enabled
        // while they are saved.
        unsafe {
            match kept.0 {
                Some(states) => {
                    if self.xcr0 != states {
                        XCr0::write_raw(states);
                    }
                    asm!("xsave64 [{}]", in(reg) self.area, in("eax") states as u32,
                         in("edx") (states >> 32) as u32, options(nostack));
                }
                None => asm!("fxsave64 [{}]", in(reg) self.area, options(nostack)),
            }
            let [d0, d1, d2, d3] = &mut self.debug;
            asm!(
                "mov {}, dr0",
                "mov {}, dr1",
                "mov {}, dr2",
                "mov {}, dr3",
                out(reg) * d0,
                out(reg) * d1,
                out(reg) * d2,
                out(reg) * d3,
                options(nomem, nostack)
            );
        }
    }

    /// Puts the registers into the CPU.
    pub fn load(&self, kept: Kept) {
        let [d0, d1, d2, d3] = self.debug;
        // SAFETY: as for `save`; the area holds what `save` or `new` wrote, which is well formed.
        // No breakpoint is on while hv runs (DR7 is the guest's, in its control block).
        unsafe {
            match kept.0 {
                Some(states) => {
                    XCr0::write_raw(states);
                    asm!("xrstor64 [{}]", in(reg) self.area, in("eax") states as u32,
                         in("edx") (states >> 32) as u32, options(nostack));
                    if self.xcr0 != states {
                        XCr0::write_raw(self.xcr0);
                    }
                }
                None => asm!("fxrstor64 [{}]", in(reg) self.area, options(nostack)),
            }
            asm!("mov dr0, {}", "mov dr1, {}", "mov dr2, {}", "mov dr3, {}",
                 in(reg) d0, in(reg) d1, in(reg) d2, in(reg) d3, options(nomem, nostack));
        }
    }
}
