//! The interrupt command register: how a vCPU interrupts others, and KVM's shortcut for it.
//! SDM 3, 11.6.1 and table 11-3; APM 2, 16.5.

use super::{Client, DeliveryMode, Destination, Message, Trigger, Vlapic};
use hv_defs::apic::{error, icr};

/// The message that a command asks for; `None` where it asks for nothing.
fn decode(command: u64, x2apic: bool) -> Option<Message> {
    let low = command as u32;
    let mode = DeliveryMode::from_bits(low >> icr::MODE_SHIFT)?;
    // INIT de-assert was for APICs on a bus of their own.
    if mode == DeliveryMode::Init && low & icr::LEVEL != 0 && low & icr::ASSERT == 0 {
        return None;
    }
    let shorthand = low >> icr::SHORTHAND_SHIFT & 3;
    // A CPU can't start itself. SDM 3, table 11-3.
    if matches!(mode, DeliveryMode::Init | DeliveryMode::Startup) && matches!(shorthand, 1 | 2) {
        return None;
    }
    let (id, logical) = ((command >> 32) as u32, low & icr::LOGICAL != 0);
    let destination = match shorthand {
        0 if x2apic => Destination::wide(id, logical),
        0 => Destination::narrow(id >> 24, logical),
        1 => Destination::Myself,
        2 => Destination::All,
        _ => Destination::Others,
    };
    Some(Message { destination, mode, vector: low as u8, trigger: Trigger::Edge })
}

impl Vlapic {
    /// Carries out a command. To itself it delivers at once; all else is the client's.
    pub(super) fn send(&mut self, command: u64, client: &mut impl Client) {
        let Some(message) = decode(command, self.x2apic()) else { return };
        let interrupt = matches!(message.mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        if interrupt && message.vector < 16 {
            return self.error(error::SEND_ILLEGAL_VECTOR);
        }
        let to_self = message.destination == Destination::Myself
            || message.destination == Destination::Physical(self.id);
        if interrupt && to_self {
            return self.accept(message.vector, message.trigger);
        }
        client.send(message);
    }
}

/// KVM's hypercall `KVM_HC_SEND_IPI`: a message to every APIC whose ID is `first` plus the number
/// of a bit in the 128 of `bitmap`. `None` refuses a command with a destination mode, a shorthand
/// or a delivery mode there is not. (Linux, `Documentation/virt/kvm/x86/hypercalls.rst`, 7.)
pub fn send_ipi(bitmap: [u64; 2], first: u32, command: u32) -> Option<impl Iterator<Item = Message>> {
    if command & (icr::LOGICAL | 3 << icr::SHORTHAND_SHIFT) != 0 {
        return None;
    }
    let message = decode(u64::from(command), true)?;
    let mut left = u128::from(bitmap[1]) << 64 | u128::from(bitmap[0]);
    Some(core::iter::from_fn(move || {
        let bit = (left != 0).then(|| left.trailing_zeros())?;
        left &= left - 1;
        // IDs beyond the last one are nobody's, and so are all that follow.
        let id = first.checked_add(bit).filter(|&id| id != u32::MAX)?;
        Some(Message { destination: Destination::Physical(id), ..message })
    }))
}
