//! Control registers, extended control register 0 and RFLAGS, by bit.
//! SDM volume 3, 2.5 and 2.6, volume 1, 3.4.3 and 13.3; APM volume 2, 3.1 and 11.5.

/// CR0. SDM 3, 2.5; APM 2, 3.1.1.
#[allow(missing_docs)] // the bits are named as in the manuals
pub mod cr0 {
    pub const PE: u64 = 1 << 0;
    pub const MP: u64 = 1 << 1;
    pub const EM: u64 = 1 << 2;
    pub const TS: u64 = 1 << 3;
    pub const ET: u64 = 1 << 4;
    pub const NE: u64 = 1 << 5;
    pub const WP: u64 = 1 << 16;
    pub const AM: u64 = 1 << 18;
    pub const NW: u64 = 1 << 29;
    pub const CD: u64 = 1 << 30;
    pub const PG: u64 = 1 << 31;
}

/// CR4. SDM 3, 2.5; APM 2, 3.1.3.
#[allow(missing_docs)] // the bits are named as in the manuals
pub mod cr4 {
    pub const VME: u64 = 1 << 0;
    pub const PVI: u64 = 1 << 1;
    pub const TSD: u64 = 1 << 2;
    pub const DE: u64 = 1 << 3;
    pub const PSE: u64 = 1 << 4;
    pub const PAE: u64 = 1 << 5;
    pub const MCE: u64 = 1 << 6;
    pub const PGE: u64 = 1 << 7;
    pub const PCE: u64 = 1 << 8;
    pub const OSFXSR: u64 = 1 << 9;
    pub const OSXMMEXCPT: u64 = 1 << 10;
    pub const UMIP: u64 = 1 << 11;
    pub const LA57: u64 = 1 << 12;
    pub const VMXE: u64 = 1 << 13;
    pub const SMXE: u64 = 1 << 14;
    pub const FSGSBASE: u64 = 1 << 16;
    pub const PCIDE: u64 = 1 << 17;
    pub const OSXSAVE: u64 = 1 << 18;
    pub const KL: u64 = 1 << 19;
    pub const SMEP: u64 = 1 << 20;
    pub const SMAP: u64 = 1 << 21;
    pub const PKE: u64 = 1 << 22;
    pub const CET: u64 = 1 << 23;
    pub const PKS: u64 = 1 << 24;
    pub const UINTR: u64 = 1 << 25;
    pub const LASS: u64 = 1 << 27;
    pub const LAM_SUP: u64 = 1 << 28;
    pub const FRED: u64 = 1 << 32;
}

/// XCR0: register states that XSAVE keeps. SDM 3, 2.6; APM 2, 11.5.2.
#[allow(missing_docs)] // the bits are named as in the manuals
pub mod xcr0 {
    pub const X87: u64 = 1 << 0;
    pub const SSE: u64 = 1 << 1;
    pub const AVX: u64 = 1 << 2;
    pub const BNDREGS: u64 = 1 << 3;
    pub const BNDCSR: u64 = 1 << 4;
    pub const OPMASK: u64 = 1 << 5;
    pub const ZMM_HIGH256: u64 = 1 << 6;
    pub const HIGH16_ZMM: u64 = 1 << 7;
    pub const PKRU: u64 = 1 << 9;
    /// The three that AVX-512 needs, all or none.
    pub const AVX512: u64 = OPMASK | ZMM_HIGH256 | HIGH16_ZMM;
}

/// DR6: why there was a #DB. SDM 3, 18.2.3; APM 2, 13.1.1.3.
pub mod dr6 {
    /// One of the four breakpoints, or an access to a debug register.
    pub const BREAKPOINTS: u64 = 0xf | 1 << 13;
    /// A single step.
    pub const SINGLE_STEP: u64 = 1 << 14;
}

/// RFLAGS. SDM 1, 3.4.3; APM 2, 3.1.6.
#[allow(missing_docs)] // the bits are named as in the manuals
pub mod rflags {
    pub const CF: u64 = 1 << 0;
    pub const PF: u64 = 1 << 2;
    pub const AF: u64 = 1 << 4;
    pub const ZF: u64 = 1 << 6;
    pub const SF: u64 = 1 << 7;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const OF: u64 = 1 << 11;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    /// The six that arithmetic sets.
    pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;
}
