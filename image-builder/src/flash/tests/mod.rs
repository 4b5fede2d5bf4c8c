//! A computer made of files: `/sys`, `/proc` and `/dev` in a temporary folder.

mod contents;
mod copy;
mod disks;
mod flow;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::disks::{Disk, Found, Roots, find};

/// A made-up computer. Disks are added to it one by one.
struct Computer {
    folder: tempfile::TempDir,
    mounts: String,
    swaps: String,
}

impl Computer {
    /// One without disks, but with a mount that has nothing to do with any.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for part in ["sys/block", "proc/self", "dev"] {
            fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        let mut computer =
            Self { folder, mounts: String::new(), swaps: "Filename Type Size Used Priority\n".into() };
        computer.mount("0:22", "/proc", "proc");
        computer.swap("/dev/nothing");
        computer
    }

    fn roots(&self) -> Roots {
        let at = |part: &str| self.folder.path().join(part);
        Roots { sys: at("sys"), proc: at("proc"), dev: at("dev") }
    }

    /// A file under `/sys/block`.
    fn attribute(&self, path: &str, value: &str) -> &Self {
        let path = self.folder.path().join("sys/block").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{value}\n")).unwrap();
        self
    }

    /// A disk on a bus, with as many bytes.
    fn disk(&self, name: &str, number: &str, bus: &str, bytes: u64) -> &Self {
        self.volume(name, number, bytes);
        let device = self.folder.path().join("sys/devices/pci0000:00").join(bus).join(name);
        fs::create_dir_all(&device).unwrap();
        std::os::unix::fs::symlink(device, self.folder.path().join("sys/block").join(name).join("device"))
            .unwrap();
        self
    }

    /// A block device that is no disk.
    fn volume(&self, name: &str, number: &str, bytes: u64) -> &Self {
        self.attribute(&format!("{name}/dev"), number)
            .attribute(&format!("{name}/size"), &(bytes / 512).to_string())
            .attribute(&format!("{name}/ro"), "0")
            .attribute(&format!("{name}/queue/logical_block_size"), "512")
    }

    fn part(&self, disk: &str, name: &str, number: &str, start: u64, bytes: u64) -> &Self {
        let index = name.trim_start_matches(disk).trim_start_matches('p');
        let at = |attribute: &str| format!("{disk}/{name}/{attribute}");
        self.attribute(&at("dev"), number)
            .attribute(&at("partition"), index)
            .attribute(&at("start"), &(start / 512).to_string())
            .attribute(&at("size"), &(bytes / 512).to_string())
    }

    /// Says that `path` (a disk or `disk/part`) is part of another device.
    fn holder(&self, path: &str, holder: &str) -> &Self {
        let block = self.folder.path().join("sys/block");
        let holders = block.join(path).join("holders");
        fs::create_dir_all(&holders).unwrap();
        std::os::unix::fs::symlink(block.join(holder), holders.join(holder)).unwrap();
        self
    }

    fn mount(&mut self, number: &str, place: &str, source: &str) -> &mut Self {
        writeln!(self.mounts, "36 35 {number} / {place} rw,noatime shared:1 - fs {source} rw").unwrap();
        fs::write(self.folder.path().join("proc/self/mountinfo"), &self.mounts).unwrap();
        self
    }

    fn swap(&mut self, path: &str) -> &mut Self {
        writeln!(self.swaps, "{path}   partition\t1000\t0\t-2").unwrap();
        fs::write(self.folder.path().join("proc/swaps"), &self.swaps).unwrap();
        self
    }

    /// What would be behind `/dev/NAME`.
    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("dev").join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn find(&self, name: &str) -> Disk {
        match find(&self.roots(), name).unwrap() {
            Found::Whole(disk) => *disk,
            other => panic!("{name} is {other:?}"),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}
