//! Registers and structures of NVMe, by the figures' names.

/// Registers (section 3.1).
pub(super) mod register {
    /// Controller capabilities, 64 bits.
    pub(in super::super) const CAP: u64 = 0x00;
    /// Controller configuration.
    pub(in super::super) const CC: u64 = 0x14;
    /// Controller status.
    pub(in super::super) const CSTS: u64 = 0x1c;
    /// Admin queue attributes: sizes.
    pub(in super::super) const AQA: u64 = 0x24;
    /// Admin submission queue, 64 bits.
    pub(in super::super) const ASQ: u64 = 0x28;
    /// Admin completion queue, 64 bits.
    pub(in super::super) const ACQ: u64 = 0x30;
    /// First doorbell.
    pub(in super::super) const DOORBELLS: u64 = 0x1000;
}

/// CC: enabled, entries of 64 (2^6) and 16 (2^4) bytes, pages of 4 KiB, NVM command set.
pub(super) const CC_ENABLE: u32 = 1 | 6 << 16 | 4 << 20;
/// CSTS: ready.
pub(super) const CSTS_READY: u32 = 1 << 0;
/// CSTS: fatal status.
pub(super) const CSTS_FATAL: u32 = 1 << 1;

/// Bytes of a page as CC sets them.
pub(super) const PAGE: u64 = 4096;
/// Bytes of a submission entry.
pub(super) const COMMAND: usize = 64;
/// Bytes of a completion entry.
pub(super) const COMPLETION: usize = 16;

/// Opcodes of administration (section 5).
pub(super) mod admin {
    pub(in super::super) const CREATE_SUBMISSION: u8 = 0x01;
    pub(in super::super) const CREATE_COMPLETION: u8 = 0x05;
    pub(in super::super) const IDENTIFY: u8 = 0x06;
    pub(in super::super) const SET_FEATURES: u8 = 0x09;
    /// The feature that asks for queues.
    pub(in super::super) const NUMBER_OF_QUEUES: u32 = 0x07;
}

/// Opcodes of the NVM command set (section 6).
pub(super) mod nvm {
    pub(in super::super) const FLUSH: u8 = 0x00;
    pub(in super::super) const WRITE: u8 = 0x01;
    pub(in super::super) const READ: u8 = 0x02;
    pub(in super::super) const WRITE_ZEROES: u8 = 0x08;
    pub(in super::super) const DATASET_MANAGEMENT: u8 = 0x09;
    /// Dataset management, dword 11: deallocate.
    pub(in super::super) const DEALLOCATE: u32 = 1 << 2;
}

/// Status: code in bits 7–0, its type in bits 10–8 (figure "Completion Queue Entry: Status Field").
pub(super) mod status {
    pub(in super::super) const INVALID_OPCODE: u16 = 0x01;
    pub(in super::super) const WRITE_PROTECTED: u16 = 0x20;
    pub(in super::super) const LBA_OUT_OF_RANGE: u16 = 0x80;
    pub(in super::super) const READ_ONLY_RANGE: u16 = 0x182;
}

/// The namespace that is used.
pub(super) const NAMESPACE: u32 = 1;

/// What the controller is like (figure "Identify Controller Data Structure").
pub(super) struct ControllerData<'a>(pub(super) &'a [u8; PAGE as usize]);

impl ControllerData<'_> {
    /// Serial number, then model: ASCII, filled with spaces.
    pub(super) fn serial_and_model(&self) -> (&[u8], &[u8]) {
        (&self.0[4..24], &self.0[24..64])
    }

    /// Most bytes of a transfer, as a power of two of the smallest page; 0: any.
    pub(super) fn mdts(&self) -> u8 {
        self.0[77]
    }

    /// Optional commands: dataset management.
    pub(super) fn discards(&self) -> bool {
        self.0[520] & 1 << 2 != 0
    }

    /// Optional commands: write zeroes.
    pub(super) fn writes_zeroes(&self) -> bool {
        self.0[520] & 1 << 3 != 0
    }
}

/// What a namespace is like (figure "Identify Namespace Data Structure").
pub(super) struct NamespaceData<'a>(pub(super) &'a [u8; PAGE as usize]);

impl NamespaceData<'_> {
    /// Its size in blocks.
    pub(super) fn blocks(&self) -> u64 {
        u64::from_le_bytes(core::array::from_fn(|at| self.0[at]))
    }

    /// Bytes of a block as a power of two, if there are none of metadata with it.
    pub(super) fn block_shift(&self) -> Option<u8> {
        let format = 128 + 4 * usize::from(self.0[26] & 0xf);
        (self.0[format..format + 2] == [0, 0]).then_some(self.0[format + 2])
    }

    /// It can't be written to.
    pub(super) fn read_only(&self) -> bool {
        self.0[99] & 1 != 0
    }
}
