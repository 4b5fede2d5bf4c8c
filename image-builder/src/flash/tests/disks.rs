//! Which disks there are, what uses them, and which are refused.

use super::Computer;
use crate::flash::disks::{Found, Kind, all, find};
use crate::flash::verdict::{Refusal, refusals};

const GB: u64 = 1_000_000_000;
const IMAGE: u64 = 69_206_016;

/// The reasons against a disk, as the user reads them.
fn reasons(computer: &Computer, name: &str) -> Vec<String> {
    refusals(&computer.find(name), IMAGE).iter().map(ToString::to_string).collect()
}

#[test]
fn a_free_stick_is_described_and_not_refused() {
    let computer = Computer::new();
    computer
        .disk("sdb", "8:16", "0000:00:14.0/usb2/2-1/host6", 32 * GB)
        .attribute("sdb/removable", "1")
        .attribute("sdb/device/vendor", "SanDisk ")
        .attribute("sdb/device/model", "Ultra \u{1b}[2J  Fit")
        .part("sdb", "sdb2", "8:18", 1 << 30, 1 << 30)
        .part("sdb", "sdb1", "8:17", 1 << 20, 1 << 20);
    let disk = computer.find("sdb");
    assert_eq!((disk.device, disk.bytes, disk.sector), ((8, 16), 32 * GB, 512));
    assert_eq!(disk.model.as_deref(), Some("SanDisk Ultra [2J Fit"));
    assert_eq!((disk.transport, disk.removable, disk.read_only), (Some("usb"), true, false));
    assert_eq!(disk.path, computer.path().join("dev/sdb"));
    let parts: Vec<_> = disk.parts.iter().map(|part| (part.number, part.start)).collect();
    assert_eq!(parts, [(1, 1 << 20), (2, 1 << 30)]);
    assert_eq!(reasons(&computer, "sdb"), [""; 0]);
}

#[test]
fn the_bus_names_the_connection() {
    let computer = Computer::new();
    for (name, bus, word) in [
        ("sda", "0000:00:17.0/ata1/host0", "sata"),
        ("nvme0n1", "0000:01:00.0/nvme/nvme0", "nvme"),
        ("mmcblk0", "0000:02:00.0/mmc_host/mmc0", "sd/mmc"),
        ("vda", "0000:03:00.0/virtio0", "virtio"),
        // A stick's bridge to a SATA disk: what the user holds in the hand is USB.
        ("sdc", "0000:00:14.0/usb2/ata3", "usb"),
    ] {
        computer.disk(name, "8:0", bus, GB);
        assert_eq!(computer.find(name).transport, Some(word), "{name}");
    }
}

#[test]
fn a_mounted_partition_refuses_the_disk() {
    let mut computer = Computer::new();
    computer.disk("sdb", "8:16", "usb1", GB).part("sdb", "sdb1", "8:17", 1 << 20, 1 << 20);
    computer.mount("8:17", r"/media/old\040photos", "/dev/sdb1");
    assert_eq!(
        reasons(&computer, "sdb"),
        ["sdb1 is mounted at /media/old photos; next: umount '/media/old photos'"]
    );
}

#[test]
fn a_mount_is_found_by_name_where_the_file_system_has_a_number_of_its_own() {
    let mut computer = Computer::new();
    computer
        .disk("sda", "8:0", "ata1", GB)
        .part("sda", "sda2", "8:2", 1 << 20, 1 << 20)
        .holder("sda/sda2", "dm-0")
        .volume("dm-0", "253:0", 1 << 20)
        .attribute("dm-0/dm/name", "luks-home")
        .disk("sdb", "8:16", "usb1", GB);
    computer.mount("0:30", "/home", "/dev/mapper/luks-home");
    computer.mount("0:31", "/mnt", "/dev/sdb");
    assert_eq!(reasons(&computer, "sda"), ["this computer runs from it: sda2 > dm-0 is mounted at /home"]);
    assert_eq!(reasons(&computer, "sdb"), ["sdb is mounted at /mnt; next: umount '/mnt'"]);
}

#[test]
fn every_place_a_system_runs_from_is_the_system() {
    for place in ["/", "/boot", "/boot/efi", "/home", "/usr", "/usr/local", "/var", "/nix"] {
        let mut computer = Computer::new();
        computer.disk("sda", "8:0", "ata1", GB).part("sda", "sda1", "8:1", 1 << 20, 1 << 20);
        computer.mount("8:1", place, "/dev/root");
        let refusals = refusals(&computer.find("sda"), IMAGE);
        assert!(matches!(&refusals[..], [Refusal::System(_)]), "{place}: {refusals:?}");
    }
}

#[test]
fn a_disk_below_two_layers_of_others_is_the_system() {
    let mut computer = Computer::new();
    computer
        .disk("sda", "8:0", "ata1", GB)
        .part("sda", "sda3", "8:3", 1 << 20, 1 << 20)
        .disk("sdb", "8:16", "ata2", GB)
        // A mirror of sda3 and all of sdb, partitioned, with LVM on its second partition.
        .holder("sda/sda3", "md0")
        .holder("sdb", "md0")
        .volume("md0", "9:0", 1 << 20)
        .attribute("md0/md/level", "raid1")
        .part("md0", "md0p2", "259:2", 0, 1 << 20)
        .holder("md0/md0p2", "dm-0")
        .volume("dm-0", "253:0", 1 << 20)
        .attribute("dm-0/dm/name", "house-root");
    computer.mount("253:0", "/", "/dev/mapper/house-root");
    assert_eq!(
        reasons(&computer, "sda"),
        ["this computer runs from it: sda3 > md0p2 > dm-0 is mounted at /"]
    );
    assert_eq!(reasons(&computer, "sdb"), ["this computer runs from it: sdb > md0p2 > dm-0 is mounted at /"]);
}

#[test]
fn a_part_of_an_array_that_nobody_mounted_is_still_in_use() {
    let computer = Computer::new();
    computer
        .disk("sdb", "8:16", "ata1", GB)
        .part("sdb", "sdb1", "8:17", 1 << 20, 1 << 20)
        .holder("sdb/sdb1", "md127")
        .volume("md127", "9:127", 1 << 20);
    assert_eq!(
        reasons(&computer, "sdb"),
        ["sdb1 is part of md127; next: take md127 apart first (lsblk /dev/sdb1 shows what it is)"]
    );
}

#[test]
fn swap_refuses_by_name_and_through_a_volume() {
    let mut computer = Computer::new();
    computer
        .disk("sdb", "8:16", "ata1", GB)
        .part("sdb", "sdb1", "8:17", 1 << 20, 1 << 20)
        .disk("sdc", "8:32", "ata2", GB)
        .holder("sdc", "dm-3")
        .volume("dm-3", "253:3", 1 << 20);
    computer.swap("/dev/sdb1").swap("/dev/dm-3");
    assert_eq!(reasons(&computer, "sdb"), ["sdb1 is swap space; next: swapoff /dev/sdb1"]);
    assert_eq!(reasons(&computer, "sdc"), ["sdc > dm-3 is swap space; next: swapoff /dev/dm-3"]);
}

#[test]
fn holders_in_a_ring_end() {
    let computer = Computer::new();
    computer
        .disk("sdb", "8:16", "ata1", GB)
        .holder("sdb", "dm-0")
        .volume("dm-0", "253:0", GB)
        .holder("dm-0", "dm-1")
        .volume("dm-1", "253:1", GB)
        .holder("dm-1", "dm-0");
    assert_eq!(reasons(&computer, "sdb").len(), 1);
}

#[test]
fn what_is_too_small_read_only_empty_or_counts_otherwise_is_refused() {
    let computer = Computer::new();
    computer
        .disk("sdb", "8:16", "usb1", IMAGE - 512)
        .attribute("sdb/ro", "1")
        .attribute("sdb/queue/logical_block_size", "4096")
        .disk("sdc", "8:32", "usb2", 0)
        .disk("sdd", "8:48", "usb3", IMAGE);
    assert_eq!(
        refusals(&computer.find("sdb"), IMAGE),
        [Refusal::TooSmall { disk: IMAGE - 512, image: IMAGE }, Refusal::ReadOnly, Refusal::Sectors(4096),]
    );
    assert!(reasons(&computer, "sdb")[0].ends_with("512 bytes too small"));
    assert_eq!(refusals(&computer.find("sdc"), IMAGE), [Refusal::NoMedium]);
    assert_eq!(refusals(&computer.find("sdd"), IMAGE), []);
}

#[test]
fn what_is_no_disk_is_refused_by_what_it_is() {
    let computer = Computer::new();
    computer
        .volume("dm-0", "253:0", GB)
        .attribute("dm-0/dm/name", "x")
        .volume("md0", "9:0", GB)
        .attribute("md0/md/level", "raid1")
        .volume("zram0", "252:0", GB)
        .volume("loop0", "7:0", GB)
        .volume("nbd0", "43:0", GB)
        .disk("sr0", "11:0", "ata1", GB)
        .disk("mmcblk0boot0", "179:8", "mmc_host/mmc0", GB)
        .disk("nvme0c0n1", "259:9", "nvme/nvme0", GB)
        .attribute("nvme0c0n1/hidden", "1");
    for (name, what) in [
        ("dm-0", "device mapper"),
        ("md0", "RAID"),
        ("zram0", "memory"),
        ("loop0", "no file"),
        ("nbd0", "virtual"),
        ("sr0", "optical"),
        ("mmcblk0boot0", "boot area"),
        ("nvme0c0n1", "multipath"),
    ] {
        let reasons = reasons(&computer, name);
        assert!(reasons.len() == 1 && reasons[0].contains(what), "{name}: {reasons:?}");
    }
    assert!(all(&computer.roots()).unwrap().iter().all(|disk| disk.kind != Kind::Disk));
}

#[test]
fn a_loop_device_with_a_file_may_be_written_but_is_no_disk_to_list() {
    let computer = Computer::new();
    computer.volume("loop3", "7:3", GB).attribute("loop3/loop/backing_file", "/tmp/disk.img");
    assert_eq!(computer.find("loop3").kind, Kind::Loop { file: "/tmp/disk.img".into() });
    assert_eq!(reasons(&computer, "loop3"), [""; 0]);
}

#[test]
fn names_that_are_no_whole_disk_are_told_apart() {
    let computer = Computer::new();
    computer.disk("sdb", "8:16", "usb1", GB).part("sdb", "sdb1", "8:17", 1 << 20, 1 << 20);
    let roots = computer.roots();
    assert!(matches!(find(&roots, "sdb1").unwrap(), Found::PartOf(disk) if disk == "sdb"));
    for name in ["sdc", "", ".", "..", "sdb/sdb1", "../block/sdb", "queue"] {
        assert!(matches!(find(&roots, name).unwrap(), Found::Nothing), "{name}");
    }
}

#[test]
fn not_knowing_what_is_mounted_is_an_error() {
    let computer = Computer::new();
    computer.disk("sdb", "8:16", "usb1", GB);
    std::fs::remove_file(computer.path().join("proc/self/mountinfo")).unwrap();
    let error = format!("{:#}", find(&computer.roots(), "sdb").unwrap_err());
    assert!(error.contains("which disks are in use"), "{error}");
}
