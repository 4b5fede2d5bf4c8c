//! Message-signalled interrupts: what a device writes, and where. SDM 3, 11.11; APM 2, 16.8.

use crate::vlapic::{DeliveryMode, Destination, Message};

/// The message that a write of `data` to `address` is. `None` if it is none: the address is not in
/// the APICs' range, the delivery mode is one that guests don't have, or it de-asserts.
///
/// Address bits 11–5 are bits 14–8 of the destination, as guests use them that see
/// `KVM_FEATURE_MSI_EXT_DEST_ID`; on a machine without it they are 0.
pub fn decode(address: u64, data: u32) -> Option<Message> {
    const LOGICAL: u64 = 1 << 2;
    const REDIRECTION_HINT: u64 = 1 << 3;
    const ASSERT: u32 = 1 << 14;
    const LEVEL: u32 = 1 << 15;
    if address >> 20 != 0xfee || data & (LEVEL | ASSERT) == LEVEL {
        return None;
    }
    let id = (address >> 12 & 0xff | (address >> 5 & 0x7f) << 8) as u32;
    let logical = address & LOGICAL != 0;
    let mut message = Message::from_device(Destination::narrow(id, logical), data)?;
    // The hint asks for one of those that a logical address means.
    if logical && address & REDIRECTION_HINT != 0 && message.mode == DeliveryMode::Fixed {
        message.mode = DeliveryMode::LowestPriority;
    }
    Some(message)
}

/// What a device writes to interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where; below 4 GiB.
    pub address: u32,
    /// What.
    pub data: u32,
}

/// What a device of the machine has to write for `vector` to reach the CPU with that APIC ID, on an
/// edge. `None`: an ID that a write has no room for; only with interrupt remapping it would be reached.
pub fn encode(apic_id: u32, vector: u8) -> Option<Write> {
    // 255 would be every CPU.
    let id = u8::try_from(apic_id).ok().filter(|&id| id != 0xff)?;
    Some(Write { address: 0xfee0_0000 | u32::from(id) << 12, data: u32::from(vector) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vlapic::Trigger::{Edge, Level};
    use DeliveryMode::{Fixed, Init, LowestPriority, Nmi};
    use Destination::{All, Logical, Physical};

    #[test]
    fn writes_are_read_as_the_manual_says() {
        let rows = [
            ("physical", 0xfee0_1000, 0x41, Some((Physical(1), Fixed, 0x41, Edge))),
            ("broadcast", 0xfeef_f000, 0x41, Some((All, Fixed, 0x41, Edge))),
            ("logical", 0xfee0_3004, 0x41, Some((Logical(3), Fixed, 0x41, Edge))),
            ("logical, one of them", 0xfee0_300c, 0x41, Some((Logical(3), LowestPriority, 0x41, Edge))),
            ("physical: the hint means nothing", 0xfee0_3008, 0x41, Some((Physical(3), Fixed, 0x41, Edge))),
            ("lowest priority", 0xfee0_3004, 0x141, Some((Logical(3), LowestPriority, 0x41, Edge))),
            ("extended destination", 0xfee0_1020, 0x41, Some((Physical(0x101), Fixed, 0x41, Edge))),
            ("level, asserted", 0xfee0_1000, 0xc041, Some((Physical(1), Fixed, 0x41, Level))),
            ("level, de-asserted", 0xfee0_1000, 0x8041, None),
            ("an NMI is an edge", 0xfee0_1000, 0xc400, Some((Physical(1), Nmi, 0, Edge))),
            ("INIT", 0xfee0_1000, 0x500, Some((Physical(1), Init, 0, Edge))),
            ("SMI", 0xfee0_1000, 0x200, None),
            ("reserved", 0xfee0_1000, 0x300, None),
            ("start-up is not a device's", 0xfee0_1000, 0x600, None),
            ("ExtINT", 0xfee0_1000, 0x700, None),
            ("not the APICs' range", 0xfed0_1000, 0x41, None),
            ("above 4 GiB", 0x1_fee0_1000, 0x41, None),
        ];
        for (name, address, data, want) in rows {
            let got = decode(address, data).map(|m| (m.destination, m.mode, m.vector, m.trigger));
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn what_hv_has_devices_write_reaches_the_cpu_meant() {
        for id in [0, 1, 0xfe] {
            let Write { address, data } = encode(id, 0x41).expect("an ID that fits");
            let message = decode(address.into(), data).expect("a message");
            let got = (message.destination, message.mode, message.vector, message.trigger);
            assert_eq!(got, (Physical(id), Fixed, 0x41, Edge));
        }
        assert_eq!(encode(0xff, 0x41), None);
        assert_eq!(encode(0x100, 0x41), None);
    }
}
