use super::super::fake::{ROUTER, ROUTER_IP, Router, arp, ethernet};
use super::*;
use crate::testkit::{Random, Run};
use smoltcp::socket::udp;
use smoltcp::wire::{ArpOperation, EthernetProtocol};

const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const IP: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 50);

/// The stack and a router, for a while in which nothing but deadlines passes time.
fn run(stack: &mut Stack, router: Option<&Router>, from: u64, to: u64) -> (Vec<Change>, usize) {
    let (mut now, end) = (Duration::from_secs(from), Duration::from_secs(to));
    let (mut changes, mut polls) = (Vec::new(), 0);
    while now <= end {
        polls += 1;
        changes.extend(stack.poll(now));
        let mut answered = false;
        while let Some(frame) = stack.send() {
            if let Some(answer) = router.and_then(|router| router.answer(&frame)) {
                answered = true;
                assert!(stack.receive(answer));
            }
        }
        let next = stack.deadline(now).unwrap();
        now = if answered { now } else { next.max(now + Duration::from_micros(1)) };
    }
    (changes, polls)
}

fn address(ip: Ipv4Addr) -> Change {
    Change::Address(Address { ip, prefix: 24, router: Some(ROUTER_IP), dns: vec![ROUTER_IP] })
}

#[test]
fn the_router_gives_an_address_and_renews_it_quietly() {
    let mut stack = Stack::new(MAC, 1, Duration::ZERO);
    let router = Router { gives: IP };
    let (changes, polls) = run(&mut stack, Some(&router), 0, 3600);
    assert_eq!(changes, [address(IP)]);
    assert_eq!(stack.address().map(|address| address.ip), Some(IP));
    // An hour of leases of ten minutes: the stack sleeps in between.
    assert!(polls < 100, "{polls}");
}

#[test]
fn an_address_that_is_not_renewed_is_lost_and_another_one_told() {
    let mut stack = Stack::new(MAC, 1, Duration::ZERO);
    run(&mut stack, Some(&Router { gives: IP }), 0, 10);
    let (changes, _) = run(&mut stack, None, 10, 700);
    assert_eq!(changes, [Change::Lost]);
    let other = Ipv4Addr::new(192, 168, 1, 77);
    let (changes, _) = run(&mut stack, Some(&Router { gives: other }), 700, 800);
    assert_eq!(changes, [address(other)]);
    stack.restart();
    let (changes, _) = run(&mut stack, Some(&Router { gives: IP }), 800, 900);
    assert_eq!(changes, [Change::Lost, address(IP)]);
}

#[test]
fn it_answers_and_sends() {
    let mut stack = Stack::new(MAC, 1, Duration::ZERO);
    let router = Router { gives: IP };
    run(&mut stack, Some(&router), 0, 10);
    assert!(stack.receive(arp(ROUTER, ArpOperation::Request, ROUTER_IP, Mac::BROADCAST, IP)));
    stack.poll(Duration::from_secs(11));
    let answer = stack.send().unwrap();
    assert_eq!(answer[..6], ROUTER.0);
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 1024]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(9).unwrap();
    socket.send_slice(b"hello", (ROUTER_IP, 9)).unwrap();
    stack.sockets().add(socket);
    stack.poll(Duration::from_secs(12));
    let sent = stack.send().unwrap();
    assert!(sent.ends_with(b"hello") && sent[6..12] == MAC.0);
}

#[test]
fn queues_are_bounded() {
    let mut stack = Stack::new(MAC, 1, Duration::ZERO);
    run(&mut stack, Some(&Router { gives: IP }), 0, 10);
    let ask = || arp(ROUTER, ArpOperation::Request, ROUTER_IP, Mac::BROADCAST, IP);
    let taken = (0..1000).filter(|_| stack.receive(ask())).count();
    assert_eq!(taken, QUEUE);
    stack.poll(Duration::from_secs(11));
    assert!((0..1000).filter(|_| stack.receive(ask())).count() <= QUEUE);
    stack.poll(Duration::from_secs(11));
    assert_eq!(core::iter::from_fn(|| stack.send()).count(), QUEUE);
}

#[test]
fn a_groups_address_is_made_one_of_a_station() {
    let mut stack = Stack::new(Mac::BROADCAST, 1, Duration::ZERO);
    assert_eq!(run(&mut stack, Some(&Router { gives: IP }), 0, 10).0, [address(IP)]);
}

#[test]
fn any_frame_is_survived() {
    let mut stack = Stack::new(MAC, 1, Duration::ZERO);
    let router = Router { gives: IP };
    run(&mut stack, Some(&router), 0, 10);
    let mut run = Run::new("stack", 20_000);
    let mut random = Random(run.seed);
    let offer = super::super::fake::dhcp(smoltcp::wire::DhcpMessageType::Ack, MAC, IP, 7);
    for step in run.by_ref() {
        let mut frame = match random.index(3) {
            0 => arp(ROUTER, ArpOperation::Request, ROUTER_IP, MAC, IP),
            1 => offer.clone(),
            _ => ethernet(MAC, ROUTER, EthernetProtocol::Ipv4, &[0x45; 60]),
        };
        for _ in 0..random.index(6) {
            let at = random.index(frame.len());
            frame[at] = random.next() as u8;
        }
        frame.truncate(frame.len() - random.index(2) * random.index(frame.len()));
        stack.receive(frame);
        stack.poll(Duration::from_millis(11_000 + step));
        while stack.send().is_some() {}
    }
}
