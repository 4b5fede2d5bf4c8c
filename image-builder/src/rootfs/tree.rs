//! From the tar file that mmdebstrap leaves to what a box reads: kernel, initrd, and a read-only image.
//!
//! The tree is never unpacked, so owners and devices in it need no privileges. It passes once to find
//! the small parts that the initrd takes, and once more on its way into the image, without what no
//! appliance needs and with the appliance's own files.

use super::debian::EPOCH;
use super::initrd::initrd;
use super::overlay::{Content, Overlay};
use crate::process;
use crate::progress::Step;
use crate::recipe::Product;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use tar::{Archive, Builder, Entry, EntryType, Header};

/// Where the list lies that `modules.sh` leaves.
const INITRD_MODULES: &str = "boot/initrd-modules";
const BUSYBOX: &str = "usr/bin/busybox";
const MODULES: &str = "usr/lib/modules/";

/// What is left out: each a path, or all below it if it ends in a slash. Kernel and initrd are files of
/// their own; the rest is what a build leaves behind, what names this computer, and what nobody reads on
/// a television.
const LEFT_OUT: [&str; 17] = [
    "boot/",
    "etc/.resolv.conf.systemd-resolved.bak",
    "etc/apt/sources.list",
    "etc/hostname",
    "etc/machine-id",
    "initrd.img",
    "initrd.img.old",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "var/cache/",
    "var/lib/apt/lists/",
    "var/lib/dpkg/status-old",
    "var/log/",
    "vmlinuz",
    "vmlinuz.old",
];

/// Empty files that tell systemd that this is no fresh install: the machine's identifier is made anew at
/// each start (machine-id(5)), and /etc and /var are as new as /usr (systemd-update-done.service(8)), so
/// that no start begins with rebuilding caches.
const EMPTY: [&str; 3] = ["etc/.updated", "etc/machine-id", "var/.updated"];

/// Makes the products in `folder` from a root and the appliance's own files.
///
/// # Errors
/// When the tree lacks kernel, busybox or a module, cannot be read, or mksquashfs fails.
pub fn finish(tar: &Path, overlay: &Overlay, folder: &Path) -> Result<()> {
    let step = Step::start("making kernel, initrd and root.squashfs");
    let parts = Parts::find(tar)?;
    overlay.check(&parts.folders, &parts.others)?;
    let write = |product: Product, bytes: &[u8]| {
        let file = folder.join(product.name());
        fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))
    };
    write(Product::Kernel, &parts.kernel)?;
    let root = folder.join(Product::Root.name());
    let modules = squash(tar, overlay, &parts, &root)?;
    write(Product::Initrd, &initrd(&parts.busybox, &modules))?;
    let size = fs::metadata(&root).map_or(0, |about| about.len());
    step.done(&format!("root.squashfs {} MB", size / 1_000_000));
    Ok(())
}

/// What the first pass finds.
#[derive(Default)]
struct Parts {
    kernel: Vec<u8>,
    busybox: Vec<u8>,
    /// The initrd's modules, as paths in the tree, in the order in which they are loaded.
    modules: Vec<String>,
    /// Every folder, and everything else that stays, by path.
    folders: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl Parts {
    fn find(tar: &Path) -> Result<Self> {
        let mut parts = Self::default();
        let (mut list, mut version) = (String::new(), None);
        each(tar, |path, entry| {
            if entry.header().entry_type() == EntryType::Directory {
                if let Some(below) = path.strip_prefix(MODULES).filter(|below| !below.contains('/')) {
                    version = Some(below.to_owned());
                }
                parts.folders.insert(path.to_owned());
            } else if path.starts_with("boot/vmlinuz-") {
                entry.read_to_end(&mut parts.kernel)?;
            } else if path == BUSYBOX {
                entry.read_to_end(&mut parts.busybox)?;
                parts.others.insert(path.to_owned());
            } else if path == INITRD_MODULES {
                entry.read_to_string(&mut list)?;
            } else if stays(path) {
                parts.others.insert(path.to_owned());
            }
            Ok(())
        })?;
        ensure!(!parts.kernel.is_empty(), "no package brings a kernel; next: add linux-image-amd64");
        ensure!(!parts.busybox.is_empty(), "the initrd takes busybox; next: add busybox-static");
        let version = version.context("there are no kernel modules in the root")?;
        ensure!(!list.is_empty(), "no module was found that the initrd takes");
        parts.modules = list.lines().map(|module| format!("{MODULES}{version}/{module}")).collect();
        Ok(parts)
    }
}

/// Writes the image; answers names and bytes of the initrd's modules.
fn squash(tar: &Path, overlay: &Overlay, parts: &Parts, image: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let epoch = EPOCH.to_string();
    let mut command = process::host("mksquashfs");
    command.arg("-").arg(image).args(["-tar", "-noappend", "-no-progress", "-quiet", "-exports"]);
    command.args(["-comp", "zstd", "-Xcompression-level", "15", "-all-time", &epoch, "-mkfs-time", &epoch]);
    command.env_remove("SOURCE_DATE_EPOCH");
    let mut child = start(&mut command)?;
    let mut modules = BTreeMap::new();
    let input = child.stdin.take().context("mksquashfs has no input")?;
    let written = copy(tar, overlay, parts, &mut modules, input);
    // What mksquashfs says is the reason, where writing to it failed because it had ended.
    let done = child.wait_with_output().context("waiting for mksquashfs")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "mksquashfs ended with {}: {}; next: see whether the disk is full",
        done.status,
        said.trim()
    );
    written?;
    let bytes_of = |path: &String| {
        let bytes = modules.remove(path).ok_or_else(|| anyhow!("there is no module {path} in the root"))?;
        Ok((path.rsplit('/').next().unwrap_or(path).to_owned(), bytes))
    };
    parts.modules.iter().map(bytes_of).collect()
}

fn start(command: &mut Command) -> Result<std::process::Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().context("starting mksquashfs; next: `cargo hearth doctor`")
}

/// Copies the tree, with its changes, to mksquashfs. Puts aside the initrd's modules as they pass.
fn copy(
    tar: &Path,
    overlay: &Overlay,
    parts: &Parts,
    modules: &mut BTreeMap<String, Vec<u8>>,
    output: impl Write,
) -> Result<()> {
    let mut out = Builder::new(BufWriter::new(output));
    each(tar, |path, entry| {
        let module = parts.modules.iter().any(|module| module == path);
        if module {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            let mut header = entry.header().clone();
            out.append_data(&mut header, path, &bytes[..])?;
            modules.insert(path.to_owned(), bytes);
        } else if stays(path) && !overlay.files.contains_key(path) {
            copy_entry(path, entry, &mut out).with_context(|| format!("copying {path}"))?;
        }
        Ok(())
    })?;
    for (path, content) in &overlay.files {
        if !parts.folders.contains(path) {
            add(path, content, &mut out).with_context(|| format!("adding {path}"))?;
        }
    }
    for path in EMPTY {
        add(path, &Content::File { bytes: Vec::new(), program: false }, &mut out)?;
    }
    out.into_inner()?.flush()?;
    Ok(())
}

fn copy_entry<R: Read, W: Write>(path: &str, entry: &mut Entry<R>, out: &mut Builder<W>) -> Result<()> {
    // Capabilities and the like, which tar keeps beside the header (tar(1), --xattrs).
    let mut attributes = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            if let Ok(key) = extension.key()
                && key.starts_with("SCHILY.xattr.")
            {
                attributes.push((key.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    if !attributes.is_empty() {
        out.append_pax_extensions(attributes.iter().map(|(key, value)| (key.as_str(), &value[..])))?;
    }
    let mut header = entry.header().clone();
    match header.entry_type() {
        EntryType::Link | EntryType::Symlink => {
            let target = entry.link_name()?.context("a link to nowhere")?.into_owned();
            out.append_link(&mut header, path, target)?;
        }
        _ => out.append_data(&mut header, path, entry)?,
    }
    Ok(())
}

/// Adds a file of root's.
fn add<W: Write>(path: &str, content: &Content, out: &mut Builder<W>) -> Result<()> {
    let mut header = Header::new_gnu();
    match content {
        Content::Folder => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            out.append_data(&mut header, path, &[][..])?;
        }
        Content::File { bytes, program } => {
            header.set_mode(if *program { 0o755 } else { 0o644 });
            header.set_size(bytes.len() as u64);
            out.append_data(&mut header, path, &bytes[..])?;
        }
        Content::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            out.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

/// Whether a path of the tree is wanted in the image.
fn stays(path: &str) -> bool {
    let is_out = |rule: &str| path == rule || (rule.ends_with('/') && path.starts_with(rule));
    // Of the documentation only what the law asks for: each package's licence.
    let documentation = path.starts_with("usr/share/doc/") && !path.ends_with("/copyright");
    let is_folder_of_a_package = documentation && path.matches('/').count() == 3;
    !LEFT_OUT.iter().any(|rule| is_out(rule)) && (!documentation || is_folder_of_a_package)
}

/// Calls `visit` with every entry and its path from the root of the tree.
fn each(tar: &Path, mut visit: impl FnMut(&str, &mut Entry<BufReader<File>>) -> Result<()>) -> Result<()> {
    let reading = || format!("reading {}", tar.display());
    let file = File::open(tar).with_context(reading)?;
    let mut archive = Archive::new(BufReader::with_capacity(1 << 20, file));
    for entry in archive.entries().with_context(reading)? {
        let mut entry = entry.with_context(reading)?;
        let path = entry.path().with_context(reading)?.into_owned();
        let Some(path) = path.to_str() else { bail!("{} in the root is not UTF-8", path.display()) };
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        if !path.is_empty() {
            visit(&path, &mut entry)?;
        }
    }
    Ok(())
}
