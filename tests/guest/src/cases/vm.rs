//! Virtual machines beside this one: cut by manifest, their lives, and what they may not do.

use super::{Named, Outcome, check};
use crate::child::{self, Child, Plan, RAM, jobs};
use crate::hypercall::call;
use crate::{Handover, manager};
use core::sync::atomic::Ordering;
use hv_abi::hypercall::{Call, Status};
use hv_abi::manifest::{StartMode, StartState, VERSION, VmManifest};
use hv_abi::memory::PhysRange;
use hv_abi::status::VmState;
use zerocopy::FromZeros;

pub const MANY: &[Named] = &[
    ("vm/refused", refused),
    ("vm/life", life),
    ("vm/wrong-state", wrong_state),
    ("vm/denied", denied),
    ("vm/cleared", cleared),
    ("vm/over-and-over", over_and_over),
    ("vm/triple-fault", triple_fault),
    ("vm/many-cpus", many_cpus),
    ("vm/as-many-as-there-are", as_many_as_there_are),
    ("vm/start-states", start_states),
];

/// What no VM can be cut from; each with what is wrong.
fn refused(handover: &Handover) -> Outcome {
    type Spoil = fn(&mut VmManifest);
    let good = || Plan::new(handover, "refused").manifest(handover, 0);
    let argument: [(Spoil, &str); 13] = [
        (|manifest| manifest.version = 9, "another version is taken"),
        (|manifest| manifest.vcpus = 0, "no vCPUs are taken"),
        (|manifest| manifest.vcpus = 17, "seventeen vCPUs are taken"),
        (|manifest| manifest.name = [0; 16], "no name is taken"),
        (|manifest| manifest.name[0] = b'A', "a capital letter is taken"),
        (|manifest| manifest.class = 3, "a class that there is not is taken"),
        (|manifest| manifest.end_event = 1024, "an event that there is not is taken"),
        (|manifest| manifest.ram[0].len = 0, "no RAM is taken"),
        (|manifest| manifest.ram[0].len = RAM + 4096, "half a granule of RAM is taken"),
        (|manifest| manifest.ram[1] = PhysRange::new(2 << 20, RAM), "pieces that overlap are taken"),
        (|manifest| manifest.ram[1] = PhysRange::new(0xfec0_0000, RAM), "RAM over the APICs is taken"),
        (|manifest| manifest.ram[1] = PhysRange::new(!0x1f_ffff, RAM), "RAM beyond the addresses is taken"),
        (|manifest| manifest.cores[0] = 200, "a core that there is not is taken"),
    ];
    for (spoil, otherwise) in argument {
        let mut manifest = good();
        spoil(&mut manifest);
        check(child::create(&manifest) == Status::BAD_ARGUMENT.0, otherwise)?;
    }
    let mut large = good();
    large.ram[1] = PhysRange::new(1 << 32, 64 << 30);
    check(child::create(&large) == Status::NO_ROOM.0, "more RAM than there is is taken")?;
    let mut page = good();
    page.io_page = handover.ram_end;
    check(child::create(&page) == Status::BAD_ADDRESS.0, "a page that is not ours is taken")?;
    for address in [0, handover.ram_end, handover.ram_end - 8, u64::MAX - 7] {
        let refused = call(Call::VM_CREATE, [address, 0, 0, 0]) == Status::BAD_ADDRESS.0;
        check(refused, "a manifest that is not in our RAM is taken")?;
    }
    for vm in [0, 1, 7, 8, u64::MAX] {
        check(
            call(Call::VM_PAUSE, [vm, 0, 0, 0]) == Status::NO_SUCH_THING.0,
            "a VM that is not there is paused",
        )?;
        check(call(Call::VM_DESTROY, [vm, 0, 0, 0]) == Status::NO_SUCH_THING.0, "nobody can be destroyed")?;
    }
    Ok(())
}

/// Whether a counter goes on.
pub fn counts(child: &Child) -> bool {
    let before = child.room().get(jobs::COUNT);
    manager::sleep_until(|| child.room().get(jobs::COUNT) > before)
}

/// Start, pause, resume, stop, and all again.
fn life(handover: &Handover) -> Outcome {
    let child = Child::new(handover, 0, &Plan::new(handover, "life"))?;
    check(child.status().state == VmState::CREATED, "a VM that was cut is not created")?;
    check(child.status().memory == RAM, "a VM's RAM is of another size")?;
    for _ in 0..3 {
        child.start(jobs::count, 1, &[])?;
        check(counts(&child), "a VM that was started does not run")?;
        for _ in 0..5 {
            check(child.step(Call::VM_PAUSE) == 0, "a VM can't be paused")?;
            let stands = child.room().get(jobs::COUNT);
            manager::sleep(3000);
            check(child.room().get(jobs::COUNT) == stands, "a VM runs on while it is paused")?;
            check(child.status().state == VmState::PAUSED, "a paused VM is not paused")?;
            check(child.step(Call::VM_RESUME) == 0, "a VM can't be resumed")?;
            check(counts(&child), "a VM that was resumed does not run")?;
        }
        let used = child.status().cpu_nanos;
        check(used > 0, "a VM that runs takes no time")?;
        check(child.step(Call::VM_STOP) == 0, "a VM can't be stopped")?;
        let stands = child.room().get(jobs::COUNT);
        manager::sleep(3000);
        check(child.room().get(jobs::COUNT) == stands, "a VM runs on after it was stopped")?;
        check(child.status().state == VmState::STOPPED, "a stopped VM is not stopped")?;
    }
    check(!child.ended(handover), "a VM that was stopped ended by itself")?;
    child.destroy()
}

fn wrong_state(handover: &Handover) -> Outcome {
    let child = Child::new(handover, 0, &Plan::new(handover, "wrong"))?;
    let wrong = |step| child.step(step) == Status::WRONG_STATE.0;
    check(wrong(Call::VM_PAUSE) && wrong(Call::VM_RESUME), "what does not run is paused, or resumed")?;
    child.start(jobs::count, 1, &[])?;
    check(wrong(Call::VM_RESUME) && wrong(Call::VM_DESTROY), "what runs is resumed, or destroyed")?;
    let state = StartState::new_zeroed();
    let state = StartState { version: VERSION, rip: 0x5000, ..state };
    check(child.start_at(&state).is_err(), "what runs is started")?;
    check(child.step(Call::VM_PAUSE) == 0 && wrong(Call::VM_PAUSE), "what is paused is paused again")?;
    check(child.step(Call::VM_STOP) == 0, "what is paused can't be stopped")?;
    check(wrong(Call::VM_RESUME), "what is stopped is resumed")?;
    let beyond = call(Call::MEM_WINDOW, [child.vm, RAM - 8, 16, 0]) == Status::BAD_ADDRESS.0;
    check(beyond, "a window reaches beyond the RAM")?;
    let vm = child.vm;
    child.destroy()?;
    check(call(Call::VM_START, [vm, 0x1000, 0, 0]) < 0, "what is gone is started")
}

/// Another VM gets no call of the management VM's, and sees none of its memory.
fn denied(handover: &Handover) -> Outcome {
    let child = Child::new(handover, 0, &Plan::new(handover, "denied"))?;
    child.start(jobs::denied, 1, &[])?;
    child.finish()?;
    check(child.room().get(jobs::WRONG) == 0, "a call of the management VM's is not denied")?;
    check(child.room().get(jobs::COUNT) >= 20, "not all calls were tried")?;
    child.destroy()
}

/// What one VM leaves in its RAM, the next one does not find.
fn cleared(handover: &Handover) -> Outcome {
    let plan = Plan::new(handover, "cleared");
    let child = Child::new(handover, 0, &plan)?;
    let words = || (0..RAM).step_by(8);
    let window = child.window;
    words().for_each(|at| manager::shared(window + at).store(0x5ec2_e700_0000 + at, Ordering::Relaxed));
    child.destroy()?;
    let other = Child::new(handover, 0, &plan)?;
    let clean = |at| manager::shared(other.window + at).load(Ordering::Relaxed) == 0;
    check(words().all(clean), "a VM finds what another one left")?;
    check(other.window == window, "this would have shown nothing: the RAM is another")?;
    other.destroy()
}

/// A VM goes as often as it comes, though its core may still be about to leave it, and so does the window
/// on its RAM.
fn over_and_over(handover: &Handover) -> Outcome {
    let plan = Plan::new(handover, "again");
    for _ in 0..60 {
        let child = Child::new(handover, 0, &plan)?;
        child.start(jobs::count, 1, &[])?;
        check(counts(&child), "a VM that was started does not run")?;
        let room = child.window + child::ROOM;
        child.destroy()?;
        let word = manager::shared(room).load(Ordering::Relaxed);
        check(word == u64::MAX, "the RAM of a VM that is gone can still be seen")?;
    }
    Ok(())
}

/// A triple fault ends its VM, says so once, and nobody else notices.
fn triple_fault(handover: &Handover) -> Outcome {
    let other = Child::new(handover, 1, &Plan::new(handover, "bystander"))?;
    other.start(jobs::count, 1, &[])?;
    let child = Child::new(handover, 0, &Plan::new(handover, "faulting"))?;
    for _ in 0..5 {
        child.start(jobs::triple_fault, 1, &[])?;
        check(manager::sleep_until(|| child.ended(handover)), "a triple fault does not end the VM")?;
        let status = child.status();
        let reason = &status.reason[..status.reason_len as usize];
        check(status.state == VmState::STOPPED && reason == b"triple fault", "the reason is another")?;
        check(counts(&other), "a triple fault ends another VM")?;
    }
    child.destroy()?;
    other.destroy()
}

/// More vCPUs than cores, all on one of them.
fn many_cpus(handover: &Handover) -> Outcome {
    for vcpus in [2, 4] {
        let child = Child::new(handover, 0, &Plan { vcpus, ..Plan::new(handover, "many") })?;
        child.start(jobs::many, vcpus.into(), &[])?;
        child.finish()?;
        let room = child.room();
        check(room.get(jobs::WRONG) == 0, "a VM's other CPU does not start")?;
        check(room.get(jobs::COUNT) == u64::from(vcpus) - 1, "a VM's other CPU does not answer")?;
        child.destroy()?;
    }
    Ok(())
}

fn as_many_as_there_are(handover: &Handover) -> Outcome {
    let plan = Plan::new(handover, "one-of-many");
    let mut children: [Option<Child>; 7] = Default::default();
    for (slot, child) in children.iter_mut().enumerate() {
        let new = Child::new(handover, slot as u32, &plan)?;
        new.start(jobs::count, 1, &[])?;
        *child = Some(new);
    }
    check(child::create(&plan.manifest(handover, 7)) == Status::NO_ROOM.0, "an eighth VM is cut")?;
    let all = children.iter().flatten().all(counts);
    for child in children.into_iter().flatten() {
        child.destroy()?;
    }
    check(all, "one of many VMs does not run")
}

/// As after RESET, and in 32 bits: a few instructions at the start that leave something.
fn start_states(handover: &Handover) -> Outcome {
    let child = Child::new(handover, 0, &Plan::new(handover, "states"))?;
    let put = |at: u64, code: &[u8]| crate::window::put(child.window + at, code);
    let state =
        |mode, rip| StartState { version: VERSION, mode, rip, rsp: 0, cr3: 0, registers: [7, 8, 9, 10] };
    // mov [0x6000], ebx; hlt
    put(0x5000, &[0x89, 0x1d, 0x00, 0x60, 0, 0, 0xf4]);
    child.start_at(&state(StartMode::FLAT_32, 0x5000))?;
    let left = || crate::window::get::<4>(child.window + 0x6000);
    check(manager::sleep_until(|| left() == [8, 0, 0, 0]), "32-bit code does not start as asked")?;
    check(child.step(Call::VM_STOP) == 0, "a VM that sleeps for good can't be stopped")?;
    // The reset vector is at the end of four gigabytes, where this VM has no RAM: no code, no life.
    child.start_at(&state(StartMode::RESET, 0))?;
    check(manager::sleep_until(|| child.ended(handover)), "a VM runs where it has no RAM")?;
    let mut bad = state(StartMode::LONG, 0x5000);
    bad.version = 2;
    check(child.start_at(&bad).is_err(), "a start state of another version is taken")?;
    child.destroy()
}
