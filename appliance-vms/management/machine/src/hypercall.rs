//! hv's calls, each as a function. ABI.md, "Hypercalls".

use crate::dma;
use core::arch::asm;
use core::fmt;
use hv_abi::device::DeviceInfo;
use hv_abi::hypercall::{Call, Status};
use hv_abi::ioreq::{NO_EVENT, PORT};
use hv_abi::manifest::{StartState, VmManifest};
use hv_abi::status::VmStatus;
use zerocopy::{FromZeros, IntoBytes};

/// A call that hv refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub call: Call,
    /// Why.
    pub status: Status,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call.name().unwrap_or("call"), self.status)
    }
}

/// What a call answers.
pub type Outcome<T = ()> = Result<T, Refused>;

/// Calls hv.
fn call(call: Call, arguments: [u64; 4]) -> Outcome<u64> {
    let result: i64;
    // SAFETY: hv writes memory only where a call's arguments say, and the callers here pass the
    // addresses of what they hold for that.
    unsafe {
        asm!(
            "vmmcall",
            inlateout("rax") call.0 => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            options(nostack)
        );
    }
    u64::try_from(result).map_err(|_| Refused { call, status: Status(result) })
}

/// One line for the box log, by physical address. There is nobody to tell if hv does not take it.
pub fn log(address: u64, len: usize) {
    let _ = call(Call::LOG_WRITE, [address, len as u64, 0, 0]);
}

/// Tells hv what time it is: nanoseconds since 1970.
pub fn set_time(nanos: u64) -> Outcome {
    call(Call::TIME_SET, [nanos, 0, 0, 0]).map(drop)
}

/// Cuts a VM; answers its number.
pub fn create(manifest: &VmManifest) -> Outcome<u64> {
    call(Call::VM_CREATE, [dma::physical(manifest), 0, 0, 0])
}

/// Starts a VM.
pub fn start(vm: u64, state: &StartState) -> Outcome {
    call(Call::VM_START, [vm, dma::physical(state), 0, 0]).map(drop)
}

/// Halts a VM where it is.
pub fn pause(vm: u64) -> Outcome {
    call(Call::VM_PAUSE, [vm, 0, 0, 0]).map(drop)
}

/// Has a paused VM go on.
pub fn resume(vm: u64) -> Outcome {
    call(Call::VM_RESUME, [vm, 0, 0, 0]).map(drop)
}

/// Ends a VM.
pub fn stop(vm: u64) -> Outcome {
    call(Call::VM_STOP, [vm, 0, 0, 0]).map(drop)
}

/// Clears some of the memory of a VM that does not run; answers how many bytes are left.
pub fn destroy(vm: u64) -> Outcome<u64> {
    call(Call::VM_DESTROY, [vm, 0, 0, 0])
}

/// What became of a VM.
pub fn status(vm: u64) -> Outcome<VmStatus> {
    let mut status = VmStatus::new_zeroed();
    call(Call::VM_STATUS, [vm, dma::physical(&raw mut status), 0, 0])?;
    Ok(status)
}

/// Makes a VM as urgent as that: 0 urgent, 1 front, 2 back.
pub fn set_class(vm: u64, class: u64) -> Outcome {
    call(Call::VM_CLASS, [vm, class, 0, 0]).map(drop)
}

/// Where a range of a VM's RAM is.
pub fn window(vm: u64, address: u64, len: u64) -> Outcome<u64> {
    call(Call::MEM_WINDOW, [vm, address, len, 0])
}

/// The answer for a vCPU is in its slot.
pub fn complete(vm: u64, vcpu: u64) -> Outcome {
    call(Call::IO_COMPLETE, [vm, vcpu, 0, 0]).map(drop)
}

/// Where a doorbell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bell {
    /// At a guest-physical address.
    Memory(u64),
    /// At a port.
    Port(u16),
}

/// Has a write of a VM's to so many bytes set an event, or, without one, be a request again.
pub fn doorbell(vm: u64, bell: Bell, len: u64, event: Option<u32>) -> Outcome {
    let at = match bell {
        Bell::Memory(address) => address,
        Bell::Port(port) => u64::from(port) | PORT,
    };
    call(Call::IO_DOORBELL, [vm, at, len, u64::from(event.unwrap_or(NO_EVENT))]).map(drop)
}

/// Delivers a message-signalled interrupt to a VM.
pub fn message(vm: u64, address: u64, data: u32) -> Outcome {
    call(Call::IO_MSI, [vm, address, u64::from(data), 0]).map(drop)
}

/// Drives a pin of a VM's I/O APIC.
pub fn pin(vm: u64, pin: u8, level: bool) -> Outcome {
    call(Call::IO_PIN, [vm, u64::from(pin), u64::from(level), 0]).map(drop)
}

/// Where events are set, by physical address of a page, and the interrupt that tells of them.
pub fn events(page: u64, vector: u8) -> Outcome {
    call(Call::IO_EVENTS, [page, u64::from(vector), 0, 0]).map(drop)
}

/// The so-manieth device of the machine; `None`: that was all.
pub fn device(index: u64) -> Outcome<Option<DeviceInfo>> {
    let mut info = DeviceInfo::new_zeroed();
    let at = dma::physical(info.as_mut_bytes().as_ptr());
    match call(Call::DEV_INFO, [index, at, 0, 0]) {
        Ok(_) => Ok(Some(info)),
        Err(Refused { status: Status::NO_SUCH_THING, .. }) => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// Reads 1, 2 or 4 bytes of a device's configuration space.
pub fn read_config(device: u32, offset: u8, size: u8) -> Outcome<u32> {
    call(Call::DEV_READ, [device.into(), offset.into(), size.into(), 0]).map(|value| value as u32)
}

/// Writes them; what hv keeps for itself stays as it is.
pub fn write_config(device: u32, offset: u8, size: u8, value: u32) -> Outcome {
    call(Call::DEV_WRITE, [device.into(), offset.into(), size.into(), value.into()]).map(drop)
}

/// Has a memory BAR mapped where it is; answers where that is.
pub fn map_bar(device: u32, bar: usize) -> Outcome<u64> {
    call(Call::DEV_MAP, [device.into(), bar as u64, 0, 0])
}

/// Has a device's message set an event, or be masked.
pub fn bind(device: u32, message: u32, event: Option<u32>) -> Outcome {
    let event = event.unwrap_or(NO_EVENT);
    call(Call::DEV_BIND, [device.into(), message.into(), event.into(), 0]).map(drop)
}

/// Restarts the machine. On return hv could not.
pub fn restart_machine() -> Outcome {
    call(Call::POWER_RESTART, [0; 4]).map(drop)
}

/// Switches the machine off. On return it could not be.
pub fn switch_machine_off() -> Outcome {
    call(Call::POWER_OFF, [0; 4]).map(drop)
}
