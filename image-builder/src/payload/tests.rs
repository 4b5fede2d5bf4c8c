//! Payloads from made-up programs, read back by the code that the doors use.

use super::synthetic::{Part, elf};
use super::*;
use elf::abi::PF_R;
use handoff::payload::Payload;

const BASE: u64 = IMAGE_FLOOR;

/// Code, constants, and data with a `.bss` that ends within a page.
fn parts() -> Vec<Part> {
    vec![
        Part::new(BASE, PF_R | PF_X, &[0xc3; 5000]),
        Part::new(BASE + 0x2000, PF_R, b"constants"),
        Part::new(BASE + 0x3000, PF_R | PF_W, b"data").in_memory(0x1801),
    ]
}

fn image(parts: &[Part]) -> Result<Image> {
    Image::from_elf(&elf(BASE + 8, parts), "0.1.0")
}

fn refusal(parts: &[Part]) -> String {
    image(parts).expect_err("a broken rule").to_string()
}

#[test]
fn a_door_unpacks_what_the_linker_laid_out() {
    let image = image(&parts()).expect("lawful");
    let mut expected = vec![0; 0x5000];
    expected[..5000].fill(0xc3);
    expected[0x2000..0x2009].copy_from_slice(b"constants");
    expected[0x3000..0x3004].copy_from_slice(b"data");
    assert_eq!(image.memory_len(), 0x5000);
    for packed in [image.plain(), image.deflated()] {
        let payload = Payload::check(&packed).expect("lawful");
        let mut memory = vec![0xaa; payload.memory_len() as usize];
        payload.unpack(&mut memory).expect("whole");
        assert!(memory == expected);
    }
    assert!(image.deflated().len() < image.plain().len());
}

#[test]
fn the_header_says_who_may_do_what() {
    let header = check(&image(&parts()).expect("lawful").plain()).expect("whole");
    let rights: Vec<_> = header.segments().map(|part| (part.offset, part.len, part.rights)).collect();
    let expected = [(0, 0x2000, Segment::EXECUTE), (0x2000, 0x1000, 0), (0x3000, 0x2000, Segment::WRITE)];
    assert_eq!(rights, expected);
    assert_eq!((header.entry, header.image_len), (BASE + 8, 0x3004));
    assert_eq!(&header.product, b"0.1.0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn damage_anywhere_is_seen() {
    let payload = image(&parts()).expect("lawful").deflated();
    assert!(check(&payload).is_ok());
    for at in [9, 100, 255, 256, payload.len() - 1] {
        let mut damaged = payload.clone();
        damaged[at] ^= 1;
        assert!(check(&damaged).is_err(), "byte {at}");
    }
    assert!(check(&payload[..payload.len() - 1]).is_err());
    assert!(check(&payload[..100]).is_err());
}

#[test]
fn each_broken_rule_is_named() {
    assert!(refusal(&[]).contains("loads nothing"));
    assert!(refusal(&[Part::new(BASE, PF_R | PF_W | PF_X, &[0; 16])]).contains("written and executed"));
    assert!(refusal(&[Part::new(BASE + 0x1000, PF_R | PF_X, &[0; 16])]).contains("2 MiB"));
    assert!(refusal(&[Part::new(0x20_0000, PF_R | PF_X, &[0; 16])]).contains("below"));
    assert!(refusal(&[Part::new(BASE, PF_R, &[0; 16])]).contains("entry point"));
    let code = Part::new(BASE, PF_R | PF_X, &[0; 16]);
    let pair = |second: Part| [code.clone(), second];
    assert!(refusal(&pair(Part::new(BASE + 0x1010, PF_R, &[0; 16]))).contains("start on a page"));
    assert!(refusal(&pair(Part::new(BASE, PF_R, &[0; 16]))).contains("shares a page"));
    assert!(
        refusal(&pair(Part::new(BASE + 0x1000, PF_R, &[0; 16]).in_memory(65 << 20))).contains("more than")
    );
    let many: Vec<Part> = (0..9).map(|at| Part::new(BASE + at * 0x1000, PF_R | PF_X, &[0; 16])).collect();
    assert!(refusal(&many).contains("9 segments"));
    assert!(image(&many[..8]).is_ok());
}

#[test]
fn a_program_that_could_be_moved_is_refused() {
    let mut file = elf(BASE + 8, &parts());
    file[16] = 3; // ET_DYN
    assert!(Image::from_elf(&file, "0.1.0").expect_err("moves").to_string().contains("--no-pie"));
    assert!(Image::from_elf(&elf(BASE + 8, &parts()), "0.1.0-a-very-long-name").is_err());
    assert!(Image::from_elf(b"\x7fELF", "0.1.0").is_err());
}
