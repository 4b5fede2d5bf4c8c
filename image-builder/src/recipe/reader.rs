//! Strict reading of a TOML file: every mistake is found, with its line, before any is told.

use anyhow::{Result, anyhow};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys this many edits apart are taken for one, misspelled.
const NEAR: usize = 3;

/// The names of a file's sections, each with its keys; `""` is the top of the file.
pub type Grammar = &'static [(&'static str, &'static [&'static str])];

/// The mistakes found in one file so far.
pub struct Mistakes<'t> {
    file: PathBuf,
    text: &'t str,
    found: Vec<(usize, String)>,
}

impl<'t> Mistakes<'t> {
    /// None yet, in the file of this name that holds `text`.
    pub fn new(file: &Path, text: &'t str) -> Self {
        Self { file: file.to_owned(), text, found: Vec::new() }
    }

    /// Notes one, `at` so many bytes from the start.
    pub fn note(&mut self, at: usize, what: impl Into<String>) {
        let line = self.text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
        self.found.push((line, what.into()));
    }

    /// Parses the text; what is not TOML is noted.
    pub fn parse(&mut self) -> Option<Spanned<DeTable<'t>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.note(error.span().map_or(0, |span| span.start), format!("not TOML: {}", error.message()));
        }
        errors.is_empty().then_some(table)
    }

    /// The value, if there are no mistakes; else all of them, one a line, in the file's order.
    ///
    /// # Errors
    /// When there are mistakes. A reader that has no value has noted why.
    pub fn conclude<T>(mut self, value: Option<T>) -> Result<T> {
        self.found.sort_by_key(|(line, _)| *line);
        let file = self.file.display();
        let lines: Vec<String> =
            self.found.iter().map(|(line, what)| format!("{file}:{line}: {what}")).collect();
        match value {
            Some(value) if lines.is_empty() => Ok(value),
            _ => Err(anyhow!(
                "{}\nnext: mend this file; docs/appliances.md explains every key",
                lines.join("\n")
            )),
        }
    }
}

/// One section of a file.
#[derive(Clone, Copy)]
pub struct Section<'t> {
    name: &'static str,
    at: usize,
    table: &'t DeTable<'t>,
}

impl<'t> Section<'t> {
    /// A section; notes the keys in it that `grammar` does not know.
    pub fn new(
        grammar: Grammar,
        name: &'static str,
        span: Range<usize>,
        table: &'t DeTable<'t>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let known = keys_of(grammar, name);
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let hint = hint(grammar, name, key.get_ref());
            mistakes
                .note(key.span().start, format!("unknown key {:?}{}; {hint}", key.get_ref(), place(name)));
        }
        Self { name, at: span.start, table }
    }

    /// Bytes from the file's start to this section's.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The section of this name below this one.
    pub fn below(
        &self,
        grammar: Grammar,
        name: &'static str,
        mistakes: &mut Mistakes,
    ) -> Option<Section<'t>> {
        let value = self.table.get(name)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(grammar, name, value.span(), table, mistakes)),
            other => {
                mistakes.note(
                    value.span().start,
                    format!("{name} must be a section, [{name}], not {}", a(other)),
                );
                None
            }
        }
    }

    /// The sections of this name below this one, `[[name]]` each.
    pub fn list(&self, grammar: Grammar, name: &'static str, mistakes: &mut Mistakes) -> Vec<Section<'t>> {
        let Some(value) = self.table.get(name) else { return Vec::new() };
        let entries: &[Spanned<DeValue>] = match value.get_ref() {
            DeValue::Array(array) => array,
            _ => std::slice::from_ref(value),
        };
        let mut sections = Vec::new();
        for entry in entries {
            match (value.get_ref(), entry.get_ref()) {
                (DeValue::Array(_), DeValue::Table(table)) => {
                    sections.push(Section::new(grammar, name, entry.span(), table, mistakes));
                }
                _ => mistakes
                    .note(entry.span().start, format!("{name} must be a list of sections, [[{name}]] each")),
            }
        }
        sections
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// Notes that a key is missing; `example` is how a line with it might read.
    pub fn missing(&self, key: &str, example: &str, mistakes: &mut Mistakes) {
        mistakes.note(self.at, format!("key {key:?}{} is missing; for example: {example}", place(self.name)));
    }

    /// Reads a key's value by `read`; `want` says in words what it must be.
    pub fn value<T>(
        &self,
        key: &'static str,
        want: &str,
        mistakes: &mut Mistakes,
        read: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let good = read(value.get_ref());
        if good.is_none() {
            mistakes
                .note(value.span().start, format!("{key} must be {want}, not {}", shown(value.get_ref())));
        }
        good
    }

    /// Reads one of a few words.
    pub fn word<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&str, T)],
        mistakes: &mut Mistakes,
    ) -> Option<T> {
        let names: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        self.value(key, &names.join(" or "), mistakes, |value| {
            words.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, meaning)| *meaning)
        })
    }

    /// Reads a switch that is off where it is not named.
    pub fn switch(&self, key: &'static str, mistakes: &mut Mistakes) -> bool {
        self.value(key, "true or false", mistakes, DeValue::as_bool).unwrap_or(false)
    }
}

/// What to do about an unknown key: the nearest one here, or the section that has this one.
fn hint(grammar: Grammar, section: &str, key: &str) -> String {
    let here = keys_of(grammar, section);
    let nearest =
        here.iter().map(|known| (strsim::osa_distance(&key.to_ascii_lowercase(), known), known)).min();
    let elsewhere = grammar.iter().find(|(name, keys)| *name != section && keys.contains(&key));
    match (nearest, elsewhere) {
        (Some((edits, known)), _) if edits <= NEAR.min(known.len() / 2) => {
            format!("did you mean {known:?}?")
        }
        (_, Some((name, _))) => format!("it belongs{}", place(name)),
        (Some((_, known)), None) => format!("the nearest is {known:?}; known are {}", here.join(", ")),
        (None, None) => "there are none here".to_owned(),
    }
}

fn keys_of(grammar: Grammar, section: &str) -> &'static [&'static str] {
    grammar.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| *keys)
}

fn place(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!(" in [{section}]") }
}

/// A value as a reader of the file would recognise it.
fn shown(value: &DeValue) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        other => a(other),
    }
}

/// The kind of a value, with its article.
fn a(value: &DeValue) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}
