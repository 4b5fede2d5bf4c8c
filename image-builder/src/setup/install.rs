//! Installing what is missing.

use super::distro::Distro;
use super::needs::Need;
use super::told;
use super::toolchain;
use super::world::World;
use crate::process;
use crate::progress::Step;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// Package lists older than this are fetched anew before installing.
const LISTS_AGE: Duration = Duration::from_hours(24);

/// What to do about missing packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Install at once: we may.
    Install,
    /// Install through sudo, after asking.
    Ask,
    /// Install through sudo; the answer was given beforehand.
    Sudo,
    /// Say the line to type.
    Tell,
}

/// By what right packages can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    Root,
    Sudo,
    None,
}

/// Whether the user agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consent {
    Given,
    CanBeAsked,
    NobodyToAsk,
}

fn plan(distro: Distro, right: Right, consent: Consent) -> Plan {
    match (distro, right, consent) {
        (Distro::Debian, Right::Root, _) => Plan::Install,
        (Distro::Debian, Right::Sudo, Consent::Given) => Plan::Sudo,
        (Distro::Debian, Right::Sudo, Consent::CanBeAsked) => Plan::Ask,
        _ => Plan::Tell,
    }
}

/// Asks rustup for the library's source; quietly, for where it cannot be had there is another way.
pub fn library_by_rustup(world: &dyn World) {
    let Some(rustup) = world.program("rustup") else { return };
    let step = Step::start("asking rustup for the library source");
    let mut command = process::host(rustup);
    command.args(["component", "add", "rust-src"]).env("RUSTUP_MAX_RETRIES", "1");
    // What counts is whether the source is there now, not what rustup says.
    process::output(&mut command);
    let found = toolchain::resolve(world).is_some();
    step.done(if found { "added rust-src" } else { "not to be had, looking elsewhere" });
}

/// Installs the packages for what is missing.
///
/// # Errors
/// When that is not possible here or fails; says the line to type.
pub fn packages(world: &dyn World, missing: &[Need], yes: bool) -> Result<()> {
    let distro = Distro::of(world);
    let names = distro.all_packages(missing);
    let user = world.program("id").and_then(|id| world.output(&id, &["-u"]));
    let right = match user {
        Some(user) if user.trim() == "0" => Right::Root,
        _ if world.program("sudo").is_some() => Right::Sudo,
        _ => Right::None,
    };
    let consent = match yes {
        true => Consent::Given,
        false if stdin().is_terminal() && stderr().is_terminal() => Consent::CanBeAsked,
        false => Consent::NobodyToAsk,
    };
    let sudo = match plan(distro, right, consent) {
        Plan::Tell => bail!("{}", told(world, missing)),
        Plan::Install => false,
        Plan::Sudo => true,
        Plan::Ask => {
            if !agreed(&names)? {
                bail!("{}", told(world, missing));
            }
            true
        }
    };
    install(&names, sudo).with_context(|| told(world, missing))
}

fn agreed(names: &[&str]) -> Result<bool> {
    eprint!("Install {} with sudo apt-get? [y/N] ", names.join(" "));
    stderr().flush().context("asking")?;
    let mut answer = String::new();
    stdin().read_line(&mut answer).context("reading the answer; next: give it beforehand with --yes")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn install(names: &[&str], sudo: bool) -> Result<()> {
    let fresh = lists_are_fresh(newest_list(Path::new("/var/lib/apt/lists")), SystemTime::now());
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend_from_slice(names);
    let what = format!("installing {}", names.join(" "));
    if !fresh {
        apt("fetching the package lists", &["update"], sudo)?;
        return apt(&what, &arguments, sudo);
    }
    // Lists of today may still name files that the mirror has replaced since.
    apt(&what, &arguments, sudo).or_else(|_| {
        apt("fetching the package lists", &["update"], sudo)?;
        apt(&what, &arguments, sudo)
    })
}

fn apt(what: &str, arguments: &[&str], sudo: bool) -> Result<()> {
    let step = Step::start(what);
    let mut command = if sudo {
        let mut command = Command::new("sudo");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    } else {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    // sudo asks for its password on the terminal itself, not on standard input.
    let done =
        command.arg("-qq").args(arguments).stdin(Stdio::null()).output().context("starting apt-get")?;
    if !done.status.success() {
        step.failed();
        bail!("apt-get says: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    step.done("");
    Ok(())
}

fn newest_list(folder: &Path) -> Option<SystemTime> {
    let files = fs::read_dir(folder).ok()?.flatten();
    let lists = files.filter(|file| file.file_name().to_string_lossy().contains("_Packages"));
    lists.filter_map(|file| file.metadata().ok()?.modified().ok()).max()
}

fn lists_are_fresh(newest: Option<SystemTime>, now: SystemTime) -> bool {
    newest.is_some_and(|newest| now.duration_since(newest).is_ok_and(|age| age < LISTS_AGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_is_never_used_unasked() {
        let plan = |right, consent| plan(Distro::Debian, right, consent);
        assert_eq!(plan(Right::Root, Consent::NobodyToAsk), Plan::Install);
        assert_eq!(plan(Right::Sudo, Consent::CanBeAsked), Plan::Ask);
        assert_eq!(plan(Right::Sudo, Consent::Given), Plan::Sudo);
        assert_eq!(plan(Right::Sudo, Consent::NobodyToAsk), Plan::Tell);
        assert_eq!(plan(Right::None, Consent::Given), Plan::Tell);
    }

    #[test]
    fn elsewhere_the_line_is_told() {
        for distro in [Distro::Fedora, Distro::Arch, Distro::MacOs, Distro::Other] {
            assert_eq!(plan(distro, Right::Root, Consent::Given), Plan::Tell);
        }
    }

    #[test]
    fn lists_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1000);
        assert!(!lists_are_fresh(None, now));
        assert!(lists_are_fresh(Some(now - Duration::from_hours(1)), now));
        assert!(!lists_are_fresh(Some(now - Duration::from_hours(25)), now));
    }
}
