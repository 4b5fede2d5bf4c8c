//! Events: how hv tells the management VM that it is wanted.

use super::place::{self, MANAGEMENT};
use hv_abi::ioreq::EVENTS;
use hv_arch::guest_ram::SharedPage;
use hv_core::vlapic::Trigger;
use spin::RwLock;

/// Where events are set, and whom that interrupts.
#[derive(Clone, Copy)]
pub struct Events {
    /// Their page.
    pub page: SharedPage,
    /// vCPU of the management VM.
    pub vcpu: usize,
    /// Its interrupt.
    pub vector: u8,
}

static PLACE: RwLock<Option<Events>> = RwLock::new(None);

/// From now on events go there.
pub fn direct(events: Option<Events>) {
    *PLACE.write() = events;
}

/// Sets an event. One there is not, or before there is a page: nobody wants it.
pub fn set(event: u32) {
    let Some(events) = *PLACE.read() else { return };
    if event < EVENTS
        && events.page.set_bit(event)
        && let Some(front) = place::front(MANAGEMENT, events.vcpu)
        && front.mailbox.post_interrupt(events.vector, Trigger::Edge)
    {
        front.kick();
    }
}
