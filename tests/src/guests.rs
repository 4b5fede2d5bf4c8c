//! Boxes with test kernels (`tests/kernels`) as their appliances.

use crate::event::Event;
use crate::log::BoxLog;
use crate::{PATIENCE, artifacts, root};
use anyhow::{Context, Result, ensure};
use image_builder::image;
use image_builder::qemu::{Accel, Artifacts, Door, Machine};
use image_builder::recipe::Recipe;
use image_builder::system::Ready;
use image_builder::workspace::Workspace;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

/// The status of a kernel of ours that was content, and of one that was not (`tests/kernels/src/end.rs`).
pub const PASSED: u64 = 33;
/// See [`PASSED`].
pub const FAILED: u64 = 35;

/// An appliance to be.
#[derive(Clone, Copy)]
pub struct Guest<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which of the test kernels, or `Err`: a file with these bytes.
    pub kernel: Result<&'static str, &'static [u8]>,
    /// How it is loaded.
    pub format: &'static str,
    /// vCPUs.
    pub cpus: u8,
    /// RAM.
    pub memory: &'static str,
    /// Command line.
    pub cmdline: &'a str,
    /// First module.
    pub module: Option<&'static str>,
    /// Whether it has a network card.
    pub network: bool,
    /// What it has besides: lines of `[devices]`.
    pub devices: &'static str,
    /// Sizes of its volumes.
    pub volumes: &'static [&'static str],
}

/// Minds its own business for good.
pub const NEIGHBOUR: Guest<'_> = Guest {
    name: "neighbour",
    kernel: Ok("neighbour"),
    format: "pvh",
    cpus: 1,
    memory: "64M",
    cmdline: "",
    module: None,
    network: true,
    devices: "",
    volumes: &["2M"],
};
impl Default for Guest<'_> {
    fn default() -> Self {
        Self {
            name: "kernel",
            kernel: Ok("flat"),
            format: "pvh",
            cpus: 1,
            memory: "64M",
            cmdline: "",
            module: None,
            network: false,
            devices: "",
            volumes: &[],
        }
    }
}

impl Guest<'_> {
    /// The appliance's folder, in `parent`.
    fn write(&self, parent: &TempDir) -> Result<Ready> {
        let folder = parent.path().join(self.name);
        fs::create_dir(&folder)?;
        let kernels = root().join("target/hearth/kernels");
        let bytes = match self.kernel {
            Ok(name) => fs::read(kernels.join(name)).context("next: `cargo hearth test no-such-test`")?,
            Err(bytes) => bytes.to_vec(),
        };
        fs::write(folder.join("kernel.elf"), bytes)?;
        let Self { name, format, cpus, memory, cmdline, network, devices, .. } = self;
        let mut recipe = format!(
            "name = \"{name}\"\ncpus = {cpus}\nmemory = \"{memory}\"\n[kernel]\nformat = \"{format}\"\n\
             image = \"kernel.elf\"\ncmdline = \"{cmdline}\"\n"
        );
        if let Some(module) = self.module {
            fs::write(folder.join("settings"), module)?;
            recipe += "initrd = \"settings\"\n";
        }
        write!(recipe, "[devices]\ndebug-exit = true\nlog-console = true\nnetwork = {network}\n{devices}")?;
        for (number, size) in self.volumes.iter().enumerate() {
            write!(recipe, "[[disk]]\nsize = \"{size}\"\nname = \"volume{number}\"\n")?;
        }
        fs::write(folder.join(image_builder::recipe::FILE), recipe)?;
        Ok(Ready { recipe: Recipe::read(&folder)?, products: None })
    }
}

/// Artifacts with these appliances and no others; they are there as long as the folder is.
///
/// # Errors
/// The programs were not built, or a recipe is wrong.
pub fn with(guests: &[Guest<'_>]) -> Result<(TempDir, Artifacts)> {
    let built = artifacts()?;
    let scratch = tempfile::tempdir_in(&Workspace::find()?.artifacts().dir)?;
    let ready: Vec<Ready> = guests.iter().map(|guest| guest.write(&scratch)).collect::<Result<_>>()?;
    let artifacts = image::with_appliances(&built, scratch.path(), &ready)?;
    Ok((scratch, artifacts))
}

/// The box that they run in.
pub fn machine() -> Machine {
    Machine { door: Door::Rom, accel: Accel::Tcg, memory_mib: 768, ..Machine::default() }
}

/// Whether an event is of a VM's.
pub fn is_of(event: &Event, name: &str, vm: &str) -> bool {
    event.name == name && event.field("vm").is_ok_and(|of| of == vm)
}

/// Waits until a VM has ended, and answers the line that says so.
///
/// # Errors
/// It does not, or the box is in trouble.
pub fn end(log: &mut BoxLog, vm: &str, patience: Duration) -> Result<Event> {
    let is_end = |event: &Event| is_of(event, "vm.exit", vm);
    let earlier = log.events().into_iter().find(is_end);
    earlier.map_or_else(|| log.wait_until(&format!("the end of {vm}"), patience, is_end), Ok)
}

/// What a VM has printed so far.
pub fn console(log: &BoxLog, vm: &str) -> Vec<String> {
    let of_it = log.events().into_iter().filter(|event| is_of(event, "vm.console", vm));
    of_it.map(|event| event.field("text").unwrap_or_default().to_owned()).collect()
}

/// Waits until a VM ends by itself, content.
///
/// # Errors
/// It says what was wrong, or ends in another way.
pub fn passes(log: &mut BoxLog, vm: &str) -> Result<()> {
    passes_within(log, vm, PATIENCE)
}

/// The same, when it may take longer.
///
/// # Errors
/// As [`passes`].
pub fn passes_within(log: &mut BoxLog, vm: &str, patience: Duration) -> Result<()> {
    let end = end(log, vm, patience)?;
    let said = console(log, vm);
    ensure!(end.number("status").ok() == Some(PASSED), "{end}\n{said:#?}\n{}", log.tail());
    ensure!(!said.iter().any(|line| line.starts_with("fail")), "{said:#?}");
    Ok(())
}
