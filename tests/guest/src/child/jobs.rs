//! What children do. A job's words are told with it: what it is given, and what it leaves.

use super::Room;
use crate::cases::state;
use crate::hypercall::{call, log};
use crate::manager::{ALARM, alarm, shared, tsc, tsc_khz};
use crate::traps::{Hook, arrived, with_hook};
use crate::{apic, smp};
use core::arch::asm;
use core::arch::x86_64::__cpuid;
use core::sync::atomic::Ordering;
use hv_abi::hypercall::{Call, Status};
use hv_defs::apic::icr;
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;

/// A counter that everybody sees.
pub const COUNT: usize = 0;
/// What went wrong; 0 = nothing.
pub const WRONG: usize = 1;

/// Leaves in [`COUNT`] how many calls of the management VM were denied, of all but the first words'
/// number of them: those that any VM may make are not among them. [`WRONG`]: a call that was not.
pub fn denied(room: &'static Room) {
    log(format_args!("child.denied"));
    for number in 0x4845_0003..0x4845_0060 {
        if Call(number).name().is_none() {
            continue;
        }
        if call(Call(number), [1, 0x1000, 1, 0]) == Status::DENIED.0 {
            room.word(COUNT).fetch_add(1, Ordering::SeqCst);
        } else {
            room.set(WRONG, number);
        }
    }
    let known = [Call::HELLO, Call::TIME_NOW].map(|any| call(any, [0; 4]));
    if known[0] != 1 || known[1] <= 0 {
        room.set(WRONG, 1);
    }
}

/// Counts for ever, with interrupts off.
pub fn count(room: &'static Room) {
    loop {
        room.word(COUNT).fetch_add(1, Ordering::Relaxed);
    }
}

/// Exits for ever.
pub fn flood(room: &'static Room) {
    loop {
        let _ = __cpuid(0);
        room.word(COUNT).fetch_add(1, Ordering::Relaxed);
    }
}

/// Faults where there is no handler: three times is the end.
pub fn triple_fault(_: &'static Room) {
    let nothing = x86_64::structures::DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
    // SAFETY: nothing comes back from it.
    unsafe {
        x86_64::instructions::tables::lidt(&nothing);
        asm!("ud2", options(noreturn));
    }
}

/// Of [`ticks`]: microseconds between alarms, how many, and in nanoseconds how late the latest came.
pub const PERIOD: usize = 2;
/// See [`PERIOD`].
pub const ROUNDS: usize = 3;
/// See [`PERIOD`].
pub const LATEST: usize = 4;

/// Sleeps from alarm to alarm, and looks how late each comes; rounds 0: for ever.
pub fn ticks(room: &'static Room) {
    let period = room.get(PERIOD) * tsc_khz() / 1000;
    let mut due = tsc();
    while room.get(ROUNDS) == 0 || room.get(COUNT) < room.get(ROUNDS) {
        due += period;
        let before = arrived(ALARM);
        alarm(due);
        interrupts::enable_and_hlt();
        interrupts::disable();
        let now = tsc();
        if arrived(ALARM) == before || now < due {
            room.set(WRONG, 1);
        }
        let late = now.saturating_sub(due) * 1_000_000 / tsc_khz();
        room.word(LATEST).fetch_max(late, Ordering::SeqCst);
        room.word(COUNT).fetch_add(1, Ordering::SeqCst);
        // After a time that was too long there is nothing to make up for.
        due = due.max(now.saturating_sub(period));
    }
}

/// Of [`registers`] and [`memory`]: what the patterns begin with.
pub const SEED: usize = 2;

/// Keeps patterns in all vector registers while others have the core: rounds in [`COUNT`], for ever.
pub fn registers(room: &'static Room) {
    use hv_defs::control::cr4;
    let avx = state::control(cr4::OSFXSR | cr4::OSXMMEXCPT).is_ok() && state::with_avx() == Ok(true);
    let bytes = if avx { 512 } else { 256 };
    let mut seed = room.get(SEED) as u32;
    loop {
        seed = seed.wrapping_add(1);
        let (before, mut after) = (state::pattern(seed), [0_u8; 512]);
        let turns: u64 = 2000;
        // SAFETY: the buffers hold sixteen registers; the loop between touches none of them, and calls
        // nothing that would.
        unsafe {
            if avx {
                state::load_avx(before.as_ptr());
            } else {
                state::load_sse(before.as_ptr());
            }
            asm!("3:", "dec {}", "jnz 3b", inout(reg) turns => _);
            if avx {
                state::store_avx(after.as_mut_ptr());
            } else {
                state::store_sse(after.as_mut_ptr());
            }
        }
        if after[..bytes] != before[..bytes] {
            room.set(WRONG, seed.into());
        }
        room.word(COUNT).fetch_add(1, Ordering::SeqCst);
    }
}

/// Of [`memory`]: pages that lie at the same addresses in every child.
const PAGES: core::ops::Range<u64> = 0x9_0000..0xd_0000;

/// Writes a word of its own to each of some pages, and reads them again after others had the core: rounds
/// in [`COUNT`], for ever. The words begin with [`SEED`].
pub fn memory(room: &'static Room) {
    let mut seed = room.get(SEED);
    loop {
        seed += 1;
        PAGES.step_by(4096).for_each(|at| shared(at).store(seed + at, Ordering::SeqCst));
        let turns: u64 = 2000;
        // SAFETY: it changes a register.
        unsafe { asm!("3:", "dec {}", "jnz 3b", inout(reg) turns => _) };
        if PAGES.step_by(4096).any(|at| shared(at).load(Ordering::SeqCst) != seed + at) {
            room.set(WRONG, seed);
        }
        room.word(COUNT).fetch_add(1, Ordering::SeqCst);
    }
}

/// Starts its other CPUs, and has each answer.
pub fn many(room: &'static Room) {
    let handover = room.handover();
    for id in 1..handover.cpus as u32 {
        if smp::start(&handover, id).is_err() {
            room.set(WRONG, id.into());
            return;
        }
        smp::ask(id, |_| {});
        if smp::finished(id) {
            room.word(COUNT).fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Of [`listen`]: the vectors' counts are left from here on, one word each, beginning with `0x40`.
pub const HEARD: usize = 16;
/// Nonzero: enough.
pub const ENOUGH: usize = 2;
/// The first pin's entry of the I/O APIC, as two words to write; 0 = leave it.
pub const ENTRY: usize = 3;

/// Takes interrupts and says which came, until it is told that it is enough.
pub fn listen(room: &'static Room) {
    let entry = room.get(ENTRY);
    if entry != 0 {
        let window = |offset: usize| core::ptr::with_exposed_provenance_mut::<u32>(0xfec0_0000 + offset);
        // SAFETY: hv has an I/O APIC there.
        unsafe {
            window(0).write_volatile(0x11);
            window(0x10).write_volatile((entry >> 32) as u32);
            window(0).write_volatile(0x10);
            window(0x10).write_volatile(entry as u32);
        }
    }
    // A pin that stays driven interrupts again before the next instruction: only a handler gets on.
    let hook: Hook = |vector| {
        if (0x40..0x50).contains(&vector) {
            Room::own().word(HEARD + usize::from(vector - 0x40)).fetch_add(1, Ordering::SeqCst);
        }
        false
    };
    with_hook(hook, || {
        room.set(COUNT, 1);
        interrupts::enable();
        while room.get(ENOUGH) == 0 {
            core::hint::spin_loop();
        }
        interrupts::disable();
    });
}

/// Where somebody answers, in memory.
pub const DEVICE: u64 = 0x1000_0000;
/// And at ports.
pub const DEVICE_PORT: u16 = 0x500;

/// What the micro-guest answers to a read: the address is in it.
pub const fn answer(address: u64) -> u64 {
    (address ^ 0x5a5a_5a5a_5a5a_5a5a).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Reads and writes where the micro-guest answers, by every width; [`WRONG`]: which one went wrong.
pub fn devices(room: &'static Room) {
    let expect = |at: u64, value: u64, size: u32| {
        let mask = if size == 8 { u64::MAX } else { (1 << (size * 8)) - 1 };
        if value != answer(at) & mask {
            room.set(WRONG, at << 8 | u64::from(size));
        }
        room.word(COUNT).fetch_add(1, Ordering::SeqCst);
    };
    let port = DEVICE_PORT;
    // SAFETY: accesses to devices that the micro-guest models, which change no memory.
    unsafe {
        expect(port.into(), Port::<u8>::new(port).read().into(), 1);
        expect(port.into(), Port::<u16>::new(port).read().into(), 2);
        expect(port.into(), Port::<u32>::new(port).read().into(), 4);
        let at = |offset: u64| (DEVICE + offset) as usize;
        expect(DEVICE + 1, core::ptr::with_exposed_provenance::<u8>(at(1)).read_volatile().into(), 1);
        expect(DEVICE + 2, core::ptr::with_exposed_provenance::<u16>(at(2)).read_volatile().into(), 2);
        expect(DEVICE + 4, core::ptr::with_exposed_provenance::<u32>(at(4)).read_volatile().into(), 4);
        expect(DEVICE + 8, core::ptr::with_exposed_provenance::<u64>(at(8)).read_volatile(), 8);
        // Written ones are remembered by their sum.
        Port::<u32>::new(port).write(0x1234_5678);
        core::ptr::with_exposed_provenance_mut::<u8>(at(0x11)).write_volatile(0x9a);
        core::ptr::with_exposed_provenance_mut::<u64>(at(0x18)).write_volatile(0x1111_2222_3333_4444);
        // Strings: each element is a request of its own.
        let (mut bytes, count) = ([0_u32; 5], 5_u64);
        asm!("rep insd", inout("rcx") count => _, inout("rdi") bytes.as_mut_ptr() => _, in("dx") port);
        for value in bytes {
            expect(port.into(), value.into(), 4);
        }
        let (from, to) = (at(0x40), bytes.as_mut_ptr());
        asm!("rep movsd", inout("rcx") 5_u64 => _, inout("rsi") from => _, inout("rdi") to => _);
        for (number, value) in (0_u64..).zip(bytes) {
            expect(DEVICE + 0x40 + number * 4, value.into(), 4);
        }
    }
}

/// The sum of what [`devices`] writes.
pub const WRITTEN: u64 = 0x1234_5678 + 0x9a + 0x1111_2222_3333_4444;

/// Where doorbells are rung.
pub const BELL: u64 = DEVICE + 0x2000;
/// And at a port.
pub const BELL_PORT: u16 = 0x600;

/// Rings doorbells, in memory and at a port, as often as `ROUNDS` says; [`LATEST`]: TSC ticks a ring.
pub fn ring(room: &'static Room) {
    let rounds = room.get(ROUNDS);
    let start = tsc();
    for round in 0..rounds {
        // SAFETY: doorbells; they change no memory of this VM.
        unsafe {
            if room.get(ENOUGH) == 0 {
                core::ptr::with_exposed_provenance_mut::<u16>(BELL as usize).write_volatile(round as u16);
            } else {
                Port::<u16>::new(BELL_PORT).write(round as u16);
            }
        }
        room.word(COUNT).fetch_add(1, Ordering::SeqCst);
    }
    room.set(LATEST, (tsc() - start) / rounds.max(1));
}

/// Reads a port as often as `ROUNDS` says; [`LATEST`]: TSC ticks a read.
pub fn ask(room: &'static Room) {
    let rounds = room.get(ROUNDS);
    let start = tsc();
    for _ in 0..rounds {
        // SAFETY: a device that the micro-guest models, which changes no memory.
        let value = unsafe { Port::<u32>::new(DEVICE_PORT).read() };
        room.set(WRONG, u64::from(value != answer(DEVICE_PORT.into()) as u32));
    }
    room.set(LATEST, (tsc() - start) / rounds.max(1));
}

/// Has its other CPU and itself wake each other from `HLT`, as often as `ROUNDS` says; [`LATEST`]: TSC
/// ticks for one of them to wake the other.
pub fn wake_another(room: &'static Room) {
    let handover = room.handover();
    if smp::start(&handover, 1).is_err() {
        room.set(WRONG, 1);
        return;
    }
    // Each answers in its handler, so that nobody misses what comes before it sleeps.
    let hook: Hook = |vector| {
        if vector == 0x40 {
            apic::send(0, icr::ASSERT | 0x41);
        }
        false
    };
    let rounds = room.get(ROUNDS).max(1);
    with_hook(hook, || {
        smp::ask(1, |_| {
            while arrived(0x42) == 0 {
                interrupts::enable_and_hlt();
                interrupts::disable();
            }
        });
        let start = tsc();
        for round in 0..rounds {
            apic::send(1, icr::ASSERT | 0x40);
            while u64::from(arrived(0x41)) <= round {
                interrupts::enable_and_hlt();
                interrupts::disable();
            }
        }
        room.set(LATEST, (tsc() - start) / (2 * rounds));
        apic::send(1, icr::ASSERT | 0x42);
    });
    if !smp::finished(1) {
        room.set(WRONG, 2);
    }
}
