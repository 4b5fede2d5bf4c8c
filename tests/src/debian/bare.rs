//! Debian on QEMU's own q35, without Hearth: what is seen there too is not Hearth's doing.

use super::{Guest, LOGIN, PATIENCE, READY, products};
use anyhow::{Context, Result, bail};
use image_builder::process;
use image_builder::qemu::{Machine, PROGRAM};
use image_builder::recipe::Product;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

/// A disk of the PC.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// What is on it.
    pub file: PathBuf,
    /// Whether it may be written; what is written goes with QEMU, as on the boxes of other tests.
    pub writable: bool,
}

impl Disk {
    /// A disk to read.
    pub(super) const fn of(file: PathBuf) -> Self {
        Self { file, writable: false }
    }

    /// The disk with a guest's errand, as a file in a folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn errand(guest: &Guest, folder: &Path) -> Result<Self> {
        let file = folder.join(format!("{}.errand", guest.name));
        fs::write(&file, guest.errand_disk()?).with_context(|| format!("writing {}", file.display()))?;
        Ok(Self::of(file))
    }

    /// A guest's volume, empty, as a file in a folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn volume(guest: &Guest, folder: &Path) -> Result<Self> {
        let file = folder.join(format!("{}.volume", guest.name));
        let made = File::create(&file).and_then(|volume| volume.set_len(guest.volume_mib << 20));
        made.with_context(|| format!("making {}", file.display()))?;
        Ok(Self { file, writable: true })
    }
}

/// Runs a guest until it has said that it is ready, asked for a login, and reported `end`; answers all
/// lines of its console.
///
/// # Errors
/// It does not come so far.
pub fn run(guest: &Guest) -> Result<Vec<String>> {
    let folder = tempfile::tempdir().context("making a folder for QEMU")?;
    run_with(guest, &[Disk::errand(guest, folder.path())?, Disk::volume(guest, folder.path())?])
}

/// The same with these disks behind the root.
pub(super) fn run_with(guest: &Guest, disks: &[Disk]) -> Result<Vec<String>> {
    let mut command = process::leashed(&command_line(guest, disks)?)?;
    let mut qemu = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting QEMU")?;
    let console = qemu.stdout.take().context("no console")?;
    let (sender, lines) = channel();
    thread::spawn(move || {
        let all = BufReader::new(console).split(b'\n').map_while(Result::ok);
        all.map(|line| String::from_utf8_lossy(&line).trim_end().to_owned())
            .try_for_each(|line| sender.send(line))
    });
    let outcome = wait_for(&[READY, LOGIN, "errand: end"], &lines);
    qemu.kill().and_then(|()| qemu.wait()).context("ending QEMU")?;
    outcome
}

fn command_line(guest: &Guest, disks: &[Disk]) -> Result<Vec<String>> {
    let products = products(guest.folder)?;
    let file = |product: Product| products.join(product.name()).display().to_string();
    let (kernel, initrd, cmdline) = (file(Product::Kernel), file(Product::Initrd), guest.cmdline()?);
    let (memory, cpu) = (guest.memory_mib.to_string(), Machine::default().cpu);
    let mut line = vec![PROGRAM.to_owned()];
    for (option, value) in [
        ("-machine", "q35"),
        ("-accel", "tcg,thread=multi"),
        ("-cpu", cpu.as_str()),
        ("-smp", "2"),
        ("-m", memory.as_str()),
        ("-display", "none"),
        ("-serial", "stdio"),
        ("-kernel", kernel.as_str()),
        ("-initrd", initrd.as_str()),
        ("-append", cmdline.as_str()),
        ("-netdev", "user,id=net"),
        ("-device", "virtio-net-pci,netdev=net"),
        ("-device", "virtio-serial-pci"),
        ("-device", "virtio-rng-pci"),
    ] {
        line.extend([option.to_owned(), value.to_owned()]);
    }
    let root = Disk::of(products.join(Product::Root.name()));
    for (number, disk) in [&root].into_iter().chain(disks).enumerate() {
        line.extend(["-drive".to_owned(), drive(number, &disk.file, disk.writable)]);
        line.extend(["-device".to_owned(), format!("virtio-blk-pci,drive=disk{number}")]);
    }
    line.extend(["-nodefaults", "-no-reboot"].map(str::to_owned));
    Ok(line)
}

/// The value of QEMU's `-drive`.
fn drive(number: usize, file: &Path, writable: bool) -> String {
    let file = file.display().to_string().replace(',', ",,");
    let mode = if writable { "snapshot=on" } else { "readonly=on" };
    format!("if=none,id=disk{number},format=raw,{mode},file={file}")
}

/// Waits until each of these was said, in any order; answers all lines.
fn wait_for(wanted: &[&str], said: &Receiver<String>) -> Result<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    let mut missing = wanted.to_vec();
    let mut all = Vec::new();
    while !missing.is_empty() {
        let Ok(line) = said.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
            bail!("it never said {missing:?}, but:\n{}", all.join("\n"));
        };
        missing.retain(|&words| !line.contains(words));
        all.push(line);
    }
    Ok(all)
}
