//! One line of the box log, read back: the other end of `hv_abi::log`.
//!
//! Other programs print on the same serial line before hv does (OVMF, `SeaBIOS`: terminal escapes,
//! half lines), so a line of the log may start anywhere inside a line of text.

use anyhow::{Context, Result, anyhow};
use hv_abi::log::Level;
use std::fmt;

/// What a line of text from the serial port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line of the box log.
    Event(Event),
    /// It starts like a line of the box log and then breaks its rules.
    Broken,
    /// Somebody else's words.
    Foreign,
}

/// One line of the box log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Since power-on.
    pub micros: u64,
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub name: String,
    /// In the order they were printed, unquoted.
    pub fields: Vec<(String, String)>,
}

impl Line {
    /// Reads a line of text, without its end.
    ///
    /// A restart may cut a line short and start the next one in it, so of several beginnings the
    /// first one that reads to the end counts.
    pub fn read(text: &[u8]) -> Self {
        let mut line = Self::Foreign;
        for start in beginnings(text) {
            match std::str::from_utf8(&text[start..]).ok().and_then(Event::parse) {
                Some(event) => return Self::Event(event),
                None => line = Self::Broken,
            }
        }
        line
    }

    /// The event, if it is one.
    pub const fn event(&self) -> Option<&Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Broken | Self::Foreign => None,
        }
    }
}

impl Event {
    /// Reads a line that holds nothing else.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches('\r');
        let (time, rest) = text.split_once(' ')?;
        let (seconds, micros) = time.split_once('.')?;
        let micros = seconds.parse::<u64>().ok()?.checked_mul(1_000_000)? + micros.parse::<u64>().ok()?;
        let (level, rest) = rest.split_once(' ')?;
        let level = level_of(level)?;
        let end = rest.find(' ').unwrap_or(rest.len());
        let (name, mut rest) = rest.split_at(end);
        if !is_name(name) {
            return None;
        }
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let (key, after) = rest.strip_prefix(' ')?.split_once('=')?;
            let (value, after) = value_of(after)?;
            if !is_name(key) {
                return None;
            }
            fields.push((key.to_owned(), value));
            rest = after;
        }
        Some(Self { micros, level, name: name.to_owned(), fields })
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// The event has no such field.
    pub fn field(&self, key: &str) -> Result<&str> {
        let found = self.fields.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| anyhow!("`{self}` has no field `{key}`"))
    }

    /// The value of `key` as a number, decimal or `0x…`.
    ///
    /// # Errors
    /// The event has no such field, or it is no number.
    pub fn number(&self, key: &str) -> Result<u64> {
        let text = self.field(key)?;
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.with_context(|| format!("`{key}` of `{self}` is not a number"))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.micros / 1_000_000, self.micros % 1_000_000);
        write!(f, "{seconds}.{rest:06} {} {}", self.level.name(), self.name)?;
        self.fields.iter().try_for_each(|(key, value)| write!(f, " {key}={value:?}"))
    }
}

/// Where in `text` something stands that looks like `SECONDS.MICROS LEVEL `.
fn beginnings(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    text.iter().enumerate().filter(|&(_, &byte)| byte == b'.').filter_map(|(dot, _)| {
        let digits = text[..dot].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let (micros, rest) = text[dot + 1..].split_at_checked(6)?;
        let mut words = rest.strip_prefix(b" ")?.splitn(2, |&byte| byte == b' ');
        let level = std::str::from_utf8(words.next()?).ok()?;
        let looks = digits > 0 && micros.iter().all(u8::is_ascii_digit) && level_of(level).is_some();
        looks.then_some(dot - digits)
    })
}

fn level_of(word: &str) -> Option<Level> {
    [Level::Error, Level::Warn, Level::Info, Level::Debug].into_iter().find(|level| level.name() == word)
}

/// Event names and keys: lower-case words, dots, digits, underscores, dashes.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
}

/// A value, unquoted, and what follows it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
        let bare = !value.is_empty() && !value.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'));
        return bare.then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => match chars.next()? {
                c @ ('"' | '\\') => value.push(c),
                'n' => value.push('\n'),
                'x' => {
                    let (digits, rest) = chars.as_str().split_at_checked(2)?;
                    value.push(char::from(u8::from_str_radix(digits, 16).ok()?));
                    chars = rest.chars();
                }
                _ => return None,
            },
            c if c.is_control() => return None,
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &[u8]) -> Event {
        Line::read(text).event().unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(text))).clone()
    }

    #[test]
    fn whatever_hv_abi_writes_is_read_back() {
        for value in
            ["plain", "", "two words", "a\"b", "back\\slash", "line\nline", "\x1b[31m\t\0\x7f", "ü=ö", "a=b"]
        {
            let mut text = String::new();
            hv_abi::line!(
                &mut text,
                61_000_007,
                Level::Warn,
                "vm.exit",
                vm = "tv",
                reason = value,
                code = 0x10
            )
            .expect("a String takes it");
            let event = event(text.trim_end_matches('\n').as_bytes());
            assert_eq!((event.micros, event.level, &*event.name), (61_000_007, Level::Warn, "vm.exit"));
            assert_eq!(event.field("reason").expect("printed"), value);
            assert_eq!(event.number("code").expect("a number"), 16);
            assert!(event.field("screen").unwrap_err().to_string().contains("screen"));
            assert!(event.number("vm").unwrap_err().to_string().contains("not a number"));
        }
    }

    #[test]
    fn a_line_is_found_behind_foreign_bytes() {
        let cases: [&[u8]; 5] = [
            b"0.000001 INFO hv.ready tsc=0xff\r",
            b"\x1b[2J\x1b[01;01H\x1b[=3h0.000001 INFO hv.ready tsc=0xff",
            b"BdsDxe: starting Boot0001 \"UEFI Misc 1.0 INFO\"0.000001 INFO hv.ready tsc=0xff\r",
            b"\xff\xfe\x800.000001 INFO hv.ready tsc=0xff",
            b"12.345678 INFO hv.cp0.000001 INFO hv.ready tsc=0xff",
        ];
        for text in cases {
            let event = event(text);
            assert_eq!((event.micros, &*event.name), (1, "hv.ready"), "{:?}", String::from_utf8_lossy(text));
            assert_eq!(event.number("tsc").expect("a number"), 255);
        }
    }

    #[test]
    fn a_line_inside_a_quoted_value_is_not_an_event_of_its_own() {
        let event = event(br#"7.000000 ERROR panic.log line="6.500000 INFO hv.ready tsc=1""#);
        assert_eq!(event.field("line").expect("printed"), "6.500000 INFO hv.ready tsc=1");
        assert_eq!(event.name, "panic.log");
    }

    #[test]
    fn a_line_that_breaks_the_rules_is_broken_and_other_words_are_foreign() {
        let broken: [&[u8]; 9] = [
            b"0.000001 INFO ",
            b"0.000001 INFO Hv.ready",
            b"0.000001 INFO hv.ready tsc",
            b"0.000001 INFO hv.ready tsc=",
            b"0.000001 INFO hv.ready  tsc=1",
            b"0.000001 INFO hv.ready what=\"open",
            b"0.000001 INFO hv.ready what=\"a\\q\"",
            b"0.000001 INFO hv.ready what=a\"b",
            b"0.000001 INFO hv.ready what=\xff",
        ];
        for text in broken {
            assert_eq!(Line::read(text), Line::Broken, "{:?}", String::from_utf8_lossy(text));
        }
        let foreign: [&[u8]; 6] = [
            b"",
            b"SeaBIOS (version 1.16.2)",
            b"1.2 INFO x",
            b"0.000001 TRACE x",
            b".000001 INFO x",
            b"0.000001",
        ];
        for text in foreign {
            assert_eq!(Line::read(text), Line::Foreign, "{:?}", String::from_utf8_lossy(text));
        }
    }
}
