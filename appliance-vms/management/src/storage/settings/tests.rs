use super::super::fake::FakeDisk;
use super::*;
use crate::drivers::fake::now;
use alloc::format;

fn chosen(volume: u8) -> Settings {
    Settings {
        language: Language::German,
        look: Look::LargeType,
        volume,
        set_up: true,
        ..Settings::default()
    }
}

fn appliances(count: usize) -> Vec<Chosen> {
    (0..count)
        .map(|at| Chosen { name: format!("appliance-{at}"), volume: 50, autostart: at % 2 == 0 })
        .collect()
}

#[test]
fn what_was_kept_last_is_found() {
    let disk = FakeDisk::new(SIZE as usize, 512);
    let (mut volume, found) = now(SettingsVolume::open(disk.bytes())).unwrap();
    assert_eq!(found, None);
    for percent in 10..15 {
        now(volume.keep(Kept::new(&chosen(percent), appliances(2)))).unwrap();
        let (again, found) = now(SettingsVolume::open(disk.bytes())).unwrap();
        let found = found.expect("kept");
        assert_eq!((found.settings(), &found.appliances), (chosen(percent), &appliances(2)));
        volume = again;
    }
}

#[test]
fn a_copy_that_is_damaged_costs_one_change_at_most() {
    let disk = FakeDisk::new(SIZE as usize, 512);
    let (mut volume, _) = now(SettingsVolume::open(disk.bytes())).unwrap();
    now(volume.keep(Kept::new(&chosen(1), Vec::new()))).unwrap();
    now(volume.keep(Kept::new(&chosen(2), Vec::new()))).unwrap();
    for (at, left) in [(HEADER, 2), (BLOCK as usize + HEADER, 1)] {
        let mut bytes = disk.get(0, SIZE as usize);
        bytes[at] ^= 0x10;
        let damaged = FakeDisk::with(bytes, 512);
        let (mut volume, found) = now(SettingsVolume::open(damaged.bytes())).unwrap();
        assert_eq!(found.map(|kept| kept.settings()), Some(chosen(left)));
        // What is written next replaces the damaged one.
        now(volume.keep(Kept::new(&chosen(3), Vec::new()))).unwrap();
        let (_, found) = now(SettingsVolume::open(damaged.bytes())).unwrap();
        assert_eq!(found.map(|kept| kept.settings()), Some(chosen(3)));
    }
}

#[test]
fn no_bytes_break_it() {
    let good = Kept::new(&chosen(5), appliances(3)).encode().unwrap();
    for at in 0..200 {
        for bits in [1, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= bits;
            assert!(Kept::decode(&bytes).is_none_or(|kept| kept.appliances.len() == 3), "{at}");
        }
    }
    for len in 0..40 {
        assert_eq!(Kept::decode(&good[..len]), None);
    }
    let strange = Kept { language: 9, look: 9, volume: 200, ..Kept::default() };
    assert_eq!((strange.settings().language, strange.settings().volume), (Language::English, 100));
}

#[test]
fn a_box_full_of_appliances_keeps_the_rest() {
    let disk = FakeDisk::new(SIZE as usize, 4096);
    let (mut volume, _) = now(SettingsVolume::open(disk.bytes())).unwrap();
    now(volume.keep(Kept::new(&chosen(7), appliances(1000)))).unwrap();
    let found = now(SettingsVolume::open(disk.bytes())).unwrap().1.expect("kept");
    assert_eq!(found.settings(), chosen(7));
    assert!(found.appliances.len() > 100 && found.appliances.len() < 1000);
}
