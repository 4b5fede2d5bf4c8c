//! A guest's RAM, as its devices see it.

/// An address range that is not, or not all, in the guest's RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRam {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub len: u64,
}

/// RAM that the guest writes at the same time: nothing read from it is read twice, and nothing in it is
/// believed before it was checked. Addresses are guest-physical.
pub trait GuestMemory {
    /// Copies out.
    ///
    /// # Errors
    /// [`NotRam`]; `into` may have changed.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), NotRam>;
    /// Copies in.
    ///
    /// # Errors
    /// [`NotRam`]; nothing was written.
    fn write(&self, address: u64, from: &[u8]) -> Result<(), NotRam>;
    /// Loads two bytes at once, before whatever is read after (acquire).
    ///
    /// # Errors
    /// [`NotRam`], also where the address is odd.
    fn load_u16(&self, address: u64) -> Result<u16, NotRam>;
    /// Stores two bytes at once, after whatever was written before (release).
    ///
    /// # Errors
    /// [`NotRam`], also where the address is odd.
    fn store_u16(&self, address: u64, value: u16) -> Result<(), NotRam>;
    /// Where a range is for a physical device, if it is in one piece of RAM.
    ///
    /// # Errors
    /// [`NotRam`].
    fn host(&self, address: u64, len: u64) -> Result<HostRange, NotRam>;
}

/// Memory as physical devices address it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRange {
    /// Host-physical address of the first byte.
    pub address: u64,
    /// Bytes.
    pub len: u64,
}
