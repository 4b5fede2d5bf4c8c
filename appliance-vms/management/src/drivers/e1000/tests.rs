use super::fake::{EEPROM, FakeCard};
use super::rings::RING;
use super::*;
use crate::drivers::fake::Ram;
use crate::nic::MAX_FRAME;
use crate::testkit::Random;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec;

fn card(model: Model) -> (Rc<FakeCard>, E1000) {
    let ram = Ram::new(1 << 20);
    let device = FakeCard::new(&ram, model);
    let card = E1000::new(Box::new(device.clone()), &ram, model, true).unwrap();
    (device, card)
}

fn ready(model: Model) -> (Rc<FakeCard>, E1000) {
    let (device, mut card) = card(model);
    card.poll(Duration::ZERO);
    assert!(!card.is_ready() && !card.send(&[0; 60]) && !card.link());
    card.poll(card.deadline().unwrap());
    assert!(card.is_ready());
    (device, card)
}

fn next(card: &mut E1000) -> Option<Vec<u8>> {
    match card.poll_receive(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(frame) => Some(frame),
        Poll::Pending => None,
    }
}

#[test]
fn both_models_get_ready_with_their_address() {
    for model in [Model::I82540em, Model::I82574l] {
        let (device, card) = ready(model);
        assert_eq!(card.mac(), Mac(EEPROM));
        assert!(card.link());
        device.link.set(false);
        assert!(!card.link());
        assert_eq!(device.get(register::IMS) & cause::WANTED, cause::WANTED);
    }
    assert_eq!(Model::of(0x8086, 0x10d3), Some(Model::I82574l));
    assert_eq!(Model::of(0x8086, 0x1533), None);
}

#[test]
fn without_an_eeprom_the_filter_knows_the_address() {
    let (device, mut card) = card(Model::I82574l);
    device.eeprom.set(false);
    device.write(register::RAL, 0x0300_0002);
    device.write(register::RAH, 0x8000_0504);
    card.poll(Duration::ZERO);
    card.poll(RESET);
    assert_eq!(card.mac(), Mac([2, 0, 0, 3, 4, 5]));
}

#[test]
fn frames_come_in_order_round_and_round() {
    let (device, mut card) = ready(Model::I82540em);
    let mut random = Random(43);
    let (mut came, mut went) = (0_u32, 0_u32);
    for _ in 0..2000 {
        for _ in 0..random.index(40) {
            let mut frame = vec![0; 60 + random.index(MAX_FRAME - 59)];
            frame[..4].copy_from_slice(&came.to_le_bytes());
            came += u32::from(device.receive(&frame, 0));
        }
        for _ in 0..random.index(40) {
            let Some(frame) = next(&mut card) else { break };
            assert_eq!(frame[..4], went.to_le_bytes());
            went += 1;
        }
    }
    while next(&mut card).is_some() {
        went += 1;
    }
    assert!(came == went && came > 10_000);
    assert_eq!(card.damaged(), 0);
}

#[test]
fn what_is_no_frame_is_passed_over() {
    let (device, mut card) = ready(Model::I82574l);
    for (frame, errors) in [
        (vec![1; 60], 1),
        (vec![2; 13], 0),
        (vec![3; MAX_FRAME + 1], 0),
        (vec![4; 5000], 0),
        // The check sums of IP and TCP are the receiver's to look at.
        (vec![5; 60], 0x60),
    ] {
        assert!(device.receive(&frame, errors));
    }
    assert_eq!(next(&mut card), Some(vec![5; 60]));
    assert_eq!((next(&mut card), card.damaged()), (None, 4));
}

#[test]
fn frames_go_out_until_the_queue_is_full() {
    let (device, mut card) = ready(Model::I82574l);
    for number in 0..1000_u32 {
        assert!(card.send(&[number as u8; 60]));
    }
    assert_eq!(device.sent.borrow().len(), 1000);
    assert_eq!(device.sent.borrow()[999], [231; 60]);
    assert!(!card.send(&[0; MAX_FRAME + 1]) && !card.send(&[0; 13]));
    device.deaf.set(true);
    let taken = (0..1000).filter(|_| card.send(&[7; MAX_FRAME])).count();
    assert_eq!(taken, RING - 1);
}

#[test]
fn a_card_that_hangs_is_reset_and_one_that_stays_so_is_dead() {
    let (device, mut card) = ready(Model::I82540em);
    device.deaf.set(true);
    assert!(card.send(&[1; 60]));
    // Without a cable that is no wonder.
    device.link.set(false);
    for second in 1..10 {
        card.poll(Duration::from_secs(second));
    }
    assert_eq!((card.resets(), card.death()), (0, None));
    device.link.set(true);
    card.poll(Duration::from_secs(11));
    assert!(card.resets() == 1 && !card.is_ready());
    device.deaf.set(false);
    card.poll(Duration::from_secs(12));
    assert!(card.is_ready() && card.send(&[2; 60]));
    assert_eq!(*device.sent.borrow(), [[2; 60]]);
    assert!(device.receive(&[3; 60], 0));
    assert_eq!(next(&mut card), Some(vec![3; 60]));
    device.deaf.set(true);
    let mut polls = 0;
    while let Some(deadline) = card.deadline() {
        card.send(&[4; 60]);
        card.poll(deadline);
        polls += 1;
        assert!(polls < 100);
    }
    assert_eq!(card.death(), Some(Death::Silent));
    assert!(!card.send(&[5; 60]) && next(&mut card).is_none());
    assert_eq!(Death::Silent.to_string(), "the network card sends nothing");
}

#[test]
fn cards_that_cannot_be_used_say_why() {
    type Change = fn(&FakeCard);
    let cases: [(Death, Change); 3] = [
        (Death::NotReady, |device| device.stuck.set(true)),
        (Death::NoAddress, |device| device.eeprom.set(false)),
        (Death::Gone, |device| device.gone.set(true)),
    ];
    for (death, change) in cases {
        let ram = Ram::new(1 << 20);
        let device = FakeCard::new(&ram, Model::I82540em);
        let mut card = E1000::new(Box::new(device.clone()), &ram, Model::I82540em, true).unwrap();
        change(&device);
        if death == Death::NotReady {
            device.write(register::CTRL, control::RESET);
        }
        card.poll(Duration::ZERO);
        card.poll(RESET);
        assert_eq!(card.death(), Some(death));
    }
    let (device, mut card) = ready(Model::I82540em);
    device.gone.set(true);
    card.poll(Duration::from_secs(5));
    assert_eq!(card.death(), Some(Death::Gone));
    let ram = Ram::new(8192);
    let new = |device: &Rc<FakeCard>| E1000::new(Box::new(device.clone()), &ram, Model::I82540em, true).err();
    let device = FakeCard::new(&ram, Model::I82540em);
    assert_eq!(new(&device), Some(Death::NoMemory));
    device.gone.set(true);
    assert_eq!(new(&device), Some(Death::Gone));
}

#[test]
fn whoever_waits_is_woken_and_the_card_asked_for_the_next_interrupt() {
    let (device, mut card) = ready(Model::I82574l);
    device.write(register::IMC, u32::MAX);
    assert_eq!(next(&mut card), None);
    assert_eq!(device.get(register::IMS), cause::WANTED | cause::MESSAGES);
    assert!(card.waker.is_some());
    card.poll(Duration::from_millis(30));
    assert!(card.waker.is_none());
}

#[test]
fn without_interrupts_frames_are_looked_for_often_only_while_some_come_and_go() {
    let ram = Ram::new(1 << 20);
    let device = FakeCard::new(&ram, Model::I82540em);
    let mut card = E1000::new(Box::new(device.clone()), &ram, Model::I82540em, false).unwrap();
    card.poll(Duration::ZERO);
    card.poll(RESET);
    let start = Duration::from_secs(7);
    card.poll(start);
    assert_eq!((next(&mut card), device.get(register::IMS)), (None, 0));
    assert_eq!(card.deadline(), Some(start + QUIET));
    let came: fn(&FakeCard, &mut E1000) = |device, card| {
        assert!(device.receive(&[3; 60], 0) && next(card).is_some());
    };
    let went: fn(&FakeCard, &mut E1000) = |_, card| assert!(card.send(&[1; 60]));
    for frame in [came, went] {
        frame(&device, &mut card);
        let (mut polls, from) = (0, card.now);
        while card.deadline() == Some(card.now + BUSY) {
            card.poll(card.now + BUSY);
            polls += 1;
        }
        assert_eq!((polls, card.now), (200, from + LINGER));
    }
}
