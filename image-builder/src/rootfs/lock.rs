//! `packages.lock`: which packages a root is made of, to the byte.
//!
//! One package a line, sorted by name: name, version, architecture, bytes, SHA-256, and where it lies
//! below any Debian mirror. No mirror is named, so that everyone uses the nearest.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fmt::{self, Display, Write as _};
use std::fs;
use std::path::Path;

/// Name of the file in an appliance's folder.
pub const FILE: &str = "packages.lock";
/// What stands before the list of packages that were asked for.
const FOR: &str = "# for: ";

/// One package file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, as 64 hexadecimal digits.
    pub sha256: String,
    /// Where it lies below a mirror's top.
    pub path: String,
}

impl Package {
    /// Its name as a file, without what a file name cannot hold.
    pub fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ').map(str::to_owned);
        let package = Self {
            name: words.next()?,
            version: words.next()?,
            architecture: words.next()?,
            size: words.next()?.parse().ok()?,
            sha256: words.next()?,
            path: words.next()?,
        };
        let is_digest = package.sha256.len() == 64 && package.sha256.bytes().all(|b| b.is_ascii_hexdigit());
        // These become names of files.
        let is_plain =
            [&package.name, &package.version, &package.architecture].iter().all(|word| !word.contains('/'));
        let inside = package.path.starts_with("pool/") && !package.path.contains("..");
        (words.next().is_none() && is_digest && is_plain && inside).then_some(package)
    }
}

/// A whole lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The packages that were asked for.
    pub wanted: BTreeSet<String>,
    /// These, and all that they depend on.
    pub packages: Vec<Package>,
}

impl Lock {
    /// Reads the lock of an appliance's folder, which must be for these packages.
    ///
    /// # Errors
    /// When there is none, it is damaged, or was made for other packages; with the command that
    /// makes a new one.
    pub fn read(folder: &Path, wanted: &BTreeSet<String>) -> Result<Self> {
        let file = folder.join(FILE);
        let remedy = format!("next: `cargo hearth lock {}` makes a new one", folder.display());
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}; {remedy}", file.display()))?;
        let lock = Self::parse(&text).with_context(|| format!("in {}; {remedy}", file.display()))?;
        let news: Vec<&str> = wanted.symmetric_difference(&lock.wanted).map(String::as_str).collect();
        ensure!(
            news.is_empty(),
            "{} was made for another list of packages (the difference: {}); {remedy}",
            file.display(),
            news.join(", ")
        );
        Ok(lock)
    }

    fn parse(text: &str) -> Result<Self> {
        let wanted = text.lines().find_map(|line| line.strip_prefix(FOR));
        let wanted = wanted.with_context(|| format!("there is no line `{FOR}…`"))?;
        let mut packages = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let Some(package) = Package::parse(line) else { bail!("line {number} names no package") };
            packages.push(package);
        }
        Ok(Self { wanted: wanted.split_whitespace().map(str::to_owned).collect(), packages })
    }
}

impl Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted: Vec<&str> = self.wanted.iter().map(String::as_str).collect();
        writeln!(
            f,
            "# The Debian packages of this appliance, to the byte: name, version, architecture, bytes,"
        )?;
        writeln!(f, "# SHA-256, place on a mirror. Made by `cargo hearth lock`, not by hand.")?;
        writeln!(f, "{FOR}{}", wanted.join(" "))?;
        let mut lines = String::new();
        for Package { name, version, architecture, size, sha256, path } in &self.packages {
            writeln!(lines, "{name} {version} {architecture} {size} {sha256} {path}")?;
        }
        f.write_str(&lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let package = |name: &str| Package {
            name: name.to_owned(),
            version: "1:2.0-3".to_owned(),
            architecture: "amd64".to_owned(),
            size: 42,
            sha256: "ab".repeat(32),
            path: format!("pool/main/a/{name}_2.0-3_amd64.deb"),
        };
        let wanted = ["one", "two"].map(str::to_owned).into();
        Lock { wanted, packages: vec![package("one"), package("three"), package("two")] }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = lock().to_string();
        assert_eq!(Lock::parse(&text).expect("a lock"), lock());
        assert_eq!(lock().packages[0].file_name(), "one_1%3a2.0-3_amd64.deb");
    }

    #[test]
    fn another_list_of_packages_needs_another_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = |wanted: &[&str]| {
            let wanted = wanted.iter().map(|&name| name.to_owned()).collect();
            Lock::read(folder.path(), &wanted).map(drop).map_err(|error| format!("{error:#}"))
        };
        assert!(error(&["one"]).expect_err("no file").contains("`cargo hearth lock "));
        fs::write(folder.path().join(FILE), lock().to_string()).expect("written");
        assert_eq!(error(&["two", "one"]), Ok(()));
        let said = error(&["one", "four"]).expect_err("another list");
        assert!(said.contains("(the difference: four, two)"), "{said}");
    }

    #[test]
    fn damaged_lines_are_named() {
        let good = lock().to_string();
        for (from, to) in [
            ("42", "x"),
            ("abab", "ab"),
            ("pool/", "/etc/"),
            ("pool/main", "pool/../main"),
            (" amd64 ", " ../x "),
            ("one_2.0-3_amd64.deb", "a b"),
        ] {
            let error = Lock::parse(&good.replacen(from, to, 1)).expect_err("damaged").to_string();
            assert_eq!(error, "line 4 names no package", "{from}");
        }
        assert!(Lock::parse("").is_err());
    }
}
