//! A Debian root from locked packages, by Debian's own `mmdebstrap`.

use super::lock::{Lock, Package};
use super::mirror::RELEASE;
use crate::image::hex;
use crate::process;
use crate::progress::Step;
use crate::recipe::Rootfs;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What every file in a root is dated: the first second of 2025. Nothing may depend on the day.
pub const EPOCH: u32 = 1_735_689_600;
/// Sorts out the kernel's modules, in the new root.
pub const MODULES_SCRIPT: &str = include_str!("../../../appliance-vms/base/modules.sh");
/// What an initrd must load to mount an image: the disk, the image's format, the layer above.
pub const INITRD_MODULES: &str = "virtio_blk squashfs overlay";
/// Things mmdebstrap says that it does, for the progress display.
const PHASES: u64 = 9;
/// Its last words that are shown when it fails.
const LAST_WORDS: usize = 20;

/// Builds a root from the package files in `packages` and leaves it as a tar file.
///
/// mmdebstrap gets an archive that holds exactly the locked packages, so there is nothing to choose
/// for it. It needs no privileges where the kernel lets users have namespaces of their own.
///
/// # Errors
/// When a package is not what the lock says, or mmdebstrap fails.
pub fn bootstrap(rootfs: &Rootfs, lock: &Lock, packages: &Path, tar: &Path) -> Result<()> {
    let step = Step::start(format!("installing {} packages", lock.packages.len()));
    let archive = archive(lock, packages)?;
    let place = archive.path().to_str().context("the folder for temporary files is not UTF-8")?;
    let include: Vec<&str> = rootfs.packages.iter().map(String::as_str).collect();
    let kept: Vec<&str> = rootfs.modules.iter().flatten().map(String::as_str).collect();
    let hook = format!("sh '{place}/modules.sh' \"$1\" '{INITRD_MODULES}' {}", kept.join(" "));
    let mut command = process::with_own_mounts("mmdebstrap");
    command.args(["--variant=minbase", "--format=tar", "--architectures=amd64"]);
    command.arg(format!("--include={}", include.join(",")));
    command.arg(format!("--customize-hook={hook}"));
    command.arg(RELEASE).arg(tar).arg(format!("deb [trusted=yes] copy:{place} ./"));
    command.env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    // The initrd is ours, so the kernel's package need not make one (initramfs-tools, kernel hook).
    command.env("INITRD", "No");
    watch(&mut command, &step)?;
    step.done("");
    Ok(())
}

/// A folder that apt takes for an archive. In the folder for temporary files, because in a user's
/// namespace its root is somebody else, who may not look into the user's home.
fn archive(lock: &Lock, packages: &Path) -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("hearth-packages-").tempdir();
    let folder = folder.context("making a folder for packages")?;
    let open = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .with_context(|| format!("opening {} to others", path.display()))
    };
    open(folder.path(), 0o755)?;
    let mut index = String::new();
    for package in &lock.packages {
        let (from, to) = (packages.join(package.file_name()), folder.path().join(package.file_name()));
        fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
        open(&to, 0o644)?;
        index += &stanza(package, &to)?;
    }
    // mmdebstrap takes only what an archive says to be of its release.
    let release = format!(
        "Codename: {RELEASE}\nArchitectures: amd64\nComponents: main\nDate: Wed, 01 Jan 2025 00:00:00 UTC\n\
         SHA256:\n {} {} Packages\n",
        hex(&Sha256::digest(&index)),
        index.len()
    );
    let files = [("Packages", index.as_str()), ("Release", &release), ("modules.sh", MODULES_SCRIPT)];
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        open(&file, 0o644)?;
    }
    Ok(folder)
}

/// A package's paragraph in an archive's list: its own fields, and where to find it.
fn stanza(package: &Package, file: &Path) -> Result<String> {
    let (len, digest) = crate::system::each_chunk(file, |_| Ok(()))?;
    ensure!(
        len == package.size && hex(&digest) == package.sha256,
        "{} is not the file that the lock names; next: remove target/hearth/cache/packages",
        package.file_name()
    );
    let fields = process::output(process::host("dpkg-deb").arg("--field").arg(file));
    let mut text = fields.with_context(|| format!("{} cannot be read by dpkg-deb", file.display()))?;
    writeln!(text, "Filename: ./{}", package.file_name())?;
    writeln!(text, "Size: {}\nSHA256: {}\n", package.size, package.sha256)?;
    Ok(text)
}

/// Runs mmdebstrap, shows what it says that it does, and its last words if it fails.
fn watch(command: &mut Command, step: &Step) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting mmdebstrap; next: `cargo hearth doctor`")?;
    let mut last = VecDeque::new();
    let mut phase = 0;
    if let Some(words) = child.stderr.take() {
        for line in BufReader::new(words).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(what) = line.strip_prefix("I: ") {
                phase += 1;
                step.at(phase.min(PHASES), PHASES, what);
            }
            last.push_back(line);
            if last.len() > LAST_WORDS {
                last.pop_front();
            }
        }
    }
    let status = child.wait().context("waiting for mmdebstrap")?;
    if !status.success() {
        let said: Vec<String> = last.into();
        bail!(
            "mmdebstrap ended with {status}; it said:\n{}\nnext: read what it says; without root it needs \
             user namespaces and the package uidmap",
            said.join("\n")
        );
    }
    Ok(())
}
