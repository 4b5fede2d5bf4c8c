//! Appliances on disk: what the image builder leaves in a system partition, and the management VM reads.
//!
//! A **system bundle** begins with a [`Header`] of one block ([`BLOCK`] bytes). The index follows: a
//! [`System`] in postcard's format. Files come after it, each at a multiple of [`BLOCK`] from the
//! bundle's start; the index says where ([`Blob`]).

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of a bundle.
pub const MAGIC: [u8; 8] = *b"HEARTHSY";
/// Layout version of the header and the index.
pub const VERSION: u32 = 1;
/// Files begin at multiples of this many bytes.
pub const BLOCK: u64 = 4096;
/// Most bytes of an index.
pub const MAX_INDEX: u32 = 1 << 20;

/// The first bytes of a bundle; the rest of the first block is zero.
#[repr(C)]
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// Bytes of the index, which begins at [`BLOCK`].
    pub index_len: u32,
    /// Bytes of the whole bundle, a multiple of [`BLOCK`].
    pub bundle_len: u64,
    /// SHA-256 of the index.
    pub index_digest: [u8; 32],
}

const _: () = assert!(size_of::<Header>() == 56);

/// The index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// The product's version.
    pub product: String,
    /// Its appliances, by name in alphabetical order; no two share a name.
    pub appliances: Vec<Appliance>,
}

/// A file in the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Bytes from the bundle's start; a multiple of [`BLOCK`].
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// SHA-256.
    pub digest: [u8; 32],
}

/// An appliance: `appliance.toml`, read and checked by the image builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appliance {
    /// Name, `[a-z][a-z0-9-]{0,14}`.
    pub name: String,
    /// What the family calls it.
    pub title: String,
    /// vCPUs, 1 to 16; as many as there are cores at most when it starts.
    pub cpus: u8,
    /// Bytes of RAM, a multiple of 2 MiB.
    pub memory: u64,
    /// When it starts.
    pub start: Start,
    /// What runs in it.
    pub kernel: Kernel,
    /// What it has.
    pub devices: Devices,
    /// Its disks, in the order that it sees them.
    pub disks: Vec<Disk>,
}

/// When an appliance starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// With the box.
    Boot,
    /// When somebody wants it.
    Demand,
}

/// How a kernel is loaded and entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// bzImage, 64-bit boot protocol (Linux, Documentation/arch/x86/boot.rst).
    Linux,
    /// ELF with a PVH note (Xen, docs/misc/pvh.pandoc).
    Pvh,
    /// ELF or flat, Multiboot 0.6.96.
    Multiboot,
}

/// What runs in an appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// How it is entered.
    pub format: Format,
    /// The kernel.
    pub image: Blob,
    /// initrd, or first module.
    pub initrd: Option<Blob>,
    /// Command line.
    pub cmdline: String,
}

/// What an appliance has; names and defaults as in `appliance.toml`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // a list of switches
pub struct Devices {
    /// A screen.
    pub display: bool,
    /// A sound card.
    pub sound: bool,
    /// Keyboard and pads.
    pub input: bool,
    /// A network card.
    pub network: bool,
    /// Port 0xf4, which ends the VM with a status.
    pub debug_exit: bool,
    /// Its first serial port is told in the box log.
    pub log_console: bool,
}

/// A disk of an appliance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disk {
    /// A read-only image in the bundle.
    Image(Blob),
    /// A volume on the data partition, made empty at first: bytes, a multiple of [`BLOCK`].
    Volume {
        /// Its name, unique in its appliance.
        name: String,
        /// Bytes.
        size: u64,
    },
}
