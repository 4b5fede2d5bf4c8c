//! Which of the host's CPUID bits a guest sees. SDM 2, CPUID; APM 3, appendix E.
//!
//! What is not in these tables reads as zero. A bit is passed through when what is behind it works
//! in a guest by itself, or by what hv does; it is forced on when hv gives it whatever the host has.

use super::{EAX, EBX, ECX, EDX};

/// One register of one leaf.
pub(super) struct Row {
    pub leaf: u32,
    pub subleaf: u32,
    pub register: usize,
    /// Bits that are as on the host.
    pub pass: u32,
    /// Bits that are set.
    pub force: u32,
}

const fn row(leaf: u32, subleaf: u32, register: usize, pass: u32, force: u32) -> Row {
    Row { leaf, subleaf, register, pass, force }
}

/// A mask with these bits set.
const fn bits<const N: usize>(numbers: [u32; N]) -> u32 {
    let (mut mask, mut at) = (0, 0);
    while at < N {
        mask |= 1 << numbers[at];
        at += 1;
    }
    mask
}

/// Leaves that are as on the host, but for what [`ROWS`] says: first and last leaf, and sub-leaf.
pub(super) const VERBATIM: &[[u32; 4]] = &[
    [0x0000_0000, 0x0000_0000, 0, 0], // vendor; the guest picks errata by it
    [0x0000_0002, 0x0000_0002, 0, 0], // Intel: caches, as descriptor bytes
    [0x0000_0004, 0x0000_0004, 0, 4], // Intel: caches; who shares them is topology
    [0x0000_000d, 0x0000_000d, 2, 7], // where XSAVE keeps each state; cut to those that hv keeps
    [0x8000_0000, 0x8000_0006, 0, 0], // vendor, family, brand string, caches and TLBs
    [0x8000_0019, 0x8000_001a, 0, 0], // AMD: TLBs for 1 GiB pages, widths of the FPU
    [0x8000_001d, 0x8000_001d, 0, 4], // AMD: caches; who shares them is topology
];

/// Registers of which some bits are shown.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    //  leaf    sub register passed through, forced on
    row(0x0000_0001, 0, EAX, !0, 0), // family, model, stepping
    row(0x0000_0001, 0, EBX, 0xffff, 0), // brand, CLFLUSH line; the rest is topology
    // SSE3 PCLMULQDQ SSSE3 FMA CX16 PCID SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND.
    // Forced: x2APIC, TSC-deadline (the virtual APIC has them), "there is a hypervisor".
    // Not: MONITOR, VMX, SMX, SpeedStep, thermal monitor, debug store, PDCM.
    row(0x0000_0001, 0, ECX, bits([0, 1, 9, 12, 13, 17, 19, 20, 22, 23, 25, 26, 28, 29, 30]), bits([21, 24, 31])),
    // FPU VME DE PSE TSC MSR PAE MCE CX8 SEP PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 SS.
    // Forced: APIC (virtual), MTRR (kept by hv). Not: serial number, debug store, ACPI, TM, PBE.
    row(0x0000_0001, 0, EDX, bits([0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26, 27]), bits([9, 12])),
    row(0x0000_0006, 0, EAX, 0, bits([2])), // ARAT: the virtual APIC's timer never stops
    row(0x0000_0007, 0, EAX, !0, 0), // highest sub-leaf, cut to ours
    // FSGSBASE BMI1 AVX2 FDP SMEP BMI2 ERMS INVPCID FPCSDS AVX512-F/DQ RDSEED ADX SMAP AVX512-IFMA
    // CLFLUSHOPT CLWB AVX512-PF/ER/CD SHA AVX512-BW/VL. Forced: TSC_ADJUST, which hv keeps.
    // Not: SGX, TSX (aborts at every exit), RDT, MPX, processor trace.
    row(0x0000_0007, 0, EBX, bits([0, 3, 5, 6, 7, 8, 9, 10, 13, 16, 17, 18, 19, 20, 21, 23, 24, 26, 27, 28, 29, 30, 31]), bits([1])),
    // PREFETCHWT1 AVX512-VBMI UMIP VBMI2 GFNI VAES VPCLMUL VNNI BITALG VPOPCNTDQ RDPID CLDEMOTE
    // MOVDIRI MOVDIR64B. Not: PKU, PKS, CET (state that hv does not switch), WAITPKG (as MWAIT),
    // LA57 (no box is so large), key locker, bus-lock traps, ENQCMD.
    row(0x0000_0007, 0, ECX, bits([0, 1, 2, 6, 8, 9, 10, 11, 12, 14, 22, 25, 27, 28]), 0),
    // AVX512-4VNNIW/4FMAPS FSRM VP2INTERSECT MD_CLEAR SERIALIZE AVX512-FP16 IBRS/IBPB STIBP SSBD.
    // Not: AMX, user interrupts, hybrid, LBR, CET, and what comes with MSRs that hv does not give.
    row(0x0000_0007, 0, EDX, bits([2, 3, 4, 8, 10, 14, 23, 26, 27, 31]), 0),
    // SHA512 SM3 SM4 RAO-INT AVX-VNNI AVX512-BF16 CMPCCXADD FZRM FSRS FSRC AVX-IFMA. Not: LASS, FRED, LAM.
    row(0x0000_0007, 1, EAX, bits([0, 1, 2, 3, 4, 5, 7, 10, 11, 12, 23]), 0),
    row(0x0000_0007, 1, EDX, bits([4, 5, 10, 14]), 0), // AVX-VNNI-INT8, NE-CONVERT, VNNI-INT16; PREFETCHI
    row(0x0000_000d, 1, EAX, bits([0, 1, 2, 3]), 0), // XSAVEOPT XSAVEC XGETBV1 XSAVES. Not: XFD
    // LAHF AltMovCr8 ABM SSE4A MisAlignSse PREFETCHW XOP FMA4 TBM TOPOEXT. Not: SVM, SKINIT, extended
    // APIC space, OSVW, IBS, watchdog, LWP, TCE, node id MSR, counters, breakpoint masks, MWAITX.
    row(0x8000_0001, 0, ECX, bits([0, 4, 5, 6, 7, 8, 11, 16, 21, 22]), 0),
    // As leaf 1 on AMD; SYSCALL NX MMXEXT FFXSR 1-GiB-pages RDTSCP LM 3DNOW.
    row(0x8000_0001, 0, EDX, bits([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 20, 22, 23, 24, 25, 26, 27, 29, 30, 31]), 0),
    // 0x8000_0007 reads as zero: with an invariant TSC Linux would prefer the TSC itself to kvmclock,
    // and KVM's guests, which are what it is tested with, see none either unless somebody asks.
    row(0x8000_0008, 0, EAX, 0xffff, 0), // bits of addresses; the linear ones cut, as there is no LA57
    // CLZERO XSAVEERPTR WBNOINVD IBPB IBRS STIBP (+ always-on, preferred, same-mode) SSBD SSB_NO PSFD
    // BTC_NO IBPB_RET. Not: IRPERF, RDPRU, MCOMMIT, INVLPGB, virtual SSBD, CPPC.
    row(0x8000_0008, 0, EBX, bits([0, 2, 9, 12, 14, 15, 16, 17, 18, 19, 24, 26, 28, 29, 30]), 0),
    // NoNestedDataBp LfenceSerializing NullSelClearsBase AutoIBRS FSRS FSRC SBPB IBPB_BRTYPE SRSO_NO.
    // Not: upper-address-ignore, CPUID faulting, prefetch control, which come with MSRs.
    row(0x8000_0021, 0, EAX, bits([0, 2, 6, 8, 10, 11, 27, 28, 29]), 0),
];
