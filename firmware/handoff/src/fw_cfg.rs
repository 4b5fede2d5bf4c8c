//! QEMU's firmware configuration device: files that the machine below hands to firmware.
//! QEMU, docs/specs/fw_cfg.rst: selector at port 0x510, data at 0x511, a directory of files.

use core::arch::x86_64::__cpuid;
use hv_abi::boot::{COMMAND_LINE_MAX, CommandLine};
use x86_64::instructions::port::Port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const KEY_SIGNATURE: u16 = 0x0000;
const KEY_FEATURES: u16 = 0x0001;
const KEY_DIRECTORY: u16 = 0x0019;
/// In the features: the device reads and writes memory by itself.
const HAS_DMA: u8 = 1 << 1;
/// Takes the big-endian address of a [`DmaCommand`], upper half first; the lower half starts it.
const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;
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
    dma: [Port<u32>; 2],
}

/// A file of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// What selects it.
    pub key: u16,
    /// Its bytes.
    pub len: u32,
}

/// A command to the device; all fields big-endian.
#[repr(C)]
struct DmaCommand {
    /// What to do; with `SELECT`, the key in bits 16–31. Zero once done.
    control: u32,
    len: u32,
    address: u64,
}

impl DmaCommand {
    const SKIP: u32 = 1 << 2;
    const SELECT: u32 = 1 << 3;
    const WRITE: u32 = 1 << 4;
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
        let dma = [Port::new(DMA_HIGH), Port::new(DMA_LOW)];
        let mut device = Self { selector: Port::new(SELECTOR), data: Port::new(DATA), dma };
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

    /// Writes `bytes` into a file at `offset`; whether the device took them. Few files let
    /// themselves be written to.
    pub fn write_file(&mut self, file: File, offset: u32, bytes: &[u8]) -> bool {
        self.select(KEY_FEATURES);
        let mut features = [0];
        self.read(&mut features);
        let fits = offset.checked_add(bytes.len() as u32).is_some_and(|end| end <= file.len);
        features[0] & HAS_DMA != 0
            && fits
            && self.dma(u32::from(file.key) << 16 | DmaCommand::SELECT | DmaCommand::SKIP, offset, &[])
            && self.dma(DmaCommand::WRITE, bytes.len() as u32, bytes)
    }

    /// Has the device do one command; whether it did.
    fn dma(&mut self, control: u32, len: u32, bytes: &[u8]) -> bool {
        let mut command = DmaCommand {
            control: control.to_be(),
            len: len.to_be(),
            address: (bytes.as_ptr().expose_provenance() as u64).to_be(),
        };
        let at = &raw mut command;
        let place = at.expose_provenance() as u64;
        // SAFETY: the device reads `bytes` and answers in `command`, both mapped at their physical
        // addresses; it is done when the write to the port is (QEMU, docs/specs/fw_cfg.rst).
        unsafe {
            self.dma[0].write(((place >> 32) as u32).to_be());
            self.dma[1].write((place as u32).to_be());
            at.read_volatile().control == 0
        }
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

/// hv's options: those the door was `given`, then those in QEMU's file [`OPTIONS`], so that every
/// door takes these.
///
/// # Safety
/// As for [`FwCfg::find`].
pub unsafe fn command_line(given: &[u8]) -> CommandLine {
    let mut text = [0; COMMAND_LINE_MAX];
    let mut len = given.len().min(COMMAND_LINE_MAX);
    text[..len].copy_from_slice(&given[..len]);
    // SAFETY: the caller's promise.
    if let Some(mut device) = unsafe { FwCfg::find() }
        && let Some(file) = device.file(OPTIONS)
    {
        if len > 0 && len < COMMAND_LINE_MAX {
            text[len] = b' ';
            len += 1;
        }
        device.read_file(file, &mut text[len..]);
    }
    CommandLine::new(&text).0
}
