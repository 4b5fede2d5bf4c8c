//! The flash directory, checked.

use handoff::{Refusal, Result};
use hv_abi::flash::{Directory, MAGIC, MAX_ROM};
use hv_abi::memory::PhysRange;

/// Flash ends here.
const END: u64 = 1 << 32;

/// Where the payload is in flash.
///
/// # Errors
/// A [`Refusal`] when the directory contradicts itself.
pub fn payload(directory: &Directory) -> Result<PhysRange> {
    let flash = PhysRange::new(directory.rom_base.into(), directory.rom_len.into());
    let payload = PhysRange::new(directory.payload_base.into(), directory.payload_len.into());
    let is_flash = directory.magic == MAGIC && flash.len <= MAX_ROM && flash.end() == END;
    if is_flash && flash.contains(payload) {
        Ok(payload)
    } else {
        Err(Refusal {
            what: "The flash chip's directory says that parts of Hearth lie outside the chip.",
            remedy: "Write hearth.rom to the flash chip again.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Directory = Directory {
        magic: MAGIC,
        rom_base: 0xffe0_0000,
        rom_len: 0x20_0000,
        door_base: 0xfff0_0000,
        door_len: 0x2_0000,
        door_ram: 0x10_0000,
        door_entry: 0x10_0000,
        door_clear: 0x6000,
        payload_base: 0xffe0_0000,
        payload_len: 0x8_0000,
        reserved: 0,
    };

    #[test]
    fn a_payload_in_flash_is_found() {
        assert_eq!(payload(&GOOD), Ok(PhysRange::new(0xffe0_0000, 0x8_0000)));
    }

    #[test]
    fn one_outside_is_not_believed() {
        let bad = [
            Directory { magic: *b"HEARTHXX", ..GOOD },
            Directory { payload_base: 0x10_0000, ..GOOD },
            Directory { payload_len: 0x20_0001, ..GOOD },
            Directory { rom_base: 0xffd0_0000, ..GOOD },
            Directory { rom_base: 0x8000_0000, rom_len: 0x8000_0000, ..GOOD },
        ];
        for directory in bad {
            assert!(payload(&directory).unwrap_err().remedy.contains("hearth.rom"), "{directory:?}");
        }
    }
}
