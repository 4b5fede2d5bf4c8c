//! Instructions on device memory: each is carried out on a device and on RAM that holds the same, and
//! must do the same to registers, flags and memory.

use super::{Named, Outcome, check};
use crate::{Handover, apic, log, window};
use core::arch::asm;
use hv_defs::apic::{Register, lvt_timer::MASKED};
use hv_defs::control::rflags::{AF, CF, STATUS};

pub const ONE: &[Named] = &[
    ("mmio/reads", reads),
    ("mmio/nobody", nobody),
    ("mmio/register", register),
    ("mmio/segments", segments),
    ("mmio/strings", strings),
    ("mmio/byte-by-byte", byte_by_byte),
    ("mmio/ioapic", ioapic),
];

/// What an instruction works with; RSI points to the memory.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Registers {
    rax: u64,
    rcx: u64,
    rdx: u64,
    flags: u64,
}

/// Runs one instruction.
type Run = fn(&mut Registers, u64);

/// An instruction: its text, what to run, and the flags that it defines.
struct Form {
    text: &'static str,
    run: Run,
    flags: u64,
}

/// Status flags without AF, which logic leaves undefined.
const DEFINED: u64 = STATUS & !AF;

macro_rules! forms {
    ($flags:expr; $($text:literal),* $(,)?) => {
        &[$(Form { text: $text, flags: $flags, run: |registers, at| {
            // SAFETY: the case's own memory, or a device that is made for this.
            unsafe {
                asm!(
                    "push {flags}",
                    "popfq",
                    $text,
                    "pushfq",
                    "pop {flags}",
                    "cld",
                    flags = inout(reg) registers.flags,
                    inout("rax") registers.rax,
                    inout("rcx") registers.rcx,
                    inout("rdx") registers.rdx,
                    in("rsi") at,
                    in("r8") at,
                    in("r13") at,
                );
            }
        } }),*]
    };
}

/// Of any width; what they write is lost on a device that takes 32 bits only.
#[rustfmt::skip]
const READS: &[Form] = forms![DEFINED;
    "mov al, [rsi]", "mov ah, [rsi + 1]", "mov cl, [r8 + 2]", "mov dl, [r13 + 3]", "mov ax, [rsi]",
    "mov ecx, [rsi]", "mov rdx, [rsi]", "mov edx, [r13]", "mov cx, [rsi + 2]", "mov rax, [r8 + 8]",
    "mov eax, [esi]", "mov ecx, [esi + eax*4 - 0x20]", "mov rcx, [rsi + rax*8 - 0x40]",
    "movzx eax, byte ptr [rsi]", "movzx cx, byte ptr [rsi + 2]", "movzx rdx, word ptr [rsi]",
    "movzx ecx, word ptr [r8 + 2]", "movsx eax, byte ptr [rsi]", "movsx rcx, byte ptr [rsi + 3]",
    "movsx edx, word ptr [rsi]", "movsx rax, word ptr [r13 + 2]", "movsxd rax, dword ptr [rsi]",
    "cmp al, [rsi]", "cmp [rsi + 2], cl", "cmp ax, [rsi]", "cmp [rsi], edx", "cmp rax, [rsi]",
    "cmp dword ptr [rsi], 0x50014", "cmp byte ptr [rsi], 0x14", "cmp qword ptr [rsi], -1",
    "cmp word ptr [rsi + 2], 5", "test [rsi], al", "test [rsi], rdx", "test dword ptr [rsi], 0x10",
    "test byte ptr [rsi + 2], 4", "add eax, [rsi]", "adc rcx, [rsi]", "sub dx, [rsi]", "sbb al, [rsi]",
    "and eax, [rsi]", "or rcx, [rsi]", "xor dl, [rsi + 1]", "push [rsi]\npop rcx", "push word ptr [rsi]\npop dx",
    "lodsb", "lodsw", "lodsd", "lodsq", "fs mov eax, [rsi]", "ds mov ecx, [rsi]", "rex64 mov eax, [rsi]",
    "mov eax, [rsi + 0x7fffff00 - 0x7fffff00]", "clflush [rsi]",
];

/// Of any width, which also write.
#[rustfmt::skip]
const CHANGES: &[Form] = forms![DEFINED;
    "mov [rsi], al", "mov [rsi + 1], ah", "mov [r8 + 2], cl", "mov [rsi], ax", "mov [rsi], ecx",
    "mov [r13], rdx", "mov byte ptr [rsi], 0x5a", "mov word ptr [rsi], 0x1234",
    "mov dword ptr [rsi], 0x12345678", "mov qword ptr [rsi], -2", "mov [esi], edx",
    "add [rsi], al", "add word ptr [rsi], 1", "adc [rsi], ecx", "sub [rsi], rdx", "sbb byte ptr [rsi], 3",
    "and [rsi], ax", "or [rsi], rcx", "xor [rsi], dl", "inc byte ptr [rsi]", "inc qword ptr [rsi]",
    "dec word ptr [rsi]", "not byte ptr [rsi]", "not qword ptr [rsi]", "neg word ptr [rsi]",
    "neg qword ptr [rsi]", "xchg [rsi], al", "xchg [rsi], rdx", "xadd [rsi], cx", "xadd [rsi], rdx",
    "cmpxchg [rsi], cl", "cmpxchg [rsi], rdx", "lock xadd [rsi], eax", "lock cmpxchg [rsi], ecx",
    "push rcx\npop [rsi]", "push cx\npop word ptr [rsi]", "movnti [rsi], eax", "movnti [rsi], rdx",
];

/// Of 32 bits, which a device takes.
#[rustfmt::skip]
const DOUBLE: &[Form] = forms![DEFINED;
    "mov [rsi], eax", "mov [r8], ecx", "mov [r13], edx", "mov [esi], ecx", "mov dword ptr [rsi], 0x8700",
    "mov dword ptr [r8 + 0], 0x102", "add [rsi], ecx", "add dword ptr [rsi], 3", "adc [rsi], edx",
    "sub [rsi], ecx", "sub dword ptr [rsi], -5", "sbb [rsi], eax", "and [rsi], ecx",
    "and dword ptr [rsi], 0xfff0", "or [rsi], ecx", "or dword ptr [rsi], 0x700", "xor [rsi], edx",
    "xor dword ptr [rsi], -1", "inc dword ptr [rsi]", "dec dword ptr [rsi]", "not dword ptr [rsi]",
    "neg dword ptr [rsi]", "xchg [rsi], ecx", "xchg edx, [rsi]", "xadd [rsi], ecx", "cmpxchg [rsi], ecx",
    "mov eax, [rsi]\ncmpxchg [rsi], ecx", "lock or dword ptr [rsi], 4", "lock xadd [rsi], edx",
    "lock cmpxchg [rsi], ecx", "lock inc dword ptr [rsi]", "lock and [rsi], edx", "movnti [rsi], ecx",
];

/// Of single bits: only CF is defined.
#[rustfmt::skip]
const BITS: &[Form] = forms![CF;
    "bt dword ptr [rsi], 2", "bt dword ptr [rsi], 3", "bts dword ptr [rsi], 0", "btr dword ptr [rsi], 4",
    "btc dword ptr [rsi], 8", "mov ecx, 34\nbt [rsi - 4], ecx", "mov ecx, -30\nbts [rsi + 4], ecx",
    "mov rcx, -30\nbtr [rsi + 4], ecx", "mov edx, 9\nbtc [rsi], edx", "lock bts dword ptr [rsi], 9",
];

const START: Registers = Registers {
    rax: 0x1122_3344_5566_0008,
    rcx: 0x8877_6655_4433_2217,
    rdx: 0xfedc_ba98_0000_0305,
    flags: 2,
};

/// Runs `form` on both memories from the same registers; they must come out the same.
fn same(form: &Form, device: u64, mirror: u64, flags: u64) -> Outcome {
    // An index in RAX is 8, and 32-bit addresses reach both.
    let (mut on_device, mut on_ram) = (Registers { flags, ..START }, Registers { flags, ..START });
    if form.text.contains("rax*8") || form.text.contains("eax*4") {
        (on_device.rax, on_ram.rax) = (8, 8);
    }
    (form.run)(&mut on_device, device);
    (form.run)(&mut on_ram, mirror);
    let mask = form.flags;
    let same = Registers { flags: on_device.flags & mask, ..on_device }
        == Registers { flags: on_ram.flags & mask, ..on_ram };
    if !same {
        for (what, registers) in [("device", on_device), ("ram", on_ram)] {
            let Registers { rax, rcx, rdx, flags } = registers;
            let text = form.text;
            log(format_args!("guest.form {text} {what} {rax:x} {rcx:x} {rdx:x} {flags:x}"));
        }
    }
    check(same, "an instruction differs between device memory and RAM")
}

/// A page of RAM that mirrors a device's register, below 4 GiB.
fn mirror(handover: &Handover, bytes: [u8; 16]) -> u64 {
    let at = window::frame(handover, 12) + 0x100;
    window::put(at - 16, &[0; 48]);
    window::put(at, &bytes);
    at
}

/// Carry clear and set.
const FLAGS: [u64; 2] = [2, 2 | CF];

/// The version register: nothing of it changes, and nothing follows it.
fn reads(handover: &Handover) -> Outcome {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&apic::read(Register::VERSION).to_le_bytes());
    let mirror = mirror(handover, bytes);
    for form in READS {
        for flags in FLAGS {
            same(form, 0xfee0_0030, mirror, flags)?;
        }
    }
    Ok(())
}

/// Where nobody is: reads answer all ones, writes are dropped.
fn nobody(handover: &Handover) -> Outcome {
    for hole in [0xd000_0000_u64, 0xd000_0ffc - 4, 0xfec1_0000] {
        for form in READS.iter().chain(CHANGES).chain(DOUBLE).chain(BITS) {
            let mirror = mirror(handover, [0xff; 16]);
            window::put(mirror - 16, &[0xff; 48]);
            same(form, hole, mirror, 2)?;
        }
        check(window::get::<4>(hole) == [0xff; 4], "a write to where nobody is is kept")?;
    }
    Ok(())
}

/// A register that keeps what it is told: LINT0's entry, masked or not, as no pin is connected.
fn register(handover: &Handover) -> Outcome {
    const AT: u64 = 0xfee0_0350;
    const KEPT: u32 = 0x1_a7ff;
    for form in DOUBLE.iter().chain(BITS) {
        for (flags, value) in
            FLAGS.into_iter().flat_map(|flags| [0, 0x8705, 0x1_a7ff].map(|value| (flags, value)))
        {
            apic::write(Register::LVT_LINT0, value);
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&value.to_le_bytes());
            let mirror = mirror(handover, bytes);
            same(form, AT, mirror, flags)?;
            let there = u32::from_le_bytes(window::get(mirror)) & KEPT;
            if apic::read(Register::LVT_LINT0) != there {
                log(format_args!("guest.form {} value {value:x}", form.text));
                return Err("an instruction writes something else to a device");
            }
        }
    }
    // Writes of other widths are dropped.
    apic::write(Register::LVT_LINT0, 0x1_0042);
    window::put(AT, &[0x11, 0x22]);
    check(apic::read(Register::LVT_LINT0) == 0x1_0042, "a byte changes a register")?;
    apic::write(Register::LVT_LINT0, MASKED);
    Ok(())
}

/// FS and GS have bases in 64-bit code, and `MOV` has forms with an address in the instruction.
fn segments(_: &Handover) -> Outcome {
    const FS_BASE: u32 = 0xc000_0100;
    const GS_BASE: u32 = 0xc000_0101;
    let version = u64::from(apic::read(Register::VERSION));
    let set = |number, base| check(super::msr::write(number, base), "a segment's base can't be written");
    set(FS_BASE, 0xfee0_0000)?;
    set(GS_BASE, 0xfee0_0000_u64.wrapping_sub(1 << 32))?;
    let (fs, gs, absolute, narrow): (u64, u64, u64, u64);
    // SAFETY: reads of a register that has no side effects.
    unsafe {
        asm!("mov {0:e}, fs:[{1}]", out(reg) fs, in(reg) 0x30_u64);
        asm!("mov {0:e}, gs:[{1}]", out(reg) gs, in(reg) 1_u64 << 32 | 0x30);
        asm!("movabs rax, [0xfee00030]", out("rax") absolute);
        // addr32 mov al, [0xfee00030]; LLVM's assembler writes eight bytes of address.
        asm!(".byte 0x67, 0xa0, 0x30, 0, 0xe0, 0xfe", inout("rax") 0_u64 => narrow);
    }
    set(FS_BASE, 0)?;
    set(GS_BASE, 0)?;
    check(fs == version, "a segment's base is not added")?;
    check(gs == version, "a segment's base is not added around the end")?;
    check(absolute == version && narrow == version & 0xff, "an address in the instruction is not read")
}

/// Repeated strings, over page ends and over more than one exit may do.
fn strings(handover: &Handover) -> Outcome {
    let buffer = window::frame(handover, 13) + 0xf00;
    let hole = 0xd000_1f80_u64;
    macro_rules! string {
        ($text:literal, $rax:expr, $rcx:expr, $rsi:expr, $rdi:expr) => {{
            let (mut rcx, mut rsi, mut rdi): (u64, u64, u64) = ($rcx, $rsi, $rdi);
            // SAFETY: the case's own memory, or where nobody is.
            unsafe {
                asm!($text, "cld", inout("rcx") rcx, inout("rsi") rsi, inout("rdi") rdi, in("rax") $rax as u64);
            }
            (rcx, rsi, rdi)
        }};
    }
    window::put(buffer, &[0; 512]);
    let end = string!("rep movsb", 0, 300, hole, buffer);
    check(end == (0, hole + 300, buffer + 300), "REP MOVSB from a device does not end where it should")?;
    let read: [u8; 301] = window::get(buffer);
    check(read[..300].iter().all(|&byte| byte == 0xff) && read[300] == 0, "REP MOVSB reads something else")?;
    let end = string!("rep stosq", 7, 100, 0, hole + 4);
    check(end == (0, 0, hole + 804), "REP STOSQ to a device does not end where it should")?;
    let end = string!("rep movsd", 0, 33, buffer, hole);
    check(end == (0, buffer + 132, hole + 132), "REP MOVSD to a device does not end where it should")?;
    let end = string!("std\nrep movsw", 0, 20, hole, buffer + 400);
    check(end == (0, hole - 40, buffer + 360), "REP MOVSW downwards does not end where it should")?;
    window::put(buffer + 200, &[0]);
    let end = string!("repe cmpsb", 0, 250, buffer, hole);
    check(end == (49, buffer + 201, hole + 201), "REPE CMPSB does not stop at what differs")?;
    let end = string!("repne scasd", 0x1234, 90, 0, hole);
    check(end == (0, 0, hole + 360), "REPNE SCASD does not go to the end")?;
    let end = string!("repe scasb", 0xff, 70, 0, hole);
    check(end == (0, 0, hole + 70), "REPE SCASB does not go to the end")?;
    let end = string!("rep lodsb", 0, 0, hole, 0);
    check(end == (0, hole, 0), "REP with a count of 0 does something")?;
    // With 32-bit addresses the registers' upper halves are cleared.
    let end = string!("addr32 rep stosb", 0, 1 << 40 | 5, 0, 1 << 40 | hole);
    check(end == (0, 0, hole + 5), "REP with 32-bit addresses counts with 64 bits")
}

/// Every byte and word of the version register, and past it.
fn byte_by_byte(_: &Handover) -> Outcome {
    let version = u128::from(apic::read(Register::VERSION));
    for offset in 0..13_u64 {
        let expected = (version >> (8 * offset)) as u64;
        let at = 0xfee0_0030 + offset;
        let (byte, word, double): (u64, u64, u64);
        // SAFETY: reads of a register that has no side effects.
        unsafe {
            asm!("movzx {0:e}, byte ptr [{1}]", out(reg) byte, in(reg) at);
            asm!("movzx {0:e}, word ptr [{1}]", out(reg) word, in(reg) at);
            asm!("mov {0:e}, [{1}]", out(reg) double, in(reg) at);
        }
        check(byte == expected & 0xff, "a byte of a register differs")?;
        check(word == expected & 0xffff, "a word of a register differs")?;
        check(double == expected & 0xffff_ffff, "32 bits of a register differ")?;
    }
    Ok(())
}

fn ioapic(_: &Handover) -> Outcome {
    const INDEX: usize = 0xfec0_0000;
    let (index, window) = (
        core::ptr::with_exposed_provenance_mut::<u32>(INDEX),
        core::ptr::with_exposed_provenance_mut::<u32>(INDEX + 0x10),
    );
    // SAFETY: hv has an I/O APIC there, and nothing is connected to it.
    let select = |register: u32| unsafe { index.write_volatile(register) };
    // SAFETY: as above.
    let read = || unsafe { window.read_volatile() };
    // SAFETY: as above.
    let write = |value: u32| unsafe { window.write_volatile(value) };
    select(1);
    check(read() >> 16 & 0xff == 23, "the I/O APIC has not 24 pins")?;
    for pin in 0..24 {
        select(0x10 + 2 * pin);
        check(read() == 0x1_0000, "a pin is not masked at the start")?;
        write(0x1_0042 + pin);
        select(0x11 + 2 * pin);
        write(0x0100_0000);
        check(read() == 0x0100_0000, "a pin's destination is not kept")?;
        select(0x10 + 2 * pin);
        check(read() == 0x1_0042 + pin, "a redirection entry is not kept")?;
        write(0xffff_ffff);
        check(read() == 0x1_afff, "a redirection entry keeps other bits")?;
        write(0x1_0000);
    }
    select(0x40);
    check(read() == 0 || read() == u32::MAX, "there is a 25th pin")
}
