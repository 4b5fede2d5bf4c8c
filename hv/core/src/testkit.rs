//! Fakes for tests: a CPU whose exits are a script, and memory in an array.

#![allow(clippy::missing_panics_doc)] // a test that asks for the impossible shall fail

extern crate std;

use crate::cpu::{Event, Gprs, Register, Segment, SegmentName, VirtualCpu};
use crate::emulate::GuestMemory;
use crate::exit::Exit;
use core::cell::RefCell;
use hv_defs::control::{cr0, cr4};
use hv_defs::msr::efer;
use std::collections::VecDeque;
use std::vec::Vec;

/// A CPU that runs nothing: every register can be set, every exit is scripted.
#[derive(Clone, Debug, Default)]
pub struct FakeCpu {
    registers: [u64; 32],
    segments: [Segment; 16],
    script: VecDeque<(Exit, Vec<(usize, u64)>)>,
    /// How often it was run.
    pub runs: usize,
    /// What was given to `inject` and not yet delivered.
    pub injected: Option<Event>,
    /// What was delivered when it ran, in order.
    pub delivered: Vec<Event>,
    /// What `interrupted_delivery` answers.
    pub interrupted: Option<Event>,
    /// What `interrupt_shadow` answers.
    pub shadow: bool,
    /// What was last given to `watch`.
    pub watching: (Option<u8>, bool),
}

impl FakeCpu {
    /// With flat segments of one kind of code: its attributes, and the registers.
    fn new(code: u16, data: u16, limit: u32, registers: &[(Register, u64)]) -> Self {
        let mut cpu = Self::default();
        cpu.segments.fill(Segment { selector: 0, attributes: data, limit, base: 0 });
        cpu.segments[SegmentName::Cs as usize].attributes = code;
        cpu.set(Register::Rflags, 2);
        for &(register, value) in registers {
            cpu.set(register, value);
        }
        cpu
    }

    /// In 64-bit mode at privilege level 0, with the tables of [`FakeMemory::identity`].
    pub fn long() -> Self {
        let extended = efer::LONG_MODE_ENABLE | efer::LONG_MODE_ACTIVE | efer::NO_EXECUTE_ENABLE;
        let registers = [
            (Register::Cr0, cr0::PE | cr0::PG | cr0::WP),
            (Register::Cr3, FakeMemory::ROOT),
            (Register::Cr4, cr4::PAE),
            (Register::Efer, extended),
        ];
        Self::new(0x29b, 0xc93, u32::MAX, &registers)
    }

    /// In 32-bit protected mode without paging.
    pub fn protected() -> Self {
        Self::new(0xc9b, 0xc93, u32::MAX, &[(Register::Cr0, cr0::PE)])
    }

    /// In real mode.
    pub fn real() -> Self {
        Self::new(0x9b, 0x93, 0xffff, &[])
    }

    /// Adds an exit to the script, and the general-purpose registers that the guest has set by then.
    pub fn then(&mut self, exit: Exit, gprs: &[(usize, u64)]) {
        self.script.push_back((exit, gprs.to_vec()));
    }
}

impl VirtualCpu for FakeCpu {
    /// The next exit of the script; after its end [`Exit::Shutdown`].
    fn run(&mut self, gprs: &mut Gprs) -> Exit {
        self.runs += 1;
        self.delivered.extend(self.injected.take());
        let (exit, changed) = self.script.pop_front().unwrap_or((Exit::Shutdown, Vec::new()));
        for (at, value) in changed {
            gprs.0[at] = value;
        }
        exit
    }
    fn get(&self, register: Register) -> u64 {
        self.registers[register as usize]
    }
    fn set(&mut self, register: Register, value: u64) {
        self.registers[register as usize] = value;
    }
    fn segment(&self, name: SegmentName) -> Segment {
        self.segments[name as usize]
    }
    fn set_segment(&mut self, name: SegmentName, segment: Segment) {
        self.segments[name as usize] = segment;
    }
    fn inject(&mut self, event: Option<Event>) {
        self.injected = event;
    }
    fn interrupted_delivery(&self) -> Option<Event> {
        self.interrupted
    }
    fn interrupt_shadow(&self) -> bool {
        self.shadow
    }
    fn clear_interrupt_shadow(&mut self) {
        self.shadow = false;
    }
    fn watch(&mut self, interrupt_window: Option<u8>, iret: bool) {
        self.watching = (interrupt_window, iret);
    }
}

/// RAM from guest-physical address 0 on; beyond it there are devices.
#[derive(Clone, Debug)]
pub struct FakeMemory(RefCell<Vec<u8>>);

impl FakeMemory {
    /// Where [`FakeMemory::identity`] puts its first table; the second follows it.
    pub const ROOT: u64 = 0x1000;

    /// `size` zeroed bytes.
    pub fn new(size: usize) -> Self {
        Self(RefCell::new(std::vec![0; size]))
    }

    /// Maps the first 4 GiB to themselves in 1 GiB pages, all rights for the kernel.
    #[must_use]
    pub fn identity(self) -> Self {
        self.put(Self::ROOT, &(Self::ROOT + 0x1007).to_le_bytes());
        for gib in 0..4 {
            self.put(Self::ROOT + 0x1000 + gib * 8, &(gib << 30 | 0x83).to_le_bytes());
        }
        self
    }

    /// Sets bytes; a range that is not RAM fails the test.
    pub fn put(&self, address: u64, bytes: &[u8]) {
        assert!(self.write(address, bytes), "no RAM at {address:#x}");
    }

    /// Little-endian number of `size` bytes; a range that is not RAM fails the test.
    pub fn number(&self, address: u64, size: usize) -> u64 {
        let mut bytes = [0; 8];
        assert!(self.read(address, &mut bytes[..size]), "no RAM at {address:#x}");
        u64::from_le_bytes(bytes)
    }

    fn range<T>(&self, address: u64, size: usize, act: impl FnOnce(&mut [u8]) -> T) -> Option<T> {
        let start = usize::try_from(address).ok()?;
        self.0.borrow_mut().get_mut(start..start.checked_add(size)?).map(act)
    }
}

impl GuestMemory for FakeMemory {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.range(address, into.len(), |ram| into.copy_from_slice(ram)).is_some()
    }
    fn write(&self, address: u64, from: &[u8]) -> bool {
        self.range(address, from.len(), |ram| ram.copy_from_slice(from)).is_some()
    }
    fn compare_exchange_u32(&self, address: u64, old: u32, new: u32) -> bool {
        let exchange = |ram: &mut [u8]| {
            *ram == old.to_le_bytes() && {
                ram.copy_from_slice(&new.to_le_bytes());
                true
            }
        };
        self.range(address, 4, exchange).unwrap_or(false)
    }
    fn compare_exchange_u64(&self, address: u64, old: u64, new: u64) -> bool {
        let exchange = |ram: &mut [u8]| {
            *ram == old.to_le_bytes() && {
                ram.copy_from_slice(&new.to_le_bytes());
                true
            }
        };
        self.range(address, 8, exchange).unwrap_or(false)
    }
    fn address_bits(&self) -> u32 {
        40
    }
}
