//! The guest's time stamp counter: the host's, plus an offset that the guest can move.

/// One virtual CPU's IA32_TSC (0x10) and IA32_TSC_ADJUST (0x3b). SDM 3, 18.17.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestTsc {
    /// Added to the host's TSC; belongs in [`crate::cpu::Register::TscOffset`].
    pub offset: u64,
    /// What `RDMSR` of TSC_ADJUST answers: how far the guest has moved its counter since reset.
    pub adjust: u64,
}

impl GuestTsc {
    /// A counter that is zero when the host's is `start`: the same for all CPUs of a VM.
    pub const fn starting_at(start: u64) -> Self {
        Self { offset: start.wrapping_neg(), adjust: 0 }
    }

    /// The guest's counter when the host's is `host`.
    pub const fn read(&self, host: u64) -> u64 {
        host.wrapping_add(self.offset)
    }

    /// What the host's counter, `host` now, is when the guest's comes to `guest`: for deadlines. Of
    /// those that have passed 0, and of those that it never comes to its end.
    pub const fn to_host(&self, guest: u64, host: u64) -> u64 {
        match guest.saturating_sub(self.read(host)) {
            0 => 0,
            left => host.saturating_add(left),
        }
    }

    /// The guest writes its counter: TSC_ADJUST moves by as much.
    pub const fn write(&mut self, value: u64, host: u64) {
        self.move_by(value.wrapping_sub(self.read(host)));
    }

    /// The guest writes TSC_ADJUST: the counter moves by as much.
    pub const fn write_adjust(&mut self, value: u64) {
        self.move_by(value.wrapping_sub(self.adjust));
    }

    const fn move_by(&mut self, ticks: u64) {
        self.offset = self.offset.wrapping_add(ticks);
        self.adjust = self.adjust.wrapping_add(ticks);
    }
}
