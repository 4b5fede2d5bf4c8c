//! The partitions of a Hearth disk (GPT: UEFI Specification 2.10, chapter 5).
//!
//! Partition 1 is the EFI system partition. The others have types of their own; the two systems share
//! one and are told apart by name.

/// A partition type or name as it stands in the table: the first three fields of the GUID are
/// little-endian (UEFI Specification 2.10, appendix A).
pub type Guid = [u8; 16];

/// Boot state: which system starts, and how often it may still try.
///
/// `fb046b27-d4f9-47c5-b06d-021edd04837c`
pub const BOOT_STATE: Guid =
    [0x27, 0x6b, 0x04, 0xfb, 0xf9, 0xd4, 0xc5, 0x47, 0xb0, 0x6d, 0x02, 0x1e, 0xdd, 0x04, 0x83, 0x7c];
/// A system: a bundle of appliances ([`crate::appliance`]), at its start.
///
/// `3c6825ba-54ba-4d92-b439-aeede42fe7ed`
pub const SYSTEM: Guid =
    [0xba, 0x25, 0x68, 0x3c, 0xba, 0x54, 0x92, 0x4d, 0xb4, 0x39, 0xae, 0xed, 0xe4, 0x2f, 0xe7, 0xed];
/// Data: the volumes of the appliances.
///
/// `44f72efc-fb5f-48b5-9c12-d7cc68fc8cb5`
pub const DATA: Guid =
    [0xfc, 0x2e, 0xf7, 0x44, 0x5f, 0xfb, 0xb5, 0x48, 0x9c, 0x12, 0xd7, 0xcc, 0x68, 0xfc, 0x8c, 0xb5];

/// Name of the system partition that a fresh image fills.
pub const SYSTEM_A_NAME: &str = "hearth-system-a";
/// Name of the system partition that the first update fills.
pub const SYSTEM_B_NAME: &str = "hearth-system-b";
/// Name of the boot state's partition.
pub const BOOT_STATE_NAME: &str = "hearth-boot";
/// Name of the data partition.
pub const DATA_NAME: &str = "hearth-data";
