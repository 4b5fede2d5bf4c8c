//! What this processor can do, read once into one table.

use derive_more::Display;
use heapless::String;
use raw_cpuid::{CpuId, CpuIdReader, CpuIdResult};

/// Who made the processor; decides between SVM and VT-x.
#[derive(Clone, Copy, Debug, Display, PartialEq, Eq)]
pub enum Vendor {
    /// AMD, and Hygon which follows its manual.
    #[display("amd")]
    Amd,
    /// Intel.
    #[display("intel")]
    Intel,
    /// Anyone else.
    #[display("other")]
    Other,
}

/// Declares [`Features`]: one row a feature, with the CPUID bit it comes from.
macro_rules! features {
    ($($name:ident, $leaf:literal, $sub:literal, $register:ident, $bit:literal, $doc:literal;)*) => {
        /// Yes or no, by CPUID bit (SDM 2, CPUID; APM 3, appendix E).
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        // One bit of CPUID each: that is what a table of yes and no is.
        #[allow(clippy::struct_excessive_bools)]
        pub struct Bits { $(#[doc = $doc] pub $name: bool,)* }

        impl Bits {
            fn read(leaf: impl Fn(u32, u32) -> CpuIdResult) -> Self {
                Self { $($name: leaf($leaf, $sub).$register >> $bit & 1 == 1,)* }
            }

            /// Every feature's name and whether it is there.
            pub fn list(&self) -> impl Iterator<Item = (&'static str, bool)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

features! {
    vmx,           0x0000_0001, 0, ecx, 5,  "Intel's virtual machine extensions.";
    x2apic,        0x0000_0001, 0, ecx, 21, "Local APIC registers as MSRs.";
    tsc_deadline,  0x0000_0001, 0, ecx, 24, "The local APIC timer can fire at a TSC value.";
    xsave,         0x0000_0001, 0, ecx, 26, "XSAVE and its relatives.";
    avx,           0x0000_0001, 0, ecx, 28, "AVX registers.";
    nested,        0x0000_0001, 0, ecx, 31, "There is a hypervisor below this machine.";
    smep,          0x0000_0007, 0, ebx, 7,  "The kernel can't execute user pages.";
    smap,          0x0000_0007, 0, ebx, 20, "The kernel can't touch user pages by mistake.";
    umip,          0x0000_0007, 0, ecx, 2,  "User programs can't read descriptor tables.";
    svm,           0x8000_0001, 0, ecx, 2,  "AMD's secure virtual machine.";
    nx,            0x8000_0001, 0, edx, 20, "Pages can forbid execution.";
    gib_pages,     0x8000_0001, 0, edx, 26, "1 GiB pages.";
    rdtscp,        0x8000_0001, 0, edx, 27, "RDTSCP, and TSC_AUX that it reads.";
    invariant_tsc, 0x8000_0007, 0, edx, 8,  "The TSC runs at one rate whatever the CPU does.";
    npt,           0x8000_000a, 0, edx, 0,  "SVM: nested paging.";
    nrip_save,     0x8000_000a, 0, edx, 3,  "SVM: the next instruction's address is saved at an exit.";
    flush_by_asid, 0x8000_000a, 0, edx, 6,  "SVM: TLB entries of one guest can be flushed.";
    decode_assist, 0x8000_000a, 0, edx, 7,  "SVM: instruction bytes are saved at an exit.";
}

/// What this processor can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Who made it.
    pub vendor: Vendor,
    /// Its name for people.
    pub model: String<48>,
    /// Bits of a physical address.
    pub physical_bits: u8,
    /// States that XSAVE can keep (leaf 0xd); 0 without XSAVE.
    pub xcr0: u64,
    /// TSC ticks a millisecond, if the processor says so itself.
    pub tsc_khz: Option<u64>,
    /// Yes or no.
    pub bits: Bits,
}

impl Features {
    /// Reads CPUID through `reader`.
    pub fn read<R: CpuIdReader>(reader: &R) -> Self {
        let cpuid = CpuId::with_cpuid_reader(reader.clone());
        let vendor = cpuid.get_vendor_info();
        let vendor = match vendor.as_ref().map(raw_cpuid::VendorInfo::as_str) {
            Some("AuthenticAMD" | "HygonGenuine") => Vendor::Amd,
            Some("GenuineIntel") => Vendor::Intel,
            _ => Vendor::Other,
        };
        let mut model = String::new();
        if let Some(brand) = cpuid.get_processor_brand_string() {
            for c in brand.as_str().trim().chars() {
                // The brand string is at most 47 bytes, so it fits; one that lies is cut.
                let _ = model.push(c);
            }
        }
        // A leaf beyond the highest one answers with another leaf's bits (SDM 2, CPUID).
        let highest = (reader.cpuid1(0).eax, reader.cpuid1(0x8000_0000).eax);
        let leaf = |leaf: u32, sub: u32| {
            let there = leaf <= if leaf < 0x8000_0000 { highest.0 } else { highest.1 };
            if there { reader.cpuid2(leaf, sub) } else { CpuIdResult { eax: 0, ebx: 0, ecx: 0, edx: 0 } }
        };
        let sizes = cpuid.get_processor_capacity_feature_info();
        Self {
            vendor,
            model,
            physical_bits: sizes.map_or(36, |sizes| sizes.physical_address_bits()),
            xcr0: {
                let states = leaf(0xd, 0);
                u64::from(states.edx) << 32 | u64::from(states.eax)
            },
            tsc_khz: tsc_khz(&cpuid),
            bits: Bits::read(leaf),
        }
    }
}

/// The TSC's rate from leaf 0x15, where it is complete, or from the hypervisor below (leaf
/// 0x4000_0010, as VMware defined it and KVM, QEMU and others give it).
fn tsc_khz<R: CpuIdReader>(cpuid: &CpuId<R>) -> Option<u64> {
    let own = cpuid.get_tsc_info().and_then(|info| info.tsc_frequency()).map(|hz| hz / 1000);
    let below = || cpuid.get_hypervisor_info()?.tsc_frequency().map(u64::from);
    own.or_else(below).filter(|&khz| khz > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(eax: u32, ebx: u32, ecx: u32, edx: u32) -> CpuIdResult {
        CpuIdResult { eax, ebx, ecx, edx }
    }

    fn text(text: &[u8; 16]) -> CpuIdResult {
        let word = |at: usize| u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
        result(word(0), word(4), word(8), word(12))
    }

    fn epyc(leaf: u32, _: u32) -> CpuIdResult {
        match leaf {
            0 => result(0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65),
            1 => result(0x0080_0f12, 0, 1 << 26 | 1 << 31, 0),
            7 => result(0, 1 << 7 | 1 << 20, 0, 0),
            0x8000_0000 => result(0x8000_000a, 0, 0, 0),
            0x8000_0001 => result(0, 0, 1 << 2, 1 << 20 | 1 << 26 | 1 << 29),
            0x8000_0002 => text(b"  AMD EPYC Proce"),
            0x8000_0003 => text(b"ssor            "),
            0x8000_0004 => text(b"               \0"),
            0x8000_0008 => result(0x3028, 0, 0, 0),
            0x8000_000a => result(1, 16, 0, 1),
            _ => result(0, 0, 0, 0),
        }
    }

    #[test]
    fn a_known_processor_is_read_right() {
        let features = Features::read(&epyc);
        assert_eq!(features.vendor, Vendor::Amd);
        assert_eq!(features.model.as_str(), "AMD EPYC Processor");
        assert_eq!(features.physical_bits, 40);
        assert_eq!(features.tsc_khz, None);
        let there: heapless::Vec<_, 32> = features.bits.list().filter(|row| row.1).map(|row| row.0).collect();
        assert_eq!(there, ["xsave", "nested", "smep", "smap", "svm", "nx", "gib_pages", "npt"]);
    }

    #[test]
    fn leaves_beyond_the_highest_are_not_believed() {
        let features = Features::read(&|leaf, _| match leaf {
            0 => result(1, 0, 0, 0),
            0x8000_0000 => result(0x8000_0001, 0, 0, 0),
            0x8000_0001 => result(0, 0, 0, 0),
            _ => result(!0, !0, !0, !0),
        });
        assert_eq!(features.vendor, Vendor::Other);
        assert!(features.bits.vmx && !features.bits.smep && !features.bits.npt);
    }
}
