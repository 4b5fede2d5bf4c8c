use super::*;
use crate::testkit::{Random, Run};
use alloc::vec;

const TV: Mac = Mac([2, 0, 0, 0, 0, 1]);
const MUSIC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const OWN: Mac = Mac([2, 0, 0, 0, 0, 9]);
const PHONE: Mac = Mac([0x10, 0, 0, 0, 0, 7]);
const START: Duration = Duration::ZERO;

struct House {
    switch: Switch,
    cable: PortId,
    own: PortId,
    tv: PortId,
    music: PortId,
}

impl House {
    fn new() -> Self {
        let mut switch = Switch::new();
        let cable = switch.add(Station::Physical).unwrap();
        let own = switch.add(Station::Own(OWN)).unwrap();
        let tv = switch.add(Station::Vm(TV)).unwrap();
        let music = switch.add(Station::Vm(MUSIC)).unwrap();
        Self { switch, cable, own, tv, music }
    }

    fn send(&mut self, from: PortId, frame: &[u8]) -> Vec<PortId> {
        self.switch.frame(from, frame, START).collect()
    }

    fn drops(&self, port: PortId, reason: Reason) -> u64 {
        self.switch.counters(port).unwrap().drops(reason)
    }
}

fn frame(to: Mac, source: Mac) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&to.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame
}

#[test]
fn frames_for_a_station_of_the_box_reach_it_alone() {
    let mut house = House::new();
    let House { cable, own, tv, music, .. } = house;
    assert_eq!(house.send(cable, &frame(TV, PHONE)), [tv]);
    assert_eq!(house.send(tv, &frame(MUSIC, TV)), [music]);
    assert_eq!(house.send(own, &frame(TV, OWN)), [tv]);
    assert_eq!(house.send(tv, &frame(OWN, TV)), [own]);
    let counters = house.switch.counters(tv).unwrap();
    assert_eq!(counters.came, super::super::counters::Traffic { frames: 2, bytes: 120 });
    assert_eq!(counters.went.frames, 2);
}

#[test]
fn what_nobody_here_has_goes_out_and_never_to_a_vm() {
    let mut house = House::new();
    let House { cable, own, tv, .. } = house;
    assert_eq!(house.send(tv, &frame(PHONE, TV)), [cable]);
    assert_eq!(house.send(own, &frame(PHONE, OWN)), [cable]);
    assert_eq!(house.send(cable, &frame(Mac([0x10; 6]), PHONE)), []);
    assert_eq!(house.send(tv, &frame(TV, TV)), []);
    assert_eq!((house.drops(cable, Reason::Nobody), house.drops(tv, Reason::Nobody)), (1, 1));
}

#[test]
fn groups_reach_everybody_but_the_sender() {
    let mut house = House::new();
    let House { cable, own, tv, music, .. } = house;
    assert_eq!(house.send(tv, &frame(Mac::BROADCAST, TV)), [cable, own, music]);
    assert_eq!(house.send(cable, &frame(Mac([1, 0, 0x5e, 0, 0, 0xfb]), PHONE)), [own, tv, music]);
    for last in 0..16 {
        assert_eq!(house.send(tv, &frame(Mac([1, 0x80, 0xc2, 0, 0, last]), TV)), []);
    }
    assert_eq!(house.drops(tv, Reason::Reserved), 16);
}

#[test]
fn a_vm_sends_only_under_its_own_address() {
    let mut house = House::new();
    let House { cable, tv, .. } = house;
    assert_eq!(house.send(tv, &frame(PHONE, MUSIC)), []);
    assert_eq!(house.send(tv, &frame(PHONE, Mac::BROADCAST)), []);
    let mut arp = frame(Mac::BROADCAST, TV);
    arp[12..14].copy_from_slice(&ARP);
    arp[22..28].copy_from_slice(&MUSIC.0);
    assert_eq!(house.send(tv, &arp), []);
    assert_eq!(house.drops(tv, Reason::Source), 3);
    arp[22..28].copy_from_slice(&TV.0);
    assert_eq!(house.send(tv, &arp).len(), 3);
    arp[12..14].copy_from_slice(&TAGS[0]);
    assert_eq!(house.send(tv, &arp), []);
    assert_eq!(house.drops(tv, Reason::Tagged), 1);
    // Nobody in the home has a VM's address either; it may be a frame that came back.
    assert_eq!(house.send(cable, &frame(TV, MUSIC)), []);
    assert_eq!(house.send(cable, &frame(Mac::BROADCAST, TV)), []);
    assert_eq!(house.drops(cable, Reason::Source), 2);
}

#[test]
fn frames_too_short_or_too_long_are_dropped() {
    let mut house = House::new();
    let tv = house.tv;
    let mut long = frame(PHONE, TV);
    long.resize(MAX_FRAME, 0);
    assert_eq!(house.send(tv, &long).len(), 1);
    long.push(0);
    for wrong in [&long[..], &long[..13], &long[..3], &[]] {
        assert_eq!(house.send(tv, wrong), []);
    }
    assert_eq!(house.drops(tv, Reason::Size), 4);
    house.switch.lost(tv);
    assert_eq!(house.drops(tv, Reason::Full), 1);
}

#[test]
fn a_vm_cannot_flood_the_home() {
    let mut house = House::new();
    let House { cable, tv, .. } = house;
    let storm = frame(Mac::BROADCAST, TV);
    let passed = (0..10_000).filter(|_| !house.send(tv, &storm).is_empty()).count();
    assert_eq!(passed as u32, GROUP_BURST);
    assert_eq!(house.drops(tv, Reason::Limit), 9000);
    assert!(!house.switch.frame(tv, &storm, Duration::from_millis(2)).is_empty());
    // Others are not held back, nor is what the VM says to one station.
    assert_eq!(house.send(tv, &frame(PHONE, TV)), [cable]);
    assert_eq!(house.send(cable, &frame(Mac::BROADCAST, PHONE)).len(), 3);
}

#[test]
fn two_cables_are_told_apart_and_never_joined() {
    let mut house = House::new();
    let House { cable, own, tv, music, .. } = house;
    let second = house.switch.add(Station::Physical).unwrap();
    assert_eq!(house.send(tv, &frame(PHONE, TV)), [cable, second]);
    assert_eq!(house.send(second, &frame(Mac::BROADCAST, PHONE)), [own, tv, music]);
    assert_eq!(house.send(second, &frame(Mac([0x10; 6]), PHONE)), []);
    assert_eq!(house.send(tv, &frame(PHONE, TV)), [second]);
    let later = house.switch.frame(tv, &frame(PHONE, TV), AGEING);
    assert_eq!(later.collect::<Vec<_>>(), [cable, second]);
    house.switch.remove(second);
    assert_eq!(house.send(tv, &frame(PHONE, TV)), [cable]);
    assert_eq!(house.switch.counters(second), None);
    assert_eq!(house.send(second, &frame(TV, PHONE)), []);
}

#[test]
fn the_memory_of_stations_is_bounded_and_renews_itself() {
    let mut house = House::new();
    let (cable, tv) = (house.cable, house.tv);
    let second = house.switch.add(Station::Physical).unwrap();
    let station = |number: usize| Mac([0x10, 0, 0, 0, (number >> 8) as u8, number as u8]);
    for number in 0..3000 {
        house.send(second, &frame(TV, station(number)));
    }
    assert_eq!(house.switch.stations.len(), MAX_STATIONS);
    assert_eq!(house.send(tv, &frame(station(2999), TV)), [cable, second]);
    house.switch.frame(second, &frame(TV, station(2999)), AGEING);
    let found = house.switch.frame(tv, &frame(station(2999), TV), AGEING);
    assert_eq!(found.collect::<Vec<_>>(), [second]);
}

#[test]
fn ports_are_bounded_and_addresses_unique() {
    let mut house = House::new();
    let taken = Err(PortError::Address);
    assert_eq!(house.switch.add(Station::Vm(OWN)), taken);
    assert_eq!(house.switch.add(Station::Vm(Mac::BROADCAST)), taken);
    for number in 4..MAX_PORTS {
        assert!(house.switch.add(Station::Vm(Mac([2, 1, 0, 0, 0, number as u8]))).is_ok());
    }
    assert_eq!(house.switch.add(Station::Physical), Err(PortError::NoRoom));
    house.switch.remove(house.tv);
    assert_eq!(house.switch.add(Station::Vm(TV)), Ok(house.tv));
}

/// Whatever is sent, a VM gets only what is for it or for a group, and nothing comes back.
#[test]
fn no_frame_leaks() {
    let mut house = House::new();
    let macs = [TV, MUSIC, OWN, PHONE, Mac::BROADCAST, Mac([1, 0x80, 0xc2, 0, 0, 1]), Mac([0x10; 6])];
    let House { cable, own, tv, music, .. } = house;
    let ports = [cable, own, tv, music, PortId(4), PortId(255)];
    let mut run = Run::new("switch", 100_000);
    let mut random = Random(run.seed);
    let mut delivered = 0;
    for step in run.by_ref() {
        let from = ports[random.index(ports.len())];
        let (to, source) = (macs[random.index(macs.len())], macs[random.index(macs.len())]);
        let mut sent = frame(to, source);
        sent.resize(random.index(1600), random.next() as u8);
        for target in house.switch.frame(from, &sent, Duration::from_micros(step * 3000)) {
            delivered += 1;
            assert_ne!(target, from);
            assert!(ports[..4].contains(&target));
            let mac = house.switch.station(usize::from(target.0)).and_then(Station::mac);
            assert!(mac.is_none_or(|mac| mac == to || to.is_group()));
            let sender = house.switch.station(usize::from(from.0)).unwrap();
            assert!(!matches!(sender, Station::Vm(mac) if mac != source));
        }
    }
    assert!(delivered > 10_000);
}
