extern crate std;
use super::*;
use crate::loader::testkit::{File, Hollow, Loaded, MIB, RSDP, empty, load_with, put};
use hv_abi::appliance::Format;
use std::string::ToString;
use zerocopy::FromBytes;

const PREFERRED: u64 = 16 * MIB;
const PAYLOAD: usize = 0x3000;
const OFFSET: usize = 3 * 512;

/// A kernel that prefers 16 MiB and needs 8 MiB there.
pub(in crate::loader) fn kernel() -> Vec<u8> {
    let mut file = empty(OFFSET + PAYLOAD);
    put(&mut file, 0x1f1, &[2]);
    put(&mut file, 0x1f4, &((PAYLOAD / 16) as u32).to_le_bytes());
    put(&mut file, 0x1fe, &0xaa55u16.to_le_bytes());
    put(&mut file, 0x202, b"HdrS");
    put(&mut file, 0x206, &0x020fu16.to_le_bytes());
    put(&mut file, 0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(&mut file, 0x230, &0x20_0000u32.to_le_bytes());
    put(&mut file, 0x234, &[1]);
    put(&mut file, 0x236, &1u16.to_le_bytes());
    put(&mut file, 0x238, &2047u32.to_le_bytes());
    put(&mut file, 0x250, &0xdeadu64.to_le_bytes());
    put(&mut file, 0x258, &PREFERRED.to_le_bytes());
    put(&mut file, 0x260, &(8 * MIB as u32).to_le_bytes());
    file[OFFSET..].iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
    file
}

fn load(kernel: &[u8], initrd: Option<&dyn crate::loader::Source>, mib: u64) -> Loaded {
    load_with(Format::Linux, mib, kernel, initrd, "console=ttyS0")
}

fn refusal(change: impl FnOnce(&mut Vec<u8>), mib: u64) -> std::string::String {
    let mut file = kernel();
    change(&mut file);
    load(&file, None, mib).start.expect_err("refused").to_string()
}

#[test]
fn a_kernel_lies_where_it_prefers_and_is_told_everything() {
    let initrd = File((0..5000u32).map(|at| (at % 251) as u8).collect());
    let Loaded { ram, start } = load(&kernel(), Some(&initrd), 64);
    let start = start.expect("it is a kernel");
    assert_eq!((start.mode, start.rip), (StartMode::LONG, PREFERRED + 0x200));
    let [rax, rbx, page, rdi] = start.registers;
    assert_eq!((rax, rbx, rdi), (0, 0, 0));
    assert_eq!(ram.bytes(PREFERRED, PAYLOAD), kernel()[OFFSET..]);
    assert_eq!(ram.u64(page + 0x70), RSDP);
    assert_eq!(ram.bytes(page + 0x1ef, 1), [0], "the sentinel");
    let bytes = ram.bytes(page + 0x1f1, size_of::<SetupHeader>());
    let header = SetupHeader::read_from_bytes(&bytes).expect("its own size");
    assert_eq!((header.type_of_loader, header.setup_data.get()), (0xff, 0));
    assert_eq!(ram.text(header.cmd_line_ptr.get().into()), "console=ttyS0");
    assert_eq!(u64::from(header.ramdisk_image.get()), 64 * MIB - 2 * PAGE_SIZE);
    assert_eq!(ram.bytes(header.ramdisk_image.get().into(), 5000), initrd.0);
    assert_eq!(header.ramdisk_size.get(), 5000);
}

#[test]
fn the_memory_map_is_in_the_zero_page() {
    let Loaded { ram, start } = load(&kernel(), None, 6144);
    let page = start.expect("it is a kernel").registers[2];
    let entries = ram.bytes(page + 0x1e8, 1)[0];
    let entry = |number: u64| {
        let at = page + 0x2d0 + number * 20;
        (ram.u64(at), ram.u64(at + 8), ram.u32(at + 16))
    };
    let map: Vec<_> = (0..u64::from(entries)).map(entry).collect();
    assert_eq!(
        map,
        [
            (0, 0xa_0000, 1),
            (0xa_0000, 0x6_0000, 2),
            (MIB, 0x7ff0_0000, 1),
            (0xb000_0000, MIB, 2),
            (1 << 32, 4 << 30, 1)
        ]
    );
}

#[test]
fn every_address_below_four_gib_is_mapped_where_it_is() {
    let Loaded { ram, start } = load(&kernel(), None, 64);
    let start = start.expect("it is a kernel");
    let walk = |address: u64| {
        let index = |level: u32| (address >> (12 + 9 * level) & 511) * 8;
        let third = ram.u64(start.cr3 + index(3));
        let second = ram.u64((third & !0xfff) + index(2));
        let page = ram.u64((second & !0xfff) + index(1));
        assert!([third, second].iter().all(|entry| entry & 0x83 == 3) && page & 0x83 == 0x83);
        (page & !0x1f_ffff) + (address & 0x1f_ffff)
    };
    for address in [0, 0x8_0000, PREFERRED, 0x4000_0000, 0xfee0_0123, 0xffff_ffff] {
        assert_eq!(walk(address), address);
    }
    assert_eq!(ram.u64(start.cr3 + 8), 0, "nothing above");
    assert!(start.rsp % 16 == 0 && start.rsp > start.cr3);
}

#[test]
fn what_is_no_kernel_for_this_pc_is_refused_in_words() {
    let words = |refusal: &str, words: &str| assert!(refusal.contains(words), "{refusal}");
    words(&refusal(|file| put(file, 0x202, b"...."), 64), "no Linux bzImage: it has no 0xaa55 and HdrS");
    words(&refusal(|file| put(file, 0, b"\x7fELF"), 64), "it is an ELF file; see kernel.format");
    words(&refusal(Vec::clear, 64), "no Linux bzImage");
    words(&refusal(|file| file.truncate(0x220), 64), "cut short: it should have 616 bytes and has 544");
    words(&refusal(|file| file.truncate(OFFSET + 100), 64), "should have 13824 bytes and has 1636; copy it");
    words(&refusal(|file| put(file, 0x236, &[0]), 64), "no 64-bit entry point");
    words(&refusal(|file| put(file, 0x206, &[0x0b, 2]), 64), "no 64-bit entry point");
    words(
        &refusal(|_| (), 22),
        "needs 8192 KiB from 0x1000000 on, so RAM up to 24576 KiB, and has 22528 KiB: 2048 KiB too few",
    );
    words(&refusal(|file| put(file, 0x258, &0x9_0000u64.to_le_bytes()), 64), "where it has no RAM to use");
    words(&refusal(|file| put(file, 0x258, &u64::MAX.to_le_bytes()), 64), "where it has no RAM to use");
    words(&refusal(|file| put(file, 0x238, &[5, 0, 0, 0]), 64), "has 13 bytes, and the kernel takes 5");
}

#[test]
fn an_initrd_must_fit_beside_the_kernel() {
    let hollow = |len| Hollow { len, fails_from: u64::MAX };
    // The kernel ends at 24 MiB.
    assert!(load(&kernel(), Some(&hollow(40 * MIB)), 64).start.is_ok());
    let refusal = load(&kernel(), Some(&hollow(40 * MIB + 1)), 64).start.expect_err("too large").to_string();
    assert!(refusal.contains("40961 KiB, and beside the kernel there is room for 40960 KiB"), "{refusal}");
    assert!(load(&kernel(), Some(&hollow(u64::MAX)), 64).start.is_err());
    let mut file = kernel();
    put(&mut file, 0x22c, &0x01ff_ffffu32.to_le_bytes());
    let Loaded { ram, start } = load(&file, Some(&hollow(MIB)), 64);
    let page = start.expect("there is room").registers[2];
    assert_eq!(u64::from(ram.u32(page + 0x218)), 31 * MIB, "below initrd_addr_max");
}

#[test]
fn a_disk_that_fails_is_said() {
    let initrd = Hollow { len: MIB, fails_from: MIB / 2 };
    let refusal = load(&kernel(), Some(&initrd), 64).start.expect_err("it fails").to_string();
    assert!(refusal.contains("the initrd could not be read (Device)"), "{refusal}");
}
