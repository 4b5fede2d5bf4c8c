//! A virtual CPU's mailbox: the only part of it that others touch.
//!
//! Whoever wants something of a vCPU leaves it here and, if the vCPU runs on another core, sends that
//! core an interrupt. The owner looks at one word before each turn of the guest; all that is slow
//! hangs off that single branch. Interrupts are posted as bits, so posting is one atomic instruction
//! and the same vector posted twice before it is taken is one interrupt, as in hardware.

use crate::exit::CLASSES;
use crate::vlapic::{Address, Trigger};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What somebody wants of a vCPU: bits of the pending word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish(u32);

impl Wish {
    /// There are posted interrupts.
    pub const INTERRUPTS: Self = Self(1 << 0);
    /// A non-maskable interrupt.
    pub const NMI: Self = Self(1 << 1);
    /// INIT: reset, then wait for STARTUP.
    pub const INIT: Self = Self(1 << 2);
    /// STARTUP; the page is in the top byte.
    pub const STARTUP: Self = Self(1 << 3);
    /// The answer to its I/O request is there.
    pub const ANSWER: Self = Self(1 << 4);
    /// Its VM is paused, resumed or stopped: look at the VM.
    pub const VM: Self = Self(1 << 5);

    /// From here on a bit for each word of posted interrupts.
    const WORDS_SHIFT: u32 = 8;
    const PAGE_SHIFT: u32 = 24;
    const WISHES: u32 = 0x3f;

    /// Whether all of `other` is wanted.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Nothing is wanted.
    pub const fn is_empty(self) -> bool {
        self.0 & Self::WISHES == 0
    }

    /// There are interrupts in this word.
    const fn interrupts(word: usize) -> Self {
        Self(Self::INTERRUPTS.0 | 1 << (Self::WORDS_SHIFT + word as u32))
    }

    /// In which words there may be interrupts, a bit each.
    const fn words(self) -> u8 {
        (self.0 >> Self::WORDS_SHIFT) as u8
    }

    /// The page of a STARTUP.
    pub const fn page(self) -> u8 {
        (self.0 >> Self::PAGE_SHIFT) as u8
    }

    /// The wish for STARTUP at `page`.
    pub const fn startup(page: u8) -> Self {
        Self(Self::STARTUP.0 | (page as u32) << Self::PAGE_SHIFT)
    }
}

/// Words of 32 vectors.
const WORDS: usize = 8;

/// One vCPU's mailbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    pending: AtomicU32,
    posted: [AtomicU32; WORDS],
    level: [AtomicU32; WORDS],
    address: AtomicU64,
    counts: Counts,
}

/// What the owner has counted, for others to read: it alone writes.
#[derive(Debug)]
pub struct Counts {
    exits: [AtomicU64; CLASSES],
    unknown_msrs: AtomicU64,
    last_unknown_msr: AtomicU32,
}

impl Default for Counts {
    fn default() -> Self {
        Self::new()
    }
}

impl Counts {
    const fn new() -> Self {
        Self {
            exits: [const { AtomicU64::new(0) }; CLASSES],
            unknown_msrs: AtomicU64::new(0),
            last_unknown_msr: AtomicU32::new(0),
        }
    }

    /// Counts an exit of `class`. For the owner.
    pub fn exit(&self, class: usize) {
        if let Some(count) = self.exits.get(class) {
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Counts an access to an MSR that the guest has not got. For the owner.
    pub fn unknown_msr(&self, number: u32) {
        self.unknown_msrs.store(self.unknown_msrs.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.last_unknown_msr.store(number, Ordering::Relaxed);
    }

    /// Exits by class.
    pub fn exits(&self) -> impl Iterator<Item = u64> {
        self.exits.iter().map(|count| count.load(Ordering::Relaxed))
    }

    /// Accesses to MSRs that the guest has not got, and the last one's number.
    pub fn unknown_msrs(&self) -> (u64, u32) {
        (self.unknown_msrs.load(Ordering::Relaxed), self.last_unknown_msr.load(Ordering::Relaxed))
    }

    fn clear(&self) {
        self.exits.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.unknown_msrs.store(0, Ordering::Relaxed);
        self.last_unknown_msr.store(0, Ordering::Relaxed);
    }
}

impl Mailbox {
    /// An empty mailbox.
    pub const fn new() -> Self {
        Self {
            pending: AtomicU32::new(0),
            posted: [const { AtomicU32::new(0) }; WORDS],
            level: [const { AtomicU32::new(0) }; WORDS],
            address: AtomicU64::new(0),
            counts: Counts::new(),
        }
    }

    /// What the owner has counted.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Forgets everything: a new life begins.
    pub fn clear(&self) {
        self.pending.store(0, Ordering::Release);
        self.posted.iter().for_each(|word| word.store(0, Ordering::Release));
        self.counts.clear();
    }

    /// Leaves a wish. Answers whether the owner must be told: it had none before.
    pub fn post(&self, wish: Wish) -> bool {
        if wish.has(Wish::STARTUP) {
            // Of two STARTUPs the owner sees the last one's page, as a CPU would that has not
            // started yet.
            let without_page = |word: u32| word & ((1 << Wish::PAGE_SHIFT) - 1);
            let replaced = self
                .pending
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| Some(without_page(word) | wish.0));
            return replaced.is_ok_and(|before| Wish(before).is_empty());
        }
        Wish(self.pending.fetch_or(wish.0, Ordering::AcqRel)).is_empty()
    }

    /// Posts an interrupt. Answers whether the owner must be told.
    pub fn post_interrupt(&self, vector: u8, trigger: Trigger) -> bool {
        let (word, bit) = (usize::from(vector) / 32, 1 << (vector % 32));
        match trigger {
            Trigger::Level => self.level[word].fetch_or(bit, Ordering::Relaxed),
            Trigger::Edge => self.level[word].fetch_and(!bit, Ordering::Relaxed),
        };
        self.posted[word].fetch_or(bit, Ordering::Release);
        self.post(Wish::interrupts(word))
    }

    /// Whether anything is wanted: one load.
    pub fn is_empty(&self) -> bool {
        Wish(self.pending.load(Ordering::Acquire)).is_empty()
    }

    /// Takes all wishes. For the owner.
    pub fn take(&self) -> Wish {
        Wish(self.pending.swap(0, Ordering::AcqRel))
    }

    /// Takes the posted interrupts that `wish` tells of, each given to `accept`. For the owner, who took
    /// the wish.
    pub fn take_interrupts(&self, wish: Wish, mut accept: impl FnMut(u8, Trigger)) {
        let mut words = wish.words();
        while words != 0 {
            let at = words.trailing_zeros();
            words &= words - 1;
            let (posted, level) = (&self.posted[at as usize], &self.level[at as usize]);
            let mut bits = posted.swap(0, Ordering::AcqRel);
            let level = level.load(Ordering::Relaxed);
            while bits != 0 {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                let trigger = if level >> bit & 1 == 1 { Trigger::Level } else { Trigger::Edge };
                accept((at * 32 + bit) as u8, trigger);
            }
        }
    }

    /// Under which addresses the vCPU's local APIC answers, as its owner last said.
    pub fn address(&self) -> Address {
        Address::from_bits(self.address.load(Ordering::Acquire))
    }

    /// Publishes the address. For the owner.
    pub fn publish(&self, address: Address) {
        self.address.store(address.bits(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heapless::Vec;

    #[test]
    fn the_owner_is_told_once_until_it_looks() {
        let mailbox = Mailbox::new();
        assert!(mailbox.is_empty());
        assert!(mailbox.post(Wish::NMI));
        assert!(!mailbox.post_interrupt(0x31, Trigger::Edge));
        let wish = mailbox.take();
        assert!(wish.has(Wish::NMI) && wish.has(Wish::INTERRUPTS) && !wish.has(Wish::INIT));
        assert!(mailbox.is_empty() && mailbox.post(Wish::ANSWER));
    }

    #[test]
    fn interrupts_arrive_once_each_with_their_trigger() {
        let mailbox = Mailbox::new();
        for (vector, trigger) in
            [(0x20, Trigger::Edge), (0xff, Trigger::Level), (0x20, Trigger::Edge), (0x40, Trigger::Level)]
        {
            mailbox.post_interrupt(vector, trigger);
        }
        mailbox.post_interrupt(0x40, Trigger::Edge);
        let mut taken = Vec::<_, 8>::new();
        mailbox.post(Wish::startup(0x9f));
        let wish = mailbox.take();
        mailbox.take_interrupts(wish, |vector, trigger| taken.push((vector, trigger)).expect("few"));
        assert_eq!(taken, [(0x20, Trigger::Edge), (0x40, Trigger::Edge), (0xff, Trigger::Level)]);
        mailbox.take_interrupts(wish, |vector, _| panic!("{vector} again"));
    }

    #[test]
    fn a_startup_carries_its_page() {
        let mailbox = Mailbox::new();
        assert!(mailbox.post(Wish::INIT));
        mailbox.post(Wish::startup(0x9f));
        mailbox.post(Wish::startup(0x08));
        let wish = mailbox.take();
        assert!(wish.has(Wish::INIT) && wish.has(Wish::STARTUP));
        assert_eq!(wish.page(), 0x08);
    }

    #[test]
    fn a_new_life_has_no_wishes_and_no_counts_of_the_old_one() {
        let mailbox = Mailbox::default();
        let counts = mailbox.counts();
        for class in [0, 2, 2, CLASSES] {
            counts.exit(class);
        }
        counts.unknown_msr(0x1234);
        counts.unknown_msr(0xc001_0015);
        assert!(counts.exits().take(4).eq([1, 0, 2, 0]));
        assert_eq!((counts.exits().sum::<u64>(), counts.unknown_msrs()), (3, (2, 0xc001_0015)));
        mailbox.post(Wish::NMI);
        mailbox.post_interrupt(0x31, Trigger::Level);
        mailbox.clear();
        assert!(mailbox.is_empty() && counts.exits().all(|count| count == 0));
        assert_eq!(counts.unknown_msrs(), (0, 0));
        mailbox.take_interrupts(Wish(u32::MAX), |vector, _| panic!("{vector} of an earlier life"));
    }
}
