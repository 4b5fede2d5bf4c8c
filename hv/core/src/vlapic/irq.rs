//! Which interrupt is next: requests, interrupts in service, priorities.
//! SDM 3, 11.8.3 to 11.8.5; APM 2, 16.6.3 and 16.6.4.

use super::{Client, LVT_ERROR, Trigger, Vlapic};
use hv_defs::apic::{error, lvt_timer::MASKED};

/// A set of vectors: IRR, ISR or TMR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vectors([u64; 4]);

impl Vectors {
    pub(super) fn insert(&mut self, vector: u8) {
        self.0[usize::from(vector >> 6)] |= 1 << (vector & 63);
    }

    pub(super) fn remove(&mut self, vector: u8) {
        self.0[usize::from(vector >> 6)] &= !(1 << (vector & 63));
    }

    pub(super) fn contains(&self, vector: u8) -> bool {
        self.0[usize::from(vector >> 6)] >> (vector & 63) & 1 == 1
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        let [a, b, c, d] = self.0;
        a | b | c | d == 0
    }

    #[inline]
    pub(super) fn highest(&self) -> Option<u8> {
        let word = (0..4).rev().find(|&word| self.0[word] != 0)?;
        Some((word as u32 * 64 + self.0[word].ilog2()) as u8)
    }

    /// One of the eight 32-bit registers that show the set.
    pub(super) fn register(&self, number: u32) -> u32 {
        (self.0[(number >> 1 & 3) as usize] >> (32 * (number & 1))) as u32
    }
}

impl Vlapic {
    /// An interrupt arrives: from the mailbox, from a device, from the APIC's own table.
    ///
    /// A disabled APIC does not take it; nor is a vector below 16 ever requested (SDM 3, 11.5.3).
    pub fn accept(&mut self, vector: u8, trigger: Trigger) {
        if !self.accepts() {
            return;
        }
        if vector < 16 {
            return self.error(error::RECEIVE_ILLEGAL_VECTOR);
        }
        self.request.insert(vector);
        match trigger {
            Trigger::Edge => self.level.remove(vector),
            Trigger::Level => self.level.insert(vector),
        }
    }

    /// The interrupt to be delivered now, if RFLAGS.IF and the like allow it.
    pub fn next_interrupt(&self) -> Option<u8> {
        self.next_ignoring_tpr().filter(|&vector| self.lets_through(vector))
    }

    /// Whether the task priority allows this interrupt.
    #[inline]
    pub fn lets_through(&self, vector: u8) -> bool {
        vector >> 4 > self.task_priority >> 4
    }

    /// The interrupt to be delivered as soon as the task priority allows it: what to watch for when
    /// the guest moves CR8 without an exit.
    pub fn next_ignoring_tpr(&self) -> Option<u8> {
        let vector = self.request.highest().filter(|_| self.accepts())?;
        let in_service = self.service.highest().unwrap_or(0);
        (vector >> 4 > in_service >> 4).then_some(vector)
    }

    /// The processor takes `vector`: it is in service from now on.
    pub fn acknowledge(&mut self, vector: u8) {
        if self.request.contains(vector) {
            self.request.remove(vector);
            self.service.insert(vector);
        }
    }

    /// End of interrupt: of the highest one in service. SDM 3, 11.8.5.
    pub(super) fn end_of_interrupt(&mut self, client: &mut impl Client) {
        let Some(vector) = self.service.highest() else { return };
        self.service.remove(vector);
        if self.level.contains(vector) {
            client.end_of_level_interrupt(vector);
        }
    }

    /// The processor priority. SDM 3, 11.8.3.1.
    pub fn processor_priority(&self) -> u8 {
        self.task_priority.max(self.service.highest().unwrap_or(0) & 0xf0)
    }

    /// Whether the guest may end the interrupt in service by clearing a bit in its memory, without
    /// an exit: nobody else must hear of it, and nothing waits for it. (KVM's PV EOI.)
    pub fn pv_eoi_possible(&self) -> bool {
        self.request.is_empty() && self.service.highest().is_some_and(|vector| !self.level.contains(vector))
    }

    /// The guest has cleared the bit that [`Vlapic::pv_eoi_possible`] allowed it to have.
    pub fn complete_pv_eoi(&mut self) {
        if let Some(vector) = self.service.highest() {
            self.service.remove(vector);
        }
    }

    /// CR8: the upper half of the task priority. APM 2, 8.1.4.
    pub fn cr8(&self) -> u64 {
        u64::from(self.task_priority >> 4)
    }

    /// The guest has written CR8, with or without an exit; it works with the APIC disabled too.
    pub fn set_tpr_from_cr8(&mut self, cr8: u64) {
        // Unchanged when the class is: the lower half is the guest's, if it wrote the register.
        if cr8 & 0xf != self.cr8() {
            self.task_priority = (cr8 as u8 & 0xf) << 4;
        }
    }

    /// Raises the interrupt of one entry of the local vector table.
    pub(super) fn raise(&mut self, entry: usize) {
        let entry = self.lvt[entry];
        if entry & MASKED == 0 {
            self.accept(entry as u8, Trigger::Edge);
        }
    }

    /// Notes an error. It interrupts once until the guest writes the error status. SDM 3, 11.5.3.
    pub(super) fn error(&mut self, error: u32) {
        let armed = self.new_errors == 0;
        self.new_errors |= error;
        if armed {
            self.raise(LVT_ERROR);
        }
    }
}
