//! The local APIC's registers as the guest sees them: a page, or MSRs, and what may be written.
//! SDM 3, tables 11-1 and 11-6.
//!
//! An access is first decided, then carried out by a part that can't fail.

use super::timer::Mode;
use super::{Client, GeneralProtection, LVT_TIMER, Vlapic, message};
use hv_defs::apic::{Register, SOFTWARE_ENABLE, error, icr, lvt_timer};
use hv_defs::msr::{self, apic_base};

/// Version 0x14, five as the number of the last LVT entry, no EOI-broadcast suppression.
const VERSION: u32 = 0x0005_0014;

/// Bits that each entry of the local vector table can hold. SDM 3, figure 11-8.
const LVT_WRITABLE: [u32; super::LVT_ENTRIES] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];
/// Bits that read as 0 and may be written as anything: delivery status; remote IRR of LINT pins.
const LVT_READ_ONLY: [u32; super::LVT_ENTRIES] = [0x1000, 0x1000, 0x1000, 0x5000, 0x5000, 0x1000];

/// What an access of `size` bytes reads where nothing answers.
fn ones(size: u8) -> u64 {
    u64::MAX.checked_shr(64u32.saturating_sub(8 * u32::from(size))).unwrap_or(0)
}

/// The bytes of a 32-bit register that an access of `size` bytes at `offset` sees; registers lie
/// 16 bytes apart, with nothing between them (SDM 3, 11.4.1).
pub(crate) fn part(register: u32, offset: u64, size: u8) -> u64 {
    match offset & 0xf {
        byte @ 0..4 => u64::from(register) >> (8 * byte) & ones(size),
        _ => 0,
    }
}

/// The entry of the local vector table that is this register.
fn lvt(register: Register) -> Option<usize> {
    let first = Register::LVT_TIMER.0;
    (first..=Register::LVT_ERROR.0).contains(&register.0).then(|| ((register.0 - first) / 16) as usize)
}

/// Bits that a write can set; `None` for a register that can't be written in this mode.
fn writable(register: Register, x2apic: bool) -> Option<u32> {
    Some(match register {
        Register::TASK_PRIORITY => 0xff,
        Register::EOI | Register::ERROR_STATUS => 0,
        Register::SPURIOUS => 0x3ff,
        Register::ICR => 0x000c_cfff,
        Register::TIMER_INITIAL => u32::MAX,
        Register::TIMER_DIVIDE => 0b1011,
        Register::SELF_IPI if x2apic => 0xff,
        Register::LOGICAL_DESTINATION | Register::ICR_HIGH if !x2apic => 0xff00_0000,
        Register::DESTINATION_FORMAT if !x2apic => 0xf000_0000,
        _ => return lvt(register).map(|entry| LVT_WRITABLE[entry]),
    })
}

impl Vlapic {
    /// Reads the xAPIC page. `size` is 1, 2, 4 or 8 bytes.
    pub fn read_page(&mut self, offset: u64, size: u8, client: &impl Client) -> u64 {
        if self.page().is_none() {
            return ones(size);
        }
        let register = Register(offset as u32 & 0xff0);
        let value = match register {
            Register::DESTINATION_FORMAT => self.format,
            Register::ICR_HIGH => (self.command >> 32) as u32,
            // Write-only, and two that CPUs since the Pentium 4 don't have.
            Register::EOI | Register::ARBITRATION_PRIORITY | Register::REMOTE_READ => 0,
            _ => self.read(register, client).unwrap_or_else(|| {
                self.error(error::ILLEGAL_REGISTER);
                0
            }),
        };
        part(value, offset, size)
    }

    /// Writes the xAPIC page. Only aligned writes of 32 bits count; the manual leaves the rest open.
    pub fn write_page(&mut self, offset: u64, size: u8, value: u64, client: &mut impl Client) {
        if self.page().is_none() || size != 4 || offset & 0xf != 0 {
            return;
        }
        let register = Register(offset as u32 & 0xff0);
        match writable(register, false) {
            Some(bits) => self.write(register, value as u32 & bits, client),
            None if self.read(register, client).is_some() => {} // read-only
            None if matches!(register, Register::ARBITRATION_PRIORITY | Register::REMOTE_READ) => {}
            None => self.error(error::ILLEGAL_REGISTER),
        }
    }

    /// Reads `IA32_APIC_BASE`, `IA32_TSC_DEADLINE` or an x2APIC register.
    ///
    /// # Errors
    /// The register can't be read, or not in this mode, or is none of these.
    pub fn read_msr(&self, number: u32, client: &impl Client) -> Result<u64, GeneralProtection> {
        match number {
            msr::APIC_BASE => Ok(self.base),
            msr::TSC_DEADLINE => Ok(self.timer.tsc_deadline(client.now().tsc)),
            _ => match self.x2apic_register(number)? {
                Register::ICR => Ok(self.command),
                register => self.read(register, client).map(u64::from).ok_or(GeneralProtection),
            },
        }
    }

    /// Writes `IA32_APIC_BASE`, `IA32_TSC_DEADLINE` or an x2APIC register.
    ///
    /// # Errors
    /// The register can't be written, or not in this mode, or not with this value, or is none of
    /// these.
    pub fn write_msr(
        &mut self,
        number: u32,
        value: u64,
        client: &mut impl Client,
    ) -> Result<(), GeneralProtection> {
        // The most frequent write, and one that takes a zero only.
        if number == Register::EOI.msr() && self.x2apic() && value == 0 {
            self.end_of_interrupt(client);
            return Ok(());
        }
        match number {
            msr::APIC_BASE => return self.write_base(value),
            msr::TSC_DEADLINE => {
                self.expire(client.now());
                self.timer.set_tsc_deadline(value);
                self.timer_moved = true;
                return Ok(());
            }
            _ => {}
        }
        let register = self.x2apic_register(number)?;
        let bits = writable(register, true).ok_or(GeneralProtection)?;
        let (high, ignored) = match register {
            // The delivery status of a command is the CPU's, and always idle.
            Register::ICR => (u64::MAX << 32, icr::PENDING),
            _ => (0, lvt(register).map_or(0, |entry| LVT_READ_ONLY[entry])),
        };
        if value & !(high | u64::from(bits | ignored)) != 0 {
            return Err(GeneralProtection);
        }
        if register == Register::ICR {
            self.command = value & high;
        }
        self.write(register, value as u32 & bits, client);
        Ok(())
    }

    /// The register behind an MSR number, in x2APIC mode.
    fn x2apic_register(&self, number: u32) -> Result<Register, GeneralProtection> {
        let index = number.wrapping_sub(msr::X2APIC_BASE);
        if self.x2apic() && index < 0x40 { Ok(Register(index * 16)) } else { Err(GeneralProtection) }
    }

    /// What both forms read alike.
    fn read(&self, register: Register, client: &impl Client) -> Option<u32> {
        let set = register.0 >> 4 & 7;
        Some(match register {
            Register::ID if self.x2apic() => self.id,
            Register::ID => self.id << 24,
            Register::VERSION => VERSION,
            Register::TASK_PRIORITY => self.task_priority.into(),
            Register::PROCESSOR_PRIORITY => self.processor_priority().into(),
            Register::LOGICAL_DESTINATION if self.x2apic() => message::x2apic_logical(self.id),
            Register::LOGICAL_DESTINATION => u32::from(self.logical) << 24,
            Register::SPURIOUS => self.spurious,
            Register(0x100..=0x170) => self.service.register(set),
            Register(0x180..=0x1f0) => self.level.register(set),
            Register(0x200..=0x270) => self.request.register(set),
            Register::ERROR_STATUS => self.errors,
            Register::ICR => self.command as u32,
            Register::TIMER_INITIAL => self.timer.initial(),
            Register::TIMER_CURRENT => self.timer.current(client.now().nanos),
            Register::TIMER_DIVIDE => self.timer.divide(),
            _ => return lvt(register).map(|entry| self.lvt[entry]),
        })
    }

    /// Carries out a write; `value` has only bits that [`writable`] allows.
    fn write(&mut self, register: Register, value: u32, client: &mut impl Client) {
        match register {
            Register::EOI => self.end_of_interrupt(client),
            Register::ICR => {
                self.command = self.command & u64::MAX << 32 | u64::from(value);
                self.send(self.command, client);
            }
            Register::SELF_IPI => self.send(u64::from(value | 1 << icr::SHORTHAND_SHIFT), client),
            Register::TASK_PRIORITY => self.task_priority = value as u8,
            Register::SPURIOUS => self.write_spurious(value),
            Register::ERROR_STATUS => self.errors = core::mem::take(&mut self.new_errors),
            Register::ICR_HIGH => self.command = self.command & 0xffff_ffff | u64::from(value) << 32,
            Register::LOGICAL_DESTINATION => (self.logical, self.moved) = ((value >> 24) as u8, true),
            Register::DESTINATION_FORMAT => (self.format, self.moved) = (value | 0x0fff_ffff, true),
            _ => self.write_local(register, value, client),
        }
    }

    /// Timer and local vector table. What was due before the write, counts as it was before it.
    fn write_local(&mut self, register: Register, value: u32, client: &impl Client) {
        let now = client.now();
        self.expire(now);
        self.timer_moved = true;
        match register {
            Register::TIMER_INITIAL => self.timer.set_initial(value, now.nanos),
            Register::TIMER_DIVIDE => self.timer.set_divide(value, now.nanos),
            _ => {
                let Some(entry) = lvt(register) else { return };
                // Masked and kept so while software has not enabled the APIC. SDM 3, 11.4.7.2.
                self.lvt[entry] = if self.accepts() { value } else { value | lvt_timer::MASKED };
                if entry == LVT_TIMER {
                    self.timer.set_mode(Mode::from_bits(value >> lvt_timer::MODE_SHIFT));
                }
            }
        }
    }

    /// SDM 3, 11.4.7.2: requests and interrupts in service are held while disabled.
    fn write_spurious(&mut self, value: u32) {
        self.spurious = value;
        (self.moved, self.timer_moved) = (true, true);
        if value & SOFTWARE_ENABLE == 0 {
            self.lvt.iter_mut().for_each(|entry| *entry |= lvt_timer::MASKED);
        }
    }

    /// `IA32_APIC_BASE`. SDM 3, 11.12.5, figure 11-27: from off to xAPIC to x2APIC to off.
    fn write_base(&mut self, value: u64) -> Result<(), GeneralProtection> {
        const ON: u64 = apic_base::ENABLED;
        const BOTH: u64 = apic_base::ENABLED | apic_base::X2APIC;
        let legal = match (self.base & BOTH, value & BOTH) {
            (_, apic_base::X2APIC) | (0, BOTH) | (BOTH, ON) => false,
            _ => value & self.base_reserved == 0,
        };
        if !legal {
            return Err(GeneralProtection);
        }
        // Which CPU started the machine is not the guest's to say.
        self.base = value & !apic_base::BOOT_CPU | self.base & apic_base::BOOT_CPU;
        self.moved = true;
        if !self.enabled() {
            // SDM 3, 11.4.3: what it held may be lost.
            self.init();
        }
        Ok(())
    }
}
