//! A child's side: where it enters, and the page that it shares with the micro-guest.

use super::LOW;
use crate::{Handover, apic, traps};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use hv_defs::apic::Register;

/// What a child does.
pub type Job = fn(&'static Room);

/// Words that both see.
#[repr(C)]
pub struct Room {
    job: AtomicU64,
    cpus: AtomicU64,
    done: AtomicU64,
    words: [AtomicU64; 500],
}

impl Room {
    /// In a child: its own.
    pub fn own() -> &'static Self {
        // SAFETY: a child's low memory is mapped where it is, and the room stays there.
        unsafe { &*core::ptr::with_exposed_provenance(super::ROOM as usize) }
    }

    /// For a new start.
    pub fn reset(&self, job: Job, cpus: u64, words: &[u64]) {
        self.job.store(job as usize as u64, Ordering::Relaxed);
        self.cpus.store(cpus, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.words.iter().zip(words).for_each(|(word, value)| word.store(*value, Ordering::Relaxed));
    }

    /// A word.
    pub fn word(&self, at: usize) -> &AtomicU64 {
        &self.words[at]
    }

    /// Its value.
    pub fn get(&self, at: usize) -> u64 {
        self.words[at].load(Ordering::SeqCst)
    }

    /// Sets it.
    pub fn set(&self, at: usize, value: u64) {
        self.words[at].store(value, Ordering::SeqCst);
    }

    /// Whether the job is done.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::SeqCst) == 1
    }

    /// What starting other CPUs takes.
    pub fn handover(&self) -> Handover {
        let root: u64;
        // SAFETY: reads a register.
        unsafe { asm!("mov {}, cr3", out(reg) root) };
        Handover { cpus: self.cpus.load(Ordering::Relaxed), low: LOW, root, ram_end: super::RAM, options: "" }
    }
}

/// Address of [`guest_child`].
pub fn entry() -> u64 {
    (guest_child as *const ()).addr() as u64
}

/// Where a child enters: long mode, interrupts off, its low memory and devices mapped where they are.
///
/// # Safety
/// Called once, by hv, with the address of the room.
unsafe extern "C" fn guest_child(room: *const Room) -> ! {
    // SAFETY: the micro-guest's promise.
    let room = unsafe { &*room };
    traps::install();
    // This copy's statics are as the micro-guest's were.
    apic::is_as_after_reset();
    apic::enable();
    apic::write(Register::TASK_PRIORITY, 0);
    // SAFETY: only the micro-guest stores something there, and it stores such a function, which is at
    // the same address here.
    let job = unsafe { core::mem::transmute::<usize, Job>(room.job.load(Ordering::Relaxed) as usize) };
    job(room);
    room.done.store(1, Ordering::SeqCst);
    crate::halt()
}
