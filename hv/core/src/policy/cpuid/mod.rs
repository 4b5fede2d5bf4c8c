//! What CPUID answers: a table made when the VM is made, and a few fields that follow the CPU's
//! state. Topology: every virtual CPU is a core of its own, all in one package.

mod table;

use super::{APIC_BUS_KHZ, Machine, xcr};
use crate::features::Vendor;
use hv_defs::control::cr4;
use hv_defs::kvm::{self, feature};
use raw_cpuid::CpuIdResult;

/// Highest basic leaf. Those above tell of what hv does not give (RDT, SGX, processor trace, AMX),
/// or gives in KVM's leaves (rates of clocks).
const HIGHEST_BASIC: u32 = 0xd;
/// The leaf of XSAVE's states and sizes: the only one in which XCR0 shows.
pub const LEAF_XSAVE: u32 = 0xd;
/// First extended leaf, and the last that hv has an opinion on.
const EXTENDED: u32 = 0x8000_0000;
const HIGHEST_EXTENDED: u32 = 0x8000_0021;
/// AMD: caches, one a sub-leaf.
const AMD_CACHES: u32 = 0x8000_001d;

/// Where things are in [`Cpuid::answers`]; the last place is read by nobody.
const AT_EXTENDED: usize = HIGHEST_BASIC as usize + 1;
const AT_KVM: usize = AT_EXTENDED + (HIGHEST_EXTENDED - EXTENDED) as usize + 1;
const AT_CACHES: usize = AT_KVM + 3;
const AT_AMD_CACHES: usize = AT_CACHES + 4;
const AT_FEATURES: usize = AT_AMD_CACHES + 4;
const AT_XSAVE: usize = AT_FEATURES + 1;
const SPARE: usize = AT_XSAVE + 7;

/// APIC, in EDX of leaf 1 and on AMD of 0x8000_0001.
const APIC: u32 = 1 << 9;
/// OSXSAVE, in ECX of leaf 1.
const OSXSAVE: u32 = 1 << 27;
/// The legacy region and the header of an XSAVE area. SDM 1, 13.4.1 and 13.4.2.
const XSAVE_START: u32 = 576;

/// EAX, EBX, ECX, EDX.
type Answer = [u32; 4];
pub(super) const EAX: usize = 0;
pub(super) const EBX: usize = 1;
pub(super) const ECX: usize = 2;
pub(super) const EDX: usize = 3;
const ZERO: Answer = [0; 4];

/// One bit of CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    leaf: u32,
    subleaf: u32,
    register: usize,
    bit: u8,
}

#[allow(missing_docs)] // the features are their own names
impl Feature {
    pub const XSAVE: Self = Self::new(1, 0, ECX, 26);
    pub const XSAVEC: Self = Self::new(0xd, 1, EAX, 1);
    pub const XSAVES: Self = Self::new(0xd, 1, EAX, 3);
    pub const TOPOEXT: Self = Self::new(0x8000_0001, 0, ECX, 22);
    pub const RDTSCP: Self = Self::new(0x8000_0001, 0, EDX, 27);
    pub const LM: Self = Self::new(0x8000_0001, 0, EDX, 29);

    pub(super) const fn new(leaf: u32, subleaf: u32, register: usize, bit: u8) -> Self {
        Self { leaf, subleaf, register, bit }
    }

    fn is_in(self, answer: Answer) -> bool {
        answer[self.register] >> self.bit & 1 == 1
    }
}

/// The host's CPUID, with nothing beyond its highest leaves.
pub(super) struct Host<'a> {
    read: &'a dyn Fn(u32, u32) -> CpuIdResult,
    highest: (u32, u32),
    pub vendor: Vendor,
}

impl<'a> Host<'a> {
    pub fn new(read: &'a impl Fn(u32, u32) -> CpuIdResult) -> Self {
        let first = read(0, 0);
        let vendor = match (first.ebx, first.edx, first.ecx) {
            (0x6874_7541, 0x6974_6e65, 0x444d_4163) | (0x6f67_7948, 0x6e65_476e, 0x656e_6975) => Vendor::Amd,
            (0x756e_6547, 0x4965_6e69, 0x6c65_746e) => Vendor::Intel,
            _ => Vendor::Other,
        };
        Self { read, highest: (first.eax, read(EXTENDED, 0).eax), vendor }
    }

    fn leaf(&self, leaf: u32, subleaf: u32) -> Answer {
        let highest = if leaf < EXTENDED { self.highest.0 } else { self.highest.1 };
        if leaf > highest {
            return ZERO;
        }
        let CpuIdResult { eax, ebx, ecx, edx } = (self.read)(leaf, subleaf);
        [eax, ebx, ecx, edx]
    }

    pub fn has(&self, feature: Feature) -> bool {
        feature.is_in(self.leaf(feature.leaf, feature.subleaf))
    }
}

/// What of a virtual CPU's state shows in CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dynamic {
    /// Its APIC id.
    pub apic_id: u32,
    /// APIC_BASE says that its APIC is on.
    pub apic_enabled: bool,
    /// CR4.
    pub cr4: u64,
    /// XCR0.
    pub xcr0: u64,
}

/// The answers for one VM.
#[derive(Clone, Debug)]
pub struct Cpuid {
    answers: [Answer; SPARE + 1],
    highest_extended: u32,
    vendor: Vendor,
    cpus: u32,
}

/// Where an answer is kept. A leaf without sub-leaves ignores ECX.
#[inline]
const fn slot(leaf: u32, subleaf: u32) -> Option<usize> {
    if subleaf != 0 && matches!(leaf, 4 | 7 | 0xd | AMD_CACHES) {
        let (first, count) = match leaf {
            4 => (AT_CACHES, 4),
            7 => (AT_FEATURES, 1),
            0xd => (AT_XSAVE, 7),
            _ => (AT_AMD_CACHES, 4),
        };
        return if subleaf <= count { Some(first + subleaf as usize - 1) } else { None };
    }
    match leaf {
        0..=HIGHEST_BASIC => Some(leaf as usize),
        EXTENDED..=HIGHEST_EXTENDED => Some(AT_EXTENDED + (leaf - EXTENDED) as usize),
        kvm::LEAF_SIGNATURE => Some(AT_KVM),
        kvm::LEAF_FEATURES => Some(AT_KVM + 1),
        kvm::LEAF_RATES => Some(AT_KVM + 2),
        _ => None,
    }
}

impl Cpuid {
    pub(super) fn new(host: &Host<'_>, machine: Machine) -> Self {
        let mut cpuid = Self {
            answers: [ZERO; SPARE + 1],
            highest_extended: host.highest.1.clamp(EXTENDED, HIGHEST_EXTENDED),
            vendor: host.vendor,
            cpus: u32::from(machine.cpus.max(1)),
        };
        for &[first, last, first_subleaf, last_subleaf] in table::VERBATIM {
            for leaf in first..=last {
                for subleaf in first_subleaf..=last_subleaf {
                    *cpuid.at(leaf, subleaf) = host.leaf(leaf, subleaf);
                }
            }
        }
        for row in table::ROWS {
            let shown = host.leaf(row.leaf, row.subleaf)[row.register] & row.pass | row.force;
            cpuid.at(row.leaf, row.subleaf)[row.register] = shown;
        }
        cpuid.set_ranges(machine.tsc_khz);
        cpuid.set_topology();
        cpuid.set_xsave(host.leaf(0xd, 0)[EAX]);
        cpuid
    }

    fn at(&mut self, leaf: u32, subleaf: u32) -> &mut Answer {
        &mut self.answers[slot(leaf, subleaf).unwrap_or(SPARE)]
    }

    #[inline]
    fn get(&self, leaf: u32, subleaf: u32) -> Answer {
        slot(leaf, subleaf).map_or(ZERO, |at| self.answers[at])
    }

    /// Which leaves there are, and KVM's.
    fn set_ranges(&mut self, tsc_khz: u32) {
        self.at(0, 0)[EAX] = HIGHEST_BASIC;
        self.at(EXTENDED, 0)[EAX] = self.highest_extended;
        let subleaves = &mut self.at(7, 0)[EAX];
        *subleaves = 1.min(*subleaves);
        // Without LA57 linear addresses have 48 bits.
        let sizes = &mut self.at(0x8000_0008, 0)[EAX];
        *sizes = *sizes & 0xff | (*sizes & 0xff00).min(48 << 8);
        let [ebx, ecx, edx] = kvm::SIGNATURE;
        *self.at(kvm::LEAF_SIGNATURE, 0) = [kvm::LEAF_RATES, ebx, ecx, edx];
        // Not: PV_UNHALT (no kick hypercall), STEAL_TIME, ASYNC_PF, and MSI_EXT_DEST_ID, which only
        // APIC ids above 255 need. No hints: a virtual CPU may have to wait for its core.
        self.at(kvm::LEAF_FEATURES, 0)[EAX] = feature::CLOCK_SOURCE
            | feature::NO_IO_DELAY
            | feature::CLOCK_SOURCE_2
            | feature::PV_EOI
            | feature::PV_SEND_IPI
            | feature::CLOCK_SOURCE_STABLE;
        *self.at(kvm::LEAF_RATES, 0) = [tsc_khz, APIC_BUS_KHZ, 0, 0];
    }

    /// How many cores, and who shares which cache: all share the third level, nobody the others.
    fn set_topology(&mut self) {
        let (cpus, ids) = (self.cpus, self.cpus.next_power_of_two());
        let many = u32::from(cpus > 1);
        let first = self.at(1, 0);
        first[EBX] |= cpus << 16;
        first[EDX] |= many << 28;
        for subleaf in 0..=4 {
            // Type 0: no cache. Intel counts ids (SDM 2, CPUID leaf 4), AMD CPUs (APM 3, E.4.17); all
            // less one.
            let sharing = |cache: u32, all| if cache >> 5 & 7 >= 3 { (all - 1) << 14 } else { 0 };
            let cache = &mut self.at(4, subleaf)[EAX];
            if *cache & 0x1f != 0 {
                *cache = *cache & 0x3fff | sharing(*cache, ids) | (ids - 1).min(0x3f) << 26;
            }
            let cache = &mut self.at(AMD_CACHES, subleaf)[EAX];
            *cache = *cache & 0x3fff | sharing(*cache, cpus);
        }
        if self.vendor == Vendor::Amd {
            // CmpLegacy: HTT means cores, not threads. APM 3, E.3.6 and E.4.8.
            self.at(0x8000_0001, 0)[ECX] |= many << 1;
            self.at(0x8000_0008, 0)[ECX] = (cpus - 1) | ids.ilog2() << 12;
        }
    }

    /// Which states XSAVE keeps, and the room for all of them.
    fn set_xsave(&mut self, host: u32) {
        let end = |state| {
            let [size, offset, ..] = self.get(0xd, state);
            size.saturating_add(offset)
        };
        let supported = if self.has(Feature::XSAVE) { xcr::supported(host.into(), end) } else { 0 };
        for subleaf in 2..=7 {
            let there = supported >> subleaf & 1 == 1;
            if !there {
                *self.at(0xd, subleaf) = ZERO;
            }
        }
        if supported == 0 {
            self.at(0xd, 1)[EAX] = 0;
        } else {
            *self.at(0xd, 0) = [supported as u32, 0, self.standard_size(supported), 0];
        }
    }

    /// Bytes that XSAVE needs for the states in `xcr0`: up to the last one's end. SDM 1, 13.4.
    fn standard_size(&self, xcr0: u64) -> u32 {
        self.states(xcr0).map(|state| state[EBX] + state[EAX]).fold(XSAVE_START, u32::max)
    }

    /// Bytes that XSAVEC needs: one after the other, some at a multiple of 64. SDM 1, 13.4.3.
    fn compact_size(&self, xcr0: u64) -> u32 {
        self.states(xcr0).fold(XSAVE_START, |end, state| {
            state[EAX] + if state[ECX] & 2 == 0 { end } else { end.next_multiple_of(64) }
        })
    }

    fn states(&self, xcr0: u64) -> impl Iterator<Item = Answer> {
        (2..=7).filter(move |state| xcr0 >> state & 1 == 1).map(|state| self.get(0xd, state))
    }

    pub(super) fn xcr0(&self) -> u64 {
        self.get(0xd, 0)[EAX].into()
    }

    pub(super) fn physical_bits(&self) -> u8 {
        // A CPU without the leaf has 36. SDM 3, 4.1.4.
        match self.get(0x8000_0008, 0)[EAX] as u8 {
            0 => 36,
            bits => bits.min(52),
        }
    }

    /// Whether the guest is shown `feature`.
    pub fn has(&self, feature: Feature) -> bool {
        feature.is_in(self.get(feature.leaf, feature.subleaf))
    }

    /// What `CPUID` answers on a virtual CPU in this state.
    #[inline]
    pub fn lookup(&self, leaf: u32, subleaf: u32, now: &Dynamic) -> CpuIdResult {
        let [eax, ebx, ecx, edx] = match leaf {
            // Asked for most, and by every core.
            1 => self.features(now),
            _ => self.answer(leaf, subleaf, now),
        };
        CpuIdResult { eax, ebx, ecx, edx }
    }

    #[inline]
    fn features(&self, now: &Dynamic) -> Answer {
        let [eax, ebx, ecx, edx] = self.answers[1];
        let on = |condition, bit| if condition { bit } else { 0 };
        let hidden = on(!now.apic_enabled, APIC);
        [eax, ebx | now.apic_id << 24, ecx | on(now.cr4 & cr4::OSXSAVE != 0, OSXSAVE), edx & !hidden]
    }

    #[inline(never)]
    fn answer(&self, leaf: u32, subleaf: u32, now: &Dynamic) -> Answer {
        let there = match leaf >> 28 {
            0 => leaf <= HIGHEST_BASIC,
            4 => true,
            _ => (EXTENDED..=self.highest_extended).contains(&leaf),
        };
        // Beyond the highest leaf Intel answers with the highest basic one (SDM 2, CPUID), others
        // with zeros.
        let leaf = match self.vendor {
            _ if there => leaf,
            Vendor::Intel => HIGHEST_BASIC,
            _ => return ZERO,
        };
        let mut answer = self.get(leaf, subleaf);
        match (leaf, subleaf) {
            // Threads: one a core. Cores: all. No level above. SDM 2, CPUID leaf 0xb.
            (0xb, 0) => answer = [0, 1, 1 << 8, now.apic_id],
            (0xb, 1) => {
                answer = [self.cpus.next_power_of_two().ilog2(), self.cpus, 2 << 8 | 1, now.apic_id];
            }
            (0xb, _) => answer = [0, 0, subleaf & 0xff, now.apic_id],
            (0xd, 0) if answer != ZERO => answer[EBX] = self.standard_size(now.xcr0),
            (0xd, 1) if self.has(Feature::XSAVEC) || self.has(Feature::XSAVES) => {
                answer[EBX] = self.compact_size(now.xcr0);
            }
            (0x8000_0001, _) if self.vendor == Vendor::Amd && !now.apic_enabled => answer[EDX] &= !APIC,
            // Extended APIC id; core id, one thread a core; node 0 of 1. APM 3, E.4.18.
            (0x8000_001e, _) if self.has(Feature::TOPOEXT) => {
                answer = [now.apic_id, now.apic_id & 0xff, 0, 0];
            }
            _ => {}
        }
        answer
    }
}

#[cfg(test)]
mod tests;
