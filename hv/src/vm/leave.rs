//! How a VM leaves: its RAM is cleared, a part at a time, and is free once nobody can reach it.

use super::place::{self, Place};
use super::pool::pointer;
use crate::inbox;
use crate::machine::Machine;
use core::sync::atomic::Ordering;
use hv_abi::hypercall::Status;
use hv_abi::memory::PhysRange;
use hv_abi::status::VmState;
use hv_core::lifecycle::Step;
use hv_core::memory::Owner;

/// Bytes that one call clears: not much longer than any other call.
const AT_ONCE: u64 = 4 << 20;
/// Of [`super::Vm::cleared`]: it has not begun to leave.
pub const NOTHING_CLEARED: u64 = u64::MAX;

/// Clears some more of the memory of the VM in `place`. Answers how much is left to do; 0: it is gone.
///
/// # Errors
/// It runs, or is not there.
pub fn leave(machine: &Machine, place: &'static Place) -> Result<u64, Status> {
    place.step(Step::Destroy)?;
    // A core that has not left its last turn yet: there is still all of it to do.
    let Some(mut home) = place.vm.try_write() else { return Ok(1) };
    let vm = home.as_deref().ok_or(Status::NO_SUCH_THING)?;
    let manager = place::management();
    let manager = manager.as_deref().and_then(Option::as_deref).ok_or(Status::NO_SUCH_THING)?;
    let begun = vm.cleared.compare_exchange(NOTHING_CLEARED, 0, Ordering::Relaxed, Ordering::Relaxed);
    if begun.is_ok() {
        manager.unmap_windows(&vm.ram);
        place.next_life();
        vm.fronts().iter().for_each(|front| inbox::release(front.core.load(Ordering::Relaxed)));
    }
    let total = vm.ram.bytes();
    let from = vm.cleared.load(Ordering::Relaxed);
    if !manager.has_forgotten() {
        return Ok((total - from).max(1));
    }
    let to = total.min(from + AT_ONCE);
    let mut start = 0;
    for piece in vm.ram.pieces() {
        let (first, last) = (from.max(start), to.min(start + piece.host.len));
        if first < last {
            let part = PhysRange::new(piece.host.base + (first - start), last - first);
            // SAFETY: the VM's RAM; no vCPU of it runs again, and its management has lost the window.
            unsafe { pointer::<u8>(part).write_bytes(0, part.len as usize) };
        }
        start += piece.host.len;
    }
    vm.cleared.store(to, Ordering::Relaxed);
    if to < total {
        return Ok(total - to);
    }
    let (ram, pool, id) = (vm.ram, vm.pool, vm.id);
    *home = None;
    // SAFETY: what was in the pool is gone with the VM; its guest's registers go too.
    unsafe { pointer::<u8>(pool).write_bytes(0, pool.len as usize) };
    let mut owners = machine.memory.lock();
    let mut give = |range, owner| {
        // They were claimed for it, and the map has room: it had when they were.
        let _ = owners.give(range, owner, Owner::Free);
    };
    ram.pieces().for_each(|piece| give(piece.host, Owner::Vm(id as u8)));
    give(pool, Owner::Hypervisor);
    drop(owners);
    place.set_state(VmState(0));
    Ok(0)
}
