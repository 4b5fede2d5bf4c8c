//! One line of the box log: `SECONDS.MICROS LEVEL event key=value …`.
//!
//! A value with a space, a quote, a backslash or a control character in it, or with nothing in it,
//! is quoted; inside quotes `\"`, `\\`, `\n` and `\xNN` stand for what cannot stand for itself.

use core::fmt::{self, Write};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something that was asked for does not work.
    Error,
    /// Something is not as it should be, and was worked around.
    Warn,
    /// Something happened that whoever looks after the box wants to know.
    Info,
    /// Something that helps to find a fault.
    Debug,
}

impl Level {
    /// The word in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

/// Bytes as hexadecimal digits: a digest.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A line that is being written. Ends with [`Line::end`].
pub struct Line<'a, W: Write + ?Sized> {
    out: &'a mut W,
}

impl<'a, W: Write + ?Sized> Line<'a, W> {
    /// Starts a line: `micros` since power-on, `level`, `event`.
    ///
    /// # Errors
    /// What `out` answers.
    pub fn begin(out: &'a mut W, micros: u64, level: Level, event: &str) -> Result<Self, fmt::Error> {
        stamp(out, micros)?;
        Self::start(out, level, event)
    }

    /// Starts a line that somebody else puts the time before ([`stamp`]).
    ///
    /// # Errors
    /// What `out` answers.
    pub fn start(out: &'a mut W, level: Level, event: &str) -> Result<Self, fmt::Error> {
        write!(out, "{} {event}", level.name())?;
        Ok(Self { out })
    }

    /// Adds `key=value`, quoted where it must be.
    ///
    /// # Errors
    /// What the sink answers.
    pub fn field(self, key: &str, value: &dyn fmt::Display) -> Result<Self, fmt::Error> {
        write!(self.out, " {key}=")?;
        let mut look = NeedsQuotes { any: false, found: false };
        write!(look, "{value}")?;
        if look.found || !look.any {
            self.out.write_char('"')?;
            write!(Escape(self.out), "{value}")?;
            self.out.write_char('"')?;
        } else {
            write!(self.out, "{value}")?;
        }
        Ok(self)
    }

    /// Ends the line.
    ///
    /// # Errors
    /// What the sink answers.
    pub fn end(self) -> fmt::Result {
        self.out.write_char('\n')
    }
}

/// Writes what a line begins with: the time, `micros` since power-on.
///
/// # Errors
/// What `out` answers.
pub fn stamp<W: Write + ?Sized>(out: &mut W, micros: u64) -> fmt::Result {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    write!(out, "{seconds}.{rest:06} ")
}

/// Whether `text` is a line but for its time and its end: `LEVEL event key=value …`. What follows the
/// event is its writer's affair, as long as it stays one line.
pub fn is_line(text: &str) -> bool {
    let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug];
    let mut words = text.splitn(3, ' ');
    let (level, event) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    levels.iter().any(|known| known.name() == level)
        && event.starts_with(|c: char| c.is_ascii_lowercase())
        && event.chars().all(is_name)
        && !text.contains(char::is_control)
}

/// Looks through a value for anything that must be quoted.
struct NeedsQuotes {
    any: bool,
    found: bool,
}

impl Write for NeedsQuotes {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.any |= !text.is_empty();
        self.found |= text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\'));
        Ok(())
    }
}

/// Writes the inside of a quoted value.
struct Escape<'a, W: Write + ?Sized>(&'a mut W);

impl<W: Write + ?Sized> Write for Escape<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(self.0, "\\{c}"),
            '\n' => self.0.write_str("\\n"),
            c if c.is_ascii_control() => write!(self.0, "\\x{:02x}", c as u32),
            c => self.0.write_char(c),
        })
    }
}

/// Writes one line to a `fmt::Write`:
/// `line!(out, micros, Level::Info, "hv.cpus", online = 4, vendor = "amd")`.
/// Answers `fmt::Result`.
#[macro_export]
macro_rules! line {
    ($out:expr, $micros:expr, $level:expr, $event:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::log::Line::begin($out, $micros, $level, $event)
            $(.and_then(|line| line.field(stringify!($key), &$value)))*
            .and_then($crate::log::Line::end)
    };
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;

    fn line(value: &str) -> String {
        let mut out = String::new();
        line!(&mut out, 1_000_042, Level::Info, "vm.exit", vm = "tv", reason = value).expect("a String");
        out
    }

    #[test]
    fn a_line_reads_as_the_design_says() {
        assert_eq!(line("shutdown"), "1.000042 INFO vm.exit vm=tv reason=shutdown\n");
    }

    #[test]
    fn what_another_program_wrote_is_a_line_or_is_not() {
        for text in ["INFO mgmt.ready", "ERROR disk.dead name=disk0 what=\"no answer\"", "DEBUG a.b-c2 "] {
            assert!(is_line(text), "{text}");
        }
        for text in
            ["", "INFO", "INFO ", "info a.b", "INFO 1a", "INFO A", "INFO a\nb", "a INFO a", "INFO a b\n"]
        {
            assert!(!is_line(text), "{text}");
        }
    }

    #[test]
    fn what_cannot_stand_bare_is_quoted() {
        assert_eq!(line("triple fault"), "1.000042 INFO vm.exit vm=tv reason=\"triple fault\"\n");
        assert_eq!(line(""), "1.000042 INFO vm.exit vm=tv reason=\"\"\n");
        assert_eq!(line("a\"b\\c\n\x1b"), "1.000042 INFO vm.exit vm=tv reason=\"a\\\"b\\\\c\\n\\x1b\"\n");
    }
}
