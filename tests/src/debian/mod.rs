//! Debian guests that run an errand: Debians that this checkout builds, not a byte of them changed.
//!
//! The errand is a shell script that lies bare on a second disk, and a unit that runs it comes by the
//! kernel's command line (systemd.system-credentials(7), `systemd.extra-unit.`). What it finds out it
//! says on the console, as lines `errand: WORD …`.

pub mod bare;
pub mod fio;
pub mod nested;
pub mod web;

use crate::event::Event;
use crate::log::BoxLog;
use anyhow::{Context, Result, ensure};
use image_builder::image;
use image_builder::qemu::Artifacts;
use image_builder::recipe::{FILE, Product, Recipe};
use image_builder::rootfs;
use image_builder::system::Ready;
use image_builder::workspace::Workspace;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How long a guest may take for anything, on a busy computer without virtualization.
pub const PATIENCE: Duration = Duration::from_mins(15);
/// What Debian says when everything has started.
pub const READY: &str = "hearth: debian ready";
/// What its console asks then.
pub const LOGIN: &str = "debian login: ";
/// The guest's disk that is its volume.
pub const VOLUME: &str = "/dev/vdc";
/// Bytes of the disk with the errand: Linux looks for partition tables in the first 64 KiB of a disk,
/// and says so when there is less.
const ERRAND_DISK: usize = 64 << 10;
/// Runs the errand once everything has started.
const UNIT: &str = "[Unit]\nAfter=multi-user.target hearth-ready.service\n[Service]\nType=oneshot\n\
                    ExecStart=/bin/sh /dev/vdb\n";
/// How every errand begins: what it says goes to the console, on lines of its own; `online` waits for
/// an address, which nothing else does.
const PRELUDE: &str = "exec >/dev/console 2>&1\ntell() { printf '\\nerrand: %s\\n' \"$*\"; }\n\
                       online() { until ip route | grep -q default; do sleep 1; done; }\n";

/// The folder with kernel, initrd and root of one of this checkout's recipes, such as
/// [`DEBIAN`](rootfs::DEBIAN), if they are built.
///
/// # Errors
/// They are not; with what to do.
pub fn products(folder: &str) -> Result<PathBuf> {
    let (workspace, recipe) = recipe(folder)?;
    let rootfs = recipe.rootfs.as_ref().context("it has no [rootfs]")?;
    let found = rootfs::cached(&workspace.cache(), &recipe, rootfs)?;
    found.with_context(|| format!("not built here; next: cargo hearth image --with {folder}"))
}

/// The checkout, and the recipe in one of its folders.
///
/// # Errors
/// The recipe cannot be read.
pub fn recipe(folder: &str) -> Result<(Workspace, Recipe)> {
    let workspace = Workspace::find()?;
    let recipe = Recipe::read(&workspace.root().join(folder))?;
    Ok((workspace, recipe))
}

/// A Debian with an errand.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its name.
    pub name: &'static str,
    /// Folder of the recipe that it is built from.
    pub folder: &'static str,
    /// MiB of its RAM.
    pub memory_mib: u64,
    /// MiB of its volume.
    pub volume_mib: u64,
    /// Whether it has a sound card.
    pub sound: bool,
    /// What it is to do, in shell; `tell WORD …` reports.
    pub errand: String,
}

impl Guest {
    /// Its kernel's command line: Debian's own, the errand's unit, and more time for devices to appear and for
    /// services to start and answer than systemd gives them, which a busy computer without virtualization may
    /// take (kernel-command-line(7)).
    ///
    /// # Errors
    /// The recipe cannot be read.
    pub fn cmdline(&self) -> Result<String> {
        let (_, recipe) = recipe(self.folder)?;
        Ok(format!(
            "{} systemd.default_device_timeout_sec=900 \
             systemd.default_timeout_start_sec=900 systemd.service_watchdogs=0 \
             systemd.set_credential_binary=systemd.extra-unit.errand.service:{} systemd.wants=errand.service",
            recipe.cmdline,
            base64(UNIT.as_bytes())
        ))
    }

    /// The disk with the errand.
    ///
    /// # Errors
    /// The errand is too long.
    pub fn errand_disk(&self) -> Result<Vec<u8>> {
        let mut disk = format!("{PRELUDE}{}\n", self.errand).into_bytes();
        ensure!(disk.len() <= ERRAND_DISK, "the errand of {} is too long", self.name);
        disk.resize(ERRAND_DISK, b'\n');
        Ok(disk)
    }

    /// An appliance of it, in a folder to be made.
    fn appliance(&self, folder: &Path) -> Result<Ready> {
        let products = products(self.folder)?;
        fs::create_dir(folder)?;
        for product in Product::ALL {
            symlink(products.join(product.name()), folder.join(product.name()))?;
        }
        fs::write(folder.join("errand"), self.errand_disk()?)?;
        let recipe = format!(
            "name = {:?}\ncpus = 2\nmemory = \"{}M\"\n\
             [kernel]\nformat = \"linux\"\nimage = \"{}\"\ninitrd = \"{}\"\ncmdline = \"{}\"\n\
             [devices]\ndisplay = true\nsound = {}\ninput = true\nnetwork = true\nlog-console = true\n\
             [[disk]]\nimage = \"{}\"\n[[disk]]\nimage = \"errand\"\n[[disk]]\nsize = \"{}M\"\n",
            self.name,
            self.memory_mib,
            Product::Kernel.name(),
            Product::Initrd.name(),
            self.cmdline()?,
            self.sound,
            Product::Root.name(),
            self.volume_mib
        );
        fs::write(folder.join(FILE), recipe)?;
        Ok(Ready { recipe: Recipe::read(folder)?, products: None })
    }
}

/// Artifacts whose disk holds guests; they go when this goes.
pub struct GuestBox {
    /// What to start.
    pub artifacts: Artifacts,
    _folder: TempDir,
}

impl GuestBox {
    /// This checkout's flash image, and a disk with these guests.
    ///
    /// # Errors
    /// Debian is not built, or the disk cannot be written.
    pub fn of(guests: &[Guest]) -> Result<Self> {
        let built = crate::artifacts()?;
        let folder = tempfile::tempdir_in(&built.dir).context("making a folder for a box")?;
        let appliances: Vec<Ready> = guests
            .iter()
            .map(|guest| guest.appliance(&folder.path().join(guest.name)))
            .collect::<Result<_>>()?;
        let artifacts = image::with_appliances(&built, folder.path(), &appliances)?;
        Ok(Self { artifacts, _folder: folder })
    }
}

/// What a guest's console line says, if this is one.
fn said<'e>(event: &'e Event, vm: &str) -> Option<&'e str> {
    let is_its = event.name == "vm.console" && event.field("vm").is_ok_and(|name| name == vm);
    is_its.then(|| event.field("text").ok())?
}

/// What a guest reports under a word, if this is such a line.
pub fn reported<'e>(event: &'e Event, vm: &str, word: &str) -> Option<&'e str> {
    said(event, vm)?.strip_prefix("errand: ")?.strip_prefix(word).map(str::trim)
}

/// Waits until a guest says something that contains `words`.
///
/// # Errors
/// As [`BoxLog::wait_until`].
pub fn wait_for_words(log: &mut BoxLog, vm: &str, words: &str) -> Result<()> {
    let what = format!("{words:?} of {vm}");
    log.wait_until(&what, PATIENCE, |event| said(event, vm).is_some_and(|text| text.contains(words)))
        .map(drop)
}

/// Waits for a guest's next report under a word, and answers what follows the word.
///
/// # Errors
/// As [`BoxLog::wait_until`].
pub fn wait_for_report(log: &mut BoxLog, vm: &str, word: &str) -> Result<String> {
    let what = format!("`errand: {word}` of {vm}");
    let event = log.wait_until(&what, PATIENCE, |event| reported(event, vm, word).is_some())?;
    Ok(reported(&event, vm, word).unwrap_or_default().to_owned())
}

/// Waits until a guest has ended, for this reason.
///
/// # Errors
/// As [`BoxLog::wait_until`], or it ended for another.
pub fn wait_for_exit(log: &mut BoxLog, vm: &str, reason: &str) -> Result<()> {
    let is_its = |event: &Event| event.name == "vm.exit" && event.field("vm").is_ok_and(|name| name == vm);
    let event = log.wait_until("vm.exit", PATIENCE, is_its)?;
    ensure!(event.field("reason")? == reason, "{vm} ended for another reason than {reason:?}: {event}");
    Ok(())
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= group.len() { char::from(DIGITS[value]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_shows_it() {
        let examples = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in examples {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
