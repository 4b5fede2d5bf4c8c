//! Who uses a block device: mounts and swap (proc(5): `/proc/self/mountinfo`, `/proc/swaps`).

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::disks::numbers;

/// Mount points of a running system. `/boot` stands for everything below it as well.
const SYSTEM: [&str; 10] = ["/", "/boot", "/efi", "/home", "/usr", "/var", "/opt", "/srv", "/root", "/nix"];

/// In what way a device is used.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum How {
    Mounted(String),
    Swap,
    /// Part of this other device, which nobody uses at the moment.
    Held(String),
}

/// One use of a device.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Use {
    /// The device, with those it stands on before it: `sda3`, `sda3 > dm-0`.
    pub device: String,
    pub how: How,
}

impl Use {
    pub(super) fn held(path: &[String], by: &str) -> Self {
        Self { device: path.join(" > "), how: How::Held(by.to_owned()) }
    }

    /// Whether this computer runs from it.
    pub(super) fn is_system(&self) -> bool {
        match &self.how {
            How::Mounted(place) => {
                SYSTEM.contains(&place.as_str()) || place.starts_with("/boot/") || place.starts_with("/usr/")
            }
            How::Swap | How::Held(_) => false,
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::Mounted(place) => write!(f, "{} is mounted at {place}", self.device),
            How::Swap => write!(f, "{} is swap space", self.device),
            How::Held(by) => write!(f, "{} is part of {by}", self.device),
        }
    }
}

/// All mounts and swap areas of the computer.
pub(super) struct Uses {
    mounts: Vec<Mount>,
    swaps: Vec<String>,
}

struct Mount {
    device: Option<(u32, u32)>,
    /// What was mounted. Some file systems (btrfs) have device numbers of their own, and only this
    /// tells the disk.
    source: String,
    place: String,
}

impl Uses {
    /// Reads both lists. Not being able to is an error: a disk is not free because nobody looked.
    pub(super) fn read(proc: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = proc.join(name);
            fs::read_to_string(&path).with_context(|| {
                format!("cannot see which disks are in use: {}; next: is /proc mounted?", path.display())
            })
        };
        let mounts = read("self/mountinfo")?.lines().filter_map(mount).collect();
        // A kernel without swap has no such file.
        let swaps = if proc.join("swaps").exists() { read("swaps")? } else { String::new() };
        let swaps = swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(unescape);
        Ok(Self { mounts, swaps: swaps.collect() })
    }

    /// The uses of one device, known by name, by a second name, and by number.
    pub(super) fn of(
        &self,
        name: &str,
        alias: Option<&str>,
        device: Option<(u32, u32)>,
        path: &[String],
    ) -> Vec<Use> {
        // The kernel writes `/` in a device's name as `!` in /sys.
        let path_of = |name: &str| format!("/dev/{}", name.replace('!', "/"));
        let names: Vec<String> = [Some(name), alias].into_iter().flatten().map(path_of).collect();
        let found = |how| Use { device: path.join(" > "), how };
        let mounts = self
            .mounts
            .iter()
            .filter(|mount| (device.is_some() && mount.device == device) || names.contains(&mount.source))
            .map(|mount| found(How::Mounted(mount.place.clone())));
        let swaps = self.swaps.iter().filter(|swap| names.contains(swap)).map(|_| found(How::Swap));
        mounts.chain(swaps).collect()
    }
}

/// A line of mountinfo: `36 35 98:0 /root /place options tags… - type source options`.
fn mount(line: &str) -> Option<Mount> {
    let (own, rest) = line.split_once(" - ")?;
    let own: Vec<&str> = own.split(' ').collect();
    let source = rest.split(' ').nth(1)?;
    Some(Mount { device: numbers(own.get(2)?), source: unescape(source), place: unescape(own.get(4)?) })
}

/// Space, tab, newline and backslash are written as `\` and three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        if let Some(byte) = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            plain.push(byte);
            plain.extend_from_slice(&part.as_bytes()[3..]);
        } else {
            plain.push(b'\\');
            plain.extend_from_slice(part.as_bytes());
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}
