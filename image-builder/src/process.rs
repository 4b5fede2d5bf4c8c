//! Starting other programs: with an environment that does not mislead them, and so that none of
//! them outlives us.

use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where library paths are kept; `cargo run` puts its own toolchain's in front.
const LIBRARY_PATHS: [&str; 2] = ["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"];

/// A command that knows nothing of the cargo that started us, but all else that the user set.
/// For the host's cargo, which is the same one.
pub fn host(program: impl AsRef<OsStr>) -> Command {
    without(program, is_outer_cargos)
}

/// The host's cargo, in the checkout at `root`: the one that started us, if one did.
pub fn cargo(root: &Path) -> Command {
    let mut command = host(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    command
}

/// A command that knows nothing of any Rust toolchain, nor of settings made for the host's builds.
/// For the bare-metal toolchain, which may be another one.
pub fn bare(program: impl AsRef<OsStr>) -> Command {
    without(program, |name| is_outer_cargos(name) || misleads_bare(name))
}

fn without(program: impl AsRef<OsStr>, remove: impl Fn(&str) -> bool) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(&remove) {
            command.env_remove(name);
        }
    }
    for name in LIBRARY_PATHS {
        if let Some(value) = env::var_os(name) {
            command.env(name, without_toolchains(&value));
        }
    }
    command
}

/// What cargo sets for a program that it runs (Cargo book, "Environment variables Cargo sets for
/// 3rd party subcommands" and "for crates").
fn is_outer_cargos(name: &str) -> bool {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    const NAMES: [&str; 5] =
        ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR", "RUST_RECURSION_COUNT"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What chooses a toolchain, or sets flags that would replace ours.
fn misleads_bare(name: &str) -> bool {
    const PREFIXES: [&str; 6] =
        ["RUSTFLAGS", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO_PROFILE_", "CARGO_TARGET_"];
    const NAMES: [&str; 7] = [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTC",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_BUILD_DEP_INFO_BASEDIR",
        "CARGO_UNSTABLE_BUILD_STD",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A library path without the folders of Rust toolchains and of cargo's output.
fn without_toolchains(value: &OsStr) -> OsString {
    let kept = env::split_paths(value).filter(|folder| {
        let text = folder.to_string_lossy();
        !["/rustlib/", "/toolchains/", "/target/"].iter().any(|part| text.contains(part))
    });
    env::join_paths(kept).unwrap_or_default()
}

/// The program of this name in `PATH`.
pub fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

#[cfg(unix)]
fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_program(file: &Path) -> bool {
    file.is_file()
}

/// A command for a program that runs long: where Linux's `setpriv` is at hand, the kernel ends the
/// program when we end, however that comes (prctl(2), PR_SET_PDEATHSIG).
///
/// # Errors
/// When the command line is empty.
pub fn leashed(command_line: &[String]) -> Result<Command> {
    let [program, arguments @ ..] = command_line else { bail!("an empty command line") };
    let Some(setpriv) = find_in_path("setpriv") else {
        let mut command = Command::new(program);
        command.args(arguments);
        return Ok(command);
    };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--", program]).args(arguments);
    Ok(command)
}

/// A command whose mounts are its own, where this user may have such: they go with it however it ends, so
/// that whoever removes a folder of its does not reach through them into the computer's `/dev` or `/sys`.
pub fn with_own_mounts(program: &str) -> Command {
    if output(host("unshare").args(["--mount", "true"])).is_none() {
        return host(program);
    }
    let mut command = host("unshare");
    command.args(["--mount", "--", program]);
    command
}

/// What a short command prints on standard output; none when it fails or cannot be started.
pub fn output(command: &mut Command) -> Option<String> {
    let done = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a command to its end, with our own standard output and error.
///
/// # Errors
/// When it cannot be started or says that it failed; `remedy` is what to do then.
pub fn run(command: &mut Command, remedy: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("starting {name}; next: {remedy}"))?;
    if !status.success() {
        bail!("{name} ended with {status}; next: {remedy}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_cargo_is_forgotten_and_the_users_settings_are_kept() {
        assert!(["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"].into_iter().all(is_outer_cargos));
        assert!(["RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"].into_iter().all(misleads_bare));
        let kept = ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "PATH", "RUST_LOG"];
        assert!(!kept.into_iter().any(|name| is_outer_cargos(name) || misleads_bare(name)));
    }

    #[test]
    fn what_a_program_mounts_is_not_seen_by_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().to_str().expect("UTF-8");
        let script = format!("mount -t tmpfs none '{place}' && touch '{place}/inside'; echo done");
        let said = output(with_own_mounts("sh").args(["-c", &script]));
        assert_eq!(said.as_deref(), Some("done\n"));
        assert!(!folder.path().join("inside").exists());
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        assert!(!mounts.contains(place), "{mounts}");
    }

    #[test]
    fn only_toolchains_leave_the_library_path() {
        let path = OsStr::new("/w/target/debug/deps:/opt/lib:/home/me/.rustup/toolchains/stable/lib");
        assert_eq!(without_toolchains(path), "/opt/lib");
    }
}
