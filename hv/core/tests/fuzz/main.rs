//! The exit dispatcher against guests that do anything: any exit, with any registers, page tables,
//! instructions, messages and answers. After each step everything is checked that must hold whatever
//! a guest does (`check.rs`).
//!
//! A run is a row of VMs' lives, and each life follows from one number, its seed. A step that fails
//! names the life and how to live it again: `HEARTH_FUZZ_LIFE` lives that one life only.

#![forbid(unsafe_code)]

mod check;
mod code;
mod guest;
mod host;
mod machine;
#[path = "../../../../tests/fuzz/random.rs"]
mod random;
#[path = "../../../../tests/fuzz/run.rs"]
mod run;
mod world;

use machine::{Tally, Vm};
use random::Random;
use run::{Run, number};
use std::cell::RefCell;
use std::fmt;

/// Exits when nobody says how many: some seconds without optimisation.
const STEPS: u64 = 150_000;
/// Most turns of a life, with an exit or without.
const LIFE: u64 = 2000;

/// Which step is being made; it says so when that step panics.
struct Place {
    life: u64,
    step: u64,
}

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Remembers what happened, for the case that it was wrong.
fn note(what: fmt::Arguments<'_>) {
    if std::env::var_os("HEARTH_FUZZ_LIFE").is_some() {
        LAST.with_borrow_mut(|last| *last = what.to_string());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!(
                "step {} of life {:#x} failed; next: HEARTH_FUZZ_LIFE={:#x} cargo test -p hv-core --test fuzz",
                self.step, self.life, self.life
            );
            LAST.with_borrow(|last| println!("last exit: {last}"));
        }
    }
}

fn live(life: u64, most: u64, tally: &mut Tally) {
    let mut place = Place { life, step: 0 };
    let mut vm = Vm::new(life);
    tally.lives += 1;
    while place.step < most {
        place.step += 1;
        if !vm.step(tally) {
            return;
        }
    }
}

#[test]
fn no_guest_breaks_the_dispatcher() {
    let mut tally = Tally::default();
    if let Some(life) = number("HEARTH_FUZZ_LIFE") {
        return live(life, LIFE, &mut tally);
    }
    let mut run = Run::new("dispatcher", STEPS);
    let mut seeds = Random(run.seed);
    while run.made < run.steps {
        live(seeds.next(), LIFE.min(run.steps - run.made), &mut tally);
        run.made = tally.steps;
    }
    println!(
        "fuzz lives={} exits={:?} delivered={:?} again={}",
        tally.lives, tally.exits, tally.delivered, tally.again
    );
    println!(
        "fuzz accesses={:?} carried_out={} messages={} stops={:?} most={:?}",
        tally.accesses, tally.carried_out, tally.messages, tally.stops, tally.most
    );
    if run.steps >= STEPS {
        reached(&tally);
    }
}

/// A fuzzer that no longer gets anywhere would find nothing for ever.
fn reached(tally: &Tally) {
    let all = |counts: &[u64]| counts.iter().all(|&count| count > 0);
    assert!(all(&tally.exits), "an exit that was never taken: {:?}", tally.exits);
    assert!(all(&tally.delivered), "an event that was never delivered: {:?}", tally.delivered);
    assert!(all(&tally.stops), "a reason that ended no VM: {:?}", tally.stops);
    let [accesses, later] = tally.accesses;
    for (what, count, share) in [
        ("accesses to devices", accesses, 20),
        ("answers that came later", later, 100),
        ("instructions carried out", tally.carried_out, 20),
        ("messages", tally.messages, 100),
        ("deliveries made again", tally.again, 500),
    ] {
        assert!(count > tally.steps / share, "only {count} {what}");
    }
}
