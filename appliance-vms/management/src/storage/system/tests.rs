use super::super::fake::FakeDisk;
use super::*;
use crate::block::BlockDevice;
use crate::drivers::fake::{in_turns, now};
use crate::testkit::{Random, Run};
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use hv_abi::appliance::{Appliance, Devices, Disk, Format, Kernel, Start};
use zerocopy::IntoBytes;

const KERNEL: &[u8] = &[0x90; 5000];
const ROOT: &[u8] = &[0x42; 300_000];

fn blob(offset: u64, content: &[u8]) -> Blob {
    Blob { offset, len: content.len() as u64, digest: Sha256::digest(content).into() }
}

fn appliance(name: &str) -> Appliance {
    Appliance {
        name: name.into(),
        title: "Music".into(),
        cpus: 2,
        memory: 256 << 20,
        start: Start::Boot,
        kernel: Kernel {
            format: Format::Linux,
            image: blob(2 * BLOCK, KERNEL),
            initrd: None,
            cmdline: "quiet".into(),
        },
        devices: Devices::default(),
        disks: vec![Disk::Image(blob(4 * BLOCK, ROOT)), Disk::Volume { name: "data".into(), size: 1 << 20 }],
    }
}

fn system() -> System {
    System { product: "0.1.0".into(), appliances: vec![appliance("games"), appliance("music")] }
}

fn header(index: &[u8]) -> Header {
    Header {
        magic: MAGIC,
        version: VERSION,
        index_len: index.len() as u32,
        bundle_len: 80 * BLOCK,
        index_digest: Sha256::digest(index).into(),
    }
}

fn disk(header: &Header, index: &[u8]) -> Rc<FakeDisk> {
    let disk = FakeDisk::new(100 * BLOCK as usize, 512);
    disk.put(0, header.as_bytes());
    disk.put(BLOCK as usize, index);
    disk.put(2 * BLOCK as usize, KERNEL);
    disk.put(4 * BLOCK as usize, ROOT);
    disk
}

fn bundle(system: &System) -> (Rc<FakeDisk>, Result<Bundle, BundleError>) {
    let index = postcard::to_allocvec(system).unwrap();
    let disk = disk(&header(&index), &index);
    let bundle = now(Bundle::open(disk.bytes()));
    (disk, bundle)
}

#[test]
fn files_read_and_measure_as_the_index_says() {
    let (disk, bundle) = bundle(&system());
    let bundle = bundle.unwrap();
    assert_eq!(bundle.system(), &system());
    let Disk::Image(root) = &bundle.system().appliances[1].disks[0] else { panic!() };
    let file = bundle.file(root);
    let (digest, turns) = in_turns(file.measure());
    assert_eq!(digest.unwrap(), *file.digest());
    assert!(turns as u64 >= file.len() / AT_ONCE as u64, "others have their turn");
    let mut end = [0; 10];
    assert_eq!(now(file.read_at(file.len() - 10, &mut end)), Ok(()));
    assert_eq!(end, [0x42; 10]);
    let beyond = Err(DiskError::Disk(BlockError::OutOfRange));
    assert_eq!(now(file.read_at(file.len() - 9, &mut end)), beyond);
    assert_eq!(now(file.read_at(u64::MAX, &mut end)), beyond);
    disk.put(4 * BLOCK as usize + 77, &[0]);
    assert_ne!(in_turns(file.measure()).0.unwrap(), *file.digest());
}

#[test]
fn an_image_is_a_disk_of_its_own_that_can_only_be_read() {
    let (_, bundle) = bundle(&system());
    let bundle = bundle.unwrap();
    let Disk::Image(root) = &bundle.system().appliances[0].disks[0] else { panic!() };
    let geometry = bundle.disk(root).unwrap().geometry();
    assert_eq!((geometry.sectors, geometry.read_only), (592, true));
    let outside = Blob { offset: 79 * BLOCK, len: BLOCK + 1, digest: [0; 32] };
    assert_eq!(bundle.disk(&outside).err(), Some(BlockError::OutOfRange));
}

#[test]
fn headers_that_are_wrong_are_told_apart() {
    let index = postcard::to_allocvec(&system()).unwrap();
    let right = header(&index);
    let cases = [
        (Header { magic: [0; 8], ..right.clone() }, BundleError::Absent),
        (Header { version: 9, ..right.clone() }, BundleError::Version(9)),
        (Header { bundle_len: 101 * BLOCK, ..right.clone() }, BundleError::CutShort),
        (Header { bundle_len: BLOCK, ..right.clone() }, BundleError::CutShort),
        (Header { index_len: u32::MAX, ..right.clone() }, BundleError::CutShort),
        (Header { bundle_len: 80 * BLOCK + 1, ..right.clone() }, BundleError::Damaged),
        (Header { index_len: 9, ..right.clone() }, BundleError::Damaged),
        (Header { index_digest: [0; 32], ..right }, BundleError::Damaged),
    ];
    for (header, error) in cases {
        assert_eq!(now(Bundle::open(disk(&header, &index).bytes())).err(), Some(error));
    }
    assert_eq!(now(Bundle::open(FakeDisk::new(512, 512).bytes())).err(), Some(BundleError::Absent));
    assert_eq!(BundleError::CutShort.to_string(), "the system on this partition is cut short");
}

#[test]
fn an_index_that_says_what_cannot_be_is_refused() {
    type Change = fn(&mut Appliance);
    let music = || "music".to_string();
    let cases: [(Nonsense, Change); 9] = [
        (Nonsense::Name("Music".into()), |it| it.name = "Music".into()),
        (Nonsense::Name("abc".into()), |it| it.name = "abc".into()),
        (Nonsense::Name("games".into()), |it| it.name = "games".into()),
        (Nonsense::Size(music()), |it| it.cpus = 17),
        (Nonsense::Size(music()), |it| it.memory += 4096),
        (Nonsense::File(music()), |it| it.kernel.image.offset = BLOCK),
        (Nonsense::File(music()), |it| it.kernel.initrd = Some(Blob { len: u64::MAX, ..it.kernel.image })),
        (Nonsense::File(music()), |it| it.kernel.image.offset += 512),
        (Nonsense::VolumeName(music()), |it| it.disks.push(it.disks[1].clone())),
    ];
    for (nonsense, change) in cases {
        let mut system = system();
        change(&mut system.appliances[1]);
        assert_eq!(bundle(&system).1.err(), Some(BundleError::Nonsense(nonsense)));
    }
}

/// Bytes of the index are changed at random and its digest made anew: what opens lies in the bundle.
#[test]
fn no_index_leads_outside_the_bundle() {
    let mut run = Run::new("bundle", 5_000);
    let mut random = Random(run.seed);
    let mut opened = 0;
    let right: Vec<u8> = postcard::to_allocvec(&system()).unwrap();
    for _ in run.by_ref() {
        let mut index = right.clone();
        for _ in 0..=random.index(3) {
            let at = random.index(index.len());
            index[at] = random.next() as u8;
        }
        index.truncate(index.len() - random.index(2) * random.index(index.len()));
        let Ok(bundle) = now(Bundle::open(disk(&header(&index), &index).bytes())) else { continue };
        opened += 1;
        for appliance in &bundle.system().appliances {
            assert!(bundle.disk(&appliance.kernel.image).is_ok());
        }
    }
    assert!(opened > 200, "{opened}");
}
