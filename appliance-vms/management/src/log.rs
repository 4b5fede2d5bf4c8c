//! A line for the box log, while it is written: bounded, and whole also where it is cut.

use core::fmt;
use hv_abi::hypercall::MAX_LOG;

/// Most bytes of a line.
const MOST: usize = MAX_LOG as usize;

/// A line that grows: everything is taken, and what is too much is left out.
pub struct Text {
    bytes: [u8; MOST],
    len: usize,
    full: bool,
}

impl Text {
    /// A line with nothing in it.
    pub const fn new() -> Self {
        Self { bytes: [0; MOST], len: 0, full: false }
    }

    /// The line. One that was cut ends where it can: not within an escape, and with its quotes closed.
    pub fn finish(&mut self) -> &str {
        if self.full {
            self.close();
        }
        // Only whole characters have been put in.
        core::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default()).unwrap_or_default()
    }

    fn close(&mut self) {
        let (mut quoted, mut escape, mut whole) = (false, 0, 0);
        for (at, byte) in self.bytes.iter().take(self.len).enumerate() {
            match (escape, byte) {
                // `\xNN` is the one escape that is longer than its first two bytes (`hv_abi::log`).
                (1, b'x') => escape = 3,
                (0, b'\\') if quoted => escape = 2,
                (0, b'"') => quoted = !quoted,
                _ => {}
            }
            escape = u8::saturating_sub(escape, 1);
            if escape == 0 && at + 1 < MOST {
                whole = at + 1;
            }
        }
        self.len = whole;
        if quoted {
            // A character may have bytes behind `whole`'s first: step back to a boundary.
            while core::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default()).is_err() {
                self.len -= 1;
            }
            if let Some(byte) = self.bytes.get_mut(self.len) {
                *byte = b'"';
                self.len += 1;
            }
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let mut utf8 = [0; 4];
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            let place = self.bytes.get_mut(self.len..self.len + bytes.len()).filter(|_| !self.full);
            match place {
                Some(place) => {
                    place.copy_from_slice(bytes);
                    self.len += bytes.len();
                }
                None => self.full = true,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use hv_abi::log::{Level, Line};
    use std::format;
    use std::string::String;

    fn line(value: &str) -> String {
        let mut text = Text::new();
        let line = Line::start(&mut text, Level::Info, "vm.console");
        line.and_then(|line| line.field("text", &value)).map(drop).expect("it takes everything");
        String::from(text.finish())
    }

    #[test]
    fn a_line_that_fits_is_as_it_was_written() {
        assert_eq!(line("a b"), "INFO vm.console text=\"a b\"");
    }

    #[test]
    fn a_line_that_is_cut_is_whole_wherever_that_is() {
        for filler in ["a", "\u{1}", "\"", "\\", "ä", "€", " "] {
            for before in 0..12 {
                let text = line(&format!("{} {}", "b".repeat(before), filler.repeat(MOST)));
                assert!(text.len() <= MOST && text.len() > MOST - 8, "{} {text}", text.len());
                let inside = text.strip_prefix("INFO vm.console text=\"").expect("quoted");
                let inside = inside.strip_suffix('"').expect("closed");
                let mut rest = inside;
                while let Some(at) = rest.find('\\') {
                    let escape = &rest[at..];
                    let len = if escape.starts_with("\\x") { 4 } else { 2 };
                    assert!(escape.len() >= len, "an escape is cut: {text}");
                    rest = &escape[len..];
                }
                assert!(!rest.contains('"'), "{text}");
            }
        }
    }

    #[test]
    fn a_bare_value_is_cut_without_quotes() {
        let text = line(&"a".repeat(2 * MOST));
        assert!(!text.contains('"') && text.len() >= MOST - 1);
    }
}
