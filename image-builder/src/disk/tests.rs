//! The image read back by others than its writer: another FAT implementation, and, where they are
//! installed, the tools of Linux distributions.

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use gpt_disk_io::{BlockIoAdapter, Disk};
use gpt_disk_types::{BlockSize, GptHeader, GptPartitionEntryArray, GptPartitionType, LbaRangeInclusive};

use super::gpt::Layout;
use super::{DATA_SIZE, DISK, ESP, ESP_SIZE, MIB, SECTOR, SYSTEM_UNIT, fat, system_size, write_image};
use crate::system::{self, Bundle};

/// A door, two payloads (one not a whole number of clusters), an empty file.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let noise = |seed: u32, length: u32| -> Vec<u8> {
        (0..length).map(|i| (seed.wrapping_add(i).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    };
    vec![
        ("EFI/BOOT/BOOTX64.EFI", noise(1, 300_001)),
        ("hearth/a.payload", noise(2, 2_000_000)),
        ("hearth/b.payload", noise(3, 512)),
        ("hearth/a-name-longer-than-thirteen-letters.txt", b"x".to_vec()),
        ("hearth/empty", Vec::new()),
    ]
}

/// A system without appliances.
fn empty() -> Bundle {
    Bundle::of("0", &[]).unwrap()
}

struct Image {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    fn of(files: &[(&str, Vec<u8>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hearth.img");
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (*path, &bytes[..])).collect();
        write_image(&path, &files, &empty()).unwrap();
        Self { folder, path }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    fn esp(&self) -> Vec<u8> {
        self.bytes()[MIB as usize..(MIB + ESP_SIZE) as usize].to_vec()
    }
}

#[test]
fn files_come_back_through_another_implementation() {
    let image = Image::of(&files());
    let volume = fatfs::FileSystem::new(Cursor::new(image.esp()), fatfs::FsOptions::new()).unwrap();
    assert_eq!(volume.fat_type(), fatfs::FatType::Fat32);
    assert_eq!(volume.volume_label(), "HEARTH");
    assert_eq!(volume.read_volume_label_from_root_dir().unwrap().as_deref(), Some("HEARTH"));
    for (path, expected) in files() {
        let mut found = Vec::new();
        volume.root_dir().open_file(path).unwrap().read_to_end(&mut found).unwrap();
        assert!(found == expected, "{path} differs");
    }
    let names = |folder: &str| -> Vec<String> {
        let folder = volume.root_dir().open_dir(folder).unwrap();
        folder.iter().map(|entry| entry.unwrap().file_name()).filter(|name| !name.starts_with('.')).collect()
    };
    assert_eq!(names("EFI"), ["BOOT"]);
    assert_eq!(names("EFI/BOOT"), ["BOOTX64.EFI"]);
    assert_eq!(names("hearth").len(), 4);
}

/// Two builds within the same two seconds would agree by luck; this does not depend on luck.
#[test]
fn nothing_in_the_file_system_tells_when_it_was_made() {
    let esp = Image::of(&files()).esp();
    // The label, which only raw bytes show: the root folder's first entry, after the reserved sectors
    // and two tables (Microsoft FAT specification, BPB_RsvdSecCnt and BPB_FATSz32).
    let field = |at: usize| u16::from_le_bytes([esp[at], esp[at + 1]]) as usize;
    let root = (field(14) + 2 * field(36)) * SECTOR as usize;
    assert_eq!(&esp[root..root + 12], b"HEARTH     \x08");
    // January 1st 1980 is 0x0021, midnight 0.
    assert_eq!(esp[root + 12..root + 26], [0, 0, 0, 0, 0x21, 0, 0x21, 0, 0, 0, 0, 0, 0x21, 0]);

    let volume = fatfs::FileSystem::new(Cursor::new(esp), fatfs::FsOptions::new()).unwrap();
    // Three folders, each with two entries for itself and its parent, and five files.
    assert_eq!(stamped(&volume.root_dir()), 3 * 3 + 5);
}

/// Checks the times of everything in a folder and below, and says how many entries that was.
fn stamped(folder: &fatfs::Dir<Cursor<Vec<u8>>>) -> usize {
    let epoch = (1980, 1, 1);
    let day = |date: fatfs::Date| (date.year, date.month, date.day);
    let mut count = 0;
    for entry in folder.iter().map(Result::unwrap) {
        let name = entry.file_name();
        for at in [entry.created(), entry.modified()] {
            let time = (at.time.hour, at.time.min, at.time.sec, at.time.millis);
            assert_eq!((day(at.date), time), (epoch, (0, 0, 0, 0)), "{name}");
        }
        assert_eq!(day(entry.accessed()), epoch, "{name}");
        count += 1;
        if entry.is_dir() && !name.starts_with('.') {
            count += stamped(&entry.to_dir());
        }
    }
    count
}

#[test]
fn both_partition_tables_are_whole_and_agree() {
    let image = Image::of(&files());
    let mut bytes = image.bytes();
    let sectors = bytes.len() as u64 / SECTOR;
    assert_eq!(bytes.len() as u64, MIB + ESP_SIZE + MIB + 2 * SYSTEM_UNIT + DATA_SIZE + MIB);

    // Protective MBR: one entry of type 0xEE over the whole disk, signature 55 AA.
    assert_eq!(bytes[446 + 4], 0xee);
    assert_eq!(bytes[446 + 8..446 + 12], 1_u32.to_le_bytes());
    assert_eq!(bytes[446 + 12..446 + 16], (sectors as u32 - 1).to_le_bytes());
    assert_eq!(bytes[510..512], [0x55, 0xaa]);

    let mut disk = Disk::new(BlockIoAdapter::new(&mut bytes[..], BlockSize::BS_512)).unwrap();
    let mut block = [0; SECTOR as usize];
    let primary = disk.read_primary_gpt_header(&mut block).unwrap();
    let backup = disk.read_secondary_gpt_header(&mut block).unwrap();
    for (header, own, other) in [(primary, 1, sectors - 1), (backup, sectors - 1, 1)] {
        assert!(header.is_signature_valid());
        let GptHeader { my_lba, alternate_lba, header_crc32, disk_guid, .. } = header;
        assert_eq!((my_lba.to_u64(), alternate_lba.to_u64()), (own, other));
        assert_eq!(header_crc32, header.calculate_header_crc32());
        assert_eq!(disk_guid, DISK);
        let (first, last) = ({ header.first_usable_lba }.to_u64(), { header.last_usable_lba }.to_u64());
        assert_eq!((first, last), (34, sectors - 34));

        let mut storage = vec![0; 32 * SECTOR as usize];
        let layout = header.get_partition_entry_array_layout().unwrap();
        let entries: GptPartitionEntryArray =
            disk.read_gpt_partition_entry_array(layout, &mut storage).unwrap();
        assert_eq!({ header.partition_entry_array_crc32 }, entries.calculate_crc32());
        let entry = *entries.get_partition_entry(0).unwrap();
        assert_eq!({ entry.partition_type_guid }, GptPartitionType::EFI_SYSTEM);
        assert_eq!({ entry.unique_partition_guid }, ESP);
        assert_eq!({ entry.name }.to_string(), "hearth-esp");
        let range = entry.lba_range().unwrap();
        assert_eq!(range.start().to_u64() * SECTOR, MIB);
        assert_eq!(range.num_bytes(BlockSize::BS_512), Some(ESP_SIZE));
        let names = (0..5).map(|index| { entries.get_partition_entry(index).unwrap().name }.to_string());
        let expected = ["hearth-esp", "hearth-boot", "hearth-system-a", "hearth-system-b", "hearth-data"];
        assert_eq!(names.collect::<Vec<_>>(), expected);
        let kind = |index| { entries.get_partition_entry(index).unwrap().partition_type_guid }.0.to_string();
        assert_eq!(kind(1), "fb046b27-d4f9-47c5-b06d-021edd04837c");
        assert_eq!(kind(2), "3c6825ba-54ba-4d92-b439-aeede42fe7ed");
        assert_eq!((kind(3), kind(4)), (kind(2), "44f72efc-fb5f-48b5-9c12-d7cc68fc8cb5".to_owned()));
        assert!(!entries.get_partition_entry(5).unwrap().is_used());
    }
}

#[test]
fn the_system_lies_in_partition_a_and_the_rest_is_empty() {
    let bytes = Image::of(&files()).bytes();
    let (state, a) = ((MIB + ESP_SIZE) as usize, (2 * MIB + ESP_SIZE) as usize);
    let b = a + SYSTEM_UNIT as usize;
    assert!(bytes[state..a].iter().all(|&byte| byte == 0));
    assert_eq!(system::check(&bytes[a..b]).unwrap().product, "0");
    let end = bytes.len() - MIB as usize;
    assert!(bytes[b..end].iter().all(|&byte| byte == 0));
}

#[test]
fn a_system_partition_has_room_for_a_larger_system() {
    assert_eq!(system_size(8192), SYSTEM_UNIT);
    assert_eq!(system_size(SYSTEM_UNIT), 2 * SYSTEM_UNIT);
    assert_eq!(system_size(3 * SYSTEM_UNIT), 5 * SYSTEM_UNIT);
}

#[test]
fn partitions_are_aligned_and_do_not_touch_the_tables() {
    let layout = Layout::new([64 * MIB, 1, 3 * MIB]);
    let bounds: Vec<_> = layout.partitions.iter().map(|r| (r.start().to_u64(), r.end().to_u64())).collect();
    let first = |mib: u64| mib * MIB / SECTOR;
    assert_eq!(bounds, [(first(1), first(65) - 1), (first(65), first(65)), (first(66), first(69) - 1),]);
    assert_eq!(layout.sectors, first(70));
    assert!(layout.partitions.iter().all(|r: &LbaRangeInclusive| r.end().to_u64() < layout.sectors - 33));
}

#[test]
fn the_same_files_give_the_same_bytes_in_any_order() {
    let mut reversed = files();
    reversed.reverse();
    let (one, two) = (Image::of(&files()), Image::of(&reversed));
    assert!(one.bytes() == two.bytes(), "two builds differ");
    let mut changed = files();
    changed[0].1[0] ^= 1;
    assert!(one.bytes() != Image::of(&changed).bytes(), "a changed file left no trace");
}

#[cfg(unix)]
#[test]
fn the_empty_part_takes_no_room() {
    use std::os::unix::fs::MetadataExt;
    let image = Image::of(&files());
    let metadata = std::fs::metadata(&image.path).unwrap();
    let taken = metadata.blocks() * 512; // st_blocks counts 512 bytes whatever the block size is
    assert!(taken < 4 * MIB, "{taken} of {} bytes are allocated", metadata.len());
    assert_eq!(metadata.mode() & 0o400, 0o400);
}

#[test]
fn a_failed_build_leaves_the_last_image_and_nothing_else() {
    let image = Image::of(&files());
    let before = image.bytes();
    write_image(&image.path, &[("a//b", b"")], &empty()).unwrap_err();
    assert!(image.bytes() == before);
    assert_eq!(std::fs::read_dir(image.folder.path()).unwrap().count(), 1);
}

/// The sentence with which files are refused.
fn refusal(files: &[(&str, &[u8])]) -> String {
    // Not `unwrap_err`: its message would be the whole volume.
    match fat::volume(ESP_SIZE, files) {
        Ok(_) => panic!("the files were accepted"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn what_does_not_fit_is_refused_with_the_sums() {
    let large = vec![1; ESP_SIZE as usize];
    let error = refusal(&[("hearth/a.payload", &large)]);
    // 131 072 for the file, one for the folder, one for the root.
    assert!(error.contains("need 131074 clusters of 512 bytes"), "{error}");
    assert!(error.contains("hearth/a.payload: 67108864 bytes = 131072 clusters"), "{error}");
    assert!(error.contains("ESP_SIZE"), "{error}");
}

#[test]
fn what_just_fits_is_written() {
    let probe = refusal(&[("a", &vec![1; 1 << 27])]);
    let available: usize =
        probe.split("partition has ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    // One cluster is the root folder.
    let full = vec![1; (available - 1) * 512];
    let volume = fat::volume(ESP_SIZE, &[("a", &full)]).unwrap();
    let volume = fatfs::FileSystem::new(Cursor::new(volume), fatfs::FsOptions::new()).unwrap();
    assert_eq!(volume.stats().unwrap().free_clusters(), 0);
    refusal(&[("a", &vec![1; full.len() + 1])]);
}

#[test]
fn names_fat_cannot_hold_are_refused() {
    for (paths, reason) in [
        (&["a//b"][..], "empty"),
        (&["/a"], "empty"),
        (&[""], "empty"),
        (&["../a"], "dot"),
        (&["a."], "dot"),
        (&["a\\b"], "not every firmware"),
        (&["grüße"], "not every firmware"),
        (&["a", "A"], "two of this name"),
        (&["a", "a/b"], "file and a folder"),
        (&["a/b", "a"], "two of this name"),
        (&["EFI/a", "efi/b"], "two ways"),
    ] {
        let files: Vec<(&str, &[u8])> = paths.iter().map(|path| (*path, &b""[..])).collect();
        let error = refusal(&files);
        assert!(error.contains(reason), "{paths:?}: {error}");
    }
}

#[test]
fn the_tools_of_distributions_find_no_fault() {
    let image = Image::of(&files());
    let esp = image.folder.path().join("esp.img");
    std::fs::write(&esp, image.esp()).unwrap();

    if let Some(said) = oracle("fsck.fat", &["-n", "-v"], &esp) {
        assert!(said.contains("32 bit entries"), "{said}");
    }
    if let Some(said) = oracle("sfdisk", &["--verify"], &image.path) {
        assert!(said.contains("No errors detected"), "{said}");
    }
    if let Some(said) = oracle("sgdisk", &["--verify"], &image.path) {
        assert!(said.contains("No problems found"), "{said}");
    }
    if let Some(said) = oracle("mdir", &["-/", "-b", "-i"], &esp) {
        for (path, _) in files() {
            assert!(said.contains(path), "{path} is not in {said}");
        }
    }
}

/// Runs a tool on a file and returns what it said; when it is not installed, says so and returns
/// nothing. Written to standard error itself, because the test harness hides what `eprintln` says.
fn oracle(tool: &str, arguments: &[&str], file: &Path) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new("env");
    command.arg(format!("PATH={path}")).arg("LC_ALL=C").arg(tool).args(arguments).arg(file);
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // `env` answers 127 for a program it cannot find.
    if output.status.code() == Some(127) {
        writeln!(std::io::stderr(), "not checked with {tool}: it is not installed").unwrap();
        return None;
    }
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{said}", output.status);
    Some(said)
}
