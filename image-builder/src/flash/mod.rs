//! `hearth flash`: puts the image on a disk, and nothing on a disk that somebody needs.
//!
//! [`disks`] and [`uses`] read what the kernel knows, [`verdict`] decides, [`contents`] and [`show`]
//! tell the user what would be lost, [`copy`] writes and reads back, [`device`] opens the disk. The
//! order is fixed in [`flash`]: look, refuse, show, open for ourselves alone, ask, write, verify.

mod contents;
mod copy;
mod device;
mod disks;
mod show;
#[cfg(test)]
mod tests;
mod uses;
mod verdict;

use std::fs::File;
use std::io::{BufRead, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};

use copy::Medium;
use device::Device;
use disks::{Disk, Found, Kind, Roots};
use show::Progress;

use crate::workspace::Workspace;

/// Put the image on a disk: a USB stick, or the disk of the box
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The disk, as in `sdb` or `/dev/disk/by-id/…`; without it, the disks of this computer are listed
    pub device: Option<String>,
    /// The image to write [default: target/hearth/hearth.img]
    #[arg(long, value_name = "PATH")]
    pub image: Option<PathBuf>,
    /// DEVICE is an ordinary file that stands for a disk
    #[arg(long, requires = "device")]
    pub file: bool,
}

/// Lists disks, or writes the image to one.
///
/// # Errors
/// When the disk is refused, the user does not confirm, or the disk does not hold what was written.
pub fn run(args: &Args) -> Result<()> {
    let image = match &args.image {
        Some(path) => path.clone(),
        None => Workspace::find()?.artifacts().image(),
    };
    if !cfg!(target_os = "linux") {
        bail!("{}", elsewhere(&image));
    }
    let roots = Roots::default();
    let mut output = std::io::stdout().lock();
    let Some(device) = &args.device else {
        // Before the first build there is no image, and every disk is large enough for it.
        let bytes = std::fs::metadata(&image).map_or(0, |about| about.len());
        return list(&roots, bytes, &mut output);
    };
    let mut input = std::io::stdin().lock();
    let mut console = Console { input: &mut input, output: &mut output };
    match target(&roots, device, args.file)? {
        Target::Disk(disk) => flash(&disk, &image, &mut console, &open)?,
        Target::File(path) => flash_file(&path, &image, &mut console)?,
    }
    Ok(())
}

/// The terminal, or what a test puts in its place.
struct Console<'a> {
    input: &'a mut dyn BufRead,
    output: &'a mut dyn Write,
}

/// What `DEVICE` stands for.
#[derive(Debug)]
enum Target {
    Disk(Box<Disk>),
    File(PathBuf),
}

/// Finds what the user named: `sdb`, `/dev/sdb`, a link to it, or a file.
fn target(roots: &Roots, named: &str, file: bool) -> Result<Target> {
    let unknown = || anyhow!("there is no disk {named}; next: see which there are with: cargo hearth flash");
    let name = if named.contains('/') || file {
        let path = std::fs::canonicalize(named).map_err(|_| unknown())?;
        if file && path.is_file() {
            return Ok(Target::File(path));
        }
        let devices =
            std::fs::canonicalize(&roots.dev).context("cannot find the devices; next: is /dev there?")?;
        match path.strip_prefix(devices) {
            Ok(name) => name.to_string_lossy().replace('/', "!"),
            Err(_) if path.is_file() => {
                bail!("{named} is an ordinary file; next: if that is what you mean, add --file")
            }
            Err(_) => return Err(unknown()),
        }
    } else {
        named.to_owned()
    };
    ensure!(!file, "{named} is a device, not an ordinary file; next: leave out --file");
    match disks::find(roots, &name)? {
        Found::Whole(disk) => Ok(Target::Disk(disk)),
        Found::PartOf(whole) => bail!(
            "{name} is a partition of {whole}, and Hearth takes a whole disk; next: if all of {whole} may be \
             overwritten: cargo hearth flash {whole}"
        ),
        Found::Nothing => Err(unknown()),
    }
}

/// Shows the disks, what is on them, and which of them could be written.
fn list(roots: &Roots, image: u64, output: &mut dyn Write) -> Result<()> {
    let mut free = Vec::new();
    for disk in disks::all(roots)?.iter().filter(|disk| disk.kind == Kind::Disk) {
        writeln!(output, "{}", show::disk(disk))?;
        let refusals = verdict::refusals(disk, image);
        describe(disk, output)?;
        if let Some(refusal) = refusals.first() {
            writeln!(output, "         no: {refusal}")?;
        } else {
            free.push(disk.name.clone());
        }
    }
    match &free[..] {
        [] => writeln!(output, "No disk can be written; next: plug one in and look again")?,
        [first, ..] => writeln!(
            output,
            "Could be written: {}; next: cargo hearth flash {first} (asks before it writes)",
            free.join(", ")
        )?,
    }
    Ok(())
}

/// Shows what is on a disk, as far as we may look.
fn describe(disk: &Disk, output: &mut dyn Write) -> Result<()> {
    let read = File::open(&disk.path).and_then(|mut file| contents::read(&mut file, &disk.parts));
    let lines = match read {
        Ok(found) => show::contents(&found),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            vec!["what is on it may be seen by root only".to_owned()]
        }
        Err(error) => vec![format!("what is on it cannot be read: {error}")],
    };
    for line in lines {
        writeln!(output, "         {line}")?;
    }
    Ok(())
}

/// Opens a disk for ourselves alone.
fn open(disk: &Disk) -> Result<Box<dyn Medium>> {
    Ok(Box::new(Device::disk(&disk.path, disk.device)?))
}

/// Writes the image to a disk that nobody needs, if the user agrees.
fn flash(
    disk: &Disk,
    image: &Path,
    console: &mut Console,
    open: &dyn Fn(&Disk) -> Result<Box<dyn Medium>>,
) -> Result<()> {
    // What speaks against the disk is told even when there is no image yet.
    let image = device::image(image);
    let refusals = verdict::refusals(disk, image.as_ref().map_or(0, |(_, bytes)| *bytes));
    if !refusals.is_empty() {
        let reasons: Vec<String> = refusals.iter().map(|reason| format!("  {reason}")).collect();
        bail!("{} is not written, because\n{}", disk.path.display(), reasons.join("\n"));
    }
    let (image, bytes) = image?;
    let mut medium = open(disk)?;
    writeln!(console.output, "{}", show::disk(disk))?;
    describe(disk, console.output)?;
    confirm(&disk.name, &disk.path, console)?;
    write_and_verify(image, bytes, &mut *medium)?;
    // Closing tells the kernel and its watchers to look at the new partitions.
    drop(medium);
    writeln!(
        console.output,
        "{} holds Hearth, read back and the same. Plug it into the box, switch on, and choose it in the \
         firmware's boot menu (often F12, F11, F8 or Esc).",
        disk.path.display()
    )?;
    Ok(())
}

/// The same for a file that stands for a disk.
fn flash_file(path: &Path, image: &Path, console: &mut Console) -> Result<()> {
    let (image, bytes) = device::image(image)?;
    let mut medium = Device::file(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    writeln!(console.output, "{}, a file of {}", path.display(), show::size(medium.bytes()))?;
    confirm(&name, path, console)?;
    write_and_verify(image, bytes, &mut medium)?;
    writeln!(console.output, "{} holds Hearth, read back and the same.", path.display())?;
    Ok(())
}

/// Has the name typed back: a finger's slip does not answer this, and `y` has become a habit.
fn confirm(name: &str, path: &Path, console: &mut Console) -> Result<()> {
    writeln!(console.output, "Everything on {} will be lost.", path.display())?;
    write!(console.output, "Type {name} to go on, anything else to stop: ")?;
    console.output.flush()?;
    let mut answer = String::new();
    console.input.read_line(&mut answer).context("cannot read the answer")?;
    ensure!(answer.trim() == name, "stopped, nothing was written: {name} was not typed");
    Ok(())
}

fn write_and_verify(mut image: File, bytes: u64, medium: &mut dyn Medium) -> Result<()> {
    let work = copy::work(medium.bytes(), bytes);
    let progress = Progress::start("write", work);
    let pieces = copy::write(&mut image, bytes, medium, &mut |bytes| progress.advance(bytes))?;
    progress.done();
    let progress = Progress::start("read back", work);
    copy::verify(&pieces, medium, &mut |bytes| progress.advance(bytes))?;
    progress.done();
    Ok(())
}

/// What to do when a disk may only be opened by root: the same command, without cargo around it,
/// which would leave files of root's in the checkout.
fn needs_root(path: &Path) -> anyhow::Error {
    let program = std::env::current_exe().unwrap_or_else(|_| "hearth".into());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    anyhow!(
        "only root may write to {}; next: sudo {} {}",
        path.display(),
        program.display(),
        arguments.join(" ")
    )
}

/// The same by hand, where disks are listed in another way than Linux does.
fn elsewhere(image: &Path) -> String {
    let image = image.display();
    format!(
        "flash works on Linux only for now; next, on macOS: find the disk with `diskutil list external`, then\n  \
         diskutil unmountDisk /dev/diskN\n  \
         sudo dd if={image} of=/dev/rdiskN bs=4m\n  \
         sudo cmp -n $(stat -f %z {image}) {image} /dev/rdiskN && diskutil eject /dev/diskN"
    )
}
