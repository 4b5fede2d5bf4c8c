//! The management VM's own station on the switch: `smoltcp`, with an address from the home's router.
//!
//! Nothing here waits. Frames are put in, [`Stack::poll`] works on them, frames are taken out, and
//! [`Stack::deadline`] says when to poll again though nothing came in.

#[cfg(test)]
mod tests;

use crate::nic::{MAX_FRAME, Mac};
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::dhcpv4;
use smoltcp::time::Instant;
use smoltcp::wire::{DhcpOption, EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};

/// Most frames that wait to be worked on, and most that wait to be sent.
pub const QUEUE: usize = 64;

/// What routers show in their lists: the host name option (RFC 2132, 3.14).
static NAME: [DhcpOption<'static>; 1] = [DhcpOption { kind: 12, data: b"hearth" }];

/// Where the box is on the home's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its own address.
    pub ip: Ipv4Addr,
    /// Bits of it that name the network.
    pub prefix: u8,
    /// The way out.
    pub router: Option<Ipv4Addr>,
    /// Who knows names.
    pub dns: Vec<Ipv4Addr>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The box has this address now.
    Address(Address),
    /// The box has no address any more.
    Lost,
}

/// An IP stack.
pub struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    frames: Frames,
    dhcp: SocketHandle,
    address: Option<Address>,
}

impl Stack {
    /// A stack that begins to look for an address; `mac` is not a group's. `seed` is random: TCP's
    /// sequence numbers come from it. Times are since any fixed moment.
    pub fn new(mac: Mac, seed: u64, now: Duration) -> Self {
        // smoltcp panics on a group's address; without that bit it is a station's.
        let [first, rest @ ..] = mac.0;
        let mut own = [first & !1, 0, 0, 0, 0, 0];
        own[1..].copy_from_slice(&rest);
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(own)));
        config.random_seed = seed;
        let mut frames = Frames::default();
        let interface = Interface::new(config, &mut frames, instant(now));
        let mut sockets = SocketSet::new(vec![]);
        let mut dhcp = dhcpv4::Socket::new();
        dhcp.set_outgoing_options(&NAME);
        let dhcp = sockets.add(dhcp);
        Self { interface, sockets, frames, dhcp, address: None }
    }

    /// The address, if there is one.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// The sockets, to add and to use.
    pub fn sockets(&mut self) -> &mut SocketSet<'static> {
        &mut self.sockets
    }

    /// The sockets and what a TCP socket needs to connect.
    pub fn interface(&mut self) -> (&mut Interface, &mut SocketSet<'static>) {
        (&mut self.interface, &mut self.sockets)
    }

    /// A frame came from the switch; `false`: too many wait already, and it is dropped.
    pub fn receive(&mut self, frame: Vec<u8>) -> bool {
        let room = self.frames.came.len() < QUEUE;
        if room {
            self.frames.came.push_back(frame);
        }
        room
    }

    /// The next frame for the switch.
    pub fn send(&mut self) -> Option<Vec<u8>> {
        self.frames.going.pop_front()
    }

    /// The cable was out, or the home's router is another: asks for an address as if for the first
    /// time. The old one is lost at the next poll.
    pub fn restart(&mut self) {
        self.sockets.get_mut::<dhcpv4::Socket>(self.dhcp).reset();
    }

    /// Works on all that came in and is due.
    pub fn poll(&mut self, now: Duration) -> Option<Change> {
        self.interface.poll(instant(now), &mut self.frames, &mut self.sockets);
        let address = match self.sockets.get_mut::<dhcpv4::Socket>(self.dhcp).poll()? {
            dhcpv4::Event::Deconfigured => None,
            dhcpv4::Event::Configured(config) => Some(Address {
                ip: config.address.address(),
                prefix: config.address.prefix_len(),
                router: config.router,
                dns: config.dns_servers.iter().copied().collect(),
            }),
        };
        self.configure(address)
    }

    /// When to poll again if nothing comes in; now or earlier: at once. Frames that wait to be taken
    /// out are no reason.
    pub fn deadline(&mut self, now: Duration) -> Option<Duration> {
        let delay = self.interface.poll_delay(instant(now), &self.sockets)?;
        Some(now.saturating_add(delay.into()))
    }

    fn configure(&mut self, address: Option<Address>) -> Option<Change> {
        if address == self.address {
            return None;
        }
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            let own = address.as_ref().map(|address| Ipv4Cidr::new(address.ip, address.prefix));
            addresses.extend(own.map(IpCidr::Ipv4));
        });
        let routes = self.interface.routes_mut();
        routes.remove_default_ipv4_route();
        if let Some(router) = address.as_ref().and_then(|address| address.router) {
            // The table has room for four, and this is the only one.
            let _ = routes.add_default_ipv4_route(router);
        }
        self.address.clone_from(&address);
        Some(address.map_or(Change::Lost, Change::Address))
    }
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// Frames on both ways between switch and stack.
#[derive(Default)]
struct Frames {
    came: VecDeque<Vec<u8>>,
    going: VecDeque<Vec<u8>>,
}

impl Device for Frames {
    type RxToken<'a> = Came;
    type TxToken<'a> = Going<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Came, Going<'_>)> {
        // smoltcp may want to answer with a frame: none is taken while there is no room for one.
        let room = self.going.len() < QUEUE;
        let frame = room.then(|| self.came.pop_front())??;
        Some((Came(frame), Going(&mut self.going)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Going<'_>> {
        (self.going.len() < QUEUE).then_some(Going(&mut self.going))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MAX_FRAME;
        capabilities
    }
}

struct Came(Vec<u8>);

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, work: F) -> R {
        work(&self.0)
    }
}

struct Going<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Going<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, work: F) -> R {
        let mut frame = vec![0; len];
        let result = work(&mut frame);
        self.0.push_back(frame);
        result
    }
}
