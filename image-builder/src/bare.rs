//! Building for bare metal: one code path, four targets.
//!
//! The library is built from source (`-Zbuild-std`); stable compilers allow that when told so by
//! `RUSTC_BOOTSTRAP=1`. All flags are set here and are the same for every package of a target, so
//! that cargo never builds `core` twice.

use crate::process;
use crate::progress::Step;
use crate::setup::Toolbox;
use crate::setup::toolchain::LIBRARY;
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::env;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the code is to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The bare CPU, without floating point: hv and the rom and pvh doors.
    None,
    /// UEFI boot services, without floating point: the uefi door.
    Uefi,
    /// A virtual CPU, with floating point in registers: the management VM.
    Vm,
    /// A CPU in 32-bit protected mode, without floating point: a test kernel.
    Flat,
}

impl Target {
    /// The name that cargo and rustc know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "x86_64-unknown-none",
            Self::Uefi => "x86_64-unknown-uefi",
            Self::Vm => "x86_64-hearth-vm",
            Self::Flat => "i686-hearth-kernel",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Uefi => ".efi",
            Self::None | Self::Vm | Self::Flat => "",
        }
    }
}

/// A program to build: the package, and the name of its one binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The package.
    pub package: &'static str,
    /// The binary in it.
    pub name: &'static str,
    /// What it runs on.
    pub target: Target,
}

/// The hypervisor.
pub const HV: Program = Program { package: "hv", name: "hv", target: Target::None };
/// The rom door.
pub const ROM: Program = Program { package: "firmware-rom", name: "rom", target: Target::None };
/// The uefi door.
pub const UEFI: Program = Program { package: "firmware-uefi", name: "hearth-uefi", target: Target::Uefi };
/// The pvh door.
pub const PVH: Program = Program { package: "firmware-pvh", name: "pvh", target: Target::None };

/// The management VM.
pub const MANAGEMENT: Program =
    Program { package: "management-machine", name: "management", target: Target::Vm };
/// The micro-guest, which the tests run in place of the management VM.
pub const MICRO_GUEST: Program =
    Program { package: "micro-guest", name: "micro-guest", target: Target::None };

/// The test kernels, which the tests run as appliances: one in 32 bits, and the rest.
pub const KERNELS: [Program; 5] = [
    Program { package: "test-kernels", name: "flat", target: Target::Flat },
    Program { package: "test-kernels", name: "long", target: Target::None },
    Program { package: "test-kernels", name: "hostile", target: Target::None },
    Program { package: "test-kernels", name: "neighbour", target: Target::None },
    Program { package: "test-kernels", name: "flood", target: Target::None },
];

/// Builds for bare metal.
pub struct Builder<'a> {
    workspace: &'a Workspace,
    toolbox: &'a Toolbox,
}

impl<'a> Builder<'a> {
    /// A builder for this checkout, with these tools.
    pub fn new(workspace: &'a Workspace, toolbox: &'a Toolbox) -> Self {
        Self { workspace, toolbox }
    }

    /// Builds a program, with `variables` in its build's environment; answers where it lies.
    ///
    /// # Errors
    /// When it does not build. The compiler's own words have been shown by then.
    pub fn program(&self, program: Program, variables: &[(&str, &Path)]) -> Result<PathBuf> {
        let Program { package, name, target } = program;
        let mut command = self.cargo("build", package, target)?;
        command.args(["--bin", name, "--features", "bare-metal"]).envs(variables.iter().copied());
        watch(&mut command, &format!("building {package}"))?;
        let folder = self.workspace.bare_target().join(target.name()).join("bare");
        Ok(folder.join(format!("{name}{}", target.suffix())))
    }

    /// Builds a library with a feature, to see that it can be built.
    ///
    /// # Errors
    /// When it cannot. The compiler's own words have been shown by then.
    pub fn library(&self, package: &str, feature: &str, target: Target) -> Result<()> {
        let mut command = self.cargo("build", package, target)?;
        watch(
            command.args(["--lib", "--features", feature]),
            &format!("building {package} for {}", target.name()),
        )
    }

    /// Runs clippy on a program with warnings denied.
    ///
    /// # Errors
    /// When clippy finds something.
    pub fn clippy(&self, program: Program, variables: &[(&str, &Path)]) -> Result<()> {
        let mut command = self.cargo("clippy", program.package, program.target)?;
        command.args(["--bin", program.name, "--features", "bare-metal"]).envs(variables.iter().copied());
        watch(command.args(["--", "-Dwarnings"]), &format!("clippy on {}", program.package))
    }

    /// Cargo with all that every bare-metal build has in common.
    fn cargo(&self, verb: &str, package: &str, target: Target) -> Result<Command> {
        let Toolbox { toolchain, linkers } = self.toolbox;
        let mut command = process::bare(&toolchain.cargo);
        command.current_dir(self.workspace.root());
        command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", &toolchain.rustc);
        if verb == "clippy" {
            command.env("PATH", with_folder_first(&toolchain.sysroot.join("bin")));
        }
        command.args([verb, "--profile", "bare", "--package", package]);
        command.arg("--target-dir").arg(self.workspace.bare_target());
        command.args(["-Zbuild-std=core,alloc", "-Zbuild-std-features=compiler-builtins-mem"]);
        match target {
            Target::None | Target::Uefi => command.args(["--target", target.name()]),
            Target::Vm => command.arg("--target").arg(self.workspace.vm_target()).arg("-Zjson-target-spec"),
            Target::Flat => {
                command.arg("--target").arg(self.workspace.flat_target()).arg("-Zjson-target-spec")
            }
        };
        let linker = if target == Target::Uefi { &linkers.pe } else { &linkers.elf };
        let mut settings = format!("target.{}.linker={}", target.name(), toml(linker)?);
        command.arg("--config").arg(&settings);
        settings.clear();
        for flag in self.flags(target)? {
            let _ = write!(settings, "{flag}, ");
        }
        command.arg("--config").arg(format!("target.{}.rustflags=[{settings}]", target.name()));
        Ok(command)
    }

    /// Flags for the compiler, as TOML; cargo adds them to those in `.cargo/config.toml`.
    ///
    /// Panics and debug information name source files. Those names must not depend on where this
    /// checkout, the registry and the toolchain lie, or two people would get different bytes.
    fn flags(&self, target: Target) -> Result<Vec<String>> {
        let home = cargo_home()?;
        let library = self.toolbox.toolchain.sysroot.join(LIBRARY);
        // A packaged toolchain reaches the source through a link; the compiler names what it is.
        let real_library = library.canonicalize().unwrap_or_else(|_| library.clone());
        let mut flags = Vec::new();
        for (from, to) in [
            (self.workspace.root(), "/hearth"),
            (&home, "/cargo"),
            (&library, "/rust/library"),
            (&real_library, "/rust/library"),
        ] {
            let from = from.to_str().with_context(|| not_utf8(from))?;
            flags.push(toml(Path::new(&format!("--remap-path-prefix={from}={to}")))?);
        }
        if target == Target::Uefi {
            // A PE file holds the time it was linked at, unless the linker hashes it instead, and the
            // name of a file with debug information, which no firmware reads.
            flags.extend(["\"-Clink-arg=/Brepro\"", "\"-Clink-arg=/debug:none\""].map(str::to_owned));
        }
        Ok(flags)
    }
}

/// Where cargo keeps what it downloads.
fn cargo_home() -> Result<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(env::home_dir()?.join(".cargo")))
        .context("there is no home folder for cargo; next: set HOME or CARGO_HOME")
}

fn with_folder_first(folder: &Path) -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path)
}

/// A path as a TOML string.
fn toml(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| not_utf8(path))?;
    ensure!(!text.contains('\''), "{text} has a quote in its name; next: move it to a plainer place");
    Ok(format!("'{text}'"))
}

fn not_utf8(path: &Path) -> String {
    format!("{} is not UTF-8; next: move it to a plainer place", path.display())
}

/// Runs cargo, shows how far it is, and what it says if it fails or warns.
fn watch(command: &mut Command, what: &str) -> Result<()> {
    let step = Step::start(what);
    // Told that it writes on a terminal, cargo says how many units are done.
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "100");
    command
        .env("CARGO_TERM_COLOR", "never")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let started = command.spawn().with_context(|| format!("starting {}", command.get_program().display()));
    let mut child = started.context("next: `cargo hearth doctor`")?;
    let mut said = String::new();
    if let Some(words) = child.stderr.take() {
        for line in lines(BufReader::new(words)) {
            match units(&line) {
                Some((done, all, part)) => step.at(done, all, part),
                None if is_news(&line) => said.extend([line.as_str(), "\n"]),
                None => {}
            }
        }
    }
    let status = child.wait().context("waiting for cargo")?;
    if !said.is_empty() {
        step.say(said.trim_end());
    }
    if !status.success() {
        step.failed();
        bail!("{what} failed, and cargo said why above; next: mend that and type again");
    }
    step.done("");
    Ok(())
}

/// The lines of a stream, ended by a line feed or, as progress is, by a carriage return.
fn lines(stream: impl BufRead) -> impl Iterator<Item = String> {
    let mut bytes = stream.bytes().map_while(Result::ok);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        loop {
            match bytes.next() {
                Some(b'\n' | b'\r') => break,
                Some(byte) => line.push(byte),
                None if line.is_empty() => return None,
                None => break,
            }
        }
        // Cargo ends a progress line with "erase to the end of the line" (ECMA-48, EL).
        Some(String::from_utf8_lossy(&line).replace("\x1b[K", ""))
    })
}

/// Done, all and current parts, from `Building [==> ] 3/17: core, alloc(build)`.
fn units(line: &str) -> Option<(u64, u64, &str)> {
    let rest = line.trim_start().strip_prefix("Building [")?;
    let (_, rest) = rest.split_once("] ")?;
    let (count, part) = rest.split_once(": ").unwrap_or((rest, ""));
    let (done, all) = count.trim_end_matches(':').split_once('/')?;
    Some((done.trim().parse().ok()?, all.trim().parse().ok()?, part))
}

/// Whether the user wants to read it: not cargo's account of its routine.
fn is_news(line: &str) -> bool {
    const ROUTINE: [&str; 10] = [
        "Compiling",
        "Finished",
        "Checking",
        "Fresh",
        "Blocking",
        "Downloading",
        "Downloaded",
        "Updating",
        "Locking",
        "Building",
    ];
    let line = line.trim();
    !line.is_empty() && !ROUTINE.iter().any(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_progress_is_understood() {
        assert_eq!(
            units("    Building [====>   ] 12/34: core, alloc(build)"),
            Some((12, 34, "core, alloc(build)"))
        );
        assert_eq!(units("    Building [        ] 0/1"), Some((0, 1, "")));
        assert_eq!(units("   Compiling core v0.0.0"), None);
        assert_eq!(units("error: Building [x] a/b"), None);
    }

    #[test]
    fn progress_is_told_from_news() {
        let stream =
            b"   Compiling hv v0.1.0\n    Building [=> ] 1/2: hv\r\x1b[Kerror: no\n --> x.rs\n\nlast";
        let said: Vec<String> =
            lines(&stream[..]).filter(|line| units(line).is_none() && is_news(line)).collect();
        assert_eq!(said, ["error: no", " --> x.rs", "last"]);
    }

    #[test]
    fn paths_become_toml() {
        assert_eq!(toml(Path::new("/a b/c")).expect("plain"), "'/a b/c'");
        assert!(toml(Path::new("/it's")).is_err());
    }
}
