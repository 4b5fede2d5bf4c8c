//! Ethernet addresses: how they are written, and which one a VM has.

use crate::nic::Mac;
use core::fmt;
use sha2::{Digest, Sha256};

impl Mac {
    /// To everybody.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// The address of the VM called `vm` in the box `box_id`: the same for ever, and another in every
    /// other box, so that the home's router knows the VM again. A locally administered address (IEEE
    /// 802, clause 8), so that it never is that of a card.
    pub fn of_vm(box_id: &[u8], vm: &str) -> Self {
        let mut sum = Sha256::new_with_prefix(b"hearth mac\0");
        // The length keeps apart what would otherwise be the same bytes in a row.
        sum.update((box_id.len() as u64).to_le_bytes());
        sum.update(box_id);
        sum.update(vm);
        let [first, second, third, fourth, fifth, sixth, ..]: [u8; 32] = sum.finalize().into();
        // Bit 0: a group's address; bit 1: locally administered.
        Self([first & 0xfc | 0x02, second, third, fourth, fifth, sixth])
    }

    /// Whether it means several stations: broadcast and multicast.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Six bytes of a frame from `offset` on, if it is that long.
    pub fn in_frame(frame: &[u8], offset: usize) -> Option<Self> {
        let bytes = frame.get(offset..)?.first_chunk()?;
        Some(Self(*bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(to, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(to, ":{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_vm_keeps_its_address_and_shares_it_with_nobody() {
        let music = Mac::of_vm(b"box-1", "music");
        // Written down: a change would make every router forget every VM.
        assert_eq!(music.to_string(), "d2:5a:72:f5:e6:19");
        let others =
            [Mac::of_vm(b"box-2", "music"), Mac::of_vm(b"box-1", "tv"), Mac::of_vm(b"box-1m", "usic")];
        assert!(others.iter().all(|&other| other != music));
    }

    #[test]
    fn addresses_are_local_and_of_one_station() {
        for number in 0..200 {
            let mac = Mac::of_vm(&[number], "tv");
            assert_eq!((mac.0[0] & 2, mac.is_group()), (2, false));
        }
        assert!(Mac::BROADCAST.is_group());
        assert_eq!(Mac::in_frame(&[0xff; 6], 0), Some(Mac::BROADCAST));
        assert_eq!(Mac::in_frame(&[0xff; 6], 1), None);
    }
}
