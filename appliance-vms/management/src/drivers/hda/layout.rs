//! Registers, verbs and bits, by the specification's names (High Definition Audio 1.0a, chapters 3 and 7).

/// Registers of the controller (3.3).
pub(super) mod register {
    /// 16 bits: how many streams there are. Inputs in bits 8 to 11, outputs in bits 12 to 15.
    pub(in super::super) const GCAP: u64 = 0x00;
    /// 32 bits: [`super::RUNS`].
    pub(in super::super) const GCTL: u64 = 0x08;
    /// 16 bits: a bit for each codec that is there.
    pub(in super::super) const STATESTS: u64 = 0x0e;
    /// 32 bits: a bit for each stream, and [`super::INTERRUPTS`].
    pub(in super::super) const INTCTL: u64 = 0x20;
    /// Commands' ring: base (2 × 32 bits), write and read pointer (16 bits), control and size (8 bits).
    pub(in super::super) const CORBLBASE: u64 = 0x40;
    pub(in super::super) const CORBUBASE: u64 = 0x44;
    pub(in super::super) const CORBWP: u64 = 0x48;
    pub(in super::super) const CORBRP: u64 = 0x4a;
    pub(in super::super) const CORBCTL: u64 = 0x4c;
    pub(in super::super) const CORBSIZE: u64 = 0x4e;
    /// Responses' ring: the same, with a count of responses an interrupt (16 bits) and a status (8 bits).
    pub(in super::super) const RIRBLBASE: u64 = 0x50;
    pub(in super::super) const RIRBUBASE: u64 = 0x54;
    pub(in super::super) const RIRBWP: u64 = 0x58;
    pub(in super::super) const RINTCNT: u64 = 0x5a;
    pub(in super::super) const RIRBCTL: u64 = 0x5c;
    pub(in super::super) const RIRBSTS: u64 = 0x5d;
    pub(in super::super) const RIRBSIZE: u64 = 0x5e;
    /// The first stream's, and bytes of each stream's.
    pub(in super::super) const STREAMS: u64 = 0x80;
    pub(in super::super) const STREAM: u64 = 0x20;
}

/// Registers of a stream (3.3.35 to 3.3.44).
pub(super) mod stream {
    /// 32 bits, of which the upper eight are [`STS`].
    pub(in super::super) const CTL: u64 = 0x00;
    /// 8 bits: a one that is written clears its bit.
    pub(in super::super) const STS: u64 = 0x03;
    /// 32 bits: bytes from the buffer's start to what is played now.
    pub(in super::super) const LPIB: u64 = 0x04;
    /// 32 bits: bytes of the buffer.
    pub(in super::super) const CBL: u64 = 0x08;
    /// 16 bits: the last entry of the buffer's list.
    pub(in super::super) const LVI: u64 = 0x0c;
    /// 16 bits: [`super::FORMAT`].
    pub(in super::super) const FMT: u64 = 0x12;
    /// 2 × 32 bits: where the list is.
    pub(in super::super) const BDPL: u64 = 0x18;
    pub(in super::super) const BDPU: u64 = 0x1c;
    /// Bits of [`CTL`].
    pub(in super::super) const RESET: u32 = 1;
    pub(in super::super) const RUN: u32 = 1 << 1;
    pub(in super::super) const ON_COMPLETION: u32 = 1 << 2;
    pub(in super::super) const TAG_SHIFT: u32 = 20;
    /// All of [`STS`]: a part was played, and errors.
    pub(in super::super) const ALL: u8 = 0b1_1100;
}

/// GCTL: the controller is not in reset.
pub(super) const RUNS: u32 = 1;
/// INTCTL: interrupts come at all.
pub(super) const INTERRUPTS: u32 = 1 << 31;
/// CORBRP, RIRBWP: back to the start.
pub(super) const REWIND: u16 = 1 << 15;
/// CORBCTL, RIRBCTL: the ring runs.
pub(super) const RING_RUNS: u8 = 1 << 1;
/// RIRBCTL: RIRBSTS tells of responses.
pub(super) const TOLD: u8 = 1;
/// RIRBSTS: a response has come, or there was no room for one.
pub(super) const RESPONSE: u8 = 0b101;
/// A response that nobody asked for: bit 4 of its second word.
pub(super) const UNSOLICITED: u32 = 1 << 4;
/// 48 000 frames a second of two samples of 16 bits (3.7.1).
pub(super) const FORMAT: u16 = 0x0011;
/// An entry of a buffer's list: it interrupts when it was played.
pub(super) const INTERRUPTS_AFTER: u32 = 1;

/// Verbs, with their first eight or no bits of what they say (7.3.3).
pub(super) mod verb {
    pub(in super::super) const SET_FORMAT: u32 = 0x2_0000;
    pub(in super::super) const SET_AMPLIFIER: u32 = 0x3_0000;
    pub(in super::super) const SET_CONNECTION: u32 = 0x7_0100;
    pub(in super::super) const SET_POWER: u32 = 0x7_0500;
    pub(in super::super) const SET_STREAM: u32 = 0x7_0600;
    pub(in super::super) const SET_PIN: u32 = 0x7_0700;
    pub(in super::super) const SET_EAPD: u32 = 0x7_0c00;
    pub(in super::super) const GET_PARAMETER: u32 = 0xf_0000;
    pub(in super::super) const GET_CONNECTIONS: u32 = 0xf_0200;
    pub(in super::super) const GET_DEFAULTS: u32 = 0xf_1c00;
}

/// Parameters (7.3.4).
pub(super) mod parameter {
    pub(in super::super) const NODES: u32 = 0x04;
    pub(in super::super) const GROUP: u32 = 0x05;
    pub(in super::super) const WIDGET: u32 = 0x09;
    pub(in super::super) const PIN: u32 = 0x0c;
    pub(in super::super) const INPUT_AMPLIFIER: u32 = 0x0d;
    pub(in super::super) const CONNECTIONS: u32 = 0x0e;
    pub(in super::super) const OUTPUT_AMPLIFIER: u32 = 0x12;
}
