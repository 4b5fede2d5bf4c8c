//! Debian's packages, from the mirror that this computer uses already.

use super::lock::{Lock, Package};
use super::sources;
use crate::process;
use crate::progress::Step;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Names another mirror than the one in apt's sources, such as one that keeps old versions.
pub const VARIABLE: &str = "HEARTH_DEBIAN_MIRROR";
/// The release that appliances are made of: Debian 13.
pub const RELEASE: &str = "trixie";
/// Whose signature a release carries.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The part of apt that fetches single files, with apt's own settings for proxies.
pub const APT_HELPER: &str = "/usr/lib/apt/apt-helper";
/// Packages fetched by one call.
const BATCH: usize = 8;

/// A mirror of Debian.
pub struct Mirror(String);

impl Mirror {
    /// The one in [`VARIABLE`], or the first in apt's sources.
    ///
    /// # Errors
    /// When neither names one.
    pub fn find() -> Result<Self> {
        if let Ok(named) = env::var(VARIABLE) {
            return Ok(Self(named.trim_end_matches('/').to_owned()));
        }
        let found = sources::debian_mirror(Path::new("/etc/apt")).with_context(|| {
            format!("apt's sources name no mirror of Debian; next: set {VARIABLE} to the address of one")
        })?;
        Ok(Self(found.trim_end_matches('/').to_owned()))
    }

    /// Finds today's versions of `wanted`, of what every Debian has, and of what they depend on.
    ///
    /// # Errors
    /// When the mirror can't be read, its signature is wrong, or a package is not there.
    pub fn resolve(&self, wanted: &BTreeSet<String>) -> Result<Lock> {
        let step = Step::start("looking up today's packages");
        let folder = tempfile::tempdir().context("making a folder for apt")?;
        let apt = Apt::new(folder.path(), &self.0)?;
        apt.run("apt-get", &["update", "-qq"])?;
        let known = parse_packages(&apt.run("apt-cache", &["dumpavail"])?);
        let base = known.values().filter(|known| known.everywhere).map(|known| known.package.name.clone());
        let mut names: BTreeSet<String> = base.chain(wanted.iter().cloned()).collect();
        names.insert("apt".to_owned());
        let mut arguments = vec!["install", "--simulate", "-qq"];
        arguments.extend(names.iter().map(String::as_str));
        let plan = apt.run("apt-get", &arguments)?;
        let mut packages = Vec::new();
        for line in plan.lines() {
            let Some((name, version)) = installed(line) else { continue };
            let known = known.get(name).filter(|known| known.package.version == version);
            packages.push(known.with_context(|| format!("{name} {version} is in no list"))?.package.clone());
        }
        packages.sort();
        step.done(&format!("{} packages", packages.len()));
        Ok(Lock { wanted: wanted.clone(), packages })
    }

    /// Fetches what is not in `folder` yet, and checks each file's SHA-256.
    ///
    /// # Errors
    /// When the mirror has no such file any more, or cannot be reached.
    pub fn fetch(&self, packages: &[Package], folder: &Path, remedy: &str) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let missing: Vec<&Package> =
            packages.iter().filter(|package| !folder.join(package.file_name()).is_file()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let step = Step::start("fetching packages");
        for (index, batch) in missing.chunks(BATCH).enumerate() {
            step.at((index * BATCH) as u64, missing.len() as u64, &batch[0].name);
            self.fetch_batch(batch, folder, remedy)?;
        }
        let bytes: u64 = missing.iter().map(|package| package.size).sum();
        step.done(&format!("{}, {} MB", missing.len(), bytes / 1_000_000));
        Ok(())
    }

    fn fetch_batch(&self, batch: &[&Package], folder: &Path, remedy: &str) -> Result<()> {
        // Into a folder beside, so that half a file never has a whole one's name.
        let aside = tempfile::tempdir_in(folder).context("making a folder for what is fetched")?;
        let mut command = process::host(APT_HELPER);
        command.args(["-o", "APT::Sandbox::User=root", "download-file"]).env("LC_ALL", "C");
        for package in batch {
            command.arg(format!("{}/{}", self.0, package.path)).arg(aside.path().join(package.file_name()));
            command.arg(format!("SHA256:{}", package.sha256));
        }
        let done = command.stdin(Stdio::null()).output();
        let done = done.with_context(|| format!("starting {APT_HELPER}; next: install apt"))?;
        for package in batch {
            let (from, to) = (aside.path().join(package.file_name()), folder.join(package.file_name()));
            if done.status.success() || from.is_file() {
                fs::rename(&from, &to).with_context(|| format!("moving {}", from.display()))?;
            }
        }
        ensure!(done.status.success(), "{}", refused(&String::from_utf8_lossy(&done.stderr), batch, remedy));
        Ok(())
    }
}

/// Why a batch could not be fetched, in words that say what to do.
fn refused(said: &str, batch: &[&Package], remedy: &str) -> String {
    let is_gone = |package: &&&Package| {
        said.lines().any(|line| line.contains(package.path.as_str()) && line.contains("404"))
    };
    let gone: Vec<String> =
        batch.iter().filter(is_gone).map(|package| format!("{} {}", package.name, package.version)).collect();
    if gone.is_empty() {
        return format!(
            "fetching packages: {}; next: see whether this computer is on the network, or set {VARIABLE}",
            said.trim().replace('\n', "; ")
        );
    }
    format!(
        "the mirror no longer has {}; next: {remedy}, or set {VARIABLE} to a mirror that keeps old versions",
        gone.join(", ")
    )
}

/// An apt of its own, that knows nothing of this computer's packages.
struct Apt<'a> {
    folder: &'a Path,
}

impl<'a> Apt<'a> {
    fn new(folder: &'a Path, mirror: &str) -> Result<Self> {
        ensure!(
            Path::new(KEYRING).is_file(),
            "there is no {KEYRING} to check signatures with; next: install debian-archive-keyring"
        );
        for name in ["state/lists/partial", "cache/archives/partial", "etc"] {
            fs::create_dir_all(folder.join(name)).context("making folders for apt")?;
        }
        fs::write(folder.join("status"), "").context("writing for apt")?;
        let source = format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {RELEASE} main\n");
        fs::write(folder.join("etc/sources.list"), source).context("writing for apt")?;
        Ok(Self { folder })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = process::host(program);
        let places = [
            ("Dir::State", "state"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::sourcelist", "etc/sources.list"),
            ("Dir::Etc::sourceparts", "etc/none"),
            ("Dir::Etc::preferences", "etc/none"),
            ("Dir::Etc::preferencesparts", "etc/none"),
        ];
        for (setting, place) in places {
            command.arg("-o").arg(format!("{setting}={}", self.folder.join(place).display()));
        }
        for setting in [
            "APT::Architecture=amd64",
            "APT::Architectures=amd64",
            "APT::Install-Recommends=false",
            "APT::Sandbox::User=root",
            "Acquire::Languages=none",
        ] {
            command.args(["-o", setting]);
        }
        captured(command.args(arguments).env("LC_ALL", "C"))
    }
}

/// Standard output of a program that must succeed.
fn captured(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output();
    let done = done.with_context(|| format!("starting {program}; next: `cargo hearth doctor`"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{program} said: {}; next: read what it says of the mirror", said.trim().replace('\n', "; "));
    }
    String::from_utf8(done.stdout).map_err(|_| anyhow!("{program} did not speak UTF-8"))
}

/// A package in the mirror's list.
struct Known {
    package: Package,
    /// Whether every Debian has it: essential, or of priority "required".
    everywhere: bool,
}

/// Packages by name, from paragraphs of fields (deb-control(5)).
fn parse_packages(text: &str) -> BTreeMap<String, Known> {
    let paragraph = |text: &str| -> Option<Known> {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
        };
        let everywhere =
            field("Essential").as_deref() == Some("yes") || field("Priority").as_deref() == Some("required");
        let package = Package {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            size: field("Size")?.parse().ok()?,
            sha256: field("SHA256")?,
            path: field("Filename")?,
        };
        Some(Known { package, everywhere })
    };
    let known = text.split("\n\n").filter_map(paragraph);
    known.map(|known| (known.package.name.clone(), known)).collect()
}

/// Name and version from `Inst name (version source [amd64]) […]`, as apt simulates.
fn installed(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
    Some((name, rest.split_once(' ')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_lists_and_plans_are_understood() {
        let text = "Package: a\nVersion: 1:2-3\nArchitecture: all\nPriority: required\nSize: 5\nSHA256: ff\n\
                    Filename: pool/a.deb\nTag: x,\n y\n\nPackage: b\nVersion: 1\n";
        let known = parse_packages(text);
        assert_eq!(known.len(), 1);
        assert!(known["a"].everywhere);
        assert_eq!((known["a"].package.size, known["a"].package.path.as_str()), (5, "pool/a.deb"));
        assert_eq!(installed("Inst a (1:2-3 Debian:13.8/stable [all]) [b ]"), Some(("a", "1:2-3")));
        assert_eq!(installed("Conf a (1:2-3 Debian:13.8/stable [all])"), None);
    }

    #[test]
    fn a_version_that_is_gone_is_told_from_no_network() {
        let package = Package {
            name: "a".to_owned(),
            version: "1".to_owned(),
            architecture: "all".to_owned(),
            size: 1,
            sha256: String::new(),
            path: "pool/a_1.deb".to_owned(),
        };
        let gone = "E: Failed to fetch x/pool/a_1.deb  404  Not Found\nE: Download Failed";
        assert_eq!(
            refused(gone, &[&package], "type this"),
            "the mirror no longer has a 1; next: type this, or set HEARTH_DEBIAN_MIRROR to a mirror that keeps \
             old versions"
        );
        let away = refused("E: Could not resolve 'x'\n", &[&package], "");
        assert!(away.starts_with("fetching packages: E: Could not resolve 'x'; next: "), "{away}");
    }
}
