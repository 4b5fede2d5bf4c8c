//! A disk, or a file that stands for one, opened for writing: nobody else may use it meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::fs::{FileType, FlockOperation, OFlags, flock, fstat, major, minor};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::copy::Medium;

/// Direct input and output wants buffers and offsets on the borders of the disk's sectors (open(2));
/// this is a multiple of every sector size.
const ALIGNMENT: usize = 4096;

#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Page([u8; ALIGNMENT]);

/// An opened medium.
pub(super) struct Device {
    writer: File,
    /// A second handle that reads past the kernel's memory.
    reader: File,
    direct: bool,
    bytes: u64,
    buffer: Vec<Page>,
}

impl Device {
    /// Opens the disk with these numbers.
    ///
    /// `O_EXCL` on a block device without `O_CREAT` fails when it or a partition is mounted, swap, or
    /// part of another device, in any namespace (open(2)): the last word after all looking at `/sys`.
    pub(super) fn disk(path: &Path, device: (u32, u32)) -> Result<Self> {
        let writer = open(path, OFlags::EXCL)?;
        let about = fstat(&writer).with_context(|| format!("cannot look at {}", path.display()))?;
        let is_disk = FileType::from_raw_mode(about.st_mode) == FileType::BlockDevice;
        if !is_disk || (major(about.st_rdev), minor(about.st_rdev)) != device {
            bail!("{} is not the disk that /sys describes; next: look at it with ls -l", path.display());
        }
        // Programs that watch disks (udev, partitioners) leave one alone while it is locked
        // (systemd: "Locking Block Device Access"). They look again when it is closed.
        flock(&writer, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            anyhow!("another program is working on {}; next: wait for it and try again", path.display())
        })?;
        Self::new(path, writer)
    }

    /// Opens a file that stands for a disk.
    pub(super) fn file(path: &Path) -> Result<Self> {
        Self::new(path, open(path, OFlags::empty())?)
    }

    fn new(path: &Path, mut writer: File) -> Result<Self> {
        let bytes =
            writer.seek(SeekFrom::End(0)).with_context(|| format!("cannot size {}", path.display()))?;
        let (reader, direct) =
            reader(path).with_context(|| format!("cannot open {} for reading", path.display()))?;
        Ok(Self { writer, reader, direct, bytes, buffer: Vec::new() })
    }
}

fn open(path: &Path, flags: OFlags) -> Result<File> {
    let opened =
        OpenOptions::new().read(true).write(true).custom_flags(flags.bits().cast_signed()).open(path);
    opened.map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => return super::needs_root(path),
            ErrorKind::ResourceBusy => "something uses it: look with lsblk, or plug it in anew",
            ErrorKind::ReadOnlyFilesystem => "it is read-only: is there a switch on its side?",
            _ => "plug it in anew and look with: cargo hearth flash",
        };
        anyhow!("cannot open {} for writing: {error}; next: {remedy}", path.display())
    })
}

/// A handle that reads from the medium and not from memory, and whether it does so by itself.
#[cfg(target_os = "linux")]
fn reader(path: &Path) -> io::Result<(File, bool)> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        // Some file systems have no direct input.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok((File::open(path)?, false)),
        opened => opened.map(|file| (file, true)),
    }
}

#[cfg(not(target_os = "linux"))]
fn reader(path: &Path) -> io::Result<(File, bool)> {
    Ok((File::open(path)?, false))
}

/// Asks the kernel to forget what it remembers of a file; what is written already can be dropped.
#[cfg(target_os = "linux")]
fn forget(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File) -> io::Result<()> {
    Ok(())
}

impl Medium for Device {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writer.seek(SeekFrom::Start(offset))?;
        self.writer.write_all(bytes)?;
        // After each piece, not once at the end: then the progress shown is progress made.
        self.writer.sync_data()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(offset))?;
        if !self.direct {
            forget(&self.reader)?;
            return self.reader.read_exact(buffer);
        }
        self.buffer.resize(buffer.len().div_ceil(ALIGNMENT), Page([0; ALIGNMENT]));
        let aligned = self.buffer.as_mut_bytes();
        // One read, so that a piece of odd length at the end of a file may come back short.
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut aligned[filled..])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        buffer.copy_from_slice(&aligned[..buffer.len()]);
        Ok(())
    }
}

/// Opens an image, and says how long it is.
pub(super) fn image(path: &Path) -> Result<(File, u64)> {
    let file = File::open(path)
        .with_context(|| format!("cannot open the image {}; next: cargo hearth image", path.display()))?;
    let bytes = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?.len();
    ensure!(
        bytes > 0 && bytes % crate::disk::SECTOR == 0,
        "{} has {bytes} bytes, which is not a whole number of sectors: it is no disk image; next: cargo hearth \
         image",
        path.display()
    );
    Ok((file, bytes))
}
