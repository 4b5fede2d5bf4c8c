//! KVM's end of interrupt without an exit. Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN.
//!
//! When an edge-triggered interrupt is delivered and nothing else waits, hv sets bit 0 of the guest's
//! word: the guest may end the interrupt by clearing it. hv looks at the next exit. Before another
//! interrupt can be delivered the grant is taken back, because that one's delivery depends on a write
//! to the EOI register. The guest's CPU stands still whenever hv touches the word, and the guest
//! clears it by one instruction on that CPU, so neither needs a lock.

use super::msrs::PV_EOI;
use super::{Vcpu, World};

/// Bit 0 of the word: it may be cleared instead of a write to the EOI register.
const GRANTED: u8 = 1;

impl Vcpu {
    /// An interrupt is about to be delivered: lets the guest end it through its word, if it has one.
    pub(super) fn grant_eoi(&mut self, world: &impl World) {
        if let Some(word) = self.places[PV_EOI].address()
            && self.apic.pv_eoi_possible()
        {
            // Memory that the guest has not got: it writes the register, as without the word.
            self.granted = world.write(word, &[GRANTED]).then_some(word);
        }
    }

    /// After a turn of the guest: it may have ended the interrupt.
    #[cold]
    pub(super) fn look_at_granted_eoi(&mut self, world: &impl World) {
        let mut word = [GRANTED];
        if let Some(at) = self.granted
            && world.read(at, &mut word)
            && word[0] & GRANTED == 0
        {
            self.apic.complete_pv_eoi();
            self.granted = None;
        }
    }

    /// The guest has not ended it, and shall do so by the register.
    #[cold]
    pub(super) fn take_back_eoi(&mut self, world: &impl World) {
        if let Some(at) = self.granted.take() {
            // It was written before.
            let _ = world.write(at, &[0]);
        }
    }
}
