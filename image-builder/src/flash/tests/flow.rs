//! The whole command on a made-up computer: look, refuse, ask, write, verify.

use std::fs;
use std::path::Path;

use super::Computer;
use crate::flash::device::Device;
use crate::flash::disks::Disk;
use crate::flash::{Console, Target, flash, flash_file, list, open, target};

const MIB: usize = 1024 * 1024;

fn image() -> Vec<u8> {
    (0..3 * MIB).map(|i| (i >> 9) as u8 | 1).collect()
}

/// A computer whose system is on `sda`, with a stick `sdb` of 8 MiB.
fn computer() -> Computer {
    let mut computer = Computer::new();
    computer
        .disk("sda", "8:0", "ata1", 512_000_000_000)
        .part("sda", "sda1", "8:1", 1 << 20, 1 << 30)
        .disk("sdb", "8:16", "usb1", 8 * MIB as u64)
        .attribute("sdb/device/model", "Stick");
    computer.mount("8:1", "/", "/dev/sda1");
    computer.put("sdb", &vec![0xa5; 8 * MIB]);
    computer.file("hearth.img", &image());
    computer
}

/// Runs `flash` on a disk with this answer; the disk is opened as a file, since it is one.
fn run(computer: &Computer, name: &str, answer: &str) -> (Result<(), String>, String) {
    let mut output = Vec::new();
    let mut console = Console { input: &mut answer.as_bytes(), output: &mut output };
    let open = |disk: &Disk| Ok(Box::new(Device::file(&disk.path)?) as Box<_>);
    let result = flash(&computer.find(name), &computer.path().join("hearth.img"), &mut console, &open);
    (result.map_err(|error| format!("{error:#}")), String::from_utf8(output).unwrap())
}

#[test]
fn a_disk_whose_name_is_typed_is_written_and_verified() {
    let computer = computer();
    let (result, output) = run(&computer, "sdb", "sdb\n");
    result.unwrap();
    let disk = fs::read(computer.path().join("dev/sdb")).unwrap();
    assert_eq!(disk.len(), 8 * MIB);
    assert!(disk[..3 * MIB] == image());
    assert!(disk[3 * MIB..7 * MIB].iter().all(|byte| *byte == 0xa5));
    assert!(disk[7 * MIB..].iter().all(|byte| *byte == 0));
    for part in ["8.4 MB", "Stick (usb)", "nothing that is known", "will be lost", "Type sdb", "boot menu"] {
        assert!(output.contains(part), "{part} is not in {output}");
    }
}

#[test]
fn any_other_answer_writes_nothing() {
    let computer = computer();
    for answer in ["", "\n", "y\n", "yes\n", "sda\n", "SDB\n", "sdb1\n", "sd b\n"] {
        let error = run(&computer, "sdb", answer).0.unwrap_err();
        assert!(error.contains("nothing was written"), "{answer:?}: {error}");
        let disk = fs::read(computer.path().join("dev/sdb")).unwrap();
        assert!(disk.iter().all(|byte| *byte == 0xa5), "{answer:?}");
    }
}

#[test]
fn a_refused_disk_is_not_opened_nor_asked_for() {
    let mut computer = computer();
    computer.mount("8:16", "/media/stick", "/dev/sdb");
    for (name, reason) in [("sda", "this computer runs from it"), ("sdb", "mounted at /media/stick")] {
        let mut output = Vec::new();
        let mut console = Console { input: &mut &b"sda\nsdb\n"[..], output: &mut output };
        let open = |disk: &Disk| panic!("{} was opened", disk.name);
        let result = flash(&computer.find(name), &computer.path().join("hearth.img"), &mut console, &open);
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains(reason), "{error}");
        assert!(output.is_empty());
    }
}

#[test]
fn a_disk_is_opened_only_when_it_is_the_one_that_was_looked_at() {
    // The stand-in for /dev/sdb is a file: the real way of opening sees that it is no disk.
    let computer = computer();
    let error = format!("{:#}", open(&computer.find("sdb")).err().unwrap());
    assert!(error.contains("not the disk that /sys describes"), "{error}");
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    let computer = computer();
    for bytes in [&b""[..], b"hello"] {
        computer.file("hearth.img", bytes);
        let error = run(&computer, "sdb", "sdb\n").0.unwrap_err();
        assert!(error.contains("no disk image"), "{error}");
    }
    fs::remove_file(computer.path().join("hearth.img")).unwrap();
    let error = run(&computer, "sdb", "sdb\n").0.unwrap_err();
    assert!(error.contains("next: cargo hearth image"), "{error}");
}

#[test]
fn the_list_says_what_is_on_each_disk_and_which_may_be_written() {
    let computer = computer();
    computer.put("sda", &vec![0; MIB]);
    computer.volume("loop0", "7:0", 1 << 30).attribute("loop0/loop/backing_file", "/tmp/x");
    let show = |image| {
        let mut output = Vec::new();
        list(&computer.roots(), image, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    };
    let text = show(0);
    assert!(text.contains("no: this computer runs from it: sda1 is mounted at /"), "{text}");
    assert!(text.contains("Could be written: sdb; next: cargo hearth flash sdb"), "{text}");
    assert!(text.contains("sda       512.0 GB  unknown model (sata)"), "{text}");
    assert!(!text.contains("loop0"), "{text}");
    let text = show(1 << 30);
    assert!(text.contains("No disk can be written"), "{text}");
}

#[test]
fn names_paths_and_links_lead_to_the_disk_and_nothing_else_does() {
    let computer = computer();
    computer.part("sdb", "sdb1", "8:17", 1 << 20, 1 << 20);
    computer.put("sdb1", b"");
    computer.put("null", b"");
    let by_id = computer.path().join("dev/by-id");
    fs::create_dir(&by_id).unwrap();
    std::os::unix::fs::symlink("../sdb", by_id.join("usb-Stick")).unwrap();
    let at = |path: &str| computer.path().join(path).to_string_lossy().into_owned();
    for named in ["sdb".to_owned(), at("dev/sdb"), at("dev/by-id/usb-Stick")] {
        let found = target(&computer.roots(), &named, false);
        assert!(matches!(&found, Ok(Target::Disk(disk)) if disk.name == "sdb"), "{named}: {found:?}");
    }
    for (named, reason) in [
        ("sdb1".to_owned(), "partition of sdb"),
        (at("dev/sdb1"), "partition of sdb"),
        (at("dev/null"), "there is no disk"),
        ("sdz".to_owned(), "there is no disk"),
        (at("dev/sdz"), "there is no disk"),
        (at("hearth.img"), "add --file"),
        (at("proc"), "there is no disk"),
    ] {
        let error = format!("{:#}", target(&computer.roots(), &named, false).unwrap_err());
        assert!(error.contains(reason), "{named}: {error}");
    }
    let error = format!("{:#}", target(&computer.roots(), &at("dev"), true).unwrap_err());
    assert!(error.contains("leave out --file"), "{error}");
}

#[test]
fn a_file_stands_for_a_disk_when_it_is_meant_to() {
    let computer = computer();
    let disk = computer.file("disk.raw", &vec![0xa5; 4 * MIB]);
    let named = disk.to_string_lossy().into_owned();
    let Ok(Target::File(path)) = target(&computer.roots(), &named, true) else {
        panic!("{named} is no file")
    };
    let answer = |answer: &str, path: &Path| {
        let mut console = Console { input: &mut answer.as_bytes(), output: &mut Vec::new() };
        flash_file(path, &computer.path().join("hearth.img"), &mut console)
    };
    answer("disk\n", &path).unwrap_err();
    assert!(fs::read(&disk).unwrap().iter().all(|byte| *byte == 0xa5));
    answer("disk.raw\n", &path).unwrap();
    assert!(fs::read(&disk).unwrap()[..3 * MIB] == image());
    // One that is too short is told before anything is written.
    let short = computer.file("short.raw", &vec![0xa5; MIB]);
    let error = answer("short.raw\n", &short).unwrap_err().to_string();
    assert!(error.contains("has 1048576 bytes"), "{error}");
    assert!(fs::read(&short).unwrap().iter().all(|byte| *byte == 0xa5));
}
