//! Rules about the source files themselves.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of a file that gives no reason for more.
const FILE_LINES: usize = 500;
/// The line in a longer file's header that gives the reason begins so.
const REASON: &str = "Longer than 500 lines because ";
/// Lines in which that line is looked for.
const HEADER_LINES: usize = 20;
/// Most lines of the hypervisor; tests, comments and blank lines are not counted.
const HYPERVISOR_LINES: usize = 10_000;
/// The hypervisor.
const HYPERVISOR: [&str; 3] = ["hv/core", "hv/arch", "hv/src"];
/// Where unsafe code may be.
const UNSAFE_PLACES: [&str; 6] =
    ["hv/arch", "hv/src", "firmware", "appliance-vms/management/machine", "tests/guest", "tests/kernels"];

/// A source file, by its path below the checkout.
struct Source {
    path: PathBuf,
    text: String,
}

/// No file is longer than a reader can hold, or says why.
pub fn sizes(root: &Path) -> Result<String> {
    let sources = read(root)?;
    let too_long: Vec<String> = sources.iter().filter_map(too_long).collect();
    verdict(&too_long, "split it by what it does, or say in its header why not")?;
    let longest = sources.iter().map(|source| source.text.lines().count()).max().unwrap_or(0);
    Ok(format!("{} files, the longest {longest} lines", sources.len()))
}

/// Unsafe code is only where the machine is.
pub fn unsafe_places(root: &Path) -> Result<String> {
    let found: Vec<String> = read(root)?.iter().flat_map(misplaced_unsafe).collect();
    verdict(&found, "move it to a crate that may hold it")?;
    Ok(String::new())
}

/// The hypervisor stays small enough to be read.
pub fn hypervisor_lines(root: &Path) -> Result<String> {
    let sources = read(root)?;
    let hypervisor = sources.iter().filter(|source| is_hypervisor(&source.path));
    let lines: usize = hypervisor.map(|source| code_lines(without_tests(&source.text))).sum();
    if lines > HYPERVISOR_LINES {
        bail!(
            "hv has {lines} lines, {HYPERVISOR_LINES} are promised; next: find what is not the hypervisor's work"
        );
    }
    Ok(format!("{lines} of {HYPERVISOR_LINES}"))
}

fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    let excused = source.text.lines().take(HEADER_LINES).any(|line| line.contains(REASON));
    (lines > FILE_LINES && !excused).then(|| format!("{} has {lines} lines", source.path.display()))
}

fn misplaced_unsafe(source: &Source) -> Vec<String> {
    let allowed = UNSAFE_PLACES.iter().any(|place| source.path.starts_with(place));
    if allowed || source.path.extension().is_none_or(|extension| extension != "rs") {
        return Vec::new();
    }
    let code = code_only(&source.text);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let holds = |line: &str| line.split(|c| !is_word(c)).any(|word| word == "unsafe");
    let hits = code.lines().enumerate().filter(|(_, line)| holds(line));
    hits.map(|(number, _)| format!("{}:{} is unsafe", source.path.display(), number + 1)).collect()
}

/// Hypervisor code, without its tests.
pub fn is_hypervisor(path: &Path) -> bool {
    const TESTS: [&str; 3] = ["tests", "tests.rs", "testkit.rs"];
    let test = path.components().any(|part| TESTS.iter().any(|name| part.as_os_str() == *name));
    !test && HYPERVISOR.iter().any(|place| path.starts_with(place))
}

/// The text before its tests, which are always the last module of a file.
pub fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

/// Lines that are neither blank nor a comment alone: what a reader must understand.
fn code_lines(text: &str) -> usize {
    let is_code = |line: &&str| {
        let line = line.trim_start();
        !(line.is_empty() || line.starts_with("//") || line.starts_with("# "))
    };
    text.lines().filter(is_code).count()
}

fn verdict(found: &[String], remedy: &str) -> Result<()> {
    if !found.is_empty() {
        bail!("{}\nnext: {remedy}", found.join("\n"));
    }
    Ok(())
}

/// Rust text without comments and what is in quotes; lines stay lines.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            quoted(rest)
        } else if first == '\'' {
            character(rest)
        } else if first == 'r' && !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            raw_quoted(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().filter(|&c| c == '\n'));
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// Bytes of a block comment with those inside it.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let (step, change) = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Bytes of a string in quotes.
fn quoted(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    floor((at + 1).min(text.len()), text)
}

/// Bytes of a raw string; 0 if this is another word that begins with `r`.
fn raw_quoted(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|&byte| byte == b'#').count();
    let start = 1 + hashes;
    if text.as_bytes().get(start) != Some(&b'"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[start + 1..].find(&end).map_or(text.len(), |at| start + 1 + at + end.len())
}

/// Bytes of a character in quotes; 0 if this is a lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            text[2..].find('\'').filter(|&at| at > 0 || text.starts_with("'\\''")).map_or(0, |at| {
                // In '\'' the first quote found is the character itself.
                if at == 0 { 4 } else { at + 3 }
            })
        }
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

fn floor(at: usize, text: &str) -> usize {
    (at..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

/// All Rust and assembly files of the checkout.
fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("listing {}", folder.display()))?;
            let (path, kind) = (entry.path(), entry.file_type().context("asking what a file is")?);
            let name = entry.file_name();
            if kind.is_dir() {
                let ours = !name.to_string_lossy().starts_with('.') && name != "target";
                folders.extend(ours.then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "S") {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "x\n".repeat(501);
        assert!(too_long(&source("a.rs", &long)).is_some());
        assert!(too_long(&source("a.rs", &"x\n".repeat(500))).is_none());
        let reason = format!("//! Longer than 500 lines because it is one table.\n{long}");
        assert!(too_long(&source("a.rs", &reason)).is_none());
    }

    #[test]
    fn unsafe_is_found_in_code_and_only_there() {
        let hits = |path: &str, text: &str| misplaced_unsafe(&source(path, text)).len();
        assert_eq!(hits("ui/src/a.rs", "fn f() {\n    unsafe { g() }\n}\nunsafe impl A for B {}"), 2);
        assert_eq!(hits("hv/arch/src/a.rs", "unsafe { g() }"), 0);
        assert_eq!(hits("hv/core/src/a.rs", "#![deny(unsafe_code)]"), 0);
        assert_eq!(
            hits("ui/a.rs", "// unsafe\n/* unsafe /* */ unsafe */ \"unsafe \\\" unsafe\" r#\"unsafe\"#"),
            0
        );
        assert_eq!(hits("ui/a.rs", "let q = '\"'; unsafe { g('\\'', '\\n') }; \"x\""), 1);
        assert_eq!(hits("ui/a.rs", "fn f<'a>(x: &'a str) { unsafe { g(x) } }"), 1);
    }

    #[test]
    fn the_line_that_is_unsafe_is_named() {
        let found = misplaced_unsafe(&source("ui/src/a.rs", "/* one\ntwo */\n\"three\nfour\"; unsafe {}"));
        assert_eq!(found, ["ui/src/a.rs:4 is unsafe"]);
    }

    #[test]
    fn the_hypervisors_tests_are_not_the_hypervisor() {
        assert!(is_hypervisor(Path::new("hv/core/src/log.rs")));
        assert!(!is_hypervisor(Path::new("hv/core/src/log/tests.rs")));
        assert!(!is_hypervisor(Path::new("hv/core/src/testkit.rs")));
        assert!(!is_hypervisor(Path::new("hv/abi/src/lib.rs")));
        assert_eq!(without_tests("a\nb\n#[cfg(test)]\nmod tests {\nc\n}\n"), "a\nb");
        assert_eq!(without_tests("a\n#[cfg(test)]\nuse b;\nc\n").lines().count(), 4);
        assert_eq!(code_lines("//! a\n\nfn b() {\n    // c\n    #[d]\n}\n# an assembler's comment\n"), 3);
    }
}
