//! What every door does the same way: check the payload, describe the memory, let hv land, jump.
//!
//! A door finds out what its board has and fills a [`BootInfo`](hv_abi::boot::BootInfo); then:
//!
//! ```text
//! Payload::check(bytes)            digest and header           pure
//! memory_map::Builder … finish()   reports → lawful map        pure
//! landing::size_for / place        how much memory, and where  pure
//! land(payload, block)             unpack, build page tables
//! enter(landed, boot)              switch page tables, jump; hv takes over
//! ```
//!
//! True when hv's first instruction runs: long mode, interrupts off, `RDI` = virtual address of
//! the `BootInfo` in the direct map, the stack in the landing, all RAM mapped at
//! [`DIRECT_MAP`](hv_abi::boot::DIRECT_MAP) (read, write) and at its physical address (the door's
//! last instructions run there), the image mapped where it is linked with the rights its segments
//! ask for. Nothing else is promised; hv brings its own descriptor tables and page tables.

#![no_std]
// Doors write physical memory, ports and control registers; the pure modules forbid it again.
#![allow(unsafe_code)]

pub mod display;
mod enter;
pub mod fw_cfg;
pub mod landing;
pub mod memory_map;
pub mod payload;
pub mod pci;
mod refusal;

pub use enter::{Landed, enter, land, landing_len};
pub use payload::Payload;
pub use refusal::{Refusal, Result, refuse};
