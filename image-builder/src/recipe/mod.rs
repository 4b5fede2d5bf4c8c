//! `appliance.toml`: what an appliance is, read strictly.
//!
//! [`Recipe::read`] finds every mistake of a file at once. `docs/appliances.md` explains the keys;
//! [`GRAMMAR`] lists them.

mod reader;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result};
use hv_abi::appliance::{BLOCK, Devices, Format, Start};
use reader::{Grammar, Mistakes, Section};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use toml::de::DeValue;

/// Name of the file in an appliance's folder.
pub const FILE: &str = "appliance.toml";

/// Every section and key.
const GRAMMAR: Grammar = &[
    ("", &["name", "title", "cpus", "memory", "start", "kernel", "devices", "disk", "rootfs"]),
    ("kernel", &["format", "image", "initrd", "cmdline"]),
    ("devices", &["display", "sound", "input", "network", "debug-exit", "log-console"]),
    ("disk", &["image", "size", "name"]),
    ("rootfs", &["packages", "modules"]),
];

/// The name that the box itself has, on the network and on the disk.
const BOX: &str = "hearth";
/// Most letters of a name.
const MAX_NAME: usize = 15;
/// Most letters of a title: one line on the television.
const MAX_TITLE: usize = 40;
/// Most vCPUs.
const MAX_CPUS: u8 = 16;
/// RAM comes in large pages.
const MEMORY_UNIT: u64 = 2 << 20;
/// Most bytes of RAM, and of a volume.
const MAX_SIZE: u64 = 1 << 42;
/// Most bytes of a command line: Linux keeps 2048, the last one zero (arch/x86/include/asm/setup.h).
const MAX_CMDLINE: usize = 2047;
/// Most disks.
const MAX_DISKS: usize = 8;
/// What a volume is called that is not given a name.
const VOLUME: &str = "data";

/// An appliance, as its folder describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The folder, which holds everything that the recipe names.
    pub folder: PathBuf,
    /// Name, `[a-z][a-z0-9-]{0,14}`.
    pub name: String,
    /// What the family calls it.
    pub title: String,
    /// vCPUs.
    pub cpus: u8,
    /// Bytes of RAM.
    pub memory: u64,
    /// When it starts.
    pub start: Start,
    /// How its kernel is entered.
    pub format: Format,
    /// Its kernel.
    pub kernel: Source,
    /// Its initrd, or first module.
    pub initrd: Option<Source>,
    /// Its command line.
    pub cmdline: String,
    /// What it has.
    pub devices: Devices,
    /// Its disks, in the order that it sees them.
    pub disks: Vec<DiskSource>,
    /// The Debian root to be built for it.
    pub rootfs: Option<Rootfs>,
}

/// Where a file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It lies there.
    File(PathBuf),
    /// It is built from `[rootfs]`.
    Rootfs(Product),
}

/// What is built from `[rootfs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Debian's kernel.
    Kernel,
    /// An initrd that mounts the root.
    Initrd,
    /// The root, read-only.
    Root,
}

impl Product {
    /// Every product.
    pub const ALL: [Self; 3] = [Self::Kernel, Self::Initrd, Self::Root];

    /// Its name in `appliance.toml`, and as a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "vmlinuz",
            Self::Initrd => "initrd",
            Self::Root => "root.squashfs",
        }
    }
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskSource {
    /// A read-only image.
    Image(Source),
    /// A volume on the data partition.
    Volume {
        /// Its name, unique in its appliance.
        name: String,
        /// Bytes.
        size: u64,
    },
}

/// A root of Debian packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rootfs {
    /// Packages by name, sorted; what they depend on comes with them.
    pub packages: BTreeSet<String>,
    /// Kernel modules that stay in the root, with what they depend on; none = all stay.
    pub modules: Option<BTreeSet<String>>,
}

impl Recipe {
    /// Reads the recipe in a folder.
    ///
    /// # Errors
    /// When there is none, or with everything that is wrong with it, each mistake on a line with file
    /// and line.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        let text = fs::read_to_string(&file).with_context(|| {
            format!("reading {}; next: name a folder that holds an {FILE}", file.display())
        })?;
        Self::parse(folder, &text)
    }

    fn parse(folder: &Path, text: &str) -> Result<Self> {
        let mut mistakes = Mistakes::new(&folder.join(FILE), text);
        let table = mistakes.parse();
        let recipe = table.as_ref().and_then(|table| {
            let top = Section::new(GRAMMAR, "", 0..0, table.get_ref(), &mut mistakes);
            read_all(folder, &top, &mut mistakes)
        });
        mistakes.conclude(recipe)
    }
}

/// Reads every section, so that every mistake is noted, and only then sees whether all is there.
fn read_all(folder: &Path, top: &Section, mistakes: &mut Mistakes) -> Option<Recipe> {
    let rootfs = top.below(GRAMMAR, "rootfs", mistakes).map(|section| read_rootfs(&section, mistakes));
    let files = Files { folder, has_rootfs: top.get("rootfs").is_some() };
    let name = required(top, "name", "name = \"music\"", read_name(top, mistakes), mistakes);
    if name.as_deref() == Some(BOX) {
        mistakes.note(top.at(), "the name \"hearth\" is the box's own; give the appliance another one");
    }
    let title = top.value("title", "one line of 1 to 40 letters", mistakes, |value| {
        value.as_str().filter(|text| (1..=MAX_TITLE).contains(&text.chars().count()) && is_line(text))
    });
    let cpus = top.value("cpus", &format!("a number from 1 to {MAX_CPUS}"), mistakes, |value| {
        integer(value).filter(|cpus| (1..=MAX_CPUS).contains(cpus))
    });
    let memory = top.value("memory", "a multiple of 2 MiB, such as \"256M\" or \"1G\"", mistakes, |value| {
        size(value.as_str()?, MEMORY_UNIT)
    });
    let memory = required(top, "memory", "memory = \"256M\"", memory, mistakes);
    let start = top.word("start", &[("boot", Start::Boot), ("demand", Start::Demand)], mistakes);
    let kernel = top.below(GRAMMAR, "kernel", mistakes);
    if top.get("kernel").is_none() {
        mistakes.note(0, "section [kernel] is missing; it names what runs in the appliance");
    }
    let kernel = kernel.and_then(|section| read_kernel(&section, &files, mistakes));
    let devices = top.below(GRAMMAR, "devices", mistakes);
    let devices = devices.map(|section| read_devices(&section, mistakes)).unwrap_or_default();
    let disks = read_disks(top, &files, mistakes);
    let (name, memory, kernel) = (name?, memory?, kernel?);
    Some(Recipe {
        folder: folder.to_owned(),
        title: title.unwrap_or(&name).to_owned(),
        name,
        cpus: cpus.unwrap_or(1),
        memory,
        start: start.unwrap_or(Start::Boot),
        format: kernel.format,
        kernel: kernel.image,
        initrd: kernel.initrd,
        cmdline: kernel.cmdline,
        devices,
        disks,
        rootfs: rootfs.flatten(),
    })
}

struct Kernel {
    format: Format,
    image: Source,
    initrd: Option<Source>,
    cmdline: String,
}

fn read_kernel(section: &Section, files: &Files, mistakes: &mut Mistakes) -> Option<Kernel> {
    let formats = [("linux", Format::Linux), ("pvh", Format::Pvh), ("multiboot", Format::Multiboot)];
    let format = section.word("format", &formats, mistakes);
    let format = required(section, "format", "format = \"linux\"", format, mistakes);
    let image = files.read(section, "image", mistakes);
    let image = required(section, "image", "image = \"vmlinuz\"", image, mistakes);
    let initrd = files.read(section, "initrd", mistakes);
    let want = format!("one line of at most {MAX_CMDLINE} bytes");
    let cmdline = section.value("cmdline", &want, mistakes, |value| {
        value.as_str().filter(|text| text.len() <= MAX_CMDLINE && is_line(text))
    });
    Some(Kernel { format: format?, image: image?, initrd, cmdline: cmdline.unwrap_or_default().to_owned() })
}

fn read_devices(section: &Section, mistakes: &mut Mistakes) -> Devices {
    Devices {
        display: section.switch("display", mistakes),
        sound: section.switch("sound", mistakes),
        input: section.switch("input", mistakes),
        network: section.switch("network", mistakes),
        debug_exit: section.switch("debug-exit", mistakes),
        log_console: section.switch("log-console", mistakes),
    }
}

fn read_disks(top: &Section, files: &Files, mistakes: &mut Mistakes) -> Vec<DiskSource> {
    let sections = top.list(GRAMMAR, "disk", mistakes);
    if let Some(one_more) = sections.get(MAX_DISKS) {
        mistakes.note(one_more.at(), format!("there are {} disks, at most {MAX_DISKS} fit", sections.len()));
    }
    let mut names = BTreeSet::new();
    let mut disks = Vec::new();
    for section in &sections {
        let image = files.read(section, "image", mistakes);
        let size =
            section.value("size", "a multiple of 4 KiB, such as \"256M\" or \"4G\"", mistakes, |value| {
                size(value.as_str()?, BLOCK)
            });
        let name = read_name(section, mistakes);
        match (section.get("image").is_some(), section.get("size").is_some()) {
            (true, true) => mistakes.note(section.at(), "a disk has an image or a size, not both"),
            (false, false) => {
                section.missing("size", "size = \"256M\", or image = \"root.squashfs\"", mistakes);
            }
            (true, false) if section.get("name").is_some() => {
                mistakes.note(section.at(), "only a volume has a name, and this disk is an image");
            }
            (true, false) => disks.extend(image.map(DiskSource::Image)),
            (false, true) => {
                let name = name.unwrap_or_else(|| VOLUME.to_owned());
                if !names.insert(name.clone()) {
                    mistakes.note(
                        section.at(),
                        format!("there are two volumes called {name:?}; give this one another name"),
                    );
                }
                disks.extend(size.map(|size| DiskSource::Volume { name, size }));
            }
        }
    }
    disks
}

fn read_rootfs(section: &Section, mistakes: &mut Mistakes) -> Option<Rootfs> {
    let is_word = |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != ',');
    let words = |value: &DeValue| -> Option<BTreeSet<String>> {
        let words = value.as_array()?.iter();
        words.map(|word| word.get_ref().as_str().filter(is_word).map(str::to_owned)).collect()
    };
    let packages = section.value("packages", "a list of package names", mistakes, words);
    let packages = required(section, "packages", "packages = [\"linux-image-amd64\"]", packages, mistakes);
    let modules = section.value("modules", "a list of kernel modules", mistakes, words);
    Some(Rootfs { packages: packages?, modules })
}

/// How file names become sources.
struct Files<'a> {
    folder: &'a Path,
    has_rootfs: bool,
}

impl Files<'_> {
    /// Reads a file's name. With a `[rootfs]`, its products' names mean what it builds; every other
    /// file must lie in the folder.
    fn read(&self, section: &Section, key: &'static str, mistakes: &mut Mistakes) -> Option<Source> {
        let name = section.value(key, "the name of a file", mistakes, |value| {
            value.as_str().filter(|name| !name.is_empty())
        })?;
        let product = Product::ALL.into_iter().find(|product| self.has_rootfs && product.name() == name);
        if let Some(product) = product {
            return Some(Source::Rootfs(product));
        }
        let file = self.folder.join(name);
        if !file.is_file() {
            let at = section.get(key).map_or(section.at(), |value| value.span().start);
            mistakes.note(at, format!("{key}: there is no file {}", file.display()));
        }
        Some(Source::File(file))
    }
}

fn read_name(section: &Section, mistakes: &mut Mistakes) -> Option<String> {
    let want = "1 to 15 of a-z, 0-9 and -, a letter first";
    section
        .value("name", want, mistakes, |value| value.as_str().filter(|name| is_name(name)).map(str::to_owned))
}

/// Notes that a key is missing, if it is; a wrong value was noted when it was read.
fn required<T>(
    section: &Section,
    key: &'static str,
    example: &str,
    value: Option<T>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    if section.get(key).is_none() {
        section.missing(key, example, mistakes);
    }
    value
}

fn is_name(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= MAX_NAME && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(letters)
}

fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn integer(value: &DeValue) -> Option<u8> {
    let number = value.as_integer()?;
    u8::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Bytes from `64K`, `256M` or `2G`: a multiple of `unit`, not zero.
fn size(text: &str, unit: u64) -> Option<u64> {
    let (at, suffix) = text.char_indices().last()?;
    let shift = match suffix {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        _ => return None,
    };
    let digits = &text[..at];
    let number: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let bytes = number.checked_mul(1 << shift)?;
    (bytes > 0 && bytes <= MAX_SIZE && bytes.is_multiple_of(unit)).then_some(bytes)
}
