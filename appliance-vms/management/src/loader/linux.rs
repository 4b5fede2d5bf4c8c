//! Linux bzImage, entered by the 64-bit boot protocol.
//! Linux, Documentation/arch/x86/boot.rst ("64-bit Boot Protocol") and zero-page.rst.

#[cfg(test)]
pub(super) mod tests;

use super::{BOOT_INFO, COMMAND_LINE, E820Entry, Guest, LoadError, PAGE_TABLES, Program, read, start};
use crate::memory::{GuestMemory, NotRam};
use crate::platform::EXTENDED;
use alloc::vec;
use alloc::vec::Vec;
use hv_abi::manifest::{StartMode, StartState};
use hv_abi::memory::{PAGE_SIZE, PhysRange};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// The set-up header of protocol 2.12, where it is in the file and in the zero page. boot.rst, "The
/// Real-Mode Kernel Header".
#[repr(C)]
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct SetupHeader {
    setup_sects: u8,            // 0x1f1
    root_flags: U16,            // 0x1f2
    syssize: U32,               // 0x1f4, in 16 bytes
    ram_size: U16,              // 0x1f8
    vid_mode: U16,              // 0x1fa
    root_dev: U16,              // 0x1fc
    boot_flag: U16,             // 0x1fe
    jump: [u8; 2],              // 0x200
    header: [u8; 4],            // 0x202
    version: U16,               // 0x206
    realmode_swtch: U32,        // 0x208
    start_sys_seg: U16,         // 0x20c
    kernel_version: U16,        // 0x20e
    type_of_loader: u8,         // 0x210
    loadflags: u8,              // 0x211
    setup_move_size: U16,       // 0x212
    code32_start: U32,          // 0x214
    ramdisk_image: U32,         // 0x218
    ramdisk_size: U32,          // 0x21c
    bootsect_kludge: U32,       // 0x220
    heap_end_ptr: U16,          // 0x224
    ext_loader_ver: u8,         // 0x226
    ext_loader_type: u8,        // 0x227
    cmd_line_ptr: U32,          // 0x228
    initrd_addr_max: U32,       // 0x22c
    kernel_alignment: U32,      // 0x230
    relocatable_kernel: u8,     // 0x234
    min_alignment: u8,          // 0x235
    xloadflags: U16,            // 0x236
    cmdline_size: U32,          // 0x238
    hardware_subarch: U32,      // 0x23c
    hardware_subarch_data: U64, // 0x240
    payload_offset: U32,        // 0x248
    payload_length: U32,        // 0x24c
    setup_data: U64,            // 0x250
    pref_address: U64,          // 0x258
    init_size: U32,             // 0x260
    handover_offset: U32,       // 0x264
}

const HEADER: usize = 0x1f1;
const _: () = assert!(HEADER + size_of::<SetupHeader>() == 0x268);

const BOOT_FLAG: u16 = 0xaa55;
const MAGIC: [u8; 4] = *b"HdrS";
/// The first protocol with `xloadflags`.
const VERSION_2_12: u16 = 0x20c;
/// `xloadflags`: there is a 64-bit entry point, at 0x200.
const XLF_KERNEL_64: u16 = 1 << 0;
const ENTRY_64: u64 = 0x200;
/// `type_of_loader`: none that has a number.
const LOADER_UNDEFINED: u8 = 0xff;
const SECTOR: u64 = 512;
/// What a file's `setup_sects` of 0 means.
const DEFAULT_SETUP_SECTS: u8 = 4;

/// Where things are in the zero page. zero-page.rst.
mod zero_page {
    pub const ACPI_RSDP_ADDR: usize = 0x70;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub const E820_TABLE: usize = 0x2d0;
}

const PRESENT_WRITE: u64 = 0b11;
const LARGE: u64 = 1 << 7;
const ENTRIES: u64 = 512;

/// What of a kernel is copied, and where to.
struct Image {
    header: SetupHeader,
    /// Where its protected-mode part begins in the file.
    offset: u64,
    /// What that part needs of RAM; it is copied to the start.
    room: PhysRange,
    /// Bytes that are copied.
    len: u64,
}

/// Puts a kernel, its initrd and what it is told into the guest's RAM.
pub(super) async fn load(program: &Program<'_>, guest: &Guest<'_>) -> Result<StartState, LoadError> {
    let header = read_header(program).await?;
    let mut image = place(header, program.kernel.len(), guest.ram.low())?;
    let most = image.header.cmdline_size.get() as usize;
    guest.put_command_line("", program.cmdline, most)?;
    if let Some((initrd, len)) = program.initrd() {
        let range = place_initrd(&image, len, guest.ram.low())?;
        guest.copy("initrd", initrd, 0, range).await?;
        // Both are below 2 GiB.
        image.header.ramdisk_image = U32::new(range.base as u32);
        image.header.ramdisk_size = U32::new(range.len as u32);
    }
    guest.copy("kernel", program.kernel, image.offset, PhysRange::new(image.room.base, image.len)).await?;
    put_page_tables(guest.memory)?;
    guest.memory.write(BOOT_INFO, &zero_page(image.header, guest))?;
    Ok(start(StartMode::LONG, image.room.base.saturating_add(ENTRY_64), [0, 0, BOOT_INFO, 0]))
}

async fn read_header(program: &Program<'_>) -> Result<SetupHeader, LoadError> {
    const WANTED: &str = "Linux bzImage";
    const END: u64 = (HEADER + size_of::<SetupHeader>()) as u64;
    let has = program.kernel.len();
    let mut magic = [0; 4];
    let mut header = SetupHeader::new_zeroed();
    if has >= HEADER as u64 {
        read("kernel", program.kernel, 0, &mut magic).await?;
        let there = (has.min(END) - HEADER as u64) as usize;
        let into = header.as_mut_bytes().get_mut(..there).unwrap_or_default();
        read("kernel", program.kernel, HEADER as u64, into).await?;
    }
    if magic == *b"\x7fELF" {
        return Err(LoadError::NotAKernel { wanted: WANTED, why: "it is an ELF file" });
    }
    if header.boot_flag.get() != BOOT_FLAG || header.header != MAGIC {
        return Err(LoadError::NotAKernel { wanted: WANTED, why: "it has no 0xaa55 and HdrS at its start" });
    }
    if has < END {
        return Err(LoadError::CutShort { what: "kernel", needs: END, has });
    }
    if header.version.get() < VERSION_2_12 || header.xloadflags.get() & XLF_KERNEL_64 == 0 {
        return Err(LoadError::Only32Bit);
    }
    Ok(header)
}

/// Where the kernel goes: where it prefers to be. Loaded lower, a relocatable kernel moves itself there
/// all the same (arch/x86/boot/compressed/head_64.S), so nothing is won.
fn place(header: SetupHeader, file: u64, ram_end: u64) -> Result<Image, LoadError> {
    let sectors = if header.setup_sects == 0 { DEFAULT_SETUP_SECTS } else { header.setup_sects };
    let offset = (u64::from(sectors) + 1) * SECTOR;
    let len = u64::from(header.syssize.get()) * 16;
    if offset + len > file {
        return Err(LoadError::CutShort { what: "kernel", needs: offset + len, has: file });
    }
    let room = PhysRange::new(header.pref_address.get(), u64::from(header.init_size.get()).max(len));
    if room.base < EXTENDED || room.base.checked_add(room.len).is_none() {
        return Err(LoadError::OutsideRam(room));
    }
    if room.end() > ram_end {
        return Err(LoadError::TooLittleRam { needs: room, ram_end });
    }
    Ok(Image { header, offset, room, len })
}

/// The initrd goes as high as it may, so that the kernel has room around itself.
fn place_initrd(image: &Image, len: u64, ram_end: u64) -> Result<PhysRange, LoadError> {
    let top = (u64::from(image.header.initrd_addr_max.get()) + 1).min(ram_end);
    let lowest = image.room.end().next_multiple_of(PAGE_SIZE);
    let base = top.checked_sub(len).map(|base| base & !(PAGE_SIZE - 1)).filter(|base| *base >= lowest);
    let base = base.ok_or(LoadError::InitrdTooLarge { bytes: len, room: top.saturating_sub(lowest) })?;
    Ok(PhysRange::new(base, len))
}

/// The first 4 GiB where they are, in pages of 2 MiB: the kernel, its initrd and its boot information.
fn put_page_tables(memory: &dyn GuestMemory) -> Result<(), NotRam> {
    let table = |number: u64| (PAGE_TABLES + number * PAGE_SIZE) | PRESENT_WRITE;
    let mut words = vec![0; 2 * ENTRIES as usize];
    words[0] = table(1);
    for (number, word) in words.iter_mut().skip(ENTRIES as usize).take(4).enumerate() {
        *word = table(2 + number as u64);
    }
    words.extend((0..4 * ENTRIES).map(|page| page << 21 | LARGE | PRESENT_WRITE));
    memory.write(PAGE_TABLES, words.as_bytes())
}

/// The page that tells the kernel everything.
fn zero_page(mut header: SetupHeader, guest: &Guest<'_>) -> Vec<u8> {
    header.type_of_loader = LOADER_UNDEFINED;
    header.cmd_line_ptr = U32::new(COMMAND_LINE as u32);
    header.setup_data = U64::ZERO;
    let map: Vec<E820Entry> = guest.ram.map().map(E820Entry::from).collect();
    let mut page = vec![0; PAGE_SIZE as usize];
    let mut put = |offset: usize, bytes: &[u8]| {
        page.iter_mut().skip(offset).zip(bytes).for_each(|(to, from)| *to = *from);
    };
    put(zero_page::ACPI_RSDP_ADDR, &guest.rsdp.to_le_bytes());
    put(zero_page::E820_ENTRIES, &[map.len() as u8]);
    put(HEADER, header.as_bytes());
    put(zero_page::E820_TABLE, map.as_bytes());
    page
}
