use super::super::fake::{FakeDisk, Logged};
use super::*;
use crate::block::BlockDevice;
use crate::drivers::fake::now;
use crate::testkit::{Random, Run};
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;

const DISK: usize = 8 << 20;
/// With room for four small volumes.
const CUT_DISK: usize = 5 << 20;

fn open(disk: &Rc<FakeDisk>) -> Result<Volumes, VolumeError> {
    now(Volumes::open(disk.bytes()))
}

fn fill(disk: &Rc<FakeDisk>, part: Part, byte: u8) {
    let bytes = DiskBytes::new(Rc::new(part), Rc::new(disk.ram.clone()));
    now(bytes.write_at(0, &vec![byte; bytes.len() as usize])).unwrap();
}

#[test]
fn a_volume_is_made_once_and_found_again() {
    let disk = FakeDisk::with(vec![0xee; DISK], 512);
    let mut volumes = open(&disk).unwrap();
    assert_eq!((volumes.all().len(), volumes.free()), (0, 7 << 20));
    let part = now(volumes.get("music", "data", 1 << 20)).unwrap();
    assert_eq!(part.geometry().sectors, 2048);
    // It is empty although the disk was not.
    assert_eq!(disk.get(1 << 20, 1 << 20), vec![0; 1 << 20]);
    assert_eq!(disk.get(2 << 20, 1), [0xee]);
    fill(&disk, part, 7);
    let mut volumes = open(&disk).unwrap();
    now(volumes.get("music", "data", 4096)).unwrap();
    assert_eq!(disk.get(1 << 20, 1 << 20), vec![7; 1 << 20]);
    assert_eq!(volumes.all().len(), 1);
}

#[test]
fn no_volume_shares_a_block_with_another() {
    let disk = FakeDisk::new(DISK, 4096);
    let mut volumes = open(&disk).unwrap();
    let names = [("tv", "data"), ("tv", "cache"), ("music", "data")];
    for (byte, (appliance, name)) in (1..).zip(names) {
        let part = now(volumes.get(appliance, name, (1 << 20) + 4096)).unwrap();
        fill(&disk, part, byte);
    }
    assert!(now(volumes.remove("tv", "cache")).unwrap());
    assert!(!now(volumes.remove("tv", "cache")).unwrap());
    // What was there is gone before somebody else has the place.
    now(volumes.get("games", "saves", 2 << 20)).unwrap();
    assert_eq!(volumes.all()[1].appliance, "games");
    let content = disk.get(0, DISK);
    let count = |byte| content[FIRST as usize..].chunks(4096).filter(|it| it[0] == byte).count();
    assert_eq!([count(1), count(2), count(3)], [257, 0, 257]);
}

#[test]
fn a_volume_grows_where_it_can() {
    let disk = FakeDisk::new(DISK, 512);
    let mut volumes = open(&disk).unwrap();
    let part = now(volumes.get("tv", "data", 4096)).unwrap();
    fill(&disk, part, 1);
    now(volumes.get("music", "data", 4096)).unwrap();
    assert_eq!(now(volumes.get("tv", "data", 1 << 20)).unwrap().geometry().sectors, 2048);
    assert_eq!(disk.get((1 << 20) + 4095, 2), [1, 0]);
    let refused = now(volumes.get("tv", "data", (1 << 20) + 4096)).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "the disk is too small: the volume \"data\" needs 2 MiB, and there is room for 1 MiB"
    );
    assert!(now(volumes.get("music", "data", 6 << 20)).is_ok());
    assert_eq!(volumes.all(), open(&disk).unwrap().all());
}

#[test]
fn refusals_change_nothing() {
    assert_eq!(open(&FakeDisk::new(1 << 20, 512)).err(), Some(VolumeError::TooSmall));
    let disk = FakeDisk::new(DISK, 512);
    let mut volumes = open(&disk).unwrap();
    for (appliance, name, size) in
        [("TV", "data", 4096), ("tv", "", 4096), ("tv", "data", 512), ("tv", "data", 0)]
    {
        assert_eq!(now(volumes.get(appliance, name, size)).err(), Some(VolumeError::Nonsense));
    }
    let no_room = now(volumes.get("tv", "data", u64::MAX / 4096 * 4096)).err().unwrap();
    assert!(matches!(no_room, VolumeError::NoRoom { largest: 0x70_0000, .. }));
    assert!(volumes.all().is_empty() && open(&disk).unwrap().all().is_empty());
    disk.fail.set(true);
    assert!(matches!(now(volumes.get("tv", "data", 4096)).err(), Some(VolumeError::Disk(_))));
    assert!(volumes.all().is_empty());
}

#[test]
fn a_damaged_copy_is_made_whole_and_two_are_told() {
    let disk = FakeDisk::new(DISK, 512);
    now(open(&disk).unwrap().get("tv", "data", 4096)).unwrap();
    for at in [8, TABLE as usize + 40] {
        disk.put(at, &[0xff]);
        assert_eq!(open(&disk).unwrap().all().len(), 1);
        assert_eq!(disk.get(0, TABLE as usize), disk.get(TABLE as usize, TABLE as usize));
    }
    disk.put(8, &[0xff]);
    disk.put(TABLE as usize + 40, &[0xff]);
    assert_eq!(open(&disk).err(), Some(VolumeError::Damaged));
}

/// The disk as it may be when the power is cut after `upto` entries of its log: what was not flushed
/// is there, or not, or half.
fn cut(log: &[Logged], upto: usize, random: &mut Random) -> Rc<FakeDisk> {
    let mut content = vec![0xee; CUT_DISK];
    let flushed = log[..upto].iter().rposition(Option::is_none).unwrap_or(0);
    for (at, entry) in log[..upto].iter().enumerate() {
        let Some((offset, bytes)) = entry else { continue };
        for (sector, part) in bytes.chunks(512).enumerate() {
            if at < flushed || random.index(2) == 0 {
                content[offset + sector * 512..][..part.len()].copy_from_slice(part);
            }
        }
    }
    FakeDisk::with(content, 512)
}

#[test]
fn power_may_be_cut_at_any_moment() {
    let disk = FakeDisk::with(vec![0xee; CUT_DISK], 512);
    // How much of the log there was when each was promised.
    let mut promised: Vec<(usize, usize)> = Vec::new();
    let mut volumes = open(&disk).unwrap();
    for (count, name) in (1..).zip(["one", "two", "three"]) {
        let part = now(volumes.get("tv", name, 4096)).unwrap();
        promised.push((disk.log.borrow().len(), count));
        fill(&disk, part, count as u8);
    }
    let log = disk.log.borrow();
    let mut random = Random(31);
    for upto in 0..=log.len() {
        let least = promised.iter().rfind(|(at, _)| *at <= upto).map_or(0, |(_, count)| *count);
        for _ in 0..4 {
            let after = cut(&log, upto, &mut random);
            let mut volumes = open(&after).unwrap_or_else(|error| panic!("{upto}: {error}"));
            assert!(volumes.all().len() >= least && volumes.all().len() <= least + 1, "{upto}");
            assert!(now(volumes.get("tv", "four", 4096)).is_ok());
            assert_eq!(open(&after).unwrap().all().len(), volumes.all().len());
        }
    }
}

/// A copy that was changed at random and summed again: what it names lies on the disk, apart.
#[test]
fn no_table_leads_outside_the_partition() {
    let mut table = Table::default();
    for name in ["one", "two", "three"] {
        table.make("tv", name, 8192, DISK as u64).unwrap();
    }
    let right = table.encode();
    let mut run = Run::new("volumes", 4_000);
    let mut random = Random(run.seed);
    let mut decoded = 0;
    for _ in run.by_ref() {
        let mut bytes = right.clone();
        for _ in 0..=random.index(2) {
            bytes[16 + random.index(200)] = (random.next() as u8) >> random.index(8);
        }
        let sum = table::sum(&bytes);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        let Some(table) = Table::decode(&bytes, DISK as u64) else { continue };
        decoded += 1;
        let mut free = FIRST;
        for volume in &table.volumes {
            assert!(volume.offset >= free && volume.end() <= DISK as u64 && volume.size > 0);
            free = volume.end();
        }
        assert_eq!(Table::decode(&table.encode(), DISK as u64), Some(table));
    }
    assert!(decoded > 400, "{decoded}");
}
