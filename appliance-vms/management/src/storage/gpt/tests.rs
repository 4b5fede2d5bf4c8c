use super::super::fake::FakeDisk;
use super::*;
use crate::drivers::fake::now;
use crate::testkit::{Random, Run};
use alloc::string::ToString;
use gpt_disk_types::{GptPartitionType, LbaLe, U32Le, guid};

const BLOCKS: u64 = 256;

/// A header and entries as the specification has them; what a test changes is summed again.
struct Maker {
    block: usize,
    header: GptHeader,
    entries: Vec<GptPartitionEntry>,
}

impl Maker {
    fn new(block: usize) -> Self {
        let header = GptHeader {
            first_usable_lba: LbaLe::from_u64(34),
            last_usable_lba: LbaLe::from_u64(BLOCKS - 34),
            disk_guid: guid!("16d3c1e2-05ff-5c4c-9bd1-0e6d7a3f5b48"),
            number_of_partition_entries: U32Le::from_u32(128),
            ..GptHeader::default()
        };
        let mut made = Self { block, header, entries: Vec::new() };
        made.add("system", 40, 99);
        made.add("data", 100, 200);
        made
    }

    fn add(&mut self, name: &str, first: u64, last: u64) {
        self.entries.push(GptPartitionEntry {
            partition_type_guid: GptPartitionType::BASIC_DATA,
            unique_partition_guid: guid!("9a1f7c52-6be0-5d0f-8a64-27f1c95be0d3"),
            starting_lba: LbaLe::from_u64(first),
            ending_lba: LbaLe::from_u64(last),
            name: name.parse().unwrap(),
            ..GptPartitionEntry::default()
        });
    }

    fn put(&self, disk: &FakeDisk, copy: Copy) {
        let (place, entries_at) = match copy {
            Copy::First => (1, 2),
            Copy::Second => (BLOCKS - 1, BLOCKS - 33),
        };
        let mut entries = vec![0; 128 * 128];
        for (at, entry) in self.entries.iter().enumerate() {
            entries[at * 128..][..128].copy_from_slice(bytemuck::bytes_of(entry));
        }
        let mut header = self.header;
        header.my_lba = LbaLe::from_u64(place);
        header.partition_entry_lba = LbaLe::from_u64(entries_at);
        header.partition_entry_array_crc32.0 = U32Le::from_u32(CRC.checksum(&entries));
        header.update_header_crc32();
        disk.put(place as usize * self.block, bytemuck::bytes_of(&header));
        disk.put(entries_at as usize * self.block, &entries);
    }

    fn disk(&self) -> Rc<FakeDisk> {
        let disk = FakeDisk::new(BLOCKS as usize * self.block, self.block as u32);
        self.put(&disk, Copy::First);
        self.put(&disk, Copy::Second);
        disk
    }
}

fn faults(disk: &Rc<FakeDisk>) -> (Fault, Fault) {
    match now(read(&disk.bytes())) {
        Err(GptError::NoTable { first, second }) => (first, second),
        other => panic!("{other:?}"),
    }
}

#[test]
fn partitions_are_found_by_name() {
    for block in [512, 4096] {
        let disk = Maker::new(block).disk();
        let table = now(read(&disk.bytes())).unwrap();
        assert_eq!((table.copy, table.partitions.len()), (Copy::First, 2));
        let scale = block as u64 / 512;
        let data = table.named("data").unwrap();
        assert_eq!((data.first, data.sectors), (100 * scale, 101 * scale));
        assert_eq!(data.kind, GptPartitionType::BASIC_DATA.0);
        assert_eq!(table.named("nobody"), None);
        let part = data.part(disk, true).unwrap();
        assert_eq!((part.geometry().sectors, part.geometry().read_only), (101 * scale, true));
        assert!(data.part(FakeDisk::new(block * 200, block as u32), true).is_err());
    }
}

#[test]
fn a_name_that_is_there_twice_names_nothing() {
    let mut made = Maker::new(512);
    made.add("data", 201, 201);
    assert_eq!(now(read(&made.disk().bytes())).unwrap().named("data"), None);
}

#[test]
fn the_copy_serves_when_the_first_is_damaged() {
    for (at, fault) in [(512, Fault::Absent), (512 + 40, Fault::HeaderSum), (1024 + 5, Fault::EntriesSum)] {
        let disk = Maker::new(512).disk();
        disk.put(at, &[0xa5]);
        assert_eq!(now(read(&disk.bytes())).unwrap().copy, Copy::Second);
        disk.put((BLOCKS as usize - 1) * 512, &[0]);
        assert_eq!(faults(&disk), (fault, Fault::Absent));
    }
}

#[test]
fn tables_that_contradict_themselves_are_refused() {
    type Change = fn(&mut Maker);
    let cases: [(Fault, Change); 10] = [
        (Fault::Outside, |made| made.add("x", 10, 20)),
        (Fault::Outside, |made| made.add("x", 210, 205)),
        (Fault::Outside, |made| made.add("x", 201, u64::MAX)),
        (Fault::Overlap, |made| made.add("x", 150, 160)),
        (Fault::Entries, |made| made.header.size_of_partition_entry = U32Le::from_u32(96)),
        (Fault::Entries, |made| made.header.number_of_partition_entries = U32Le::from_u32(u32::MAX)),
        (Fault::Header, |made| made.header.last_usable_lba = LbaLe::from_u64(BLOCKS - 33)),
        (Fault::Header, |made| made.header.last_usable_lba = LbaLe::from_u64(u64::MAX)),
        (Fault::Header, |made| made.header.first_usable_lba = LbaLe::from_u64(33)),
        (Fault::Header, |made| made.header.header_size = U32Le::from_u32(8)),
    ];
    for (fault, change) in cases {
        let mut made = Maker::new(512);
        change(&mut made);
        assert_eq!(faults(&made.disk()), (fault, fault));
    }
}

#[test]
fn refusals_are_in_plain_words() {
    let empty = FakeDisk::new(1 << 20, 512);
    let error = now(read(&empty.bytes())).unwrap_err();
    assert_eq!(error.to_string(), "the disk has no partition table (GPT)");
    assert_eq!(faults(&FakeDisk::new(512, 512)), (Fault::Absent, Fault::Absent));
    empty.fail.set(true);
    let error = now(read(&empty.bytes())).unwrap_err();
    assert_eq!(error.to_string(), "the partition table can't be read: the disk says that it failed");
}

/// Fields are changed at random and summed again: whatever is read lies on the disk, apart.
#[test]
fn no_table_leads_outside_the_disk() {
    let mut run = Run::new("gpt", 4_000);
    let mut random = Random(run.seed);
    let mut read_some = 0;
    for _ in run.by_ref() {
        let mut made = Maker::new(512);
        for _ in 0..=random.index(2) {
            let value = match random.index(3) {
                0 => random.next(),
                1 => u64::MAX >> random.index(64),
                _ => random.index(300) as u64,
            };
            let (lba, short) = (LbaLe::from_u64(value), U32Le::from_u32(value as u32));
            match random.index(9) {
                0 => made.header.first_usable_lba = lba,
                1 => made.header.last_usable_lba = lba,
                2 => made.header.number_of_partition_entries = short,
                3 => made.header.size_of_partition_entry = short,
                4 => made.header.header_size = short,
                5 => made.entries[0].starting_lba = lba,
                6 => made.entries[1].ending_lba = lba,
                _ => made.add("more", 201 + value % 32, 201 + random.index(32) as u64),
            }
        }
        let Ok(table) = now(read(&made.disk().bytes())) else { continue };
        read_some += 1;
        for (at, one) in table.partitions.iter().enumerate() {
            assert!(one.sectors > 0 && one.first >= 34 && one.first + one.sectors <= BLOCKS - 33);
            let others = table.partitions.iter().skip(at + 1);
            for other in others {
                assert!(one.first + one.sectors <= other.first || other.first + other.sectors <= one.first);
            }
        }
    }
    assert!(read_some > 100, "{read_some}");
}
