//! Signs the uefi door with the key that Debian's OVMF comes with for tests: package `ovmf`, the key
//! "snakeoil", whose variables trust it and nothing else.

use anyhow::{Context, Result, ensure};
use image_builder::process::find_in_path;
use image_builder::setup::firmware::Ovmf;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd";
const CERTIFICATE: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";
const KEY: &str = "/usr/share/ovmf/PkKek-1-snakeoil.key";
/// As the package's README has it.
const PASSPHRASE: &str = "pass:snakeoil";

/// Why nothing can be signed here; `None` if it can.
pub fn missing() -> Option<String> {
    let files = [CODE, VARIABLES, CERTIFICATE, KEY];
    let file = files.into_iter().find(|file| !Path::new(file).is_file());
    let program = ["openssl", "sbsign"].into_iter().find(|program| find_in_path(program).is_none());
    let next = "next: `cargo hearth doctor`";
    file.or(program).map(|missing| format!("{missing} is not here; {next}"))
}

/// The OVMF that runs what is signed with the key, and nothing else.
pub fn enforcing_firmware() -> Ovmf {
    Ovmf { code: CODE.into(), variables: VARIABLES.into() }
}

/// A signed copy of `application`, in `folder`.
///
/// # Errors
/// It cannot be signed.
pub fn sign(application: &Path, folder: &Path) -> Result<PathBuf> {
    let (key, signed) = (folder.join("key.pem"), folder.join("signed.efi"));
    // sbsign asks a terminal for the passphrase, so the key is decrypted first.
    let decrypt = ["rsa", "-in", KEY, "-passin", PASSPHRASE, "-out"].map(OsStr::new);
    run("openssl", decrypt.into_iter().chain([key.as_os_str()]))?;
    let key = ["--key".as_ref(), key.as_os_str(), "--cert".as_ref(), CERTIFICATE.as_ref()];
    let files = ["--output".as_ref(), signed.as_os_str(), application.as_os_str()];
    run("sbsign", key.into_iter().chain(files))?;
    Ok(signed)
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
