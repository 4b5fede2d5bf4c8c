//! What a vCPU sees of its VM and of the machine.

use super::place::MANAGEMENT;
use super::{Vm, calls, events};
use crate::machine::Machine;
use crate::{event, log};
use core::fmt::Write;
use core::sync::atomic::Ordering;
use hv_abi::hypercall::{Call, MAX_LOG, Status, VERSION};
use hv_abi::ioreq;
use hv_abi::log::{is_line, stamp};
use hv_arch::cpu;
use hv_core::emulate::GuestMemory;
use hv_core::kvmclock::Scale;
use hv_core::policy::Policy;
use hv_core::policy::msr::Slot;
use hv_core::vcpu::{Answer, DeviceAccess, World};
use hv_core::vlapic::Message;
use hv_defs::msr;

/// Where a guest's I/O APIC is, and how large its page.
const IOAPIC: u64 = 0xfec0_0000;
const IOAPIC_BYTES: u64 = 0x1000;
/// Words of a vCPU's slot in the I/O request page.
const SLOT_WORDS: usize = size_of::<ioreq::Slot>() / 8;

/// One vCPU's view, for one turn.
pub struct VmWorld<'a> {
    /// Its VM.
    pub vm: &'a Vm,
    /// The machine.
    pub machine: &'static Machine,
}

impl GuestMemory for VmWorld<'_> {
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        self.vm.ram.read(address, into)
    }
    fn read_u64(&self, address: u64) -> Option<u64> {
        self.vm.ram.read_u64(address)
    }
    fn read_u128(&self, address: u64) -> Option<u128> {
        self.vm.ram.read_u128(address)
    }
    fn write(&self, address: u64, from: &[u8]) -> bool {
        self.vm.ram.write(address, from)
    }
    fn compare_exchange_u32(&self, address: u64, old: u32, new: u32) -> bool {
        self.vm.ram.compare_exchange_u32(address, old, new)
    }
    fn compare_exchange_u64(&self, address: u64, old: u64, new: u64) -> bool {
        self.vm.ram.compare_exchange_u64(address, old, new)
    }
    fn address_bits(&self) -> u32 {
        u32::from(self.vm.policy.physical_bits)
    }
}

impl World for VmWorld<'_> {
    fn policy(&self) -> &Policy {
        &self.vm.policy
    }
    fn host_tsc(&self) -> u64 {
        cpu::tsc()
    }
    fn nanos(&self, host_tsc: u64) -> u64 {
        self.vm.nanos(host_tsc)
    }
    fn started_at(&self) -> u64 {
        let since_zero = self.vm.scale.nanos(self.vm.tsc_start.load(Ordering::Relaxed));
        self.machine.wall.load(Ordering::Relaxed).wrapping_add(since_zero)
    }
    fn scale(&self) -> Scale {
        self.vm.scale
    }
    fn send(&mut self, from: u32, message: Message) {
        self.vm.deliver(Some(from), message);
    }
    fn end_of_level_interrupt(&mut self, vector: u8) {
        for message in self.vm.ioapic.lock().end_of_interrupt(vector) {
            self.vm.deliver(None, message);
        }
    }

    fn access(&mut self, from: u32, access: DeviceAccess) -> Answer {
        let DeviceAccess { is_port, address, size, write } = access;
        if !is_port && let Some(offset) = address.checked_sub(IOAPIC).filter(|&offset| offset < IOAPIC_BYTES)
        {
            let mut ioapic = self.vm.ioapic.lock();
            return Answer::Done(match write {
                Some(value) => {
                    ioapic.write(offset, size, value).for_each(|message| self.vm.deliver(None, message));
                    0
                }
                None => ioapic.read(offset, size),
            });
        }
        let doorbell = self.vm.doorbells.lock().event(&access);
        if let Some(event) = doorbell {
            events::set(event);
            return Answer::Done(0);
        }
        let Some(page) = self.vm.io_page else {
            // Nobody is there: a machine without the device reads all ones, and drops what is written.
            return Answer::Done(if size >= 8 { u64::MAX } else { (1 << (size * 8)) - 1 });
        };
        let slot = from as usize * SLOT_WORDS;
        page.store(slot + 1, address);
        page.store(slot + 2, write.unwrap_or(0));
        let kind = u64::from(is_port) | u64::from(write.is_some()) << 8 | u64::from(size) << 16;
        page.store(slot, kind << 32 | u64::from(ioreq::State::REQUESTED.0));
        events::set(self.vm.io_event);
        Answer::Later
    }

    fn answer(&mut self, from: u32) -> Option<u64> {
        let (page, slot) = (self.vm.io_page?, from as usize * SLOT_WORDS);
        let answered = page.load(slot) as u32 == ioreq::State::ANSWERED.0;
        answered.then(|| {
            page.store(slot, u64::from(ioreq::State::FREE.0));
            page.load(slot + 2)
        })
    }

    fn hypercall(&mut self, from: u32, number: u64, arguments: [u64; 4]) -> Option<i64> {
        match Call(number) {
            Call::HELLO => Some(VERSION.cast_signed()),
            Call::LOG_WRITE => Some(self.log(from, arguments[0], arguments[1])),
            Call::TIME_NOW => Some(self.nanos(cpu::tsc()).cast_signed()),
            call if call.name().is_none() => None,
            _ if self.vm.id != MANAGEMENT => Some(Status::DENIED.0),
            call => {
                Some(calls::Caller { vm: self.vm, vcpu: from, machine: self.machine }.call(call, arguments))
            }
        }
    }

    fn unknown_msr(&mut self, from: u32, number: u32) {
        if let Some(front) = self.vm.fronts().get(from as usize) {
            front.mailbox.counts().unknown_msr(number);
        }
    }

    fn barrier(&mut self, which: u64) {
        const PRED_CMD: u32 = 0x49;
        // SAFETY: the policy lets only barriers through that this processor has.
        unsafe { cpu::write_msr(PRED_CMD, which) };
    }

    fn xcr0(&self) -> u64 {
        self.machine.kept.xcr0()
    }
    fn set_xcr0(&mut self, value: u64) {
        // SAFETY: the vCPU checked it against what this processor has.
        unsafe { self.machine.kept.set_xcr0(value) };
    }

    fn set_kept(&mut self, slot: Slot, value: u64) {
        if slot == Slot::TscAux {
            // SAFETY: the policy shows the register only where the processor has it.
            unsafe { cpu::write_msr(msr::TSC_AUX, value) };
        }
    }
}

impl VmWorld<'_> {
    /// `log.write`: one line of the guest's in the box log.
    fn log(&self, from: u32, address: u64, len: u64) -> i64 {
        let mut bytes = [0; MAX_LOG as usize];
        let Some(text) = usize::try_from(len).ok().and_then(|len| bytes.get_mut(..len)) else {
            return Status::BAD_ARGUMENT.0;
        };
        if !self.read(address, text) {
            return Status::BAD_ADDRESS.0;
        }
        match core::str::from_utf8(text) {
            Ok(text) if self.vm.id == MANAGEMENT && is_line(text) => {
                log::write(|log, micros| stamp(log, micros).and_then(|()| writeln!(log, "{text}")));
                0
            }
            Ok(text) => {
                event!(Info, "vm.log", vm = self.vm.name, cpu = from, text = text);
                0
            }
            Err(_) => Status::BAD_ARGUMENT.0,
        }
    }
}
