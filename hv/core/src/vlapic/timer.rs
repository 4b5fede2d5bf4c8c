//! The local APIC's timer: one-shot, periodic, TSC-deadline. SDM 3, 11.5.4; APM 2, 16.4.1.
//!
//! Nothing ticks: the timer remembers when its count reaches 0, and computes the rest.

/// Ticks a second that the timer counts, before its divisor: one a nanosecond.
pub const BUS_HZ: u64 = 1_000_000_000;

/// The time of a virtual CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds of its VM.
    pub nanos: u64,
    /// Its time stamp counter.
    pub tsc: u64,
}

/// When a timer wants to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// At this nanosecond of the VM.
    AtNanos(u64),
    /// When the vCPU's time stamp counter has this value.
    AtTsc(u64),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    OneShot,
    Periodic,
    TscDeadline,
}

impl Mode {
    /// From the two bits in the LVT. 0b11 is reserved; it is read as TSC-deadline.
    pub(super) const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::OneShot,
            1 => Self::Periodic,
            _ => Self::TscDeadline,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timer {
    mode: Mode,
    divide: u32,
    initial: u32,
    /// When the count reaches 0, in nanoseconds; never set in TSC-deadline mode, nor with an
    /// initial count of 0.
    expiry: Option<u64>,
    /// The TSC to fire at, or 0; always 0 outside TSC-deadline mode.
    deadline: u64,
}

impl Timer {
    /// Between one-shot and periodic the count goes on; into TSC-deadline mode and out of it the
    /// timer is disarmed. SDM 3, 11.5.4.1.
    pub(super) fn set_mode(&mut self, mode: Mode) {
        if (mode == Mode::TscDeadline) != (self.mode == Mode::TscDeadline) {
            (self.initial, self.expiry, self.deadline) = (0, None, 0);
        }
        self.mode = mode;
    }

    /// Nanoseconds to a tick, as a power of two. SDM 3, figure 11-10.
    fn shift(&self) -> u32 {
        ((self.divide & 3 | self.divide >> 1 & 4) + 1) & 7
    }

    pub(super) fn divide(&self) -> u32 {
        self.divide
    }

    /// What is left to count is counted at the new speed.
    pub(super) fn set_divide(&mut self, divide: u32, nanos: u64) {
        let left = u64::from(self.current(nanos));
        self.divide = divide;
        if self.expiry.is_some() {
            self.expiry = Some(nanos.saturating_add(left << self.shift()));
        }
    }

    pub(super) fn initial(&self) -> u32 {
        self.initial
    }

    /// Starts the count, or stops it with 0; ignored in TSC-deadline mode.
    pub(super) fn set_initial(&mut self, initial: u32, nanos: u64) {
        if self.mode != Mode::TscDeadline {
            self.initial = initial;
            self.expiry = (initial != 0).then(|| nanos.saturating_add(self.period()));
        }
    }

    /// Nanoseconds of a full count.
    fn period(&self) -> u64 {
        u64::from(self.initial) << self.shift()
    }

    /// The count. Never 0 while a periodic timer runs.
    pub(super) fn current(&self, nanos: u64) -> u32 {
        let left = match (self.expiry, self.mode) {
            (Some(expiry), _) if nanos < expiry => expiry - nanos,
            (Some(expiry), Mode::Periodic) => self.period() - (nanos - expiry) % self.period().max(1),
            _ => return 0,
        };
        left.div_ceil(1 << self.shift()) as u32
    }

    /// The deadline MSR: 0 outside its mode and once it has passed.
    pub(super) fn tsc_deadline(&self, tsc: u64) -> u64 {
        if tsc >= self.deadline { 0 } else { self.deadline }
    }

    /// Arms, or disarms with 0; ignored outside its mode.
    pub(super) fn set_tsc_deadline(&mut self, deadline: u64) {
        if self.mode == Mode::TscDeadline {
            self.deadline = deadline;
        }
    }

    pub(super) fn next(&self) -> Option<Deadline> {
        if self.deadline != 0 {
            return Some(Deadline::AtTsc(self.deadline));
        }
        self.expiry.map(Deadline::AtNanos)
    }

    /// Whether it has fired since the last call. Periods that were missed are one interrupt, as on
    /// a CPU that did not look; the next stays a whole number of periods after the first.
    pub(super) fn expire(&mut self, now: Now) -> bool {
        if self.deadline != 0 && now.tsc >= self.deadline {
            self.deadline = 0;
            return true;
        }
        let Some(expiry) = self.expiry.filter(|&expiry| now.nanos >= expiry) else { return false };
        self.expiry = (self.mode == Mode::Periodic).then(|| {
            let period = self.period().max(1);
            // What is left of the running period after `now`: in (0, period].
            now.nanos.saturating_add(period - (now.nanos - expiry) % period)
        });
        true
    }
}
