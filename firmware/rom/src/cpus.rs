//! Which CPUs there are, on a board where no table says: all others are called, and each marks its
//! own place in a list. Intel SDM volume 3, 9.4.

use core::arch::global_asm;
use core::arch::x86_64::__cpuid;
use heapless::Vec;
use hv_defs::apic::{Register, SOFTWARE_ENABLE, icr};
use rom::acpi::tables::{IO_APIC, LOCAL_APIC};
use rom::chipset::PM_TIMER;
use x86_64::instructions::port::Port;

/// The page that the other CPUs start in; a SIPI's vector is its number.
const PAGE: u32 = 0x8000;
/// In that page: a byte for each APIC ID.
const MARKS: u32 = 0x100;
const IDS: usize = 256;

global_asm!(include_str!("count.S"), MARKS = const MARKS, options(att_syntax));

unsafe extern "C" {
    static count_start: u8;
    static count_end: u8;
}

/// The APIC IDs of all CPUs that answer, this one's first.
pub fn find() -> Vec<u8, IDS> {
    let own = (__cpuid(1).ebx >> 24) as u8;
    prepare();
    let spurious = local_read(Register::SPURIOUS);
    local_write(Register::SPURIOUS, spurious | SOFTWARE_ENABLE);
    // INIT, 10 ms, SIPI, 200 µs, SIPI: SDM 3, 9.4.4.1. Then as long as a CPU may take to wake.
    send(icr::INIT);
    wait_micros(10_000);
    send(icr::STARTUP | PAGE >> 12);
    wait_micros(200);
    send(icr::STARTUP | PAGE >> 12);
    wait_micros(20_000);
    local_write(Register::SPURIOUS, spurious);

    let marked = (0..=u8::MAX).filter(|&id| {
        // SAFETY: the page is RAM that only the other CPUs write to.
        id != own && unsafe { mark(id).read_volatile() } != 0
    });
    core::iter::once(own).chain(marked).collect()
}

/// The I/O APIC's ID. 82093AA (290566), 3.2.1.
pub fn io_apic_id() -> u8 {
    const INDEX_ID: u32 = 0;
    let select: *mut u32 = core::ptr::with_exposed_provenance_mut(IO_APIC as usize);
    // SAFETY: every board that the door knows has an I/O APIC there, mapped; selecting and reading
    // a register changes nothing. The data window is 16 bytes further.
    let id = unsafe {
        select.write_volatile(INDEX_ID);
        select.add(4).read_volatile()
    };
    (id >> 24) as u8 & 0xf
}

fn mark(id: u8) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut((PAGE + MARKS + u32::from(id)) as usize)
}

/// Puts the code into the page and clears the marks.
fn prepare() {
    let (start, end) = (&raw const count_start, &raw const count_end);
    let len = end.addr() - start.addr();
    assert!(len <= MARKS as usize);
    // SAFETY: the page is conventional memory that nobody uses.
    unsafe {
        let page: *mut u8 = core::ptr::with_exposed_provenance_mut(PAGE as usize);
        core::ptr::copy_nonoverlapping(start, page, len);
        mark(0).write_bytes(0, IDS);
    }
}

fn local(register: Register) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut((LOCAL_APIC + register.0) as usize)
}

fn local_read(register: Register) -> u32 {
    // SAFETY: the local APIC is there after reset (SDM 3, 11.4.1), mapped.
    unsafe { local(register).read_volatile() }
}

fn local_write(register: Register, value: u32) {
    // SAFETY: as above; `find` writes only what starts the other CPUs in its own page.
    unsafe { local(register).write_volatile(value) };
}

fn send(command: u32) {
    local_write(Register::ICR, command | icr::ASSERT | icr::ALL_BUT_SELF);
    // A message is taken within microseconds; one that is not taken is not waited for.
    for _ in 0..1000 {
        if local_read(Register::ICR) & icr::PENDING == 0 {
            break;
        }
    }
}

/// Waits by the PM timer. ACPI 6.5, 4.8.3.3.
fn wait_micros(micros: u32) {
    const TICKS_PER_MILLISECOND: u32 = 3580;
    /// Reads after which a timer that stands still is given up; a read takes about 1 µs.
    const PATIENCE: u32 = 1_000_000;
    let ticks = micros * TICKS_PER_MILLISECOND / 1000;
    // SAFETY: `Board::open` has put power management there; reading changes nothing.
    let read = || unsafe { Port::<u32>::new(PM_TIMER).read() };
    let start = read();
    for _ in 0..PATIENCE {
        // 24 bits count; the difference is right across their end.
        if read().wrapping_sub(start) & 0xff_ffff >= ticks {
            break;
        }
        core::hint::spin_loop();
    }
}
