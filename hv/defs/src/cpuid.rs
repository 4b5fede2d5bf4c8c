//! CPUID leaves that hv reads itself; the rest is read through `raw-cpuid`.
//! SDM volume 2, CPUID; APM volume 3, appendix E.

/// Leaf 1, ECX bit 31: a hypervisor is below us. APM 3, E.3.2.
pub const LEAF1_ECX_HYPERVISOR: u32 = 1 << 31;
/// Leaf 0x8000_0001, EDX bit 20: page-table entries may forbid execution.
pub const EXT1_EDX_NO_EXECUTE: u32 = 1 << 20;
/// Leaf 0x8000_0001, EDX bit 26: 1 GiB pages.
pub const EXT1_EDX_GIB_PAGES: u32 = 1 << 26;
/// Leaf 0x8000_0001, EDX bit 29: long mode.
pub const EXT1_EDX_LONG_MODE: u32 = 1 << 29;
