//! What is told to be on a disk.

use std::io::Cursor;

use crate::disk;
use crate::flash::contents::{Contents, System, read};
use crate::flash::disks::Part;
use crate::flash::show;
use crate::system::Bundle;

const MIB: u64 = 1024 * 1024;

fn look(disk: &[u8], parts: &[Part]) -> Contents {
    read(&mut Cursor::new(disk), parts).unwrap()
}

/// Bytes and where they are.
type Bytes<'a> = (usize, &'a [u8]);

fn with(marks: &[Bytes]) -> Vec<u8> {
    let mut disk = vec![0; MIB as usize];
    for (at, bytes) in marks {
        disk[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    disk
}

#[test]
fn our_own_image_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hearth.img");
    disk::write_image(&path, &[("hearth/a.payload", b"payload")], &Bundle::of("0", &[]).unwrap()).unwrap();
    let found = look(&std::fs::read(path).unwrap(), &[]);
    assert_eq!(
        show::contents(&found),
        [
            "GPT with 5 partitions",
            "   1   67.1 MB  hearth-esp, FAT32 \"HEARTH\"",
            "   2    1.0 MB  hearth-boot",
            "   3   67.1 MB  hearth-system-a",
            "   4   67.1 MB  hearth-system-b",
            "   5   67.1 MB  hearth-data",
        ]
    );
}

#[test]
fn a_partition_table_with_a_wrong_checksum_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hearth.img");
    disk::write_image(&path, &[], &Bundle::of("0", &[]).unwrap()).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    bytes[512 + 40] ^= 1;
    assert_eq!(look(&bytes, &[]).table, None);
}

#[test]
fn every_kind_of_file_system_is_known_by_its_mark() {
    let cases: [(&str, Option<&str>, &[Bytes]); 8] = [
        ("ext2/3/4", Some("home"), &[(1080, b"\x53\xef"), (1024 + 120, b"home\0\0")]),
        ("NTFS", None, &[(3, b"NTFS    "), (510, b"\x55\xaa")]),
        ("FAT32", None, &[(82, b"FAT32   "), (71, b"NO NAME    ")]),
        ("FAT16", Some("CAMERA"), &[(54, b"FAT16   "), (43, b"CAMERA     ")]),
        ("exFAT", None, &[(3, b"EXFAT   ")]),
        // A hybrid image: what it is called is in the ISO, though a FAT mark may be there too.
        ("ISO 9660", Some("Debian 13"), &[(32769, b"CD001"), (32808, b"Debian 13  "), (82, b"FAT32   ")]),
        ("LUKS encryption", None, &[(0, b"LUKS\xba\xbe\0\x02")]),
        ("btrfs", Some("a b"), &[(0x10040, b"_BHRfS_M"), (0x1012b, b"a\x1bb")]),
    ];
    for (kind, label, marks) in cases {
        let expected = System { kind, label: label.map(str::to_owned) };
        assert_eq!(look(&with(marks), &[]).whole, Some(expected));
    }
    assert_eq!(look(&with(&[]), &[]), Contents::default());
    assert_eq!(show::contents(&Contents::default()), ["nothing that is known here"]);
}

#[test]
fn partitions_without_gpt_are_those_the_kernel_sees() {
    let mut disk = with(&[(510, b"\x55\xaa")]);
    disk.extend(with(&[(1080, b"\x53\xef")]));
    let part = |number, start| Part { name: format!("sdb{number}"), number, start, bytes: MIB };
    // The second begins where the disk (as far as it can be read) has ended.
    let found = look(&disk, &[part(1, MIB), part(5, 7 * MIB)]);
    assert_eq!(
        show::contents(&found),
        ["MBR with 2 partitions", "   1    1.0 MB  ext2/3/4", "   5    1.0 MB"]
    );
}

#[test]
fn noise_and_truncated_disks_are_no_trouble() {
    for length in [0, 1, 511, 512, 600, 1024, 40_000] {
        let noise: Vec<u8> = (0..length).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_eq!(look(&noise, &[]).table, None, "{length}");
    }
}

#[test]
fn a_hostile_partition_table_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hearth.img");
    disk::write_image(&path, &[], &Bundle::of("0", &[]).unwrap()).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    bytes.truncate(MIB as usize);
    // As many entries as can be written down, each a sector long: a checksum that fits is made.
    bytes[512 + 80..512 + 84].copy_from_slice(&u32::MAX.to_le_bytes());
    bytes[512 + 84..512 + 88].copy_from_slice(&512_u32.to_le_bytes());
    bytes[512 + 16..512 + 20].fill(0);
    let checksum = crc32(&bytes[512..512 + 92]);
    bytes[512 + 16..512 + 20].copy_from_slice(&checksum.to_le_bytes());
    assert_eq!(look(&bytes, &[]).table, Some("GPT"));
}

/// The checksum of GPT (UEFI Specification 2.10, section 5.3.2), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[test]
fn sizes_read_as_on_the_box() {
    for (bytes, text) in [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (31_457_280_000, "31.5 GB"),
        (20_000_588_955_648, "20.0 TB"),
        (4_000_000_000_000_000, "4000.0 TB"),
    ] {
        assert_eq!(show::size(bytes), text);
    }
}
