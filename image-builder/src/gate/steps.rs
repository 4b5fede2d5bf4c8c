//! The steps that start other programs.

use crate::appliances;
use crate::bare::{self, Builder, Program, Target};
use crate::image;
use crate::process;
use crate::rootfs;
use crate::setup::{self, Toolbox, needs::Need};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Packages whose code runs on any host. The others hold x86-64 instructions.
const PORTABLE: [&str; 7] = ["hv-abi", "hv-defs", "hv-core", "handoff", "management", "ui", "image-builder"];
/// The QEMU tests.
const QEMU_TESTS: &str = "hearth-tests";

/// What every step needs.
pub struct Steps<'a> {
    /// The checkout.
    pub workspace: &'a Workspace,
    /// What builds bare metal.
    pub toolbox: &'a Toolbox,
}

impl Steps<'_> {
    /// `Cargo.lock` answers every manifest.
    pub fn lock_file(&self) -> Result<String> {
        self.quiet(
            &["metadata", "--locked", "--format-version=1"],
            "type `cargo update --workspace` and look at Cargo.lock",
        )
    }

    /// rustfmt would change nothing.
    pub fn formatting(&self) -> Result<String> {
        self.quiet(
            &["fmt", "--all", "--check"],
            "type `cargo fmt --all` (it comes with `rustup component add rustfmt`)",
        )
    }

    /// clippy has nothing to say about what compiles for the host.
    pub fn clippy_host(&self) -> Result<String> {
        let mut arguments = vec!["clippy", "--all-targets"];
        arguments.extend(host_packages());
        arguments.extend(["--", "-Dwarnings"]);
        self.quiet(&arguments, "mend what clippy says (it comes with `rustup component add clippy`)")
    }

    /// clippy has nothing to say about the bare-metal programs.
    pub fn clippy_bare(&self) -> Result<String> {
        let carried = self.workspace.artifacts().dir.join("payload.deflated");
        let variables = [("HEARTH_PAYLOAD", carried.as_path())];
        let own = [bare::HV, bare::ROM, bare::UEFI, bare::PVH, bare::MANAGEMENT, bare::MICRO_GUEST];
        let programs = [own.as_slice(), &bare::KERNELS].concat();
        if self.toolbox.toolchain.clippy {
            let builder = Builder::new(self.workspace, self.toolbox);
            every(&programs, |program| builder.clippy(program, &variables))?;
            return Ok("for their own targets".to_owned());
        }
        // Debian's compiler comes without clippy. The host's has it, but no library for our targets,
        // so the programs are checked as if they were for the host.
        if env::consts::ARCH != "x86_64" {
            return Ok(
                "left out: the bare-metal toolchain has no clippy, and this is no x86-64 host".to_owned()
            );
        }
        every(&programs, |program| {
            let mut command = self.cargo();
            command.args(["clippy", "--profile=bare", "--features=bare-metal", "--package", program.package]);
            command.args(["--bin", program.name, "--", "-Dwarnings"]).envs(variables);
            captured(&mut command, "mend what clippy says").map(drop)
        })?;
        Ok("for the host's target, because the bare-metal toolchain has no clippy".to_owned())
    }

    /// The tests that need no QEMU.
    pub fn host_tests(&self, each: &mut dyn FnMut(&str)) -> Result<()> {
        let mut command = self.cargo();
        command.args(["test", "--no-fail-fast"]).args(host_packages());
        if env::consts::ARCH == "x86_64" {
            command.args(["--exclude", QEMU_TESTS]);
        }
        streamed(&mut command, each)
    }

    /// The QEMU tests, or those whose name contains `name`.
    pub fn qemu_tests(&self, name: Option<&str>, each: &mut dyn FnMut(&str)) -> Result<()> {
        let mut command = self.cargo();
        command.args(["test", "--no-fail-fast", "--package", QEMU_TESTS, "--"]).args(name);
        streamed(&mut command, each)
    }

    /// All artifacts are built and keep their promises.
    pub fn images(&self) -> Result<String> {
        let appliances = appliances::without_roots(self.workspace)?;
        let built = image::build(self.workspace, self.toolbox, &appliances)?;
        image::micro_guest(self.workspace, self.toolbox)?;
        image::kernels(self.workspace, self.toolbox)?;
        Ok(format!("hearth.rom {} bytes, hv loaded {} bytes", built.rom_len, built.hv_memory))
    }

    /// A Debian that tests start; where it can't be built, they are left out.
    pub fn debian(&self, folder: &str, yes: bool) -> Result<String> {
        let found =
            setup::provide(&Need::FOR_ROOTFS, yes).and_then(|()| rootfs::of_checkout(self.workspace, folder));
        match found {
            Ok(products) => Ok(products.display().to_string()),
            Err(error) if env::var_os("CI").is_some() => Err(error),
            Err(error) => Ok(format!("left out: {error:#}")),
        }
    }

    /// The path that the management VM will be built by.
    pub fn hard_float(&self) -> Result<String> {
        Builder::new(self.workspace, self.toolbox).library("ui", "tv", Target::Vm).map(|()| String::new())
    }

    fn cargo(&self) -> Command {
        process::cargo(self.workspace.root())
    }

    fn quiet(&self, arguments: &[&str], remedy: &str) -> Result<String> {
        captured(self.cargo().args(arguments), remedy)
    }
}

/// Checks every program, whatever was found in the ones before; fails with all that was said.
fn every(programs: &[Program], check: impl Fn(Program) -> Result<()>) -> Result<()> {
    let said: Vec<String> = programs
        .iter()
        .filter_map(|&program| check(program).err())
        .map(|error| format!("{error:#}"))
        .collect();
    if !said.is_empty() {
        bail!("{}", said.join("\n"));
    }
    Ok(())
}

/// The television interface is a feature, because the doors and hv do without.
const TELEVISION: &str = "--features=ui/tv";

/// Which packages: all on the processor they are for, else those that run anywhere.
fn host_packages() -> Vec<&'static str> {
    if env::consts::ARCH == "x86_64" {
        return vec!["--workspace", TELEVISION];
    }
    PORTABLE.iter().flat_map(|package| ["--package", package]).chain([TELEVISION]).collect()
}

/// Runs a program whose output matters only if it fails.
fn captured(command: &mut Command, remedy: &str) -> Result<String> {
    let done = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    if !done.status.success() {
        // clippy and rustfmt report on either stream.
        let said = [done.stdout, done.stderr].concat();
        bail!("{}\nnext: {remedy}", String::from_utf8_lossy(&said).trim());
    }
    Ok(String::new())
}

/// Runs a program and hands over each line of its standard output as it comes.
fn streamed(command: &mut Command, each: &mut dyn FnMut(&str)) -> Result<()> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("starting cargo")?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            each(String::from_utf8_lossy(&line).trim_end());
        }
    }
    let status = child.wait().context("waiting for cargo")?;
    if !status.success() {
        bail!("cargo test ended with {status}; next: the failed tests are listed above");
    }
    Ok(())
}
