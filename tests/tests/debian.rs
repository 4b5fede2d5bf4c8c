//! The Debian root of `appliance-vms/debian-minimal`, if it was built: on a bare machine, without hv, so
//! that a fault can be told from one of ours; and built again, to the same bytes.

use anyhow::{Context, Result, bail, ensure};
use hearth_tests::root;
use hearth_tests::runner::Tests;
use image_builder::qemu::PROGRAM;
use image_builder::recipe::{Product, Recipe};
use image_builder::workspace::Workspace;
use image_builder::{process, rootfs};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Where it lies.
const FOLDER: &str = "appliance-vms/debian-minimal";
/// What it says when everything has started.
const READY: &str = "hearth: debian ready";
/// How long that may take on a busy computer without virtualization.
const PATIENCE: Duration = Duration::from_mins(5);

fn main() -> ExitCode {
    let mut tests = Tests::default();
    let products = cached();
    let missing = products.as_ref().err().map(|error| format!("{error:#}"));
    let products = products.unwrap_or_default();
    tests.add_if_wanted("debian/bare", missing.clone(), move || boots(&products));
    tests.add_if_wanted("debian/again", missing, same_bytes);
    tests.run()
}

/// The products, if they are in the cache.
fn cached() -> Result<PathBuf> {
    let (workspace, recipe) = recipe()?;
    let rootfs = recipe.rootfs.as_ref().context("it has no [rootfs]")?;
    let found = rootfs::cached(&workspace.cache(), &recipe, rootfs)?;
    found.with_context(|| format!("not built here; next: cargo hearth image --with {FOLDER}"))
}

fn recipe() -> Result<(Workspace, Recipe)> {
    Ok((Workspace::find()?, Recipe::read(&root().join(FOLDER))?))
}

/// Kernel, initrd and image start on QEMU's own machine, to the login prompt and the unit's word.
fn boots(products: &Path) -> Result<()> {
    let (_, recipe) = recipe()?;
    let file = |product: Product| products.join(product.name()).display().to_string();
    let mut line = vec![PROGRAM.to_owned()];
    let drive =
        format!("if=none,id=root,format=raw,readonly=on,file={}", file(Product::Root).replace(',', ",,"));
    let (kernel, initrd) = (file(Product::Kernel), file(Product::Initrd));
    for (option, value) in [
        ("-machine", "q35"),
        ("-accel", "tcg,thread=multi"),
        ("-cpu", "max"),
        ("-smp", "2"),
        ("-m", "512"),
        ("-display", "none"),
        ("-serial", "stdio"),
        ("-kernel", kernel.as_str()),
        ("-initrd", &initrd),
        ("-append", &recipe.cmdline),
        ("-drive", &drive),
        ("-device", "virtio-blk-pci,drive=root"),
        ("-netdev", "user,id=net"),
        ("-device", "virtio-net-pci,netdev=net"),
    ] {
        line.extend([option.to_owned(), value.to_owned()]);
    }
    line.extend(["-nodefaults", "-no-reboot"].map(str::to_owned));
    let mut command = process::leashed(&line)?;
    let mut qemu = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting QEMU")?;
    let console = qemu.stdout.take().context("no console")?;
    let (lines, said) = mpsc::channel();
    thread::spawn(move || {
        let all = BufReader::new(console).split(b'\n').map_while(Result::ok);
        all.map(|line| String::from_utf8_lossy(&line).into_owned()).try_for_each(|line| lines.send(line))
    });
    let outcome = wait_for(&[READY, "debian login: "], &said);
    qemu.kill().and_then(|()| qemu.wait()).context("ending QEMU")?;
    outcome
}

/// Waits until each of these was said, in any order.
fn wait_for(wanted: &[&str], said: &mpsc::Receiver<String>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut missing = wanted.to_vec();
    let mut all = String::new();
    while !missing.is_empty() {
        let Ok(line) = said.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
            bail!("it never said {missing:?}, but:\n{all}");
        };
        missing.retain(|&words| !line.contains(words));
        all.extend([line.trim_end(), "\n"]);
    }
    Ok(())
}

/// From the same packages, in another folder, come the same bytes.
fn same_bytes() -> Result<()> {
    let (workspace, recipe) = recipe()?;
    let rootfs = recipe.rootfs.as_ref().context("it has no [rootfs]")?;
    let first = cached()?;
    let elsewhere = tempfile::tempdir_in(workspace.artifacts().dir)?;
    std::os::unix::fs::symlink(workspace.cache().join("packages"), elsewhere.path().join("packages"))?;
    let second = rootfs::build(elsewhere.path(), &recipe, rootfs)?;
    for product in Product::ALL {
        let read = |folder: &Path| fs::read(folder.join(product.name()));
        ensure!(read(&first)? == read(&second)?, "{} depends on when it is built", product.name());
    }
    Ok(())
}
