use super::*;
use hv_abi::appliance::{Devices, Format, Start};
use std::fs;
use std::io::Cursor;

/// An appliance with a kernel, and one disk image of these bytes.
fn ready(folder: &Path, name: &str, disk: &[u8]) -> Ready {
    let file = |called: &str, bytes: &[u8]| {
        let path = folder.join(format!("{name}-{called}"));
        fs::write(&path, bytes).expect("written");
        Source::File(path)
    };
    let recipe = Recipe {
        folder: folder.join(name),
        name: name.to_owned(),
        title: name.to_owned(),
        cpus: 1,
        memory: 2 << 20,
        start: Start::Boot,
        format: Format::Linux,
        kernel: file("kernel", b"the same kernel"),
        initrd: None,
        cmdline: String::new(),
        devices: Devices::default(),
        disks: vec![
            DiskSource::Image(file("disk", disk)),
            DiskSource::Volume { name: "data".to_owned(), size: 4096 },
        ],
        rootfs: None,
    };
    Ready { recipe, products: None }
}

fn written(bundle: &Bundle, offset: usize) -> Vec<u8> {
    let mut image = Cursor::new(vec![0; offset + bundle.len() as usize]);
    bundle.write(&mut image, offset as u64).expect("written");
    image.into_inner().split_off(offset)
}

#[test]
fn what_is_written_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = vec![7; CHUNK + 1];
    let appliances = [ready(folder.path(), "b", b""), ready(folder.path(), "a", &large)];
    let bundle = Bundle::of("1.2.3", &appliances).expect("a bundle");
    let bytes = written(&bundle, 512);
    let system = check(&bytes).expect("sound");
    assert_eq!(system.product, "1.2.3");
    let names: Vec<_> = system.appliances.iter().map(|appliance| appliance.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let [a, b] = &system.appliances[..] else { panic!("two appliances") };
    assert_eq!(a.kernel.image, b.kernel.image, "the same bytes are stored once");
    assert_eq!(a.kernel.image.offset, 2 * BLOCK);
    assert_eq!(a.disks[1], Disk::Volume { name: "data".to_owned(), size: 4096 });
    let Disk::Image(disk) = &a.disks[0] else { panic!("an image") };
    assert!(bytes[disk.offset as usize..][..disk.len as usize] == large[..]);
    let blocks = 1 + 1 + 1 + (large.len() as u64).div_ceil(BLOCK);
    assert_eq!(bundle.len(), blocks * BLOCK);
    assert_eq!(bundle.volumes(), 2 * 4096);
}

#[test]
fn an_empty_system_is_a_header_and_an_index() {
    let bundle = Bundle::of("1", &[]).expect("a bundle");
    assert!(bundle.is_empty());
    assert_eq!(bundle.len(), 2 * BLOCK);
    assert_eq!(check(&written(&bundle, 0)).expect("sound").appliances, []);
}

#[test]
fn an_index_longer_than_a_block_gets_its_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut appliance = ready(folder.path(), "a", b"disk");
    appliance.recipe.cmdline = "x".repeat(5000);
    let bundle = Bundle::of("1", &[appliance]).expect("a bundle");
    let system = check(&written(&bundle, 0)).expect("sound");
    assert_eq!(system.appliances[0].kernel.image.offset, 3 * BLOCK);
}

#[test]
fn two_of_one_name_are_refused_with_both_places() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut pair = [ready(folder.path(), "a", b""), ready(folder.path(), "b", b"")];
    pair[1].recipe.name = "a".to_owned();
    let said = Bundle::of("1", &pair).expect_err("one name").to_string();
    assert!(said.contains("/a and ") && said.contains("/b are both called \"a\""), "{said}");
}

#[test]
fn files_that_are_gone_or_change_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let appliances = [ready(folder.path(), "a", b"disk")];
    let bundle = Bundle::of("1", &appliances).expect("a bundle");
    fs::write(folder.path().join("a-disk"), b"dish").expect("written");
    let mut image = Cursor::new(vec![0; bundle.len() as usize]);
    let said = bundle.write(&mut image, 0).expect_err("changed").to_string();
    assert!(said.contains("a-disk changed while it was read"), "{said}");
    fs::remove_file(folder.path().join("a-kernel")).expect("removed");
    let said = format!("{:#}", Bundle::of("1", &appliances).expect_err("gone"));
    assert!(said.starts_with("adding appliance \"a\": reading ") && said.contains("a-kernel"), "{said}");
}

#[test]
fn a_flipped_bit_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let bundle = Bundle::of("1", &[ready(folder.path(), "a", b"disk")]).expect("a bundle");
    let sound = written(&bundle, 0);
    for at in [0, 8, 24, BLOCK as usize, 2 * BLOCK as usize, 3 * BLOCK as usize] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        assert!(check(&bytes).is_err(), "byte {at}");
    }
    assert!(check(&sound[..sound.len() - 1]).is_err());
    assert!(check(&[]).is_err());
}
