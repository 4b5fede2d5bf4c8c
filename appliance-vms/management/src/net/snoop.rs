//! Learning which address a VM has, by looking at what passes the switch: the home's router tells it
//! to the VM (DHCP, RFC 2131), or the VM tells it to everybody (ARP, RFC 826; a fixed address).

use crate::nic::Mac;
use alloc::collections::BTreeMap;
use core::net::Ipv4Addr;
use core::time::Duration;
use smoltcp::wire::{
    ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet,
    UdpPacket,
};

/// A VM that changes its address more often is not listened to.
pub const QUIET: Duration = Duration::from_secs(2);

/// UDP ports of DHCP (RFC 2131, 4.1).
const SERVER: u16 = 67;
const CLIENT: u16 = 68;
/// The option that says what a DHCP message is (RFC 2132, 9.6).
const MESSAGE_TYPE: u8 = 53;

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    address: Option<Ipv4Addr>,
    told: Option<Duration>,
    /// It came from a DHCP server, which knows better than the VM.
    leased: bool,
}

/// Who is listened for.
#[derive(Debug, Default)]
pub struct Snoop(BTreeMap<Mac, Known>);

impl Snoop {
    /// For nobody.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Listens for the VM with this address, which is not known to have an address yet.
    pub fn watch(&mut self, vm: Mac) {
        self.0.insert(vm, Known::default());
    }

    /// Listens no more.
    pub fn forget(&mut self, vm: Mac) {
        self.0.remove(&vm);
    }

    /// The last address of a VM.
    pub fn address(&self, vm: Mac) -> Option<Ipv4Addr> {
        self.0.get(&vm)?.address
    }

    /// A frame that the switch let pass came from the VM `from`, or from outside the VMs: the VM whose
    /// address that changes, and its new address.
    pub fn frame(&mut self, from: Option<Mac>, frame: &[u8], now: Duration) -> Option<(Mac, Ipv4Addr)> {
        let leased = from.is_none();
        let (vm, address) = match from {
            Some(vm) => (vm, claimed(vm, frame)?),
            None => lease(frame)?,
        };
        let known = self.0.get_mut(&vm)?;
        if known.leased && !leased || known.told.is_some_and(|told| now.saturating_sub(told) < QUIET) {
            return None;
        }
        known.leased = leased;
        if is_odd(address) || known.address == Some(address) {
            return None;
        }
        (known.address, known.told) = (Some(address), Some(now));
        Some((vm, address))
    }
}

/// No station's address: these come with probes and with nonsense.
fn is_odd(address: Ipv4Addr) -> bool {
    address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback()
}

/// The address that a VM says it has.
fn claimed(vm: Mac, frame: &[u8]) -> Option<Ipv4Addr> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Arp {
        return None;
    }
    let packet = ArpPacket::new_checked(frame.payload()).ok()?;
    let ArpRepr::EthernetIpv4 { source_hardware_addr, source_protocol_addr, .. } =
        ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    (source_hardware_addr.0 == vm.0).then_some(source_protocol_addr)
}

/// The address that a DHCP server acknowledges, and to whom.
fn lease(frame: &[u8]) -> Option<(Mac, Ipv4Addr)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let whole = !ip.more_frags() && ip.frag_offset() == 0;
    if ip.version() != 4 || ip.next_header() != IpProtocol::Udp || !whole {
        return None;
    }
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    if (udp.src_port(), udp.dst_port()) != (SERVER, CLIENT) {
        return None;
    }
    let dhcp = DhcpPacket::new_checked(udp.payload()).ok()?;
    let kind = dhcp.options().find(|option| option.kind == MESSAGE_TYPE)?;
    let acknowledges = DhcpMessageType::from(*kind.data.first()?) == DhcpMessageType::Ack;
    acknowledges.then(|| (Mac(dhcp.client_hardware_address().0), dhcp.your_ip()))
}

#[cfg(test)]
mod tests {
    use super::super::fake::{ROUTER, ROUTER_IP, arp, dhcp};
    use super::*;
    use crate::testkit::{Random, Run};
    use smoltcp::wire::ArpOperation;

    const TV: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const IP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 60);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 61);

    fn snoop() -> Snoop {
        let mut snoop = Snoop::new();
        snoop.watch(TV);
        snoop
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn announce(ip: Ipv4Addr) -> alloc::vec::Vec<u8> {
        arp(TV, ArpOperation::Request, ip, Mac::BROADCAST, ip)
    }

    #[test]
    fn a_lease_is_told_once() {
        let mut snoop = snoop();
        let ack = dhcp(DhcpMessageType::Ack, TV, IP, 1);
        assert_eq!(snoop.frame(None, &dhcp(DhcpMessageType::Offer, TV, IP, 1), at(0)), None);
        assert_eq!(snoop.frame(Some(TV), &ack, at(0)), None);
        assert_eq!(snoop.frame(None, &ack, at(0)), Some((TV, IP)));
        assert_eq!(snoop.frame(None, &ack, at(9)), None);
        assert_eq!(snoop.frame(None, &dhcp(DhcpMessageType::Ack, TV, OTHER, 2), at(18)), Some((TV, OTHER)));
        assert_eq!(snoop.address(TV), Some(OTHER));
        assert_eq!(snoop.frame(None, &dhcp(DhcpMessageType::Ack, ROUTER, IP, 1), at(30)), None);
        snoop.forget(TV);
        assert_eq!(snoop.frame(None, &ack, at(40)), None);
    }

    #[test]
    fn a_fixed_address_is_told_too() {
        let mut snoop = snoop();
        assert_eq!(snoop.frame(Some(TV), &announce(Ipv4Addr::UNSPECIFIED), at(0)), None);
        assert_eq!(snoop.frame(Some(TV), &announce(IP), at(0)), Some((TV, IP)));
        // Somebody else's ARP says nothing about the VM.
        let foreign = arp(ROUTER, ArpOperation::Request, ROUTER_IP, Mac::BROADCAST, IP);
        assert_eq!(snoop.frame(Some(TV), &foreign, at(9)), None);
        assert_eq!(snoop.frame(None, &announce(OTHER), at(9)), None);
        // What the router says counts more.
        assert_eq!(snoop.frame(None, &dhcp(DhcpMessageType::Ack, TV, OTHER, 1), at(20)), Some((TV, OTHER)));
        assert_eq!(snoop.frame(Some(TV), &announce(IP), at(30)), None);
    }

    #[test]
    fn a_vm_cannot_fill_the_log() {
        let mut snoop = snoop();
        let told = (0..250_u8).filter(|&last| {
            let claim = announce(Ipv4Addr::new(10, 0, 0, last));
            snoop.frame(Some(TV), &claim, Duration::from_millis(u64::from(last) * 40)).is_some()
        });
        assert_eq!(told.count(), 5);
    }

    #[test]
    fn any_frame_is_survived() {
        let mut snoop = snoop();
        let mut run = Run::new("snoop", 50_000);
        let mut random = Random(run.seed);
        let mut told = 0;
        for step in run.by_ref() {
            let from = [None, Some(TV)][random.index(2)];
            let mut frame = match from {
                None => dhcp(DhcpMessageType::Ack, TV, IP, 1),
                Some(_) => announce(OTHER),
            };
            for _ in 0..random.index(6) {
                let at = random.index(frame.len());
                frame[at] = random.next() as u8;
            }
            frame.truncate(frame.len() - random.index(2) * random.index(frame.len()));
            told += usize::from(snoop.frame(from, &frame, at(step * 3)).is_some());
        }
        assert!(told > 10);
    }
}
