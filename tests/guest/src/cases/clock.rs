//! Clocks: kvmclock, the wall clock, the counter; on one CPU and across all.

use super::msr::{read, write};
use super::{Named, Outcome, check};
use crate::hypercall::call;
use crate::{Handover, smp, window};
use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::sync::atomic::{AtomicU64, Ordering};
use hv_abi::hypercall::Call;
use hv_defs::kvm::{SYSTEM_TIME, SYSTEM_TIME_OLD, WALL_CLOCK, WALL_CLOCK_OLD};

pub const ONE: &[Named] = &[("clock/kvmclock", kvmclock), ("clock/places", places), ("clock/wall", wall)];
pub const MANY: &[Named] = &[("clock/tsc-across", tsc_across), ("clock/kvmclock-across", kvmclock_across)];

/// The clock page, in the interface's words; 32-byte aligned.
#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Clock {
    version: u32,
    pad: u32,
    tsc: u64,
    nanos: u64,
    multiplier: u32,
    shift: i8,
    flags: u8,
}

const NOTHING: Clock = Clock { version: 0, pad: 0, tsc: 0, nanos: 0, multiplier: 0, shift: 0, flags: 0 };

fn tsc() -> u64 {
    // SAFETY: has no effect on memory; the fence keeps the read from being early.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

/// The CPU's clock as hv writes it, by either number. The stack is mapped where it is.
fn ask(msr: u32) -> Result<Clock, &'static str> {
    let clock = NOTHING;
    let at = core::ptr::from_ref(&clock);
    check(write(msr, at.addr() as u64 | 1), "kvmclock can't be asked for")?;
    // SAFETY: hv writes it behind the compiler's back.
    let clock = unsafe { at.read_volatile() };
    check(clock.version.is_multiple_of(2) && clock.version != 0, "the clock's version is not a stable one")?;
    check(clock.flags & 1 == 1, "the clock is not stable")?;
    check(write(msr, 0), "kvmclock can't be stopped")?;
    Ok(clock)
}

impl Clock {
    fn now(&self) -> u64 {
        let ticks = tsc().wrapping_sub(self.tsc);
        let ticks = if self.shift < 0 { ticks >> -self.shift } else { ticks << self.shift };
        self.nanos + ((u128::from(ticks) * u128::from(self.multiplier)) >> 32) as u64
    }
}

fn kvmclock(_: &Handover) -> Outcome {
    for msr in [SYSTEM_TIME, SYSTEM_TIME_OLD] {
        let clock = ask(msr)?;
        for _ in 0..100 {
            let (before, hv) = (clock.now(), call(Call::TIME_NOW, [0; 4]).cast_unsigned());
            check(before <= hv && hv <= clock.now(), "kvmclock and hv's time differ")?;
        }
    }
    Ok(())
}

/// A guest that names memory it has not got gets nothing, and lives on.
fn places(handover: &Handover) -> Outcome {
    let end = handover.ram_end;
    for msr in [SYSTEM_TIME, WALL_CLOCK] {
        for place in [0xfee0_0001, end | 1, (end - 4) | 1, 1 << 45 | 1, 0xffff_ffff_ffff_fffd] {
            write(msr, place);
            check(call(Call::HELLO, [0; 4]) == 1, "a clock in nobody's memory breaks hypercalls")?;
        }
    }
    let clock = window::frame(handover, 31);
    window::put(clock, &[0xee; 64]);
    check(write(SYSTEM_TIME, clock), "kvmclock can't be switched off")?;
    check(window::get::<64>(clock) == [0xee; 64], "a clock that is off is written")
}

fn wall(handover: &Handover) -> Outcome {
    let at = window::frame(handover, 31);
    for msr in [WALL_CLOCK, WALL_CLOCK_OLD] {
        window::put(at, &[0xff; 16]);
        check(write(msr, at), "the wall clock can't be asked for")?;
        let (version, nanos) = (window::word(at) as u32, window::word(at + 8) as u32);
        check(version.is_multiple_of(2) && version != 0, "the wall clock's version is not a stable one")?;
        check(nanos < 1_000_000_000, "the wall clock has more nanoseconds than a second")?;
        check(window::get::<4>(at + 12) == [0xff; 4], "the wall clock is longer than it should be")?;
        check(read(msr) == Some(at), "the wall clock's place is not kept")?;
    }
    Ok(())
}

const ROUNDS: usize = 10_000;
/// The latest time that anybody has read.
static LATEST: AtomicU64 = AtomicU64::new(0);
/// Times that were earlier than one read before.
static BACKWARDS: AtomicU64 = AtomicU64::new(0);
/// CPUs that have begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Reads `now` again and again while the others do: never less than what somebody has seen.
fn compare(now: impl Fn() -> u64) {
    BEGUN.fetch_add(1, Ordering::SeqCst);
    for _ in 0..ROUNDS {
        let seen = LATEST.load(Ordering::SeqCst);
        let now = now();
        LATEST.fetch_max(now, Ordering::SeqCst);
        if now < seen {
            BACKWARDS.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn across(handover: &Handover, job: smp::Job) -> Outcome {
    for word in [&LATEST, &BACKWARDS, &BEGUN] {
        word.store(0, Ordering::SeqCst);
    }
    smp::everybody(handover, true, job)?;
    smp::everybody(handover, false, job)?;
    check(BEGUN.load(Ordering::SeqCst) == 2 * handover.cpus, "a CPU has no clock")?;
    check(BACKWARDS.load(Ordering::SeqCst) == 0, "time goes backwards from one CPU to another")
}

fn tsc_across(handover: &Handover) -> Outcome {
    across(handover, |_| compare(tsc))
}

fn kvmclock_across(handover: &Handover) -> Outcome {
    across(handover, |_| {
        if let Ok(clock) = ask(SYSTEM_TIME) {
            compare(|| clock.now());
        }
    })
}
