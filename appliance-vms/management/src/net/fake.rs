//! A home's router that is not there.

use crate::nic::Mac;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress, EthernetFrame,
    EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

pub(super) const ROUTER: Mac = Mac([0x10, 0, 0, 0, 0, 1]);
pub(super) const ROUTER_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

pub(super) fn ethernet(to: Mac, from: Mac, kind: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14 + payload.len()];
    let header =
        EthernetRepr { src_addr: EthernetAddress(from.0), dst_addr: EthernetAddress(to.0), ethertype: kind };
    header.emit(&mut EthernetFrame::new_unchecked(&mut bytes));
    bytes[14..].copy_from_slice(payload);
    bytes
}

pub(super) fn arp(from: Mac, operation: ArpOperation, ip: Ipv4Addr, to: Mac, target: Ipv4Addr) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(from.0),
        source_protocol_addr: ip,
        target_hardware_addr: EthernetAddress(to.0),
        target_protocol_addr: target,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut bytes));
    ethernet(to, from, EthernetProtocol::Arp, &bytes)
}

/// What a DHCP server says to a client.
pub(super) fn dhcp(kind: DhcpMessageType, client: Mac, ip: Ipv4Addr, transaction: u32) -> Vec<u8> {
    let repr = DhcpRepr {
        message_type: kind,
        transaction_id: transaction,
        secs: 0,
        client_hardware_address: EthernetAddress(client.0),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: ip,
        server_ip: ROUTER_IP,
        router: Some(ROUTER_IP),
        subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(ROUTER_IP),
        parameter_request_list: None,
        dns_servers: Some([ROUTER_IP].into_iter().collect()),
        max_size: None,
        lease_duration: Some(600),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let udp = UdpRepr { src_port: 67, dst_port: 68 };
    let ip = Ipv4Repr {
        src_addr: ROUTER_IP,
        dst_addr: Ipv4Addr::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + repr.buffer_len(),
        hop_limit: 64,
    };
    let sums = ChecksumCapabilities::default();
    let mut bytes = vec![0; ip.buffer_len() + ip.payload_len];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    ip.emit(&mut packet, &sums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &ROUTER_IP.into(),
        &Ipv4Addr::BROADCAST.into(),
        repr.buffer_len(),
        |payload| repr.emit(&mut DhcpPacket::new_unchecked(payload)).unwrap(),
        &sums,
    );
    ethernet(Mac::BROADCAST, ROUTER, EthernetProtocol::Ipv4, &bytes)
}

/// A router that gives everybody the same address.
pub(super) struct Router {
    pub(super) gives: Ipv4Addr,
}

impl Router {
    /// Its answer to a frame.
    pub(super) fn answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let frame = EthernetFrame::new_checked(frame).unwrap();
        let client = Mac(frame.src_addr().0);
        if frame.ethertype() == EthernetProtocol::Arp {
            let packet = ArpPacket::new_checked(frame.payload()).unwrap();
            let ArpRepr::EthernetIpv4 { source_protocol_addr, target_protocol_addr, .. } =
                ArpRepr::parse(&packet).unwrap()
            else {
                return None;
            };
            return (target_protocol_addr == ROUTER_IP)
                .then(|| arp(ROUTER, ArpOperation::Reply, ROUTER_IP, client, source_protocol_addr));
        }
        let ip = Ipv4Packet::new_checked(frame.payload()).unwrap();
        let udp = UdpPacket::new_checked(ip.payload()).ok().filter(|udp| udp.dst_port() == 67)?;
        let asked = DhcpPacket::new_checked(udp.payload()).unwrap();
        let asked = DhcpRepr::parse(&asked).unwrap();
        let kind = match asked.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            DhcpMessageType::Request => DhcpMessageType::Ack,
            _ => return None,
        };
        Some(dhcp(kind, client, self.gives, asked.transaction_id))
    }
}
