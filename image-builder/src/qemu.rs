//! One description of an emulated box, from which QEMU's command line is made.
//!
//! `hearth run`, `hearth bench` and the tests all start their machines from here, so that what is
//! tested is what runs. Option names: QEMU 7.2, "Invocation" (`man qemu-system-x86_64`).

pub mod qmp;
pub mod session;

use crate::setup::firmware::{self, Ovmf};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use std::fs;
use std::path::{Path, PathBuf};

/// QEMU's program for this processor family.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The way into the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Door {
    /// `hearth.rom` is the BIOS.
    Rom,
    /// The EFI application on the disk image, started by OVMF.
    Uefi,
    /// `hearth.elf`, started through its PVH note.
    Pvh,
}

impl Door {
    /// Every door, in the order the house names them.
    pub const ALL: [Self; 3] = [Self::Rom, Self::Uefi, Self::Pvh];

    /// The word in the log, after `door=`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rom => "rom",
            Self::Uefi => "uefi",
            Self::Pvh => "pvh",
        }
    }
}

/// What the box's one disk hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DiskBus {
    /// virtio-blk, on PCI.
    VirtioBlk,
    /// An NVMe controller.
    Nvme,
    /// SATA behind AHCI.
    Ahci,
    /// A USB stick behind xHCI.
    Usb,
}

/// What shows the box's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Screen {
    /// QEMU's VGA, which has the Bochs VBE interface.
    Vga,
    /// virtio-gpu without VGA.
    VirtioGpu,
}

/// Which build of OVMF; boxes with either exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OvmfSize {
    /// Flash of 2 MiB.
    TwoMiB,
    /// Flash of 4 MiB.
    FourMiB,
}

/// What executes the box's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM where it can nest, else TCG.
    Auto,
    /// QEMU's translator, one thread a CPU.
    Tcg,
    /// The host's CPU.
    Kvm,
    /// The translator with time counted in instructions: figures repeat exactly. One CPU.
    Icount,
}

/// Where the artifacts of `hearth image` lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifacts {
    /// The folder, `target/hearth`.
    pub dir: PathBuf,
}

impl Artifacts {
    /// The disk image.
    pub fn image(&self) -> PathBuf {
        self.dir.join("hearth.img")
    }

    /// The flash image.
    pub fn rom(&self) -> PathBuf {
        self.dir.join("hearth.rom")
    }

    /// The ELF file with a PVH note.
    pub fn elf(&self) -> PathBuf {
        self.dir.join("hearth.elf")
    }

    /// The uefi door by itself; the disk image holds the same bytes.
    pub fn application(&self) -> PathBuf {
        self.dir.join("BOOTX64.EFI")
    }

    /// The payload by itself; the disk image holds the same bytes.
    pub fn payload(&self) -> PathBuf {
        self.dir.join("a.payload")
    }
}

/// One emulated box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The way in.
    pub door: Door,
    /// `q35` or `pc`.
    pub board: String,
    /// How many CPUs.
    pub cpus: u32,
    /// RAM, in MiB.
    pub memory_mib: u64,
    /// The CPU model and its features, as after `-cpu`.
    pub cpu: String,
    /// What executes.
    pub accel: Accel,
    /// What the disk hangs on.
    pub disk: DiskBus,
    /// What shows its picture.
    pub screen: Screen,
    /// Whether there is a virtio-net card, on a network of QEMU's own (`-netdev user`).
    pub network: bool,
    /// Where the box's sound goes, as after `-audiodev`, if it has a sound card: Intel HDA with a plug for a line
    /// out.
    pub sound: Option<String>,
    /// Which OVMF, for the uefi door.
    pub ovmf: OvmfSize,
    /// Another OVMF than the one that is found by its size.
    pub firmware: Option<Ovmf>,
    /// Options for hv, the same way for every door: fw_cfg file `opt/hearth/options`.
    pub options: String,
    /// Whether the box's screen is shown in a window.
    pub window: bool,
    /// Whether QEMU ends where the box would restart.
    pub no_reboot: bool,
    /// The uefi door without a disk: application and payload, given to OVMF through fw_cfg. Unlike
    /// a disk's, those reads end at once, so instruction counts repeat.
    pub direct_efi: Option<(PathBuf, PathBuf)>,
    /// More arguments for QEMU, after ours.
    pub extra: Vec<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            door: Door::Uefi,
            board: "q35".to_owned(),
            cpus: 2,
            memory_mib: 2048,
            cpu: "EPYC,+svm,+npt".to_owned(),
            accel: Accel::Auto,
            disk: DiskBus::VirtioBlk,
            screen: Screen::Vga,
            network: true,
            sound: None,
            ovmf: OvmfSize::FourMiB,
            firmware: None,
            options: String::new(),
            window: false,
            no_reboot: false,
            direct_efi: None,
            extra: Vec::new(),
        }
    }
}

impl Machine {
    /// QEMU's whole command line, program first: everything but serial lines and QMP, which the
    /// caller adds. The machine has no default devices (`-nodefaults`).
    ///
    /// The disk and OVMF's variables are opened with `snapshot=on`: QEMU keeps what is written in
    /// nameless files that go when it goes. So no artifact is ever changed, and two machines can
    /// run at once.
    ///
    /// # Errors
    /// When OVMF is needed and not found, or the description contradicts itself.
    pub fn command_line(&self, artifacts: &Artifacts) -> Result<Vec<String>> {
        let mut line = CommandLine(vec![PROGRAM.to_owned()]);
        line.add("-name", "hearth").add("-nodefaults", "").add("-no-user-config", "");
        line.add("-machine", &self.board);
        self.add_processors(&mut line)?;
        line.add("-m", &format!("{}M", self.memory_mib));
        match self.screen {
            Screen::Vga => line.add("-vga", "std"),
            Screen::VirtioGpu => line.add("-device", "virtio-gpu-pci"),
        };
        if !self.window {
            line.add("-display", "none");
        }
        if self.no_reboot {
            line.add("-no-reboot", "");
        }
        if !self.options.is_empty() {
            let options = escape_commas(&self.options);
            line.add("-fw_cfg", &format!("name=opt/hearth/options,string={options}"));
        }
        self.add_door(&mut line, artifacts)?;
        if self.direct_efi.is_none() {
            self.add_disk(&mut line, artifacts)?;
        }
        if self.network {
            // Without its option ROM, so that no firmware tries to start from the network.
            line.add("-netdev", "user,id=net").add("-device", "virtio-net-pci,netdev=net,romfile=");
        }
        if let Some(sound) = &self.sound {
            line.add("-audiodev", &format!("{sound},id=sound"))
                .add("-device", "ich9-intel-hda")
                .add("-device", "hda-output,audiodev=sound");
        }
        line.0.extend_from_slice(&self.extra);
        Ok(line.0)
    }

    fn add_processors(&self, line: &mut CommandLine) -> Result<()> {
        let accel = match self.accel {
            Accel::Auto if nesting_kvm() => Accel::Kvm,
            Accel::Auto => Accel::Tcg,
            chosen => chosen,
        };
        match accel {
            Accel::Kvm => line.add("-accel", "kvm"),
            Accel::Icount => {
                ensure!(self.cpus == 1, "counting instructions works with 1 CPU, not with {}", self.cpus);
                line.add("-accel", "tcg,thread=single").add("-icount", "shift=0,sleep=off")
            }
            Accel::Tcg | Accel::Auto => line.add("-accel", "tcg,thread=multi"),
        };
        line.add("-cpu", &self.cpu).add("-smp", &self.cpus.to_string());
        Ok(())
    }

    fn add_door(&self, line: &mut CommandLine, artifacts: &Artifacts) -> Result<()> {
        match self.door {
            Door::Rom => line.add("-bios", utf8(&artifacts.rom())?),
            Door::Pvh => line.add("-kernel", utf8(&artifacts.elf())?),
            Door::Uefi => {
                let found = || firmware::find(self.ovmf);
                add_ovmf(line, &self.firmware.clone().map_or_else(found, Ok)?)?;
                let Some((application, payload)) = &self.direct_efi else { return Ok(()) };
                // Not `-initrd`: QEMU takes that beside Linux kernels only.
                let payload = escape_commas(utf8(payload)?);
                line.add("-kernel", utf8(application)?)
                    .add("-fw_cfg", &format!("name=opt/hearth/payload,file={payload}"))
            }
        };
        Ok(())
    }

    fn add_disk(&self, line: &mut CommandLine, artifacts: &Artifacts) -> Result<()> {
        // Index 0 is taken by `-kernel` where there is one.
        let file = escape_commas(utf8(&artifacts.image())?);
        line.add("-drive", &format!("if=none,id=disk,format=raw,snapshot=on,file={file}"));
        match (self.disk, self.board.as_str()) {
            (DiskBus::VirtioBlk, _) => line.add("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
            (DiskBus::Nvme, _) => line.add("-device", "nvme,serial=hearth,drive=disk,bootindex=1"),
            // q35's own south bridge is an ICH9 with AHCI; pc's is a PIIX3 with plain IDE.
            (DiskBus::Ahci, "q35") => line.add("-device", "ide-hd,bus=ide.0,drive=disk,bootindex=1"),
            (DiskBus::Ahci, _) => line
                .add("-device", "ich9-ahci,id=ahci")
                .add("-device", "ide-hd,bus=ahci.0,drive=disk,bootindex=1"),
            (DiskBus::Usb, _) => {
                line.add("-device", "qemu-xhci").add("-device", "usb-storage,drive=disk,bootindex=1")
            }
        };
        Ok(())
    }
}

/// A command line that grows.
struct CommandLine(Vec<String>);

impl CommandLine {
    /// Adds an option; one without a value has "".
    fn add(&mut self, option: &str, value: &str) -> &mut Self {
        self.0.push(option.to_owned());
        if !value.is_empty() {
            self.0.push(value.to_owned());
        }
        self
    }
}

fn add_ovmf(line: &mut CommandLine, ovmf: &Ovmf) -> Result<()> {
    let format = ovmf.format();
    let code = escape_commas(utf8(&ovmf.code)?);
    let variables = escape_commas(utf8(&ovmf.variables)?);
    line.add("-drive", &format!("if=pflash,unit=0,format={format},readonly=on,file={code}"));
    line.add("-drive", &format!("if=pflash,unit=1,format={format},snapshot=on,file={variables}"));
    Ok(())
}

/// In an option's value, a comma ends it unless doubled.
fn escape_commas(text: &str) -> String {
    text.replace(',', ",,")
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| {
        format!("QEMU needs a path in UTF-8, and {} is not; next: move the checkout", path.display())
    })
}

/// Whether KVM can be used *and* gives the box AMD's virtualization, which hv needs.
fn nesting_kvm() -> bool {
    let usable = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    let nested = fs::read_to_string("/sys/module/kvm_amd/parameters/nested").unwrap_or_default();
    usable && matches!(nested.trim(), "1" | "Y")
}

/// The command line as a shell would take it.
pub fn shell_quoted(command_line: &[String]) -> String {
    command_line.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
