//! A learning switch (IEEE 802.1D) between the physical ports, the VMs and the management VM.
//!
//! Which addresses the VMs and the management VM have is known for certain: frames for one never reach
//! another, and none of them can send under another's. What is learned is only behind which physical
//! port the stations of the home are. Nothing goes from one physical port to another: without a
//! spanning tree, two cables into one switch of the home would be a loop.

#[cfg(test)]
mod tests;

use super::counters::{Counters, Reason};
use super::limit::Limit;
use crate::nic::{MAX_FRAME, Mac};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// Most ports.
pub const MAX_PORTS: usize = 64;
/// Most stations that are remembered; more are reached through all physical ports.
pub const MAX_STATIONS: usize = 1024;
/// A station that was silent for this long is forgotten (802.1D, table 7-5).
pub const AGEING: Duration = Duration::from_mins(5);
/// Frames to groups that a VM may send: so many a second in the long run. Discovery protocols send a
/// few, a multicast stream of sound some hundred.
pub const GROUP_RATE: u32 = 500;
/// And so many at once.
pub const GROUP_BURST: u32 = 1000;

/// Bytes of an Ethernet header.
const HEADER: usize = 14;
const ARP: [u8; 2] = [0x08, 0x06];
/// VLAN tags of IEEE 802.1Q: customer, service.
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// A port of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortId(u8);

/// What is at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
    /// A cable: the home.
    Physical,
    /// The management VM, with its address.
    Own(Mac),
    /// A VM, with its address.
    Vm(Mac),
}

impl Station {
    /// Its address, if it has one for certain.
    const fn mac(self) -> Option<Mac> {
        match self {
            Self::Physical => None,
            Self::Own(mac) | Self::Vm(mac) => Some(mac),
        }
    }
}

/// Why a port was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortError {
    /// There are [`MAX_PORTS`] already.
    NoRoom,
    /// Its address is another port's, or a group's.
    Address,
}

/// The ports that a frame goes to: none if it was dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets(u64);

impl Targets {
    fn one(port: usize) -> Self {
        Self(1 << port)
    }

    /// Whether the frame goes nowhere.
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

impl Iterator for Targets {
    type Item = PortId;

    fn next(&mut self) -> Option<PortId> {
        let port = (self.0 != 0).then(|| self.0.trailing_zeros() as u8)?;
        self.0 &= self.0 - 1;
        Some(PortId(port))
    }
}

#[derive(Debug)]
struct Port {
    station: Station,
    counters: Counters,
    groups: Limit,
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    port: u8,
    seen: Duration,
}

/// The switch. Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Switch {
    ports: Vec<Option<Port>>,
    stations: BTreeMap<Mac, Learned>,
    swept: Duration,
}

impl Switch {
    /// Without ports.
    pub const fn new() -> Self {
        Self { ports: Vec::new(), stations: BTreeMap::new(), swept: Duration::ZERO }
    }

    /// Makes a port.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn add(&mut self, station: Station) -> Result<PortId, PortError> {
        if let Some(mac) = station.mac()
            && (mac.is_group() || self.known(mac).is_some())
        {
            return Err(PortError::Address);
        }
        let free = self.ports.iter().position(Option::is_none);
        let at = free.unwrap_or(self.ports.len());
        if at >= MAX_PORTS {
            return Err(PortError::NoRoom);
        }
        if free.is_none() {
            self.ports.push(None);
        }
        let groups = Limit::new(GROUP_RATE, GROUP_BURST);
        self.ports[at] = Some(Port { station, counters: Counters::default(), groups });
        // Somebody in the home may have had the address until now.
        self.stations.retain(|mac, _| station.mac() != Some(*mac));
        Ok(PortId(at as u8))
    }

    /// Takes a port away, with all that was learned behind it.
    pub fn remove(&mut self, port: PortId) {
        if let Some(slot) = self.ports.get_mut(usize::from(port.0)) {
            *slot = None;
        }
        self.stations.retain(|_, learned| learned.port != port.0);
    }

    /// What went through a port.
    pub fn counters(&self, port: PortId) -> Option<&Counters> {
        self.ports.get(usize::from(port.0))?.as_ref().map(|port| &port.counters)
    }

    /// A frame for a port found no room there: it was not delivered after all.
    pub fn lost(&mut self, port: PortId) {
        if let Some(Some(port)) = self.ports.get_mut(usize::from(port.0)) {
            port.counters.dropped(Reason::Full);
        }
    }

    /// A frame came in at `from`: where it goes to. Both ends are counted.
    pub fn frame(&mut self, from: PortId, frame: &[u8], now: Duration) -> Targets {
        let targets = self.targets(from, frame, now);
        let Some(Some(port)) = self.ports.get_mut(usize::from(from.0)) else {
            return Targets::default();
        };
        port.counters.came.count(frame);
        match targets {
            Ok(targets) => {
                for target in targets.clone() {
                    if let Some(Some(port)) = self.ports.get_mut(usize::from(target.0)) {
                        port.counters.went.count(frame);
                    }
                }
                targets
            }
            Err(reason) => {
                port.counters.dropped(reason);
                Targets::default()
            }
        }
    }

    fn targets(&mut self, from: PortId, frame: &[u8], now: Duration) -> Result<Targets, Reason> {
        let (Some(to), Some(source)) = (Mac::in_frame(frame, 0), Mac::in_frame(frame, 6)) else {
            return Err(Reason::Size);
        };
        if !(HEADER..=MAX_FRAME).contains(&frame.len()) {
            return Err(Reason::Size);
        }
        let Some(Some(port)) = self.ports.get_mut(usize::from(from.0)) else {
            return Err(Reason::Nobody);
        };
        match port.station {
            Station::Own(_) => {}
            Station::Vm(mac) => may_send(mac, source, frame)?,
            Station::Physical => self.learn(from, source, now)?,
        }
        // Bridges keep these to themselves, pause frames among them (802.1D, table 7-10).
        if to.0[..5] == [0x01, 0x80, 0xc2, 0, 0] && to.0[5] < 0x10 {
            return Err(Reason::Reserved);
        }
        if to.is_group() { self.for_group(from, now) } else { self.for_one(from, to, now) }
    }

    /// Remembers who is behind a physical port. An address of the box cannot be there: it is a frame
    /// that came back, or somebody pretends.
    fn learn(&mut self, from: PortId, source: Mac, now: Duration) -> Result<(), Reason> {
        if source.is_group() || self.known(source).is_some() {
            return Err(Reason::Source);
        }
        if self.stations.len() >= MAX_STATIONS && !self.stations.contains_key(&source) {
            self.sweep(now);
        }
        if self.stations.len() < MAX_STATIONS || self.stations.contains_key(&source) {
            self.stations.insert(source, Learned { port: from.0, seen: now });
        }
        Ok(())
    }

    /// Forgets silent stations, once a second at most: somebody in the home may send under a new
    /// address with each frame.
    fn sweep(&mut self, now: Duration) {
        if now.saturating_sub(self.swept) >= Duration::from_secs(1) {
            self.swept = now;
            self.stations.retain(|_, learned| is_fresh(learned, now));
        }
    }

    fn for_group(&mut self, from: PortId, now: Duration) -> Result<Targets, Reason> {
        if let Some(Some(port)) = self.ports.get_mut(usize::from(from.0))
            && matches!(port.station, Station::Vm(_))
            && !port.groups.take(now)
        {
            return Err(Reason::Limit);
        }
        self.all_but(from, |_| true)
    }

    fn for_one(&self, from: PortId, to: Mac, now: Duration) -> Result<Targets, Reason> {
        if let Some(port) = self.known(to) {
            let back = port == usize::from(from.0);
            return if back { Err(Reason::Nobody) } else { Ok(Targets::one(port)) };
        }
        if self.station(usize::from(from.0)) == Some(Station::Physical) {
            return Err(Reason::Nobody);
        }
        match self.stations.get(&to).filter(|learned| is_fresh(learned, now)) {
            Some(learned) => Ok(Targets::one(usize::from(learned.port))),
            // Whoever has it is in the home: all of the box are known.
            None => self.all_but(from, |station| station == Station::Physical),
        }
    }

    /// All ports but the frame's own; from a physical port to no other physical one.
    fn all_but(&self, from: PortId, wanted: impl Fn(Station) -> bool) -> Result<Targets, Reason> {
        let from = usize::from(from.0);
        let cable = self.station(from) == Some(Station::Physical);
        let mut targets = Targets::default();
        for at in (0..self.ports.len()).filter(|&at| at != from) {
            let station = self.station(at).filter(|&station| wanted(station));
            if station.is_some_and(|station| !(cable && station == Station::Physical)) {
                targets.0 |= 1 << at;
            }
        }
        if targets.is_empty() { Err(Reason::Nobody) } else { Ok(targets) }
    }

    fn station(&self, at: usize) -> Option<Station> {
        self.ports.get(at)?.as_ref().map(|port| port.station)
    }

    /// The port of the box's own station with this address.
    fn known(&self, mac: Mac) -> Option<usize> {
        (0..self.ports.len()).find(|&at| self.station(at).and_then(Station::mac) == Some(mac))
    }
}

fn is_fresh(learned: &Learned, now: Duration) -> bool {
    now.saturating_sub(learned.seen) < AGEING
}

/// Whether a VM may send this: under its own address, in ARP too (RFC 826: the sender's hardware
/// address is 8 bytes into the packet), and without a VLAN tag, which could hide either.
fn may_send(mac: Mac, source: Mac, frame: &[u8]) -> Result<(), Reason> {
    let kind = frame.get(12..14).unwrap_or_default();
    if source != mac || kind == ARP && Mac::in_frame(frame, HEADER + 8) != Some(mac) {
        return Err(Reason::Source);
    }
    if TAGS.iter().any(|tag| kind == tag) { Err(Reason::Tagged) } else { Ok(()) }
}
