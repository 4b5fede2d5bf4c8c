//! A VM that does anything at all, and calls of the management VM with any arguments: hv goes on, and
//! a neighbour's clock ticks. `mgmt.fuzz=SEED,STEPS` says which, and how long; `,FROM` begins in the middle.
//!
//! Of the calls, `power.*` are not made; and where hv shall write, only where nothing else is.

use super::vm_events::serve;
use super::{Named, Outcome, check};
use crate::child::{Child, Plan, RAM, fuzz, io_event, jobs};
use crate::hypercall::{call, log};
use crate::random::Random;
use crate::{Handover, manager, option, window};
use core::sync::atomic::Ordering;
use hv_abi::hypercall::{Call, VERSION};
use hv_abi::ioreq::PORT;
use hv_abi::manifest::{StartMode, StartState};
use zerocopy::IntoBytes;

pub const MANY: &[Named] = &[("fuzz/guest", guest), ("fuzz/calls", calls)];

/// Where nobody is asked for it: a seed, some steps, from the first.
const SLICE: [u64; 3] = [1, 600, 0];
/// vCPUs of the VM that does anything.
const VCPUS: u32 = 2;
/// Milliseconds after which a step that does not end is given up.
const PATIENCE: u64 = 3;
/// Classes: that of the management VM, and that of most others.
const URGENT: u32 = 0;
/// See [`URGENT`].
const BACK: u32 = 2;
/// Where the numbers of hv's calls begin.
const FIRST_CALL: u64 = 0x4845_0000;
/// How many numbers are tried: `power.*` come next.
const CALLS: u64 = 0x50;
/// `HLT`, eight times.
const HALTS: u64 = u64::from_ne_bytes([0xf4; 8]);
/// Of the neighbour's RAM, what nobody uses.
const UNUSED: core::ops::Range<u64> = 0x9_0000..0x20_0000;

/// Seed, steps, and the step to begin with.
fn task(handover: &Handover) -> Result<[u64; 3], &'static str> {
    let Some(text) = option(handover.options, "mgmt.fuzz=") else { return Ok(SLICE) };
    let mut task = [0; 3];
    for (place, number) in task.iter_mut().zip(text.split(',')) {
        *place = number.parse().map_err(|_| "mgmt.fuzz is not SEED,STEPS or SEED,STEPS,FROM")?;
    }
    Ok(task)
}

/// A VM whose clock ticks, and that nothing may happen to.
struct Neighbour(Child);

impl Neighbour {
    fn new(handover: &Handover, class: u32) -> Result<Self, &'static str> {
        let child = Child::new(handover, 1, &Plan { class, ..Plan::new(handover, "neighbour") })?;
        for at in UNUSED.step_by(8) {
            manager::shared(child.window + at).store(!at, Ordering::Relaxed);
        }
        child.start(jobs::ticks, 1, &[0, 0, 5000, 0])?;
        Ok(Self(child))
    }

    /// It ticks still, on time, and has only what it had.
    fn must_be_well(self, beside: &str) -> Outcome {
        let child = self.0;
        check(super::vm::counts(&child), "the neighbour's clock stands still")?;
        check(child.room().get(jobs::WRONG) == 0, "an alarm comes early, or HLT ends without it")?;
        log(format_args!("measure late-beside-{beside} {}", child.room().get(jobs::LATEST)));
        log(format_args!("measure ticks-beside-{beside} {}", child.room().get(jobs::COUNT)));
        let same = |at: u64| manager::shared(child.window + at).load(Ordering::Relaxed) == !at;
        check(UNUSED.step_by(8).all(same), "the neighbour's memory has changed")?;
        child.destroy()
    }
}

fn guest(handover: &Handover) -> Outcome {
    let [seed, steps, from] = task(handover)?;
    let neighbour = Neighbour::new(handover, BACK)?;
    let plan = Plan { vcpus: VCPUS, devices: true, ..Plan::new(handover, "anything") };
    let child = Child::new(handover, 0, &plan)?;
    for bell in [jobs::BELL, u64::from(jobs::BELL_PORT) | PORT] {
        check(call(Call::IO_DOORBELL, [child.vm, bell, 2, 100]) == 0, "a doorbell can't be put")?;
    }
    let (mut answers, mut at, mut lives) = (Random(seed), from, 0_u64);
    fill(&child, &mut answers);
    while at < steps {
        lives += 1;
        log(format_args!("fuzz.from {at}"));
        child.start(fuzz::anything, VCPUS.into(), &[at, !at, seed, steps])?;
        at = watch(handover, &child, (at, steps), &mut answers);
        // It may have ended by itself.
        child.step(Call::VM_STOP);
    }
    child.destroy()?;
    log(format_args!("measure fuzz-steps {steps}"));
    log(format_args!("measure fuzz-lives {lives}"));
    neighbour.must_be_well("anything")
}

/// Wherever its CPUs are led, they find a few bytes of anything, and then sleep.
fn fill(child: &Child, random: &mut Random) {
    for at in (0..RAM).step_by(8) {
        let bytes = if at % 0x1000 == 0 { fuzz::harmless(random.next()) } else { HALTS };
        manager::shared(child.window + at).store(bytes, Ordering::Relaxed);
    }
}

/// Answers what the VM asks, with anything, until it ends, is done, or gets no further; the step that it
/// is to go on with.
fn watch(handover: &Handover, child: &Child, (from, end): (u64, u64), random: &mut Random) -> u64 {
    let (mut at, mut since) = (from, manager::tsc());
    let room = child.room();
    manager::sleep_until(|| {
        if manager::take(handover, io_event(0)) {
            (0..VCPUS.into()).for_each(|vcpu| serve(child, vcpu, &mut |_| random.next()));
        }
        let now = room.get(jobs::COUNT);
        if now > at && now <= end && now == !room.get(fuzz::MIRROR) {
            (at, since) = (now, manager::tsc());
        }
        let stuck = manager::tsc() - since > PATIENCE * manager::tsc_khz();
        at == end || child.ended(handover) || stuck
    });
    end.min(at + u64::from(at < end))
}

fn calls(handover: &Handover) -> Outcome {
    let [seed, steps, _] = task(handover)?;
    // Of our own class: a less urgent one waits for us, who are busy, and not for hv's work.
    let neighbour = Neighbour::new(handover, URGENT)?;
    let mut random = Random(!seed);
    let (mut prey, mut longest) = (0, Longest { ticks: [0; CALLS as usize] });
    for _ in 0..steps / 4 {
        let number = Call(FIRST_CALL + random.below(CALLS));
        if number.name().is_none() {
            continue;
        }
        if prey == 0 {
            prey = make(handover, &mut random, &mut longest);
        }
        // Nothing is done to the neighbour on purpose.
        let vm = if random.below(8) == 0 { random.next() >> random.below(64) } else { prey };
        if vm == neighbour.0.vm {
            continue;
        }
        let answer = longest.call(number, arguments(handover, number, vm, &mut random));
        if number == Call::VM_CREATE && answer > 0 {
            remove(answer.cast_unsigned(), &mut longest);
        }
        if number == Call::VM_DESTROY && vm == prey && answer >= 0 {
            remove(prey, &mut longest);
            prey = 0;
        }
    }
    remove(prey, &mut longest);
    longest.say();
    check(call(Call::HELLO, [0; 4]) == VERSION.cast_signed(), "hv does not answer")?;
    neighbour.must_be_well("calls")
}

/// Of each kind of call the one that took longest, in ticks; turns of others are in it.
struct Longest {
    ticks: [u64; CALLS as usize],
}

impl Longest {
    fn call(&mut self, number: Call, arguments: [u64; 4]) -> i64 {
        let before = manager::tsc();
        let answer = call(number, arguments);
        let slot = number.0.wrapping_sub(FIRST_CALL) as usize;
        if let Some(ticks) = self.ticks.get_mut(slot) {
            *ticks = (*ticks).max(manager::tsc() - before);
        }
        answer
    }

    /// Says those of a microsecond and more.
    fn say(&self) {
        for (number, ticks) in (FIRST_CALL..).zip(self.ticks) {
            let micros = ticks * 1000 / manager::tsc_khz();
            if let Some(name) = Call(number).name().filter(|_| micros > 0) {
                log(format_args!("measure longest-{name} {micros}"));
            }
        }
    }
}

/// A VM to do things to; 0: it could not be cut.
fn make(handover: &Handover, random: &mut Random, longest: &mut Longest) -> u64 {
    let manifest = Plan::new(handover, "prey").manifest(handover, 2);
    let at = scratch(handover);
    window::put(at, manifest.as_bytes());
    let vm = longest.call(Call::VM_CREATE, [at, 0, 0, 0]).max(0).cast_unsigned();
    put_state(at, random);
    longest.call(Call::VM_START, [vm, at, 0, 0]);
    vm
}

fn remove(vm: u64, longest: &mut Longest) {
    if vm != 0 {
        longest.call(Call::VM_STOP, [vm, 0, 0, 0]);
        manager::sleep_until(|| longest.call(Call::VM_DESTROY, [vm, 0, 0, 0]) <= 0);
    }
}

/// A page of our own for what hv reads and writes.
fn scratch(handover: &Handover) -> u64 {
    window::frame(handover, 30)
}

fn put_state(at: u64, random: &mut Random) {
    let mode = StartMode(random.below(4) as u32);
    let mut any = || random.next() >> random.below(64);
    let (rip, rsp, cr3) = (any(), any(), any());
    let registers = [any(), any(), any(), any()];
    let state = StartState { version: 1, mode, rip, rsp, cr3, registers };
    window::put(at, state.as_bytes());
}

/// Any arguments, as far as the answer is nobody's harm.
fn arguments(handover: &Handover, call: Call, vm: u64, random: &mut Random) -> [u64; 4] {
    let at = scratch(handover);
    let wrong = [0, handover.ram_end, handover.ram_end - 4, u64::MAX - 7, 0xfee0_0000, u64::MAX << 47];
    let wrong = wrong[random.below(6) as usize];
    let address = if random.below(2) == 0 { at } else { wrong };
    let mut any = || random.next() >> random.below(64);
    let (second, third, fourth) = (any(), any(), any());
    match call {
        Call::VM_CREATE => {
            let mut manifest = Plan::new(handover, "any").manifest(handover, 3);
            for _ in 0..random.below(3) {
                let place = random.below(128) as usize;
                manifest.as_mut_bytes()[place] = random.next() as u8;
            }
            manifest.io_page = if random.below(2) == 0 { 0 } else { wrong };
            window::put(at, manifest.as_bytes());
            [address, second, third, fourth]
        }
        Call::VM_START => {
            put_state(at, random);
            [vm, address, third, fourth]
        }
        Call::VM_STATUS | Call::DEV_INFO => [vm, address, third, fourth],
        Call::VM_CLASS => [vm, random.below(4), third, fourth],
        Call::LOG_WRITE | Call::IO_EVENTS => [wrong, second, third, fourth],
        Call::IO_MSI => [vm, 0xfee0_0000 | second & 0xf_ffff, third, fourth],
        Call::IO_PIN => [vm, random.below(32), random.below(2), fourth],
        Call::IO_DOORBELL => [vm, second, random.below(8), random.below(1100)],
        Call::DEV_READ | Call::DEV_WRITE => {
            [second & 0xff, random.below(0x110), 1 << random.below(4), fourth]
        }
        Call::DEV_MAP | Call::DEV_BIND => [second & 0xff, random.below(8), random.below(1100), fourth],
        _ => [vm, second, third, fourth],
    }
}
