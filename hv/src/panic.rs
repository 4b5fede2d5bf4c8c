//! hv is at fault: an epitaph, the other CPUs stopped, and after ten seconds a restart.

use crate::refusal::sentence;
use crate::{devices, event, log, machine, screen};
use core::arch::asm;
use core::fmt::Display;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use hv_abi::log::Level;
use hv_arch::apic::{KICK_VECTOR, SPURIOUS_VECTOR, TIMER_VECTOR};
use hv_arch::traps::{self, TrapFrame};
use hv_arch::{cpu, percpu, power, timer};
use hv_core::memory::layout;
use hv_core::options::AfterPanic;
use ui::notice::{Notice, Tone};
use x86_64::registers::control::{Cr0, Cr2, Cr3, Cr4};

/// Set by the CPU that writes the epitaph; the others stop.
static DYING: AtomicBool = AtomicBool::new(false);

/// How long the other CPUs have to stop. They need microseconds; an emulator may need longer.
const STOP_MICROS: u64 = 50_000;
/// How long the epitaph stays on the screen before the machine restarts.
const RESTART_MICROS: u64 = 10_000_000;
/// Most return addresses that are told.
const CALLS: usize = 16;

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    let (rsp, rbp): (u64, u64);
    // SAFETY: reads two registers.
    unsafe { asm!("mov {}, rsp", "mov {}, rbp", out(reg) rsp, out(reg) rbp, options(nomem, nostack)) };
    let place = match info.location() {
        Some(place) => sentence(format_args!("{place}")),
        None => sentence(format_args!("unknown")),
    };
    die(&place, &info.message(), || {
        event!(Error, "panic.registers", rsp = Hex(rsp), rbp = Hex(rbp));
        rbp
    })
}

/// Everything that arrives through the interrupt table.
pub fn on_trap(frame: &TrapFrame) {
    if frame.vector == traps::NMI {
        if DYING.load(Ordering::Acquire) {
            cpu::halt_forever();
        }
        // It may have come while this CPU was in the log, so it is only told if that is free.
        log::try_write(|log, micros| hv_abi::line!(log, micros, Level::Warn, "hv.nmi", rip = Hex(frame.rip)));
        return;
    }
    if frame.vector >= u64::from(traps::FIRST_INTERRUPT) {
        interrupt(frame.vector);
        return;
    }
    let cause = match frame.vector {
        traps::PAGE_FAULT | traps::DOUBLE_FAULT => {
            let address = Cr2::read_raw();
            match layout::overflowed(address, machine::get().map_or(0, |machine| machine.cpus)) {
                Some(cpu) => sentence(format_args!("stack overflow on CPU {cpu}, at {address:#x}")),
                None => sentence(format_args!("{} at address {address:#x}", traps::name(frame.vector))),
            }
        }
        vector => sentence(format_args!("{}", traps::name(vector))),
    };
    let what = sentence(format_args!("{cause} (vector {}, error code {:#x})", frame.vector, frame.error));
    die(&sentence(format_args!("{:#x}", frame.rip)), &what, || {
        tell_frame(frame);
        frame.rbp
    });
}

/// An interrupt: hv's own, a device's, or one that the firmware left on, which is answered and told.
fn interrupt(vector: u64) {
    if vector == u64::from(SPURIOUS_VECTOR) {
        return;
    }
    // The timer and a kick have done their work by ending a guest's turn or a core's sleep.
    let own = [TIMER_VECTOR, KICK_VECTOR].map(u64::from).contains(&vector);
    if !own && !devices::interrupt(vector) {
        event!(Warn, "hv.interrupt", unexpected = vector);
    }
    if let Some(machine) = machine::get() {
        machine.apic.end_of_interrupt();
    }
}

/// Writes the epitaph. `registers` tells them and answers the frame pointer.
fn die(place: &str, what: &dyn Display, registers: impl FnOnce() -> u64) -> ! {
    x86_64::instructions::interrupts::disable();
    if DYING.swap(true, Ordering::AcqRel) {
        // Another CPU was first, or the epitaph itself failed: nothing more can be said.
        cpu::halt_forever();
    }
    if let Some(machine) = machine::get() {
        machine.apic.send_nmi_to_others();
        timer::spin(machine.clock, STOP_MICROS);
    }
    let mut kept = heapless::Vec::<log::Kept, { log::KEPT_LINES }>::new();
    // SAFETY: the other CPUs are stopped; this one is here for good.
    unsafe { log::last_words(|line| drop(kept.push(line.clone()))) };

    event!(Error, "panic", where = place, what = what, cpu = percpu::this().index());
    let rbp = registers();
    let control = (Cr0::read_raw(), Cr2::read_raw(), Cr3::read_raw().0.start_address(), Cr4::read_raw());
    event!(
        Error,
        "panic.registers",
        cr0 = Hex(control.0),
        cr2 = Hex(control.1),
        cr3 = Hex(control.2.as_u64()),
        cr4 = Hex(control.3)
    );
    let mapped = |address| machine::get().is_some_and(|machine| machine.space.translate(address).is_some());
    for address in cpu::call_chain(rbp, mapped).take(CALLS) {
        event!(Error, "panic.call", address = Hex(address));
    }
    for line in &kept {
        event!(Error, "panic.log", text = line);
    }
    end(place, what)
}

/// What happens after the epitaph.
fn end(place: &str, what: &dyn Display) -> ! {
    let machine = machine::get();
    let after = machine.map_or(AfterPanic::Reboot, |machine| machine.options.after_panic);
    let (action, detail) = match after {
        AfterPanic::Reboot => ("restart", "The box restarts in ten seconds."),
        AfterPanic::Halt => ("halt", "The box stays like this until it is switched off."),
    };
    event!(Error, "panic.end", action = action);
    let text = sentence(format_args!("Something went wrong inside Hearth: {what} ({place})"));
    let notice = Notice { tone: Tone::Trouble, title: "Hearth has stopped", text: &text, detail };
    // SAFETY: the other CPUs are stopped.
    unsafe { screen::show_last(&notice) };
    if after == AfterPanic::Halt {
        cpu::halt_forever();
    }
    timer::spin(log::clock(), RESTART_MICROS);
    power::restart(machine.and_then(|machine| machine.platform.reset))
}

fn tell_frame(frame: &TrapFrame) {
    event!(
        Error,
        "panic.registers",
        rip = Hex(frame.rip),
        cs = Hex(frame.cs),
        rflags = Hex(frame.rflags),
        rsp = Hex(frame.rsp),
        ss = Hex(frame.ss)
    );
    event!(
        Error,
        "panic.registers",
        rax = Hex(frame.rax),
        rbx = Hex(frame.rbx),
        rcx = Hex(frame.rcx),
        rdx = Hex(frame.rdx),
        rsi = Hex(frame.rsi),
        rdi = Hex(frame.rdi),
        rbp = Hex(frame.rbp)
    );
    event!(
        Error,
        "panic.registers",
        r8 = Hex(frame.r8),
        r9 = Hex(frame.r9),
        r10 = Hex(frame.r10),
        r11 = Hex(frame.r11),
        r12 = Hex(frame.r12),
        r13 = Hex(frame.r13),
        r14 = Hex(frame.r14),
        r15 = Hex(frame.r15)
    );
}

/// A register's value.
struct Hex(u64);

impl Display for Hex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
