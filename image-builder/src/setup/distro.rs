//! Which system this is, and the one line that installs what is missing on it.

use super::needs::Need;
use super::world::World;
use std::path::Path;

/// A family of systems with one package manager and one set of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distro {
    /// Debian, Ubuntu and their kin: apt.
    Debian,
    /// Fedora and its kin: dnf.
    Fedora,
    /// Arch and its kin: pacman.
    Arch,
    /// macOS with Homebrew.
    MacOs,
    /// One that we do not know.
    Other,
}

impl Distro {
    /// The family this computer belongs to (os-release(5): `ID`, then `ID_LIKE`).
    pub fn of(world: &dyn World) -> Self {
        if world.system() == "macos" {
            return Self::MacOs;
        }
        let text = world.text(Path::new("/etc/os-release")).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        let ids = format!("{} {}", field("ID"), field("ID_LIKE"));
        ids.split_whitespace().find_map(Self::named).unwrap_or(Self::Other)
    }

    fn named(id: &str) -> Option<Self> {
        match id {
            "debian" | "ubuntu" => Some(Self::Debian),
            "fedora" | "rhel" | "centos" => Some(Self::Fedora),
            "arch" => Some(Self::Arch),
            _ => None,
        }
    }

    /// The packages that hold what is needed.
    pub fn packages(self, need: Need) -> &'static [&'static str] {
        match (self, need) {
            // Debian's own rustc is kept for a release; rustc-web follows the browsers' needs.
            (Self::Debian, Need::Toolchain) => &["rustc-web", "cargo-web", "rust-web-src"],
            (Self::Fedora, Need::Toolchain) => &["rust", "cargo", "rust-src"],
            (Self::Arch, Need::Toolchain) => &["rust", "rust-src"],
            (Self::MacOs, Need::Toolchain) => &["rustup"],
            (Self::Debian | Self::Fedora | Self::Arch | Self::MacOs, Need::Linker) => &["lld"],
            (Self::Debian | Self::Fedora | Self::Arch, Need::Qemu) => &["qemu-system-x86"],
            (Self::MacOs, Need::Qemu | Need::Ovmf | Need::Window) => &["qemu"],
            (Self::Debian, Need::Window) => &["qemu-system-gui"],
            (Self::Fedora | Self::Arch, Need::Window) => &["qemu-ui-gtk"],
            (Self::Debian, Need::Ovmf) => &["ovmf"],
            (Self::Fedora | Self::Arch, Need::Ovmf) => &["edk2-ovmf"],
            (Self::Debian, Need::Bochs) => &["bochs", "bochsbios", "vgabios"],
            (Self::Fedora | Self::Arch | Self::MacOs, Need::Bochs) => &["bochs"],
            (Self::Debian, Need::Signing) => &["sbsigntool", "openssl"],
            // uidmap lets mmdebstrap work without root.
            (Self::Debian, Need::Debootstrap) => {
                &["mmdebstrap", "squashfs-tools", "debian-archive-keyring", "uidmap"]
            }
            (Self::Fedora, Need::Debootstrap) => {
                &["mmdebstrap", "squashfs-tools", "apt", "dpkg", "debian-keyring"]
            }
            (Self::Arch, Need::Debootstrap) => {
                &["mmdebstrap", "squashfs-tools", "apt", "dpkg", "debian-archive-keyring"]
            }
            (Self::Debian, Need::Reading) => &["tesseract-ocr"],
            (Self::Fedora | Self::MacOs, Need::Reading) => &["tesseract"],
            (Self::Arch, Need::Reading) => &["tesseract", "tesseract-data-eng"],
            // Debian's packages cannot be installed into a folder without Linux.
            (Self::Fedora | Self::Arch | Self::MacOs, Need::Signing)
            | (Self::MacOs, Need::Debootstrap)
            | (Self::Other, _) => &[],
        }
    }

    /// The one line to type for all of `missing`. With a rustup that can fetch the library source,
    /// that comes before another toolchain.
    pub fn line(self, missing: &[Need], has_rustup: bool) -> String {
        let by_rustup = has_rustup && self != Self::Debian && missing.contains(&Need::Toolchain);
        let packaged: Vec<Need> =
            missing.iter().copied().filter(|need| !(by_rustup && *need == Need::Toolchain)).collect();
        let names = self.all_packages(&packaged).join(" ");
        let mut parts = Vec::new();
        if !names.is_empty() {
            parts.push(match self {
                Self::Debian => format!("sudo apt-get install --no-install-recommends {names}"),
                Self::Fedora => format!("sudo dnf install {names}"),
                Self::Arch => format!("sudo pacman -S --needed {names}"),
                Self::MacOs => format!("brew install {names}"),
                Self::Other => String::new(),
            });
        }
        if by_rustup {
            parts.push("rustup component add rust-src".to_owned());
        } else if self == Self::MacOs && missing.contains(&Need::Toolchain) {
            parts.push("rustup default stable && rustup component add rust-src".to_owned());
        }
        if self == Self::Other && !packaged.is_empty() {
            let wanted: Vec<&str> = packaged.iter().map(|need| need.plain()).collect();
            parts.push(format!("install with your system's package manager: {}", wanted.join(", ")));
        }
        parts.join(" && ")
    }

    /// Every package for these needs, each once, in order.
    pub fn all_packages(self, needs: &[Need]) -> Vec<&'static str> {
        let mut all = Vec::new();
        for name in needs.iter().flat_map(|&need| self.packages(need)) {
            if !all.contains(name) {
                all.push(*name);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::Fake;
    use super::*;

    fn of(os_release: &str) -> Distro {
        Distro::of(&Fake::linux(os_release))
    }

    #[test]
    fn families_are_known_by_themselves_and_by_their_kin() {
        assert_eq!(of("NAME=x\nID=debian\n"), Distro::Debian);
        assert_eq!(of("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Distro::Debian);
        assert_eq!(of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), Distro::Fedora);
        assert_eq!(of("ID=manjaro\nID_LIKE=arch\n"), Distro::Arch);
        assert_eq!(of("VERSION_ID=debian\nID=gentoo\n"), Distro::Other);
        let mac = Fake { system: "macos".to_owned(), ..Fake::default() };
        assert_eq!(Distro::of(&mac), Distro::MacOs);
    }

    #[test]
    fn there_is_one_line_for_each_family() {
        let run = [Need::Toolchain, Need::Linker, Need::Qemu, Need::Ovmf];
        assert_eq!(
            Distro::Debian.line(&run, true),
            "sudo apt-get install --no-install-recommends \
             rustc-web cargo-web rust-web-src lld qemu-system-x86 ovmf"
        );
        assert_eq!(
            Distro::Fedora.line(&run, true),
            "sudo dnf install lld qemu-system-x86 edk2-ovmf && rustup component add rust-src"
        );
        assert_eq!(Distro::Arch.line(&[Need::Toolchain], false), "sudo pacman -S --needed rust rust-src");
        assert_eq!(Distro::MacOs.line(&[Need::Qemu, Need::Ovmf], true), "brew install qemu");
        assert!(
            Distro::MacOs
                .line(&[Need::Toolchain], false)
                .starts_with("brew install rustup && rustup default")
        );
        assert!(Distro::Other.line(&[Need::Bochs], false).contains("Bochs"));
    }

    #[test]
    fn every_need_has_a_package_in_every_family_that_has_the_need() {
        for distro in [Distro::Debian, Distro::Fedora, Distro::Arch, Distro::MacOs] {
            for need in Need::ALL {
                let used = match need {
                    Need::Signing => distro == Distro::Debian,
                    Need::Debootstrap => distro != Distro::MacOs,
                    _ => true,
                };
                assert_eq!(distro.packages(need).is_empty(), !used, "{distro:?} {need:?}");
            }
        }
    }
}
