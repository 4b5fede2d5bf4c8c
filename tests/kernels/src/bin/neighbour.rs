//! A guest that minds its own business: again and again it writes its disk and reads it back, asks the
//! network who its router is, has the console take some text, and draws random numbers. It says
//! `tick N` each time; when something is not as it should be it says what, and ends.

#![no_std]
#![no_main]
// It is a program for a bare (virtual) machine.
#![allow(unsafe_code)]

use test_kernels::boot::Boot;
use test_kernels::memory::{fill, load, store};
use test_kernels::random::Random;
use test_kernels::virtio::{self, Device, Queue};
use test_kernels::{clock, kernel, say};

kernel!(run);

/// Where its queues and buffers are: RAM behind its image.
const MEMORY: u64 = 16 << 20;
const HEAD: u64 = MEMORY + 0x8_0000;
const DATA: u64 = MEMORY + 0x9_0000;
const BACK: u64 = MEMORY + 0xa_0000;
const FRAMES: u64 = MEMORY + 0xb_0000;
/// Bytes that are written and read back at once.
const BYTES: u64 = 0x4000;
/// Sectors of its volume that it uses.
const SECTORS: u64 = 2048;
/// Milliseconds, about, between ticks.
const PAUSE: u64 = 100;
/// Frames that wait to be filled, and bytes of each.
const WAITING: u64 = 64;
const FRAME: u32 = 2048;
/// What comes before a frame: virtio_net_hdr with num_buffers. Virtual I/O Device 1.2, 5.1.6.
const FRAME_HEADER: u64 = 12;
/// The router of QEMU's user network, and an address nobody else has there.
const ROUTER: [u8; 4] = [10, 0, 2, 2];
const OWN: [u8; 4] = [10, 0, 2, 77];

/// A device and its first queues.
struct Driven {
    device: Device,
    queues: [Queue; 2],
}

fn begin(kind: u32, wanted: u64, memory: u64) -> Result<Driven, &'static str> {
    let device = Device::all().find(|device| device.kind == kind).ok_or("a device is not there")?;
    if !device.begin(wanted | virtio::VERSION_1) {
        return Err("a device does not agree");
    }
    let second = 1.min(device.queues() - 1);
    let queues = [device.queue(0, memory), device.queue(second, memory + Queue::BYTES)];
    device.go();
    Ok(Driven { device, queues })
}

fn run(boot: &Boot) -> bool {
    let ticks = boot.number("ticks=").unwrap_or(u64::MAX);
    match live(ticks) {
        Ok(()) => true,
        Err(what) => {
            say!("trouble {what}");
            false
        }
    }
}

fn live(ticks: u64) -> Result<(), &'static str> {
    let mut disk = begin(virtio::BLOCK, 0, MEMORY)?;
    // With its own address, which the configuration begins with.
    let mut net = begin(virtio::NET, 1 << 5, MEMORY + 0x1_0000)?;
    let mut console = begin(virtio::CONSOLE, 0, MEMORY + 0x2_0000)?;
    let mut entropy = begin(virtio::ENTROPY, 0, MEMORY + 0x3_0000)?;
    (0..WAITING).for_each(|slot| net.queues[0].send(&[(frame(slot), FRAME, true)]));
    let mut random = Random::new(net.device.slot.into());
    for tick in 0..ticks {
        check_disk(&mut disk, &mut random)?;
        check_network(&mut net)?;
        store(DATA, *b"neighbour\n");
        console.queues[1].send(&[(DATA, 10, false)]);
        console.queues[1].wait().ok_or("the console takes nothing")?;
        check_entropy(&mut entropy)?;
        say!("tick {tick}");
        clock::sleep(PAUSE);
    }
    Ok(())
}

const fn frame(slot: u64) -> u64 {
    FRAMES + slot * FRAME as u64
}

/// A request to the disk: 0 reads, 1 writes. Virtual I/O Device 1.2, 5.2.6.
fn transfer(disk: &mut Driven, write: bool, sector: u64, memory: u64) -> Result<(), &'static str> {
    store(HEAD, u32::from(write));
    store(HEAD + 4, 0u32);
    store(HEAD + 8, sector);
    store(HEAD + 16, 0xffu8);
    disk.queues[0].send(&[(HEAD, 16, false), (memory, BYTES as u32, !write), (HEAD + 16, 1, true)]);
    disk.queues[0].wait().ok_or("the disk does not answer")?;
    if load::<u8>(HEAD + 16) == 0 { Ok(()) } else { Err("the disk has failed") }
}

fn check_disk(disk: &mut Driven, random: &mut Random) -> Result<(), &'static str> {
    let sector = random.below(SECTORS - BYTES / 512);
    (0..BYTES / 8).for_each(|at| store(DATA + 8 * at, random.next()));
    fill(BACK, BYTES, 0);
    transfer(disk, true, sector, DATA)?;
    transfer(disk, false, sector, BACK)?;
    let same = (0..BYTES / 8).all(|at| load::<u64>(DATA + 8 * at) == load::<u64>(BACK + 8 * at));
    if same { Ok(()) } else { Err("the disk holds something else") }
}

/// Asks who has the router's address (RFC 826), and waits for its answer among whatever comes.
fn check_network(net: &mut Driven) -> Result<(), &'static str> {
    let mac: [u8; 6] = load(net.device.configuration);
    fill(DATA, FRAME_HEADER + 60, 0);
    let mut at = DATA + FRAME_HEADER;
    let mut put = |bytes: &[u8]| {
        for byte in bytes {
            store(at, *byte);
            at += 1;
        }
    };
    put(&[0xff; 6]);
    put(&mac);
    put(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    put(&mac);
    put(&OWN);
    put(&[0; 6]);
    put(&ROUTER);
    net.queues[1].send(&[(DATA, (FRAME_HEADER + 60) as u32, false)]);
    net.queues[1].wait().ok_or("the network takes nothing")?;
    let [receive, _] = &mut net.queues;
    let answered = clock::wait(10_000, || {
        // Buffers are filled in the order in which they were given.
        let slot = u64::from(receive.answers()) % WAITING;
        if receive.answer().is_none() {
            return false;
        }
        let found = is_answer(frame(slot) + FRAME_HEADER, mac);
        receive.send(&[(frame(slot), FRAME, true)]);
        found
    });
    if answered { Ok(()) } else { Err("the router does not answer") }
}

fn is_answer(frame: u64, mac: [u8; 6]) -> bool {
    load::<[u8; 6]>(frame) == mac
        && load::<[u8; 10]>(frame + 12) == [8, 6, 0, 1, 8, 0, 6, 4, 0, 2]
        && load::<[u8; 4]>(frame + 28) == ROUTER
}

fn check_entropy(entropy: &mut Driven) -> Result<(), &'static str> {
    fill(BACK, 64, 0);
    entropy.queues[0].send(&[(BACK, 64, true)]);
    let len = entropy.queues[0].wait().ok_or("there are no random numbers")?;
    let some = (0..u64::from(len)).any(|at| load::<u8>(BACK + at) != 0);
    if len > 0 && len <= 64 && some { Ok(()) } else { Err("the random numbers are none") }
}
