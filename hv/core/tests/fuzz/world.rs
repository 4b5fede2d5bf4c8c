//! The VM around the vCPUs: RAM, an I/O APIC, mailboxes, a clock, and devices that answer at once,
//! later, or never.
//!
//! Everything that a vCPU asks for is counted, and what it may not ask for is refused here.

use crate::random::Random;
use hv_core::emulate::GuestMemory;
use hv_core::kvmclock::Scale;
use hv_core::mailbox::{Mailbox, Wish};
use hv_core::policy::Policy;
use hv_core::policy::msr::Slot;
use hv_core::testkit::FakeMemory;
use hv_core::vcpu::{Answer, DeviceAccess, World};
use hv_core::vioapic::Vioapic;
use hv_core::vlapic::{DeliveryMode, Message, pick_lowest};
use hv_defs::apic::io;
use std::cell::{Cell, RefCell};

/// Bytes of RAM, from address 0 on; the last of them can't be written.
pub const RAM: u64 = 0x4_0000;
/// Where they begin.
pub const ROM: u64 = 0x3_8000;

/// What one call of the vCPU's has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Accesses to RAM.
    pub memory: u64,
    /// Accesses to devices, the I/O APIC among them.
    pub devices: u64,
    /// Messages to local APICs.
    pub messages: u64,
    /// Accesses to MSRs that there are not, and the last one's number.
    pub unknown_msrs: (u64, u32),
}

/// What the vCPUs of a VM share.
pub struct Shared {
    pub policy: Policy,
    pub memory: FakeMemory,
    pub ioapic: RefCell<Vioapic>,
    pub mailboxes: Vec<Mailbox>,
    pub tsc: Cell<u64>,
    pub scale: Scale,
    pub work: Cell<Work>,
    /// The last access of this step is still to be answered.
    pub later: Cell<bool>,
    /// Which vCPUs have been promised an answer.
    pub promised: Vec<Cell<bool>>,
    pub xcr0: Vec<Cell<u64>>,
    random: RefCell<Random>,
    last_lowest: Cell<usize>,
}

impl Shared {
    pub fn new(policy: Policy, cpus: usize, seed: u64) -> Self {
        Self {
            policy,
            memory: FakeMemory::new(RAM as usize).identity(),
            ioapic: RefCell::new(Vioapic::new()),
            mailboxes: (0..cpus).map(|_| Mailbox::new()).collect(),
            tsc: Cell::new(1 << 40),
            scale: Scale::new(2_400_000),
            work: Cell::default(),
            later: Cell::default(),
            promised: vec![Cell::new(false); cpus],
            xcr0: vec![Cell::new(1); cpus],
            random: RefCell::new(Random(seed)),
            last_lowest: Cell::new(0),
        }
    }

    pub fn view(&self, index: usize) -> View<'_> {
        View { shared: self, index }
    }

    /// Delivers a message as hv's program does.
    pub fn deliver(&self, from: Option<u32>, message: Message) {
        self.count(|work| work.messages += 1);
        let meant = |&index: &usize| {
            let from_self = from == Some(index as u32);
            self.mailboxes[index].address().matches(message.destination, from_self)
        };
        if message.mode == DeliveryMode::LowestPriority {
            let addresses = self.mailboxes.iter().map(Mailbox::address);
            let sender = from.map(|index| index as usize);
            let chosen = pick_lowest(addresses, message.destination, sender, self.last_lowest.get());
            if let Some(index) = chosen {
                self.last_lowest.set(index);
                self.mailboxes[index].post_interrupt(message.vector, message.trigger);
            }
            return;
        }
        for index in (0..self.mailboxes.len()).filter(meant) {
            let mailbox = &self.mailboxes[index];
            match message.mode {
                DeliveryMode::Nmi => mailbox.post(Wish::NMI),
                DeliveryMode::Init => mailbox.post(Wish::INIT),
                DeliveryMode::Startup => mailbox.post(Wish::startup(message.vector)),
                _ => mailbox.post_interrupt(message.vector, message.trigger),
            };
        }
    }

    /// A step begins: nothing has been done for it yet.
    pub fn begin(&self) {
        self.work.set(Work::default());
        self.later.set(false);
    }

    fn count(&self, change: impl FnOnce(&mut Work)) {
        let mut work = self.work.get();
        change(&mut work);
        self.work.set(work);
    }

    /// A device access must be one that a bus could carry, and not one that RAM would have answered.
    fn check(&self, access: DeviceAccess) {
        let DeviceAccess { is_port, address, size, write } = access;
        let sizes: &[u8] = if is_port { &[1, 2, 4] } else { &[1, 2, 4, 8] };
        assert!(sizes.contains(&size), "{access:x?}: no such size");
        let bits = 8 * u32::from(size);
        assert!(write.is_none_or(|value| bits == 64 || value >> bits == 0), "{access:x?}: too wide a value");
        if is_port {
            assert!(address <= 0xffff, "{access:x?}: no such port");
            return;
        }
        assert!(address.is_multiple_of(u64::from(size)), "{access:x?}: not aligned");
        assert!(address >> self.policy.physical_bits == 0, "{access:x?}: beyond the address width");
        let end = if write.is_some() { ROM } else { RAM };
        assert!(address >= end, "{access:x?}: this is RAM");
    }
}

/// One vCPU's view.
pub struct View<'a> {
    shared: &'a Shared,
    index: usize,
}

impl View<'_> {
    fn touch(&self) {
        self.shared.count(|work| work.memory += 1);
    }
}

fn writable(address: u64, bytes: u64) -> bool {
    address.checked_add(bytes).is_some_and(|end| end <= ROM)
}

impl GuestMemory for View<'_> {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.touch();
        self.shared.memory.read(address, into)
    }
    fn write(&self, address: u64, from: &[u8]) -> bool {
        self.touch();
        writable(address, from.len() as u64) && self.shared.memory.write(address, from)
    }
    fn compare_exchange_u32(&self, address: u64, old: u32, new: u32) -> bool {
        self.touch();
        writable(address, 4) && self.shared.memory.compare_exchange_u32(address, old, new)
    }
    fn compare_exchange_u64(&self, address: u64, old: u64, new: u64) -> bool {
        self.touch();
        writable(address, 8) && self.shared.memory.compare_exchange_u64(address, old, new)
    }
    fn address_bits(&self) -> u32 {
        u32::from(self.shared.policy.physical_bits)
    }
}

impl World for View<'_> {
    fn policy(&self) -> &Policy {
        &self.shared.policy
    }
    fn host_tsc(&self) -> u64 {
        self.shared.tsc.get()
    }
    fn nanos(&self, host_tsc: u64) -> u64 {
        self.shared.scale.nanos(host_tsc - (1 << 40))
    }
    fn started_at(&self) -> u64 {
        1_800_000_000_000_000_000
    }
    fn send(&mut self, from: u32, message: Message) {
        assert_eq!(from as usize, self.index, "a message in another's name");
        self.shared.deliver(Some(from), message);
    }
    fn end_of_level_interrupt(&mut self, vector: u8) {
        for message in self.shared.ioapic.borrow_mut().end_of_interrupt(vector) {
            self.shared.deliver(None, message);
        }
    }

    fn access(&mut self, from: u32, access: DeviceAccess) -> Answer {
        assert_eq!(from as usize, self.index, "an access in another's name");
        assert!(!self.shared.promised[self.index].get(), "{access:x?}, and the last one has no answer yet");
        self.shared.check(access);
        self.shared.count(|work| work.devices += 1);
        let DeviceAccess { is_port, address, size, write } = access;
        if !is_port && let Some(offset) = address.checked_sub(io::PAGE).filter(|&offset| offset < 0x1000) {
            let mut ioapic = self.shared.ioapic.borrow_mut();
            return Answer::Done(match write {
                Some(value) => {
                    let messages = ioapic.write(offset, size, value);
                    messages.for_each(|message| self.shared.deliver(None, message));
                    0
                }
                None => ioapic.read(offset, size),
            });
        }
        let mut random = self.shared.random.borrow_mut();
        let later = random.below(4) == 0;
        self.shared.later.set(later);
        self.shared.promised[self.index].set(later);
        if later { Answer::Later } else { Answer::Done(random.next()) }
    }

    /// Whoever answers may be slow, or say that it has answered and not have.
    fn answer(&mut self, _: u32) -> Option<u64> {
        let mut random = self.shared.random.borrow_mut();
        (random.below(8) != 0).then(|| {
            self.shared.promised[self.index].set(false);
            self.shared.later.set(false);
            random.next()
        })
    }

    fn hypercall(&mut self, _: u32, number: u64, _: [u64; 4]) -> Option<i64> {
        (number & 1 == 0).then(|| self.shared.random.borrow_mut().next().cast_signed())
    }
    fn unknown_msr(&mut self, from: u32, number: u32) {
        assert_eq!(from as usize, self.index, "an MSR in another's name");
        self.shared.count(|work| work.unknown_msrs = (work.unknown_msrs.0 + 1, number));
    }
    fn barrier(&mut self, which: u64) {
        assert_eq!(which & !self.shared.policy.barriers, 0, "a barrier that the CPU has not got");
    }
    fn xcr0(&self) -> u64 {
        self.shared.xcr0[self.index].get()
    }
    fn set_xcr0(&mut self, value: u64) {
        self.shared.xcr0[self.index].set(value);
    }
    fn set_kept(&mut self, slot: Slot, value: u64) {
        match slot {
            Slot::TscAux => assert_eq!(value >> 32, 0, "TSC_AUX {value:#x}"),
            Slot::MiscEnable => {}
        }
    }
    fn scale(&self) -> Scale {
        self.shared.scale
    }
}
