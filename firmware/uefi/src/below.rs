//! What a QEMU below us hands over with `-fw_cfg`, asked of its configuration device.

use alloc::string::String;
use handoff::fw_cfg::{self, FwCfg};
use hv_abi::boot::COMMAND_LINE_MAX;
use uefi::boot::{self, Tpl};

/// The payload, for a machine without a disk: `-fw_cfg name=opt/hearth/payload,file=…`. QEMU's
/// `-initrd` would do, but takes only Linux kernels beside it (QEMU 7.2, hw/i386/x86.c).
const PAYLOAD: &str = "opt/hearth/payload";

/// Options for hv, `-fw_cfg name=opt/hearth/options,string=…`.
pub fn options() -> String {
    // One byte more than hv takes, so that a line that is too long is noticed.
    let mut buffer = [0; COMMAND_LINE_MAX + 1];
    let found = with_device(|device| match device.file(fw_cfg::OPTIONS) {
        Some(file) => device.read_file(file, &mut buffer).len(),
        None => 0,
    });
    String::from_utf8_lossy(&buffer[..found.unwrap_or(0)]).into_owned()
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

/// Asks the device, if there is one. `ask` must not call the firmware, nor allocate.
fn with_device<T>(ask: impl FnOnce(&mut FwCfg) -> T) -> Option<T> {
    // SAFETY: `ask` keeps to the rule of this level, which is to call nothing; it is left on return.
    let _alone = unsafe { boot::raise_tpl(Tpl::HIGH_LEVEL) };
    // SAFETY: at the highest level nothing else of the firmware runs that may use the device.
    unsafe { FwCfg::find() }.as_mut().map(ask)
}
