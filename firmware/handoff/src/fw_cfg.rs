//! QEMU's firmware configuration device: files that the machine below hands to firmware.
//! QEMU, docs/specs/fw_cfg.rst: selector at port 0x510, data at 0x511, a directory of files.

use core::arch::x86_64::__cpuid;
use x86_64::instructions::port::Port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const KEY_SIGNATURE: u16 = 0x0000;
const KEY_DIRECTORY: u16 = 0x0019;
/// Most files looked at; QEMU 7.2 has about 20.
const MAX_FILES: u32 = 512;
/// Bytes of a file's name in the directory.
const NAME: usize = 56;

/// Options for hv, given with `-fw_cfg name=opt/hearth/options,string=…`.
pub const OPTIONS: &str = "opt/hearth/options";

/// The device, if this machine has one.
pub struct FwCfg {
    selector: Port<u16>,
    data: Port<u8>,
}

/// A file of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// What selects it.
    pub key: u16,
    /// Its bytes.
    pub len: u32,
}

impl FwCfg {
    /// The device, if there is one. Asked only where CPUID says that a hypervisor is below us: on
    /// a real machine the ports may be anything.
    ///
    /// # Safety
    /// Nobody else may use the device for as long as the result lives.
    pub unsafe fn find() -> Option<Self> {
        if __cpuid(1).ecx & hv_defs::cpuid::LEAF1_ECX_HYPERVISOR == 0 {
            return None;
        }
        // SAFETY: exclusive by the caller's promise, and a machine with a hypervisor below has
        // either this device at these ports or nothing.
        unsafe { Self::probe() }
    }

    /// The device, if its signature reads right.
    ///
    /// # Safety
    /// As for [`FwCfg::find`]; and the ports must not belong to another device.
    pub unsafe fn probe() -> Option<Self> {
        let mut device = Self { selector: Port::new(SELECTOR), data: Port::new(DATA) };
        device.select(KEY_SIGNATURE);
        let mut signature = [0; 4];
        device.read(&mut signature);
        (signature == *b"QEMU").then_some(device)
    }

    /// Finds a file by its name.
    pub fn file(&mut self, name: &str) -> Option<File> {
        self.select(KEY_DIRECTORY);
        let mut count = [0; 4];
        self.read(&mut count);
        (0..u32::from_be_bytes(count).min(MAX_FILES)).find_map(|_| {
            let mut entry = [0; 8 + NAME];
            self.read(&mut entry);
            let len = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
            let key = u16::from_be_bytes([entry[4], entry[5]]);
            let field = &entry[8..];
            let end = field.iter().position(|&byte| byte == 0).unwrap_or(NAME);
            (&field[..end] == name.as_bytes()).then_some(File { key, len })
        })
    }

    /// Reads the start of a file: as many bytes as `buffer` and the file both have.
    pub fn read_file<'b>(&mut self, file: File, buffer: &'b mut [u8]) -> &'b [u8] {
        let len = buffer.len().min(file.len as usize);
        self.select(file.key);
        self.read(&mut buffer[..len]);
        &buffer[..len]
    }

    /// Starts reading at the beginning of what `key` selects.
    pub fn select(&mut self, key: u16) {
        // SAFETY: selecting changes nothing but what the data port reads; the device is ours.
        unsafe { self.selector.write(key) };
    }

    /// Reads on from where the last read ended.
    pub fn read(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            // SAFETY: reading moves the device's own position only.
            *byte = unsafe { self.data.read() };
        }
    }
}
