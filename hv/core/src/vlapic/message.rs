//! Interrupt messages: what CPUs, the I/O APIC and devices send to local APICs, and who is meant.
//! SDM 3, 11.6.2; APM 2, 16.6.1.

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The sender.
    Myself,
    /// Everyone, the sender too.
    All,
    /// Everyone but the sender.
    Others,
    /// The APIC with this ID.
    Physical(u32),
    /// A logical address, read by each APIC in its own mode: flat, cluster or x2APIC.
    Logical(u32),
}

impl Destination {
    /// A destination of 8 bits, or 15 from devices that have them; all ones in 8 mean everyone.
    pub const fn narrow(id: u32, logical: bool) -> Self {
        if id == 0xff { Self::All } else { Self::wide(id, logical) }
    }

    /// A destination of 32 bits. SDM 3, 11.12.9 and 11.12.10.
    pub const fn wide(id: u32, logical: bool) -> Self {
        match id {
            u32::MAX => Self::All,
            id if logical => Self::Logical(id),
            id => Self::Physical(id),
        }
    }
}

/// What the receiver does with a message.
///
/// SMI and ExtINT are not among them: guests have no system management mode and no PIC, so such
/// messages are lost where they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// All that are meant take the interrupt.
    Fixed,
    /// One of those that are meant takes it: see [`pick_lowest`].
    LowestPriority,
    /// A non-maskable interrupt.
    Nmi,
    /// The CPU is reset and waits for `Startup`.
    Init,
    /// The CPU starts in real mode at page `vector`.
    Startup,
}

impl DeliveryMode {
    /// From the three bits that encode it in the ICR; `None` for what no guest has.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        match bits & 7 {
            0 => Some(Self::Fixed),
            1 => Some(Self::LowestPriority),
            4 => Some(Self::Nmi),
            5 => Some(Self::Init),
            6 => Some(Self::Startup),
            _ => None,
        }
    }
}

/// How an interrupt is triggered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// By an event.
    Edge,
    /// By a state that must be ended; its end of interrupt is told to the I/O APIC.
    Level,
}

/// An interrupt message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// For whom.
    pub destination: Destination,
    /// What to do.
    pub mode: DeliveryMode,
    /// Which interrupt; the page, for `Startup`.
    pub vector: u8,
    /// Always `Edge` but for fixed and lowest-priority messages of devices.
    pub trigger: Trigger,
}

impl Message {
    /// A device's message, from the bits that redirection entries and MSI data have in common:
    /// vector 7–0, mode 10–8, level 15. `Startup` is reserved there.
    pub(crate) const fn from_device(destination: Destination, bits: u32) -> Option<Self> {
        let (mode, trigger) = match DeliveryMode::from_bits(bits >> 8) {
            None | Some(DeliveryMode::Startup) => return None,
            Some(mode @ (DeliveryMode::Fixed | DeliveryMode::LowestPriority)) if bits >> 15 & 1 == 1 => {
                (mode, Trigger::Level)
            }
            Some(mode) => (mode, Trigger::Edge),
        };
        Some(Self { destination, mode, vector: bits as u8, trigger })
    }
}

/// Under which addresses a local APIC answers: one word, which its owner publishes with one store
/// and everyone else may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address(u64);

impl Address {
    const LOGICAL_SHIFT: u32 = 32;
    const CLUSTER: u64 = 1 << 40;
    const X2APIC: u64 = 1 << 41;
    const ENABLED: u64 = 1 << 42;
    const ACCEPTS: u64 = 1 << 43;

    /// An APIC that is switched on: `logical` is its 8-bit address in xAPIC mode; `accepts` says
    /// that software has enabled it too.
    pub(super) fn new(id: u32, logical: u8, cluster: bool, x2apic: bool, accepts: bool) -> Self {
        let flag = |on, flag| if on { flag } else { 0 };
        let flags = flag(cluster, Self::CLUSTER) | flag(x2apic, Self::X2APIC) | flag(accepts, Self::ACCEPTS);
        Self(Self::ENABLED | flags | u64::from(logical) << Self::LOGICAL_SHIFT | u64::from(id))
    }

    /// As it was published.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// To be published. 0 is an APIC that is off.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The APIC is on and software has enabled it: it takes fixed interrupts.
    pub const fn accepts(self) -> bool {
        self.0 & Self::ACCEPTS != 0
    }

    /// Whether a message for `destination` is meant for this APIC; `from_self` if it sent it.
    pub const fn matches(self, destination: Destination, from_self: bool) -> bool {
        if self.0 & Self::ENABLED == 0 {
            return false;
        }
        match destination {
            Destination::Myself => from_self,
            Destination::All => true,
            Destination::Others => !from_self,
            Destination::Physical(id) if self.0 & Self::X2APIC != 0 => id == self.0 as u32,
            Destination::Physical(id) => id == self.0 as u32 & 0xff,
            Destination::Logical(address) => self.matches_logical(address),
        }
    }

    /// SDM 3, 11.6.2.2 (flat and cluster) and 11.12.10.2 (x2APIC: derived from the ID).
    const fn matches_logical(self, address: u32) -> bool {
        if self.0 & Self::X2APIC != 0 {
            let own = x2apic_logical(self.0 as u32);
            return own >> 16 == address >> 16 && own & address & 0xffff != 0;
        }
        let own = (self.0 >> Self::LOGICAL_SHIFT) as u32 & 0xff;
        if self.0 & Self::CLUSTER != 0 {
            return own >> 4 == address >> 4 && own & address & 0xf != 0;
        }
        address <= 0xff && own & address != 0
    }
}

/// The logical address of an x2APIC: cluster 31–16, one bit of 15–0. SDM 3, 11.12.10.2.
pub(super) const fn x2apic_logical(id: u32) -> u32 {
    (id & 0xf_fff0) << 12 | 1 << (id & 0xf)
}

/// Chooses the receiver of a lowest-priority message: the next after `last` in turn, of those that
/// are meant and take interrupts. (Which one has the lowest priority is not looked at: modern CPUs
/// don't either, and it would mean reading another core's APIC.)
pub fn pick_lowest(
    addresses: impl Iterator<Item = Address>,
    destination: Destination,
    sender: Option<usize>,
    last: usize,
) -> Option<usize> {
    let meant = |(index, address): &(usize, Address)| {
        address.accepts() && address.matches(destination, sender == Some(*index))
    };
    let mut meant = addresses.enumerate().filter(meant).map(|(index, _)| index);
    let first = meant.next();
    first.filter(|&first| first > last).or_else(|| meant.find(|&index| index > last)).or(first)
}
