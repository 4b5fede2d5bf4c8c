//! A guest's console, line by line, for the box log.

use alloc::string::String;
use core::mem;

/// Control sequences begin with this (ECMA-48, 5.4).
const ESCAPE: u8 = 0x1b;

/// Where in a control sequence the last byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequence {
    /// In none.
    Outside,
    /// After [`ESCAPE`].
    Begun,
    /// In the parameters of one that began with `ESC [`.
    Parameters,
    /// In a string that began with `ESC ]` or the like, and ends with BEL or another [`ESCAPE`].
    Text,
}

/// Cuts what a guest writes into lines of text. Control sequences and control characters are left out,
/// what is not UTF-8 becomes U+FFFD, and lines that are too long are cut in two.
pub struct Lines {
    most: usize,
    line: String,
    /// Bytes of a character that is not complete.
    partial: heapless::Vec<u8, 4>,
    sequence: Sequence,
}

impl Lines {
    /// Lines of at most `most` bytes, and at least a character's four.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(4),
            line: String::new(),
            partial: heapless::Vec::new(),
            sequence: Sequence::Outside,
        }
    }

    /// Takes what the guest wrote, and hands each line to `line`. Empty lines are none.
    pub fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        for byte in bytes {
            if let Some(byte) = self.outside(*byte) {
                self.text(byte, &mut line);
            }
        }
    }

    /// Hands over what was begun: a prompt has no end of line. For an owner who has heard nothing for
    /// a while.
    pub fn flush(&mut self, line: impl FnMut(&str)) {
        self.end(line);
    }

    /// The byte, if it is in no control sequence.
    fn outside(&mut self, byte: u8) -> Option<u8> {
        self.sequence = match (self.sequence, byte) {
            // Bytes between ESC and the last of a short sequence stay in it, as does a new ESC.
            (_, ESCAPE) | (Sequence::Begun, 0x20..=0x2f) => Sequence::Begun,
            (Sequence::Outside, byte) => return Some(byte),
            (Sequence::Begun, b'[') | (Sequence::Parameters, 0x20..=0x3f) => Sequence::Parameters,
            (Sequence::Begun, b']' | b'P' | b'X' | b'^' | b'_') => Sequence::Text,
            (Sequence::Text, byte) if !matches!(byte, 0x07 | b'\n') => Sequence::Text,
            _ => Sequence::Outside,
        };
        None
    }

    fn text(&mut self, byte: u8, line: &mut impl FnMut(&str)) {
        match byte {
            b'\n' | b'\r' => self.end(line),
            b'\t' => self.character(' ', line),
            0x20..=0x7e => self.character(byte.into(), line),
            0x80.. => self.part(byte, line),
            _ => self.broken(line),
        }
    }

    /// A byte of a character of several.
    fn part(&mut self, byte: u8, line: &mut impl FnMut(&str)) {
        let begins = byte >= 0xc0;
        if begins {
            self.broken(line);
        }
        // There is room: what is complete or can't become a character is taken out at once.
        let _ = self.partial.push(byte);
        match core::str::from_utf8(&self.partial).map(|text| text.chars().next()) {
            Ok(Some(whole)) => {
                self.partial.clear();
                self.character(whole, line);
            }
            Err(error) if error.error_len().is_some() => self.broken(line),
            // More bytes of it must come.
            _ => {}
        }
    }

    /// What was begun does not become a character.
    fn broken(&mut self, line: &mut impl FnMut(&str)) {
        if !mem::take(&mut self.partial).is_empty() {
            self.put(char::REPLACEMENT_CHARACTER, line);
        }
    }

    fn character(&mut self, character: char, line: &mut impl FnMut(&str)) {
        self.broken(line);
        if !character.is_control() {
            self.put(character, line);
        }
    }

    fn put(&mut self, character: char, line: &mut impl FnMut(&str)) {
        if self.line.len() + character.len_utf8() > self.most {
            self.hand_over(line);
        }
        self.line.push(character);
    }

    fn end(&mut self, mut line: impl FnMut(&str)) {
        self.broken(&mut line);
        self.hand_over(&mut line);
    }

    fn hand_over(&mut self, line: &mut impl FnMut(&str)) {
        let text = self.line.trim_end();
        if !text.is_empty() {
            line(text);
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::testkit::{Random, Run};
    use std::string::ToString;
    use std::vec::Vec;

    fn lines(most: usize, bytes: &[u8]) -> Vec<String> {
        let mut cut = Lines::new(most);
        let mut lines = Vec::new();
        cut.push(bytes, |line| lines.push(line.to_string()));
        cut.flush(|line| lines.push(line.to_string()));
        lines
    }

    #[test]
    fn lines_end_where_they_end() {
        assert_eq!(lines(80, b"one\r\ntwo\n\n\nhearth login: "), ["one", "two", "hearth login:"]);
    }

    #[test]
    fn a_terminal_s_colours_are_left_out() {
        assert_eq!(
            lines(80, b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mfoo\x1b[0m."),
            ["[  OK  ] Started foo."]
        );
        assert_eq!(lines(80, b"\x1b]0;title\x07a\x1b(Bb\x1b[?25lc\x08\td"), ["abc d"]);
        assert_eq!(lines(80, b"\x1b]3008;no end\nnext"), ["next"]);
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(lines(8, "abcdefghijkl".as_bytes()), ["abcdefgh", "ijkl"]);
        assert_eq!(lines(4, "aäöü€".as_bytes()), ["aä", "öü", "€"]);
    }

    #[test]
    fn what_is_not_utf_8_is_marked() {
        assert_eq!(
            lines(80, b"a\xffb\xe2\x82c\xe2\x82\xac\xc3\n\x80"),
            ["a\u{fffd}b\u{fffd}c€\u{fffd}", "\u{fffd}"]
        );
    }

    #[test]
    fn anything_at_all_comes_out_as_bounded_lines() {
        let mut run = Run::new("lines", 100_000);
        let mut random = Random(run.seed);
        let mut cut = Lines::new(40);
        for _ in run.by_ref() {
            let bytes = random.next().to_le_bytes();
            cut.push(&bytes, |line| assert!(line.len() <= 40 && !line.chars().any(char::is_control)));
        }
    }
}
