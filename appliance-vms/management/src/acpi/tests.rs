extern crate std;
use super::*;
use crate::testkit::FakeRam;
use std::format;
use std::process::Command;
use std::string::String;

fn ram() -> Ram {
    Ram::new(3 << 30).expect("a lawful amount")
}

/// The bytes of the table at an address.
fn table(bytes: &[u8], address: u64) -> &[u8] {
    let rest = &bytes[(address - ROOT) as usize..];
    let len = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes"));
    &rest[..len as usize]
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn address(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// All tables, found as a kernel finds them.
fn found(bytes: &[u8]) -> Vec<&[u8]> {
    assert_eq!((&bytes[..8], bytes[15]), (&b"RSD PTR "[..], 2));
    assert_eq!((sum(&bytes[..20]), sum(&bytes[..36])), (0, 0));
    let xsdt = table(bytes, address(bytes, 24));
    let mut tables: Vec<_> = xsdt[36..].chunks(8).map(|entry| table(bytes, address(entry, 0))).collect();
    tables.push(table(bytes, address(tables[0], 140)));
    tables.push(xsdt);
    tables
}

#[test]
fn a_kernel_finds_every_table_and_its_sum_is_right() {
    let bytes = tables(ram(), 16);
    assert!(bytes.len() as u64 <= TABLES.len);
    let found = found(&bytes);
    let names: Vec<_> = found.iter().map(|table| &table[..4]).collect();
    assert_eq!(names, [b"FACP", b"APIC", b"MCFG", b"DSDT", b"XSDT"]);
    assert!(found.iter().all(|table| sum(table) == 0));
}

#[test]
fn a_small_kernel_finds_them_by_the_table_of_short_addresses() {
    let bytes = tables(ram(), 2);
    let short = |bytes: &[u8]| u64::from(u32::from_le_bytes(bytes.try_into().expect("four bytes")));
    let rsdt = table(&bytes, short(&bytes[16..20]));
    assert_eq!((&rsdt[..4], sum(rsdt)), (&b"RSDT"[..], 0));
    let xsdt = table(&bytes, address(&bytes, 24));
    let by_short: Vec<u64> = rsdt[36..].chunks(4).map(short).collect();
    let by_long: Vec<u64> = xsdt[36..].chunks(8).map(|entry| address(entry, 0)).collect();
    assert_eq!(by_short, by_long);
}

#[test]
fn they_are_where_the_root_pointer_is_looked_for() {
    let memory = FakeRam::new(ram());
    install(&memory, ram(), 2).expect("there is RAM");
    assert_eq!(memory.bytes(0xe_0000, 8), b"RSD PTR ");
}

#[test]
fn fixed_hardware_is_reduced_and_names_the_registers_of_the_models() {
    let bytes = tables(ram(), 2);
    let fadt = found(&bytes)[0];
    let u32_at = |at: usize| u32::from_le_bytes(fadt[at..at + 4].try_into().expect("four bytes"));
    let flags = u32_at(112);
    assert_eq!(flags & (1 << 20 | 1 << 10 | 1 << 4), 1 << 20 | 1 << 10 | 1 << 4);
    // A register: address space 1 (ports), 8 bits, at 0, byte access.
    let register = |at: usize| (&fadt[at..at + 4], address(fadt, at + 4));
    assert_eq!(register(116), (&[1, 8, 0, 1][..], 0x602));
    assert_eq!(fadt[128], 1);
    assert_eq!(register(208), (&[1, 32, 0, 3][..], 0x608));
    assert_eq!(register(244), (&[1, 8, 0, 1][..], 0x600));
    assert_eq!(register(256), (&[1, 8, 0, 1][..], 0x601));
    assert_eq!((fadt[108], u32_at(76), fadt[91]), (0x32, 0x608, 4));
}

#[test]
fn every_vcpu_has_a_local_apic() {
    let bytes = tables(ram(), 3);
    let madt = found(&bytes)[1];
    let mut structures = Vec::new();
    let mut rest = &madt[44..];
    while let [kind, len, ..] = *rest {
        structures.push((kind, rest[3]));
        rest = &rest[usize::from(len)..];
    }
    assert_eq!(structures, [(0, 0), (0, 1), (0, 2), (1, 0)]);
}

/// `iasl`'s reading of the DSDT; `None` where there is no `iasl` (Debian: acpica-tools).
fn disassembled(ram: Ram) -> Option<String> {
    let folder = std::env::temp_dir().join(format!("hearth-dsdt-{}-{}", std::process::id(), ram.bytes()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (aml, asl) = (folder.join("dsdt.aml"), folder.join("dsdt.dsl"));
    std::fs::write(&aml, found(&tables(ram, 2))[3]).expect("a file");
    let output = Command::new("iasl").arg("-d").arg(&aml).output().ok()?;
    let compiled = Command::new("iasl").arg("-we").arg(&asl).output().expect("it ran before");
    let text = std::fs::read_to_string(&asl).expect("its output");
    std::fs::remove_dir_all(&folder).expect("our own folder");
    assert!(output.status.success(), "{output:?}");
    let words = String::from_utf8_lossy(&compiled.stdout).into_owned();
    assert!(compiled.status.success() && words.contains("0 Errors, 0 Warnings"), "{words}\n{text}");
    Some(text)
}

#[test]
fn the_reference_compiler_reads_the_devices() {
    for bytes in [2 << 20, 3 << 30, 64 << 30] {
        let Some(text) = disassembled(Ram::new(bytes).expect("a lawful amount")) else { return };
        for words in [
            "EisaId (\"PNP0A08\")",
            "EisaId (\"PNP0C02\")",
            "EisaId (\"PNP0501\")",
            "EisaId (\"PNP0B00\")",
            "EisaId (\"PNP0C0C\")",
            "\"ACPI0013\"",
            "Notify (\\_SB.PWRB, 0x80)",
            "Name (_S5",
            "0xB0000000,         // Address Base",
            "0xFDFFFFFF,         // Range Maximum",
        ] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
    }
}
