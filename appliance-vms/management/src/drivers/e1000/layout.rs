//! Registers and bits, by the manuals' names (8254x, 13.4; 82574, 10.2).

pub(super) mod register {
    /// Device control.
    pub(in super::super) const CTRL: u64 = 0x0000;
    /// Device status.
    pub(in super::super) const STATUS: u64 = 0x0008;
    /// EEPROM read.
    pub(in super::super) const EERD: u64 = 0x0014;
    /// Interrupt causes: a one that is written clears its bit.
    pub(in super::super) const ICR: u64 = 0x00c0;
    /// Interrupt throttling.
    pub(in super::super) const ITR: u64 = 0x00c4;
    /// Interrupt mask: set.
    pub(in super::super) const IMS: u64 = 0x00d0;
    /// Interrupt mask: clear.
    pub(in super::super) const IMC: u64 = 0x00d8;
    /// 82574: which message tells of what.
    pub(in super::super) const IVAR: u64 = 0x00e4;
    /// 82574: throttling of message 0.
    pub(in super::super) const EITR: u64 = 0x00e8;
    /// Receive control.
    pub(in super::super) const RCTL: u64 = 0x0100;
    /// Transmit control.
    pub(in super::super) const TCTL: u64 = 0x0400;
    /// Transmit gap between packets.
    pub(in super::super) const TIPG: u64 = 0x0410;
    /// Receive descriptors: base, length, head, tail.
    pub(in super::super) const RDBAL: u64 = 0x2800;
    pub(in super::super) const RDBAH: u64 = 0x2804;
    pub(in super::super) const RDLEN: u64 = 0x2808;
    pub(in super::super) const RDH: u64 = 0x2810;
    pub(in super::super) const RDT: u64 = 0x2818;
    /// Transmit descriptors: base, length, head, tail.
    pub(in super::super) const TDBAL: u64 = 0x3800;
    pub(in super::super) const TDBAH: u64 = 0x3804;
    pub(in super::super) const TDLEN: u64 = 0x3808;
    pub(in super::super) const TDH: u64 = 0x3810;
    pub(in super::super) const TDT: u64 = 0x3818;
    /// Transmit descriptor control.
    pub(in super::super) const TXDCTL: u64 = 0x3828;
    /// Multicast table, 128 registers.
    pub(in super::super) const MTA: u64 = 0x5200;
    /// The card's address, four and two bytes.
    pub(in super::super) const RAL: u64 = 0x5400;
    pub(in super::super) const RAH: u64 = 0x5404;
}

/// Bits of CTRL.
pub(super) mod control {
    /// Detect the speed.
    pub(in super::super) const AUTO_SPEED: u32 = 1 << 5;
    /// Bring the link up.
    pub(in super::super) const LINK_UP: u32 = 1 << 6;
    /// Reset; clears itself.
    pub(in super::super) const RESET: u32 = 1 << 26;
    /// Not wanted: link reset, inverted loss of signal, VLAN mode, reset of the PHY.
    pub(in super::super) const CLEARED: u32 = 1 << 3 | 1 << 7 | 1 << 30 | 1 << 31;
}

/// STATUS: the link is up.
pub(super) const STATUS_LINK: u32 = 1 << 1;

/// Bits of EERD.
pub(super) mod eeprom {
    pub(in super::super) const START: u32 = 1 << 0;
    pub(in super::super) const DONE: u32 = 1 << 4;
    pub(in super::super) const DONE_82574: u32 = 1 << 1;
}

/// Causes of interrupts.
pub(super) mod cause {
    /// Link changed, receive descriptors run low, receive overrun, frame received.
    pub(in super::super) const WANTED: u32 = 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7;
    /// 82574: receive queue 0, and others, as messages tell them.
    pub(in super::super) const MESSAGES: u32 = 1 << 20 | 1 << 24;
}

/// IVAR: receive queue 0 by message 0.
pub(super) const IVAR_RECEIVE_0: u32 = 1 << 3;
/// IVAR: other causes by message 0.
pub(super) const IVAR_OTHER_0: u32 = 1 << 19;

/// RCTL and receive descriptors (8254x, 3.2.3).
pub(super) mod receive {
    /// On, every station, every group, broadcast, buffers of 2048 bytes, without check sums.
    pub(in super::super) const ENABLE: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 15 | 1 << 26;
    /// Status: done.
    pub(in super::super) const DONE: u32 = 1 << 0;
    /// Status: the frame ends here.
    pub(in super::super) const END: u32 = 1 << 1;
    /// Errors, in bits 15–8 of the same dword: check sum, symbol, sequence, carrier, data.
    pub(in super::super) const DAMAGED: u32 = 0b1001_0111 << 8;
}

/// TCTL and transmit descriptors (8254x, 3.3.3).
pub(super) mod transmit {
    /// On, short frames padded, collision threshold 15 and distance 64.
    pub(in super::super) const ENABLE: u32 = 1 << 1 | 1 << 3 | 0x0f << 4 | 0x40 << 12;
    /// Gaps for copper: 8254x, table 13-77; 82574, 10.2.6.3.
    pub(in super::super) const GAP: u32 = 0xa | 8 << 10 | 6 << 20;
    /// 82574: count in descriptors, write each back; bit 22 is to be set (10.2.6.11).
    pub(in super::super) const DESCRIPTORS_82574: u32 = 1 << 24 | 1 << 22 | 1 << 16;
    /// Command, in bits 31–24: the frame ends here, add the check sum, tell when it is done.
    pub(in super::super) const SEND: u32 = (1 << 0 | 1 << 1 | 1 << 3) << 24;
    /// Status: done.
    pub(in super::super) const DONE: u32 = 1 << 0;
}
