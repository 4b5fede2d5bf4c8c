//! What Hearth needs of a computer, and whether it is there.

use super::distro::Distro;
use super::firmware;
use super::toolchain::{self, Toolchain};
use super::world::World;
use crate::rootfs::APT_HELPER;
use std::path::{Path, PathBuf};

/// Something that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A Rust toolchain with the library's source.
    Toolchain,
    /// LLVM's linker, in both its roles.
    Linker,
    /// QEMU.
    Qemu,
    /// UEFI firmware for QEMU.
    Ovmf,
    /// A window for QEMU's screen.
    Window,
    /// Bochs, with its BIOSes.
    Bochs,
    /// What signs an EFI application as Secure Boot asks for it.
    Signing,
    /// What makes a Debian root of packages.
    Debootstrap,
    /// What reads text in pictures of the screen.
    Reading,
}

impl Need {
    /// Every need.
    pub const ALL: [Self; 9] = [
        Self::Toolchain,
        Self::Linker,
        Self::Qemu,
        Self::Ovmf,
        Self::Window,
        Self::Bochs,
        Self::Signing,
        Self::Debootstrap,
        Self::Reading,
    ];
    /// What building takes.
    pub const FOR_IMAGE: [Self; 2] = [Self::Toolchain, Self::Linker];
    /// What an appliance with a Debian root takes beside.
    pub const FOR_ROOTFS: [Self; 1] = [Self::Debootstrap];
    /// What running without a window takes.
    pub const FOR_RUN: [Self; 4] = [Self::Toolchain, Self::Linker, Self::Qemu, Self::Ovmf];
    /// What all tests take.
    pub const FOR_TEST: [Self; 7] =
        [Self::Toolchain, Self::Linker, Self::Qemu, Self::Ovmf, Self::Bochs, Self::Signing, Self::Reading];

    /// What it is, in plain words.
    pub const fn plain(self) -> &'static str {
        match self {
            Self::Toolchain => "Rust with library source",
            Self::Linker => "LLVM linker (ld.lld, lld-link)",
            Self::Qemu => "QEMU for x86-64",
            Self::Ovmf => "OVMF (UEFI for QEMU)",
            Self::Window => "QEMU's window",
            Self::Bochs => "Bochs",
            Self::Signing => "sbsign and openssl",
            Self::Debootstrap => "mmdebstrap and mksquashfs",
            Self::Reading => "tesseract, for English",
        }
    }

    /// What goes without it.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Toolchain | Self::Linker => "image, run, test",
            Self::Qemu | Self::Ovmf => "run, test",
            Self::Window => "run with a window",
            Self::Bochs => "test (the rom door in Bochs)",
            Self::Signing => "test (Secure Boot)",
            Self::Debootstrap => "appliances with a Debian root",
            Self::Reading => "test (what the screen says)",
        }
    }
}

/// One need, looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked for.
    pub need: Need,
    /// Where it is and which version; none = missing.
    pub found: Option<String>,
}

/// Looks for each of `needs`.
pub fn look(world: &dyn World, needs: &[Need]) -> Vec<Finding> {
    let toolchain = toolchain::resolve(world);
    needs.iter().map(|&need| Finding { need, found: look_for(world, need, toolchain.as_ref()) }).collect()
}

fn look_for(world: &dyn World, need: Need, toolchain: Option<&Toolchain>) -> Option<String> {
    match need {
        Need::Toolchain => toolchain.map(ToString::to_string),
        Need::Linker => {
            let linkers = toolchain::linkers(world, toolchain.map(|found| found.sysroot.as_path()))?;
            Some(linkers.elf.display().to_string())
        }
        Need::Qemu => {
            let program = world.program(crate::qemu::PROGRAM)?;
            let about = world.output(&program, &["--version"])?;
            Some(format!("{} in {}", first_line(&about), program.display()))
        }
        Need::Ovmf => {
            let sizes = firmware::sizes(|path| world.exists(path));
            let pair = firmware::locate(*sizes.first()?, |path| world.exists(path))?;
            Some(pair.code.display().to_string())
        }
        Need::Window => {
            let program = world.program(crate::qemu::PROGRAM)?;
            let displays = world.output(&program, &["-display", "help"])?;
            let known = ["gtk", "sdl", "cocoa"];
            displays.split_whitespace().find(|word| known.contains(word)).map(str::to_owned)
        }
        Need::Bochs => bochs(world).map(|path| path.display().to_string()),
        // Only Debian's OVMF comes with a key to test with.
        Need::Signing if Distro::of(world) != Distro::Debian => Some("not used on this system".to_owned()),
        Need::Signing => {
            world.program("openssl")?;
            world.program("sbsign").map(|path| path.display().to_string())
        }
        Need::Debootstrap => debootstrap(world).map(|path| path.display().to_string()),
        Need::Reading => {
            let program = world.program("tesseract")?;
            let languages = world.output(&program, &["--list-langs"])?;
            languages.lines().any(|language| language == "eng").then(|| program.display().to_string())
        }
    }
}

/// mmdebstrap, if all that it and we call is there too. Where users have no namespaces of their own,
/// that shows only when it runs.
fn debootstrap(world: &dyn World) -> Option<PathBuf> {
    for program in ["mksquashfs", "dpkg-deb", "apt-get"] {
        world.program(program)?;
    }
    world.exists(Path::new(APT_HELPER)).then(|| world.program("mmdebstrap"))?
}

/// Bochs, if its video BIOS is there too.
fn bochs(world: &dyn World) -> Option<PathBuf> {
    const VIDEO_BIOS: [&str; 4] = [
        "/usr/share/bochs/VGABIOS-lgpl-latest",
        "/usr/share/bochs/VGABIOS-lgpl-latest.bin",
        "/opt/homebrew/share/bochs/VGABIOS-lgpl-latest",
        "/usr/local/share/bochs/VGABIOS-lgpl-latest",
    ];
    VIDEO_BIOS.iter().find(|file| world.exists(Path::new(file)))?;
    // Debian's `bochs` is a wrapper that wants a terminal; `bochs-bin` is the program itself.
    world.program("bochs-bin").or_else(|| world.program("bochs"))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::world::Fake;
    use super::*;

    #[test]
    fn an_empty_computer_lacks_everything() {
        let findings = look(&Fake::linux("ID=debian"), &Need::ALL);
        assert!(findings.iter().all(|finding| finding.found.is_none()), "{findings:?}");
    }

    #[test]
    fn qemu_without_a_window_is_told_from_one_with() {
        let world = Fake::linux("")
            .with_program("/usr/bin/qemu-system-x86_64")
            .answer("/usr/bin/qemu-system-x86_64 --version", "QEMU emulator version 7.2.22 (x)\nCopyright\n");
        let bare = world.clone().answer("/usr/bin/qemu-system-x86_64 -display help", "none\ncurses\n");
        let findings = look(&bare, &[Need::Qemu, Need::Window]);
        let qemu = findings[0].found.as_deref().expect("found");
        assert_eq!(qemu, "QEMU emulator version 7.2.22 (x) in /usr/bin/qemu-system-x86_64");
        assert_eq!(findings[1].found, None);
        let gui = world.answer("/usr/bin/qemu-system-x86_64 -display help", "none\ngtk\n");
        assert_eq!(look(&gui, &[Need::Window])[0].found.as_deref(), Some("gtk"));
    }

    #[test]
    fn signing_takes_both_programs_on_debian_and_nothing_elsewhere() {
        let debian = Fake::linux("ID=debian").with_program("/usr/bin/sbsign");
        assert_eq!(look(&debian, &[Need::Signing])[0].found, None);
        let debian = debian.with_program("/usr/bin/openssl");
        assert_eq!(look(&debian, &[Need::Signing])[0].found.as_deref(), Some("/usr/bin/sbsign"));
        assert!(look(&Fake::linux("ID=fedora"), &[Need::Signing])[0].found.is_some());
    }

    #[test]
    fn mmdebstrap_alone_makes_no_root() {
        let world = Fake::linux("ID=debian").with_program("/usr/bin/mmdebstrap");
        assert_eq!(look(&world, &Need::FOR_ROOTFS)[0].found, None);
        let world = ["mksquashfs", "dpkg-deb", "apt-get"]
            .iter()
            .fold(world, |world, name| world.with_program(&format!("/usr/bin/{name}")))
            .file(APT_HELPER, "");
        assert_eq!(look(&world, &Need::FOR_ROOTFS)[0].found.as_deref(), Some("/usr/bin/mmdebstrap"));
    }

    #[test]
    fn reading_takes_a_language() {
        let world = Fake::linux("").with_program("/usr/bin/tesseract");
        let languages = |list| world.clone().answer("/usr/bin/tesseract --list-langs", list);
        assert_eq!(look(&languages("List:\nosd\n"), &[Need::Reading])[0].found, None);
        let found = look(&languages("List:\neng\nosd\n"), &[Need::Reading]);
        assert_eq!(found[0].found.as_deref(), Some("/usr/bin/tesseract"));
    }

    #[test]
    fn bochs_needs_its_video_bios() {
        let world = Fake::linux("").with_program("/usr/bin/bochs-bin");
        assert_eq!(look(&world, &[Need::Bochs])[0].found, None);
        let world = world.file("/usr/share/bochs/VGABIOS-lgpl-latest", "");
        assert!(look(&world, &[Need::Bochs])[0].found.is_some());
    }
}
