//! What goes between virtual machines: I/O requests and their answers, doorbells, interrupts.

use super::{Named, Outcome, check};
use crate::Handover;
use crate::child::{Child, Plan, io_event, jobs};
use crate::hypercall::call;
use crate::manager::{self, shared};
use core::sync::atomic::Ordering;
use hv_abi::hypercall::{Call, Status};
use hv_abi::ioreq::{NO_EVENT, PORT, State};

pub const MANY: &[Named] = &[
    ("vm/io-requests", requests),
    ("vm/io-requests-withdrawn", withdrawn),
    ("vm/nobody-answers", nobody_answers),
    ("vm/doorbells", doorbells),
    ("vm/doorbells-refused", doorbells_refused),
    ("vm/msi", msi),
    ("vm/pin-edge", |handover| pin(handover, false)),
    ("vm/pin-level", |handover| pin(handover, true)),
];

/// An access that waits for an answer.
pub struct Request {
    is_port: bool,
    pub write: bool,
    size: u8,
    pub address: u64,
    data: u64,
}

/// Answers what a vCPU of a child waits for, if it waits. `io.complete` may find that it was taken
/// away meanwhile.
pub fn serve(child: &Child, vcpu: u64, answer: &mut dyn FnMut(&Request) -> u64) {
    let word = |number: u64| shared(child.io_page + vcpu * 32 + number * 8);
    let head = word(0).load(Ordering::SeqCst);
    if head as u32 != State::REQUESTED.0 {
        return;
    }
    let [space, write, size, _] = ((head >> 32) as u32).to_le_bytes();
    let request = Request {
        is_port: space == 1,
        write: write == 1,
        size,
        address: word(1).load(Ordering::SeqCst),
        data: word(2).load(Ordering::SeqCst),
    };
    word(2).store(answer(&request), Ordering::SeqCst);
    word(0).store(State::ANSWERED.0.into(), Ordering::SeqCst);
    call(Call::IO_COMPLETE, [child.vm, vcpu, 0, 0]);
}

/// Serves a child until its job is done.
pub fn serve_all(handover: &Handover, child: &Child, answer: &mut dyn FnMut(u64, bool) -> u64) -> Outcome {
    let done = manager::sleep_until(|| {
        if manager::take(handover, io_event(0)) {
            serve(child, 0, &mut |request| answer(request.address, request.write));
        }
        child.room().is_done()
    });
    check(done, "a VM waits for an answer for ever")
}

fn requests(handover: &Handover) -> Outcome {
    let child = Child::new(handover, 0, &Plan { devices: true, ..Plan::new(handover, "asking") })?;
    child.start(jobs::devices, 1, &[])?;
    let (mut written, mut odd) = (0_u64, false);
    let done = manager::sleep_until(|| {
        if manager::take(handover, io_event(0)) {
            serve(&child, 0, &mut |request| {
                odd |= request.is_port != (request.address < 0x1_0000);
                odd |= !matches!(request.size, 1 | 2 | 4 | 8);
                if request.write {
                    written = written.wrapping_add(request.data);
                }
                jobs::answer(request.address)
            });
        }
        child.room().is_done()
    });
    check(done, "a VM waits for an answer for ever")?;
    check(!odd, "a request is not what was accessed")?;
    check(child.room().get(jobs::WRONG) == 0, "an answer does not reach who waits for it")?;
    check(child.room().get(jobs::COUNT) == 17, "not all was answered")?;
    check(written == jobs::WRITTEN, "what was written does not arrive")?;
    // Nobody waits: an answer is nobody's.
    check(call(Call::IO_COMPLETE, [child.vm, 0, 0, 0]) == 0, "an answer for nobody is refused")?;
    check(
        call(Call::IO_COMPLETE, [child.vm, 1, 0, 0]) == Status::NO_SUCH_THING.0,
        "a vCPU there is not is answered",
    )?;
    child.destroy()
}

/// A VM that waits can be paused, stopped and started anew; the answer that comes late harms nobody.
fn withdrawn(handover: &Handover) -> Outcome {
    let child = Child::new(handover, 0, &Plan { devices: true, ..Plan::new(handover, "withdrawn") })?;
    for _ in 0..3 {
        child.start(jobs::devices, 1, &[])?;
        check(manager::sleep_until(|| manager::take(handover, io_event(0))), "a VM asks nothing")?;
        check(
            child.step(Call::VM_PAUSE) == 0 && child.step(Call::VM_RESUME) == 0,
            "who waits can't be paused",
        )?;
        check(child.step(Call::VM_STOP) == 0, "who waits can't be stopped")?;
        serve(&child, 0, &mut |_| 0);
    }
    child.start(jobs::devices, 1, &[])?;
    serve_all(handover, &child, &mut |address, _| jobs::answer(address))?;
    check(child.room().get(jobs::WRONG) == 0, "an answer for an earlier life arrives")?;
    child.destroy()
}

/// Without somebody who answers, devices read all ones.
fn nobody_answers(handover: &Handover) -> Outcome {
    let child = Child::new(handover, 0, &Plan::new(handover, "alone"))?;
    child.start(jobs::devices, 1, &[])?;
    child.finish()?;
    check(child.room().get(jobs::WRONG) != 0, "somebody answers")?;
    child.destroy()
}

fn doorbells(handover: &Handover) -> Outcome {
    const EVENT: u32 = 100;
    let child = Child::new(handover, 0, &Plan::new(handover, "ringing"))?;
    let bell = |address: u64, event: u32| call(Call::IO_DOORBELL, [child.vm, address, 2, event.into()]);
    check(bell(jobs::BELL, EVENT) == 0, "a doorbell can't be put")?;
    check(bell(u64::from(jobs::BELL_PORT) | PORT, EVENT + 1) == 0, "a doorbell can't be put at a port")?;
    for (port, event) in [(0, EVENT), (1, EVENT + 1)] {
        manager::take(handover, event);
        child.start(jobs::ring, 1, &[0, 0, port, 10])?;
        child.finish()?;
        check(child.room().get(jobs::COUNT) == 10, "who rings is held up")?;
        check(manager::take(handover, event), "a doorbell is not heard")?;
        check(!manager::take(handover, event), "a doorbell rings by itself")?;
        check(!manager::is_set(handover, EVENT ^ (EVENT + 1) ^ event), "another doorbell rings")?;
        child.step(Call::VM_STOP);
    }
    check(bell(jobs::BELL, NO_EVENT) == 0, "a doorbell can't be taken away")?;
    child.start(jobs::ring, 1, &[0, 0, 0, 10])?;
    child.finish()?;
    check(!manager::is_set(handover, EVENT), "a doorbell that was taken away rings")?;
    child.destroy()
}

fn doorbells_refused(handover: &Handover) -> Outcome {
    let child = Child::new(handover, 0, &Plan::new(handover, "bells"))?;
    let bell =
        |address: u64, bytes: u64, event: u64| call(Call::IO_DOORBELL, [child.vm, address, bytes, event]);
    let at = jobs::BELL;
    check(bell(at, 4, 5) == 0, "a doorbell can't be put")?;
    let wrong = Status::BAD_ARGUMENT.0;
    check(bell(at + 3, 4, 5) == wrong && bell(at - 3, 4, 5) == wrong, "two doorbells share a byte")?;
    check(bell(at + 64, 0, 5) == wrong && bell(at + 64, 4097, 5) == wrong, "a doorbell of any size is put")?;
    check(bell(at + 64, 4, 1024) == wrong, "a doorbell sets an event that there is not")?;
    check(
        bell(PORT | 0xffff, 2, 5) == wrong && bell(PORT - 1, 4, 5) == wrong,
        "a doorbell is beyond the last place",
    )?;
    check(bell(at + 1, 4, NO_EVENT.into()) == Status::NO_SUCH_THING.0, "a part of a doorbell is taken away")?;
    for number in 1..128 {
        check(bell(at + number * 8, 4, 5) == 0, "there are fewer doorbells than promised")?;
    }
    check(bell(at + 128 * 8, 4, 5) == Status::NO_ROOM.0, "there are more doorbells than promised")?;
    child.destroy()
}

/// A child that says which interrupts came.
fn listener(handover: &Handover, entry: u64) -> Result<Child, &'static str> {
    let child = Child::new(handover, 0, &Plan::new(handover, "listening"))?;
    child.start(jobs::listen, 1, &[0, 0, 0, entry])?;
    check(manager::sleep_until(|| child.room().get(jobs::COUNT) == 1), "a VM does not listen")?;
    Ok(child)
}

/// Whether `vector` comes to `count` in all.
fn hears(child: &Child, vector: usize, count: u64) -> bool {
    manager::sleep_until(|| child.room().get(jobs::HEARD + vector - 0x40) == count)
}

fn msi(handover: &Handover) -> Outcome {
    let child = listener(handover, 0)?;
    let msi = |address: u64, data: u64| call(Call::IO_MSI, [child.vm, address, data, 0]);
    for round in 1..=5 {
        check(msi(0xfee0_0000, 0x43) == 0 && hears(&child, 0x43, round), "a message does not interrupt")?;
    }
    check(msi(0xfee0_0000, 0x44) == 0 && hears(&child, 0x44, 1), "a message does not interrupt")?;
    let wrong = Status::BAD_ARGUMENT.0;
    check(msi(0xfed0_0000, 0x43) == wrong && msi(0, 0) == wrong, "any address is a message")?;
    check(msi(0xfee0_0000, 1 << 33) == wrong, "more than 32 bits are a message")?;
    // To a CPU that is not there, and with a vector that no interrupt has.
    check(msi(0xfee0_9000, 0x43) == 0 && msi(0xfee0_0000, 3) == 0, "a message for nobody is refused")?;
    check(hears(&child, 0x43, 5) && hears(&child, 0x44, 1), "a message for nobody comes")?;
    child.destroy()
}

/// A pin of the I/O APIC; level-triggered it comes again for as long as it is driven.
fn pin(handover: &Handover, level: bool) -> Outcome {
    const LEVEL: u64 = 1 << 15;
    let child = listener(handover, 0x45 | if level { LEVEL } else { 0 })?;
    let drive = |level: u64| call(Call::IO_PIN, [child.vm, 0, level, 0]);
    let heard = || child.room().get(jobs::HEARD + 5);
    check(drive(1) == 0 && manager::sleep_until(|| heard() > 0), "a pin does not interrupt")?;
    if level {
        check(manager::sleep_until(|| heard() > 10), "a pin that stays driven interrupts once")?;
    }
    check(drive(0) == 0, "a pin can't be let go")?;
    // What was on its way comes; then silence.
    let mut stands = heard();
    let silent = (0..100).any(|_| {
        let before = core::mem::replace(&mut stands, heard());
        manager::sleep(5000);
        before == stands && heard() == stands
    });
    check(silent && (level || stands == 1), "a pin that is not driven interrupts")?;
    check(drive(1) == 0 && manager::sleep_until(|| heard() > stands), "a pin interrupts only once")?;
    check(drive(0) == 0 && drive(2) == Status::BAD_ARGUMENT.0, "a pin has a third level")?;
    check(call(Call::IO_PIN, [child.vm, 24, 1, 0]) == Status::BAD_ARGUMENT.0, "there is a 25th pin")?;
    child.destroy()
}
