//! Secure Boot: the uefi door can be signed, and the signature is what lets it run.
//!
//! One box, three disks in boot order: with an unsigned door, with a signed door in which one bit
//! is changed, with a signed door. Only the third disk has a payload, so a door that is started
//! from another refuses. What must not happen so shows as an event, and nothing is waited for in
//! vain.

use anyhow::{Context, Result, ensure};
use hearth_tests::qemu::Qemu;
use hearth_tests::runner::Tests;
use hearth_tests::signing::{enforcing_firmware, missing, sign};
use hearth_tests::{PATIENCE, artifacts};
use image_builder::disk::write_image;
use image_builder::qemu::{Accel, Artifacts, Machine};
use image_builder::system::Bundle;
use image_builder::workspace::VERSION;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Where the door lies on a disk's EFI system partition.
const DOOR: &str = "EFI/BOOT/BOOTX64.EFI";
/// Where its payload lies.
const PAYLOAD: &str = "hearth/a.payload";
/// A byte of the door's code: behind the PE headers, before the signature.
const IN_THE_CODE: usize = 0x2000;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    tests.add_if_possible("uefi/secure-boot/on", missing(), only_what_is_signed_runs);
    tests.add_if_possible("uefi/secure-boot/off", missing(), anything_runs);
    tests.run()
}

/// The firmware passes over two disks and starts the third.
fn only_what_is_signed_runs() -> Result<()> {
    with_three_disks(&|machine| Machine { firmware: Some(enforcing_firmware()), ..machine }, |qemu| {
        qemu.log.wait_for("hv.ready", PATIENCE)?;
        let doors = qemu.log.events().iter().filter(|event| event.name == "boot.door").count();
        ensure!(doors == 1, "{doors} doors were started\n{}", qemu.log.tail());
        Ok(())
    })
}

/// The same disks where nothing is enforced: the first disk's door runs, and has no payload.
/// Without this, the other test could pass because the firmware does not see the first two disks.
fn anything_runs() -> Result<()> {
    with_three_disks(&|machine| machine, |qemu| {
        let refused = qemu.log.wait_for("boot.refused", PATIENCE)?;
        ensure!(refused.field("what")?.contains(r"\hearth\a.payload"), "another refusal: {refused}");
        Ok(())
    })
}

fn with_three_disks(
    firmware: &dyn Fn(Machine) -> Machine,
    test: impl FnOnce(&mut Qemu) -> Result<()>,
) -> Result<()> {
    let built = artifacts()?;
    let folder = tempfile::tempdir()?;
    let disks = Artifacts { dir: folder.path().to_owned() };
    let unsigned = read(&built.application())?;
    let signed = read(&sign(&built.application(), folder.path())?)?;
    let mut altered = signed.clone();
    altered[IN_THE_CODE] ^= 1;
    let nothing = Bundle::of(VERSION, &[])?;
    write_image(&disks.image(), &[(DOOR, &unsigned)], &nothing)?;
    write_image(&folder.path().join("altered"), &[(DOOR, &altered)], &nothing)?;
    let payload = read(&built.payload())?;
    write_image(&folder.path().join("signed"), &[(DOOR, &signed), (PAYLOAD, &payload)], &nothing)?;
    let extra = [("altered", 2), ("signed", 3)].into_iter().flat_map(|(name, place)| {
        let file = folder.path().join(name);
        [
            "-drive".to_owned(),
            format!("if=none,id={name},format=raw,snapshot=on,file={}", file.display()),
            "-device".to_owned(),
            format!("virtio-blk-pci,drive={name},bootindex={place}"),
        ]
    });
    let machine =
        Machine { memory_mib: 512, accel: Accel::Tcg, extra: extra.collect(), ..Machine::default() };
    Qemu::start_with(&firmware(machine), &disks)?.check(test)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}; next: `cargo hearth image`", file.display()))
}
