//! hv's options from what a boot loader gave the door.

use alloc::string::String;

/// The words of an image's load options (UEFI 2.10, 9.1) that are meant for hv.
///
/// Load options may be anything; what is not plain UTF-16 text has no words. Left out are the
/// program's own name, which the EFI shell puts first, and `initrd=…`, which QEMU's loader adds
/// for a kernel that looks for its initrd by name.
pub fn from_load_options(bytes: &[u8]) -> String {
    let Some(text) = text(bytes) else { return String::new() };
    let mut options = String::new();
    for (at, word) in text.split_whitespace().enumerate() {
        let program = at == 0 && word.to_ascii_lowercase().ends_with(".efi");
        if !program && !word.starts_with("initrd=") {
            if !options.is_empty() {
                options.push(' ');
            }
            options.push_str(word);
        }
    }
    options
}

/// Little-endian UTF-16 up to a zero or the end; `None` if it is anything else.
fn text(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units = units.iter().map(|&unit| u16::from_le_bytes(unit)).take_while(|&unit| unit != 0);
    let text: String = char::decode_utf16(units).collect::<Result<_, _>>().ok()?;
    let plain = rest.is_empty() && !text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace());
    plain.then_some(text)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn options_come_through_and_the_loaders_own_words_do_not() {
        let cases = [
            ("panic=halt test=panic", "panic=halt test=panic"),
            ("panic=halt\0behind the end", "panic=halt"),
            ("  panic=halt \n initrd=initrd", "panic=halt"),
            (r"FS0:\EFI\BOOT\BOOTX64.EFI panic=halt", "panic=halt"),
            ("initrd=initrd", ""),
            ("", ""),
        ];
        for (given, expected) in cases {
            assert_eq!(from_load_options(&utf16(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn load_options_that_are_no_text_are_no_options() {
        // What EDK II's boot manager marks its own entries with, an odd length, half a pair.
        let marker =
            [0x4e, 0xac, 0x08, 0x81, 0x11, 0x9f, 0x59, 0x4d, 0x85, 0x0e, 0xe2, 0x1a, 0x52, 0x2c, 0x59, 0xb2];
        assert_eq!(from_load_options(&marker[..15]), "");
        assert_eq!(from_load_options(&[0x00, 0xd8]), "");
        assert_eq!(from_load_options(&[0x01, 0x00, 0x41, 0x00]), "");
    }
}
