//! Where OVMF, the UEFI firmware for QEMU, lies on the systems we know.

use crate::qemu::OvmfSize;
use anyhow::{Result, anyhow};
use std::path::{Path, PathBuf};

/// A matching pair of firmware code and fresh variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ovmf {
    /// The firmware; read-only.
    pub code: PathBuf,
    /// Its variables as delivered; never to be written.
    pub variables: PathBuf,
}

impl Ovmf {
    /// The file format, in QEMU's word for it.
    pub fn format(&self) -> &'static str {
        if self.code.extension().is_some_and(|extension| extension == "qcow2") { "qcow2" } else { "raw" }
    }
}

/// Code and variables, best first. The builds that enforce Secure Boot are left out: our
/// application is not signed by a key they hold.
const PLACES: &[(OvmfSize, &str, &str)] = &[
    // Debian, Ubuntu: package ovmf
    (OvmfSize::FourMiB, "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    (OvmfSize::TwoMiB, "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    // Fedora: package edk2-ovmf
    (OvmfSize::FourMiB, "/usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2", "/usr/share/edk2/ovmf/OVMF_VARS_4M.qcow2"),
    (OvmfSize::TwoMiB, "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    // Arch: package edk2-ovmf
    (OvmfSize::FourMiB, "/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    (OvmfSize::TwoMiB, "/usr/share/edk2/x64/OVMF_CODE.fd", "/usr/share/edk2/x64/OVMF_VARS.fd"),
    // Homebrew: comes with qemu. The variables serve both widths, hence their name.
    (
        OvmfSize::FourMiB,
        "/opt/homebrew/share/qemu/edk2-x86_64-code.fd",
        "/opt/homebrew/share/qemu/edk2-i386-vars.fd",
    ),
    (
        OvmfSize::FourMiB,
        "/usr/local/share/qemu/edk2-x86_64-code.fd",
        "/usr/local/share/qemu/edk2-i386-vars.fd",
    ),
    // QEMU's own build, where a distribution keeps it
    (OvmfSize::FourMiB, "/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
];

/// The OVMF of this size, if `exists` says that both its files do.
pub fn locate(size: OvmfSize, exists: impl Fn(&Path) -> bool) -> Option<Ovmf> {
    let fitting = PLACES.iter().filter(|(offered, ..)| *offered == size);
    fitting
        .map(|(_, code, variables)| Ovmf { code: code.into(), variables: variables.into() })
        .find(|pair| exists(&pair.code) && exists(&pair.variables))
}

/// The sizes of OVMF that are here, larger first.
pub fn sizes(exists: impl Fn(&Path) -> bool) -> Vec<OvmfSize> {
    [OvmfSize::FourMiB, OvmfSize::TwoMiB]
        .into_iter()
        .filter(|&size| locate(size, &exists).is_some())
        .collect()
}

/// The OVMF of this size on this computer.
///
/// # Errors
/// When it is nowhere we know.
pub fn find(size: OvmfSize) -> Result<Ovmf> {
    locate(size, Path::is_file).ok_or_else(|| {
        let size = if size == OvmfSize::TwoMiB { 2 } else { 4 };
        anyhow!(
            "no OVMF of {size} MiB was found (UEFI firmware for QEMU); next: `cargo hearth doctor` names the package"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_pair_does_not_count() {
        let code_only = |path: &Path| path == Path::new("/usr/share/OVMF/OVMF_CODE_4M.fd");
        assert_eq!(locate(OvmfSize::FourMiB, code_only), None);
        assert!(sizes(code_only).is_empty());
    }

    #[test]
    fn arch_and_fedora_are_found() {
        let arch =
            |path: &Path| path.starts_with("/usr/share/edk2/x64") && path.to_string_lossy().contains(".4m");
        let found = locate(OvmfSize::FourMiB, arch).expect("a pair");
        assert_eq!((found.format(), sizes(arch)), ("raw", vec![OvmfSize::FourMiB]));
        let fedora = |path: &Path| path.starts_with("/usr/share/edk2/ovmf");
        assert_eq!(locate(OvmfSize::FourMiB, fedora).expect("a pair").format(), "qcow2");
        assert_eq!(sizes(fedora), [OvmfSize::FourMiB, OvmfSize::TwoMiB]);
    }
}
