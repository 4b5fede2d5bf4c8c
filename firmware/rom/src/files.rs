//! The firmware configuration device as a device that has files.

use handoff::fw_cfg::FwCfg;
use rom::acpi::script::Files;

/// QEMU's device.
pub struct Device(pub FwCfg);

impl Device {
    /// Reads as much of a file as `buffer` holds, if there is such a file.
    pub fn read_start<'b>(&mut self, name: &str, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let file = self.0.file(name)?;
        Some(self.0.read_file(file, buffer))
    }
}

impl Files for Device {
    fn len(&mut self, name: &str) -> Option<u32> {
        self.0.file(name).map(|file| file.len)
    }

    fn read(&mut self, name: &str, buffer: &mut [u8]) {
        self.read_start(name, buffer);
    }

    fn write(&mut self, name: &str, offset: u32, bytes: &[u8]) -> bool {
        self.0.file(name).is_some_and(|file| self.0.write_file(file, offset, bytes))
    }
}
