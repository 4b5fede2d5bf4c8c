//! What a QEMU below us hands over with `-fw_cfg`, asked of its configuration device.

use handoff::fw_cfg::{self, FwCfg};
use hv_abi::boot::CommandLine;
use uefi::boot::{self, Tpl, TplGuard};

/// The payload, for a machine without a disk: `-fw_cfg name=opt/hearth/payload,file=…`. QEMU's
/// `-initrd` would do, but takes only Linux kernels beside it (QEMU 7.2, hw/i386/x86.c).
const PAYLOAD: &str = "opt/hearth/payload";

/// Options for hv: those the door was `given`, then QEMU's.
pub fn command_line(given: &str) -> CommandLine {
    let _alone = alone();
    // SAFETY: while `_alone` lives, nobody else uses the device.
    unsafe { fw_cfg::command_line(given.as_bytes()) }
}

/// Bytes of the payload, if there is one.
pub fn payload_len() -> Option<u64> {
    with_device(|device| device.file(PAYLOAD))?.map(|file| u64::from(file.len))
}

/// Fills `bytes` with the start of the payload.
pub fn read_payload(bytes: &mut [u8]) {
    with_device(|device| {
        if let Some(file) = device.file(PAYLOAD) {
            device.read_file(file, bytes);
        }
    });
}

/// Asks the device, if there is one. `ask` must neither call the firmware nor allocate.
fn with_device<T>(ask: impl FnOnce(&mut FwCfg) -> T) -> Option<T> {
    let _alone = alone();
    // SAFETY: while `_alone` lives, nobody else uses the device.
    unsafe { FwCfg::find() }.as_mut().map(ask)
}

/// Keeps the firmware's own programs, which may use the device, from running for as long as the
/// result lives.
fn alone() -> TplGuard {
    // SAFETY: what runs at this level here calls nothing of the firmware, and the guard's owner
    // returns to the level before.
    unsafe { boot::raise_tpl(Tpl::HIGH_LEVEL) }
}
