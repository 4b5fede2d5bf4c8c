//! When NMIs are blocked. (QEMU 7.2, deviation 9: an injected NMI does not block the next.)

use super::*;
use hv_defs::control::rflags::TF;

const DB: Exit = Exit::Exception { vector: 1, error: 0, address: 0 };

/// In the handler of one NMI, with `waiting` more of them, and at the `IRET` that ends it.
fn at_iret(waiting: usize) -> Box {
    let mut here = Box::new();
    here.mailbox.post(Wish::NMI);
    here.prepare();
    assert_eq!((here.cpu.injected, here.cpu.watching), (Some(Event::Nmi), (None, true)));
    here.exit(Exit::HostInterrupt);
    for _ in 0..waiting {
        here.mailbox.post(Wish::NMI);
        here.prepare();
        assert_eq!((here.cpu.injected, here.cpu.watching), (None, (None, true)), "blocked");
    }
    here.cpu.set(Register::Rip, 0x2000);
    here.exit(Exit::Iret);
    here.prepare();
    assert_eq!((here.cpu.injected, here.cpu.watching), (None, (None, false)), "it has not run yet");
    here
}

fn flags(here: &Box) -> u64 {
    here.cpu.get(Register::Rflags)
}

/// `IRET` has run: RIP and flags are what it has loaded, and a trap is due.
fn iret_runs(here: &mut Box, popped: u64, dr6: u64) {
    here.cpu.set(Register::Rip, 0x1000);
    here.cpu.set(Register::Rflags, popped);
    here.cpu.set(Register::Dr6, dr6);
    assert_eq!(here.exit(DB), Verdict::Resume);
    here.prepare();
}

#[test]
fn the_next_one_comes_right_behind_iret() {
    let mut here = at_iret(2);
    assert_eq!(flags(&here) & TF, TF, "one step");
    // It is not there yet after an exit on the way.
    here.exit(Exit::HostInterrupt);
    here.prepare();
    assert_eq!((here.cpu.injected, flags(&here) & TF), (None, TF));
    iret_runs(&mut here, 0x202, 0xffff_4ff0);
    assert_eq!((here.cpu.injected, here.cpu.watching), (Some(Event::Nmi), (None, true)));
    assert_eq!((here.cpu.get(Register::Dr6), flags(&here)), (0xffff_0ff0, 0x202), "nobody sees the step");
    here.exit(Exit::HostInterrupt);
    here.prepare();
    assert_eq!(here.cpu.injected, None, "two that wait are one");
}

#[test]
fn without_another_there_is_no_step() {
    let mut here = at_iret(0);
    assert_eq!(flags(&here) & TF, 0);
    // It comes while the guest is at the IRET still,
    here.mailbox.post(Wish::NMI);
    here.prepare();
    assert_eq!((here.cpu.injected, flags(&here) & TF), (None, TF));
    // or when it has gone on.
    let mut here = at_iret(0);
    here.cpu.set(Register::Rip, 0x1000);
    here.exit(Exit::HostInterrupt);
    here.mailbox.post(Wish::NMI);
    here.prepare();
    assert_eq!((here.cpu.injected, flags(&here) & TF), (Some(Event::Nmi), 0));
}

#[test]
fn a_guest_that_steps_itself_gets_its_trap_first() {
    let mut here = Box::new();
    here.cpu.set(Register::Rflags, TF | 2);
    here.mailbox.post(Wish::NMI);
    here.prepare();
    here.exit(Exit::HostInterrupt);
    here.mailbox.post(Wish::NMI);
    here.exit(Exit::Iret);
    here.prepare();
    iret_runs(&mut here, TF | 2, 0xffff_4ff0);
    assert_eq!((here.cpu.injected, here.cpu.get(Register::Dr6)), (Some(exception::DB), 0xffff_4ff0));
    here.exit(Exit::HostInterrupt);
    here.prepare();
    assert_eq!(here.cpu.injected, Some(Event::Nmi));
}

#[test]
fn a_breakpoint_behind_iret_is_the_guests() {
    let mut here = at_iret(1);
    iret_runs(&mut here, 2, 0xffff_4ff1);
    assert_eq!((here.cpu.injected, here.cpu.get(Register::Dr6)), (Some(exception::DB), 0xffff_0ff1));
}

#[test]
fn what_is_delivered_at_iret_does_not_see_the_step() {
    let mut here = at_iret(1);
    here.cpu.interrupted = Some(Event::Interrupt(0x31));
    here.exit(Exit::HostInterrupt);
    here.prepare();
    assert_eq!((here.cpu.injected, flags(&here) & TF), (Some(Event::Interrupt(0x31)), 0));
}

#[test]
fn a_trap_without_a_step_is_the_guests() {
    let mut here = Box::new();
    here.cpu.set(Register::Dr6, 0xffff_4ff0);
    assert_eq!(here.exit(DB), Verdict::Resume);
    here.prepare();
    assert_eq!((here.cpu.injected, here.cpu.get(Register::Dr6)), (Some(exception::DB), 0xffff_4ff0));
    here.exit(Exit::Exception { vector: 17, error: 0, address: 0 });
    here.prepare();
    assert_eq!(here.cpu.injected, Some(Event::Exception { vector: 17, error: Some(0) }));
}

#[test]
fn one_that_waits_for_sti_is_watched_for() {
    let mut here = Box::new();
    here.cpu.shadow = true;
    here.mailbox.post(Wish::NMI);
    here.prepare();
    assert_eq!((here.cpu.injected, here.cpu.watching), (None, (Some(0xff), false)));
    here.cpu.shadow = false;
    here.exit(Exit::InterruptWindow);
    here.prepare();
    assert_eq!((here.cpu.injected, here.cpu.watching), (Some(Event::Nmi), (None, true)));
}
