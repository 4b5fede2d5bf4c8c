//! Finds the rates of the TSC and of the APIC timer.

use crate::apic::LocalApic;
use crate::cpu::tsc;
use hv_core::clock::{PIT_HZ, PM_TIMER_HZ, Tsc, elapsed, rate_khz};
use x86_64::instructions::port::Port;

/// What a measurement was made against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The processor, or the hypervisor below, says the rate itself.
    Cpuid,
    /// The ACPI PM timer.
    PmTimer,
    /// Channel 2 of the PIT.
    Pit,
}

impl Source {
    /// The word in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpuid => "cpuid",
            Self::PmTimer => "pm-timer",
            Self::Pit => "pit",
        }
    }
}

/// Milliseconds of a measurement: long enough that one slow port read does not matter.
const MILLISECONDS: u64 = 10;
/// TSC ticks after which a reference that has not come so far is taken for dead: 160 ms and more on
/// any processor.
const PATIENCE: u64 = 1_000_000_000;

/// The TSC's rate: as CPUID says it, else measured against the PM timer (`port`, bits), else
/// against the PIT. `None` when nothing moves.
pub fn find_tsc(stated_khz: Option<u64>, pm_timer: Option<(u16, u32)>) -> Option<(Tsc, Source)> {
    if let Some(khz) = stated_khz {
        return Some((Tsc::new(khz), Source::Cpuid));
    }
    let measured = |khz: u64, source| (Tsc::new(khz), source);
    let by_pm_timer = pm_timer.and_then(|(port, bits)| by_pm_timer(port, bits));
    by_pm_timer
        .map(|khz| measured(khz, Source::PmTimer))
        .or_else(|| by_pit().map(|khz| measured(khz, Source::Pit)))
}

fn by_pm_timer(port: u16, bits: u32) -> Option<u64> {
    let mut timer = Port::<u32>::new(port);
    // SAFETY: the FADT says that this port is the PM timer, which reading does not change.
    let mut read = || unsafe { timer.read() };
    let (start, from) = at_once(&mut read);
    let long_enough = |now| elapsed(start, now, bits) >= PM_TIMER_HZ * MILLISECONDS / 1000;
    if !patiently(|| long_enough(read())) {
        return None;
    }
    let (now, to) = at_once(&mut read);
    rate_khz(to - from, elapsed(start, now, bits), PM_TIMER_HZ)
}

/// Asks until it is so, or patience ends. Answers whether it is.
fn patiently(mut is_so: impl FnMut() -> bool) -> bool {
    let from = tsc();
    while !is_so() {
        if tsc() - from > PATIENCE {
            return false;
        }
    }
    true
}

/// A reference and the TSC at the same moment: of a few tries the one that took least time, because
/// a hypervisor below, or an SMI, may come between the two reads.
fn at_once(read: &mut impl FnMut() -> u32) -> (u32, u64) {
    const TRIES: usize = 5;
    let mut best = (0, 0, u64::MAX);
    for _ in 0..TRIES {
        let before = tsc();
        let value = read();
        let after = tsc();
        if after - before < best.2 {
            best = (value, before + (after - before) / 2, after - before);
        }
    }
    (best.0, best.1)
}

/// Intel 8254: channel 2 counts down once its gate (port 0x61 bit 0) is open; its output can be
/// read back at bit 5.
fn by_pit() -> Option<u64> {
    const COUNT: u64 = PIT_HZ * MILLISECONDS / 1000;
    let (mut control, mut channel) = (Port::<u8>::new(0x43), Port::<u8>::new(0x42));
    let mut gate = Port::<u8>::new(0x61);
    // SAFETY: channel 2 drives only the speaker, which stays off (bit 1); nobody else uses it.
    unsafe {
        let quiet = gate.read() & !0b11;
        gate.write(quiet);
        control.write(0b1011_0000); // channel 2, low then high byte, mode 0
        channel.write(COUNT as u8);
        channel.write((COUNT >> 8) as u8);
        gate.write(quiet | 1);
        let from = tsc();
        let done = patiently(|| gate.read() & 1 << 5 != 0);
        let ticks = tsc() - from;
        gate.write(quiet);
        if done { rate_khz(ticks, COUNT, PIT_HZ) } else { None }
    }
}

/// The APIC timer's rate in ticks a millisecond, measured against the TSC. `None` when it does not
/// move.
pub fn find_apic_khz(apic: LocalApic, clock: Tsc) -> Option<u64> {
    let from = tsc();
    let left = apic.count_down(u32::MAX, || spin(clock, MILLISECONDS * 1000));
    let ticks = u64::from(u32::MAX - left);
    rate_khz(ticks, tsc() - from, clock.khz() * 1000)
}

/// Spins for so many microseconds. For the hardware's own waits only.
pub fn spin(clock: Tsc, micros: u64) {
    let _ = spin_until(clock, micros, || false);
}

/// Spins until `done`, at most so many microseconds; answers whether it was done.
pub fn spin_until(clock: Tsc, micros: u64, done: impl Fn() -> bool) -> bool {
    let (from, ticks) = (tsc(), clock.ticks(micros));
    loop {
        if done() {
            return true;
        }
        if tsc() - from >= ticks {
            return false;
        }
        core::hint::spin_loop();
    }
}
