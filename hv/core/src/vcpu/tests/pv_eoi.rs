//! KVM's end of interrupt without an exit.

use super::*;
use hv_defs::kvm;

const WORD: u64 = 0x7004;

/// With interrupts let through, and the word in use.
fn with_word() -> Box {
    let mut here = Box::new();
    here.let_interrupts_through();
    set_word(&mut here, WORD | kvm::ENABLED);
    here
}

fn set_word(here: &mut Box, value: u64) {
    here.vcpu.gprs.0[gpr::RCX] = kvm::PV_EOI.into();
    here.vcpu.gprs.set_edx_eax(value);
    here.exit(Exit::Msr(Access::Write));
    assert_eq!(here.prepare(), Readiness::Run);
}

/// An interrupt is posted; whether it was delivered, and whether the guest may end it by its word.
fn post(here: &mut Box, vector: u8, trigger: Trigger) -> (bool, bool) {
    here.mailbox.post_interrupt(vector, trigger);
    here.prepare();
    (here.cpu.injected == Some(Event::Interrupt(vector)), here.world.memory.number(WORD, 4) == 1)
}

/// The guest ends the interrupt as Linux does: by the word if it may, or else by the register.
fn end(here: &mut Box) {
    if here.world.memory.number(WORD, 4) & 1 == 1 {
        here.world.memory.put(WORD, &[0]);
        here.exit(Exit::HostInterrupt);
    } else {
        // A write of the xAPIC's page, less its decoding.
        here.exit(Exit::HostInterrupt);
        here.vcpu.apic.write_page(0xb0, 4, 0, &mut NoClient);
    }
    here.prepare();
}

fn in_service(here: &Box) -> bool {
    here.vcpu.apic.processor_priority() != 0
}

#[test]
fn an_edge_is_ended_by_the_word() {
    let mut here = with_word();
    assert_eq!(post(&mut here, 0x31, Trigger::Edge), (true, true));
    here.exit(Exit::HostInterrupt);
    here.prepare();
    assert!(in_service(&here), "not ended yet");
    end(&mut here);
    assert!(!in_service(&here));
    assert_eq!(post(&mut here, 0x31, Trigger::Edge), (true, true), "and again");
}

#[test]
fn a_level_is_ended_by_the_register() {
    let mut here = with_word();
    assert_eq!(post(&mut here, 0x31, Trigger::Level), (true, false));
}

#[test]
fn nothing_is_granted_while_another_waits() {
    let mut here = with_word();
    here.mailbox.post_interrupt(0x31, Trigger::Edge);
    assert_eq!(post(&mut here, 0x41, Trigger::Edge), (true, false));
    here.exit(Exit::HostInterrupt);
    end(&mut here);
    assert_eq!(here.cpu.injected, Some(Event::Interrupt(0x31)));
    assert_eq!(here.world.memory.number(WORD, 4), 1, "it is the last");
}

#[test]
fn a_grant_is_taken_back_when_another_comes() {
    let mut here = with_word();
    assert_eq!(post(&mut here, 0x51, Trigger::Edge), (true, true));
    here.exit(Exit::HostInterrupt);
    assert_eq!(post(&mut here, 0x31, Trigger::Edge), (false, false), "it must wait for the first's end");
    end(&mut here);
    assert_eq!(here.cpu.injected, Some(Event::Interrupt(0x31)));
}

#[test]
fn nested_interrupts_end_in_their_order() {
    let mut here = with_word();
    post(&mut here, 0x31, Trigger::Edge);
    here.exit(Exit::HostInterrupt);
    assert_eq!(post(&mut here, 0x51, Trigger::Edge), (true, true), "the grant is the inner one's now");
    // The inner one is ended by the word; nothing exits until the outer one's write.
    here.world.memory.put(WORD, &[0]);
    end(&mut here);
    assert!(!in_service(&here));
}

#[test]
fn one_that_came_too_late_to_be_refused_counts() {
    let mut here = with_word();
    post(&mut here, 0x51, Trigger::Edge);
    here.mailbox.post_interrupt(0x31, Trigger::Edge);
    end(&mut here);
    assert_eq!(here.cpu.injected, Some(Event::Interrupt(0x31)), "ended before the grant could be taken back");
    assert_eq!(here.world.memory.number(WORD, 4), 1);
}

#[test]
fn a_word_that_moves_or_goes_takes_its_grant_with_it() {
    let mut here = with_word();
    post(&mut here, 0x51, Trigger::Edge);
    set_word(&mut here, 0x8000 | kvm::ENABLED);
    assert_eq!(here.world.memory.number(WORD, 4), 0);
    end(&mut here);
    assert!(!in_service(&here), "by the register");
    here.mailbox.post_interrupt(0x51, Trigger::Edge);
    here.prepare();
    assert_eq!(here.world.memory.number(0x8000, 4), 1);
    set_word(&mut here, 0);
    assert_eq!(here.world.memory.number(0x8000, 4), 0);
}

#[test]
fn a_word_where_no_ram_is_grants_nothing() {
    let mut here = Box::new();
    here.let_interrupts_through();
    set_word(&mut here, 0xffff_f000 | kvm::ENABLED);
    here.mailbox.post_interrupt(0x31, Trigger::Edge);
    here.prepare();
    here.exit(Exit::HostInterrupt);
    assert!(in_service(&here));
}

#[test]
fn init_takes_the_grant_back() {
    let mut here = with_word();
    post(&mut here, 0x51, Trigger::Edge);
    here.mailbox.post(Wish::INIT);
    here.prepare();
    assert_eq!(here.world.memory.number(WORD, 4), 0);
    assert!(!in_service(&here));
}
