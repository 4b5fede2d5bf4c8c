//! Accesses to device memory, by the short way and where that must not be taken.

use super::*;
use crate::exit::NestedFault;
use std::vec;

const DEVICE: u64 = 0xe000_3000;

/// `code` at RIP, RBX = `address`.
fn at(code: &[u8], address: u64) -> Box {
    let mut here = Box::new();
    here.cpu.set(Register::Rip, 0x8000);
    here.world.memory.put(0x8000, code);
    here.vcpu.gprs.0[gpr::RBX] = address;
    here.vcpu.gprs.0[gpr::RAX] = 0x1122_3344_5566_7788;
    here
}

fn fault(address: u64, access: Access) -> Exit {
    Exit::Memory(NestedFault { address, access, fetch: false, present: false, in_page_walk: false })
}

fn accesses(here: &Box) -> Vec<(u64, u8, Option<u64>)> {
    here.world.accesses.iter().map(|access| (access.address, access.size, access.write)).collect()
}

#[test]
fn a_driver_rings_a_doorbell() {
    // mov [rbx], ax
    let mut here = at(&[0x66, 0x89, 0x03], DEVICE);
    assert_eq!(here.exit(fault(DEVICE, Access::Write)), Verdict::Resume);
    assert_eq!((accesses(&here), here.rip()), (vec![(DEVICE, 2, Some(0x7788))], 0x8003));
}

#[test]
fn a_register_that_another_vm_has_comes_later() {
    // mov al, [rbx+1]
    let mut here = at(&[0x8a, 0x43, 0x01], DEVICE);
    here.world.answer = Answer::Later;
    assert_eq!(here.exit(fault(DEVICE + 1, Access::Read)), Verdict::Wait);
    assert_eq!(accesses(&here), [(DEVICE + 1, 1, None)]);
    here.world.late = Some(0xab);
    here.mailbox.post(Wish::ANSWER);
    assert_eq!(here.prepare(), Readiness::Run);
    assert_eq!((here.vcpu.gprs.0[gpr::RAX], here.rip()), (0x1122_3344_5566_77ab, 0x8003));
}

#[test]
fn an_access_from_the_page_before_is_made_in_parts() {
    // mov [rbx], eax
    let mut here = at(&[0x89, 0x03], DEVICE - 2);
    here.exit(fault(DEVICE, Access::Write));
    assert_eq!(accesses(&here), [(DEVICE - 2, 2, Some(0x7788)), (DEVICE, 2, Some(0x5566))]);
}

#[test]
fn memory_that_is_there_by_now_is_no_device() {
    // mov rax, [rbx]
    let mut here = at(&[0x48, 0x8b, 0x03], 0x9000);
    here.world.memory.put(0x9000, &[1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(here.exit(fault(0x9000, Access::Read)), Verdict::Resume);
    assert_eq!((accesses(&here), here.vcpu.gprs.0[gpr::RAX]), (vec![], 0x0807_0605_0403_0201));
}
