//! A guest that means harm: it drives every virtio device on its bus with malformed chains, indices that
//! jump, addresses outside its RAM, resets while requests are on their way, and garbage in every register,
//! the MSI-X table and configuration space. All of it follows from the seed on its command line
//! (`seed=`, `chains=`). At the end each device must still serve a driver that behaves.

#![no_std]
#![no_main]
// It is a program for a bare (virtual) machine.
#![allow(unsafe_code)]

use test_kernels::boot::Boot;
use test_kernels::checks::Checks;
use test_kernels::memory::{load, store};
use test_kernels::random::Random;
use test_kernels::virtio::{self, Device, INDIRECT, NEXT, Queue, VERSION_1, WRITE, field};
use test_kernels::{apic, clock, cpu, gpu, interrupts, kernel, pci, say};

kernel!(run);

/// Devices that it can have, and queues of each that it uses.
const DEVICES: usize = 12;
const QUEUES: usize = 4;
/// The last bytes of RAM: what devices may write to, whatever lengths they are told. The kernel itself is
/// far below.
const ARENA: u64 = 8 << 20;
/// Of the arena, what a queue takes: its rings, a table, and data.
const QUEUE_BYTES: u64 = 0x2_0000;
const TABLE: u64 = 0x4000;
const DATA: u64 = 0x8000;
const DATA_BYTES: u64 = 0x1_8000;
/// A sign of life every so many chains.
const TELL: u64 = 5000;
/// A message's bits without its vector, which must be one that this CPU handles, and without the delivery
/// modes that would end what it does: fixed and NMI are left (SDM volume 3, 11.11.2).
const HARMLESS: u32 = !0x3ff;

/// A device under attack.
struct Victim {
    device: Device,
    queues: [Option<Queue>; QUEUES],
    /// Where it has its part of the arena.
    base: u64,
    /// Its BARs may not be where they were.
    moved: bool,
}

struct Attack {
    random: Random,
    ram_end: u64,
    chains: u64,
    /// How often a device that was ready was told of some.
    live: u64,
}

fn run(boot: &Boot) -> bool {
    let (seed, chains) = (boot.number("seed=").unwrap_or(1), boot.number("chains=").unwrap_or(1000));
    let mut attack = Attack { random: Random::new(seed), ram_end: boot.ram_end(), chains: 0, live: 0 };
    let mut victims = [const { None }; DEVICES];
    let (mut base, mut count) = (attack.ram_end - ARENA, 0);
    for (place, device) in victims.iter_mut().zip(Device::all()) {
        *place = Some(Victim { device, queues: [None; QUEUES], base, moved: false });
        base += QUEUES as u64 * QUEUE_BYTES;
        count += 1;
    }
    say!("hostile seed={seed} chains={chains} devices={count}");
    apic::enable();
    let mut told = 0;
    while count != 0 && attack.chains < chains {
        let at = attack.random.below(count) as usize;
        if let Some(victim) = &mut victims[at] {
            attack.step(victim);
        }
        if attack.chains / TELL != told {
            told = attack.chains / TELL;
            say!("hostile chains={} live={} interrupts={}", attack.chains, attack.live, interrupts::count());
        }
    }
    let mut checks = Checks::default();
    victims.iter_mut().flatten().for_each(|victim| behave(victim, &mut checks));
    say!("hostile done chains={} live={}", attack.chains, attack.live);
    checks.tell() && count != 0
}

impl Attack {
    fn step(&mut self, victim: &mut Victim) {
        cpu::take_interrupts();
        match self.random.below(64) {
            0..3 => drop_value(self.restart(victim)),
            3..9 => self.any_register(victim),
            9 => self.any_configuration(victim),
            10 => self.any_message(victim),
            11 => victim.device.set_status(0),
            12 => self.any_status(victim),
            13..17 => self.any_ring_word(victim),
            17..24 if victim.device.kind == virtio::GPU => self.picture(victim),
            17..24 => self.request(victim),
            _ => self.any_chains(victim),
        }
    }

    /// Something between a number as it should be and anything.
    fn value(&mut self) -> u64 {
        match self.random.below(4) {
            0 => self.random.one_of([0, 1, 0xff, 0xffff, 0xffff_ffff, u64::MAX, 1 << 31, 1 << 63]),
            1 => self.random.below(16),
            2 => self.address(0),
            _ => self.random.next(),
        }
    }

    /// An address: in the arena's part of a queue, or where no device may go.
    fn address(&mut self, part: u64) -> u64 {
        let end = self.ram_end;
        match self.random.below(16) {
            0 => end - 1 - self.random.below(64),
            1 => end + self.random.below(1 << 20),
            2 => u64::MAX - self.random.below(0x2000),
            3 => self.random.one_of([
                0xa_0000,
                0xb000_0000,
                0xc000_0000,
                0xfec0_0000,
                0xfee0_0000,
                1 << 32,
                1 << 47,
            ]),
            4 => self.random.next() | 1 << 40,
            _ if part == 0 => end - ARENA + self.random.below(ARENA),
            5 => part + self.random.below(TABLE),
            6 => part + TABLE + self.random.below(0x400),
            _ => part + DATA + self.random.below(DATA_BYTES),
        }
    }

    /// Resets the device and starts it, more or less as it should be; whether it has come so far.
    fn restart(&mut self, victim: &mut Victim) -> bool {
        if core::mem::take(&mut victim.moved) {
            pci::enable(victim.device.slot, &victim.device.bars);
        }
        let wanted =
            self.random.one_of([VERSION_1, VERSION_1 | 1 << 28, VERSION_1 | 1 << 29, u64::MAX, u64::MAX]);
        if !victim.device.begin(wanted) {
            return false;
        }
        for number in 0..(QUEUES as u16).min(victim.device.queues()) {
            let base = victim.base + u64::from(number) * QUEUE_BYTES;
            // Each access takes its time, and a queue or two are enough to go on with.
            if self.random.once_in(3) {
                continue;
            }
            let queue = victim.device.queue_after(number, base, || {
                let common = victim.device.common;
                store(common + field::QUEUE_VECTOR, self.random.below(4) as u16);
                match self.random.below(16) {
                    0 => store(common + field::QUEUE_SIZE, self.value() as u16),
                    1 => store(common + field::QUEUE_DESCRIPTORS, self.value()),
                    2 => store(common + field::QUEUE_AVAILABLE, self.value()),
                    3 => store(common + field::QUEUE_USED, self.value()),
                    _ => {}
                }
            });
            victim.queues[usize::from(number)] = Some(queue);
        }
        victim.device.go();
        true
    }

    /// Anything into the common or the device's own configuration, at any size.
    fn any_register(&mut self, victim: &Victim) {
        let within = if self.random.once_in(4) { 0x1000 } else { field::END };
        let page =
            self.random.one_of([victim.device.common, victim.device.configuration, victim.device.notify]);
        let (address, value) = (page + self.random.below(within), self.value());
        match self.random.below(6) {
            0 => store(address, value as u8),
            1 => store(address & !1, value as u16),
            2 => store(address & !3, value as u32),
            3 => store(address & !7, value),
            4 => drop_value(load::<u64>(address & !7)),
            _ => drop_value(load::<u8>(address)),
        }
    }

    /// Anything into configuration space: BARs move, capabilities are written.
    fn any_configuration(&mut self, victim: &mut Victim) {
        let offset = self.random.below(256) as u8;
        let value = self.value() as u32;
        pci::write_32(victim.device.slot, offset, value);
        victim.moved = !self.random.once_in(2);
        if !victim.moved {
            pci::enable(victim.device.slot, &victim.device.bars);
        }
    }

    /// Anything into the MSI-X table, and messages switched on or off.
    fn any_message(&mut self, victim: &Victim) {
        const MSIX: u8 = 0x11;
        pci::enable(victim.device.slot, &victim.device.bars);
        let table = pci::bar(victim.device.slot, 2);
        let vector = self.random.below(4) * 16;
        store(
            table + vector,
            self.random.one_of([0xfee0_0000, 0xfee0_0000, 0xfee0_1004, self.random.clone().next() as u32]),
        );
        store(table + vector + 4, self.random.one_of([0, 0, 0, 1u32]));
        let data = self.random.one_of([0, 0, self.random.clone().next() as u32]);
        store(table + vector + 8, data & HARMLESS | interrupts::VECTOR);
        store(table + vector + 12, self.random.below(2) as u32);
        let capability = pci::capabilities(victim.device.slot).find(|(_, number)| *number == MSIX);
        if let Some((at, _)) = capability {
            pci::write_32(
                victim.device.slot,
                at,
                self.random.one_of([0x8000_0000, 0x8000_0000, 0xc000_0000, 0]),
            );
        }
    }

    fn any_status(&mut self, victim: &Victim) {
        let status = self.random.one_of([0, 1, 3, 4, 7, 8, 11, 15, 0x40, 0x80, 0xff]);
        victim.device.set_status(status);
    }

    /// A queue of the victim's; `None`: it has none yet.
    fn queue<'a>(&mut self, victim: &'a mut Victim) -> Option<(&'a mut Queue, u64)> {
        let number = self.random.below(QUEUES as u64);
        let base = victim.base + number * QUEUE_BYTES;
        victim.queues[number as usize].as_mut().map(|queue| (queue, base))
    }

    /// Anything, anywhere in a ring; indices jump.
    fn any_ring_word(&mut self, victim: &mut Victim) {
        let word = self.value() as u16;
        let Some((queue, _)) = self.queue(victim) else { return };
        match self.random.below(4) {
            0 => queue.set_offered(word),
            1 => store(queue.available() + 2 * self.random.below(260), word),
            2 => store(queue.used() + 2 * self.random.below(1000), word),
            _ => store(queue.descriptors() + 2 * self.random.below(2048), word),
        }
        queue.notify();
    }

    /// A few chains at once, which the device is told of. It may be reset while they are on their way.
    fn any_chains(&mut self, victim: &mut Victim) {
        let live = victim.device_lives() || self.random.once_in(2) && self.restart(victim);
        let Some((queue, base)) = self.queue(victim) else { return };
        for _ in 0..=self.random.below(3) {
            self.any_chain(queue, base);
        }
        queue.notify();
        self.live += u64::from(live);
        if self.random.once_in(32) {
            victim.device.set_status(0);
        }
    }

    /// Descriptors of any kind, direct and in a table, one of which becomes available.
    fn any_chain(&mut self, queue: &mut Queue, base: u64) {
        let table = base + TABLE;
        let (size, descriptors) = (u64::from(queue.size).max(1), queue.descriptors());
        let first = self.random.below(size);
        for (place, entries) in [(descriptors, size), (table, 64)] {
            let mut at = if place == table { 0 } else { first };
            for _ in 0..=self.random.below(6) {
                let any = self.random.next() as u32;
                let len =
                    self.random.one_of([0, 1, 15, 16, 16, 64, 512, 1514, 4096, 0x1_0000, u32::MAX, any]);
                let flags = self.random.one_of([
                    0,
                    NEXT,
                    NEXT,
                    NEXT | WRITE,
                    WRITE,
                    INDIRECT,
                    INDIRECT | NEXT,
                    0xffff,
                ]);
                let next = match self.random.below(8) {
                    0 => self.random.next() as u16,
                    1 => at as u16,
                    2 => first as u16,
                    _ => ((at + 1) % entries) as u16,
                };
                let address = if flags & INDIRECT != 0 { table } else { self.address(base) };
                let len =
                    if flags & INDIRECT != 0 { self.random.one_of([16, 32, 64, len & 0x3ff]) } else { len };
                Queue::describe(place, at, (address, len), flags, next);
                at = (at + 1) % entries;
            }
        }
        let head = if self.random.once_in(32) { self.random.next() as u16 } else { first as u16 };
        queue.offer(head);
        self.chains += 1;
    }

    /// Something like a request for pictures, with a mistake or without.
    fn picture(&mut self, victim: &mut Victim) {
        let live = victim.device_lives();
        let side = self.random.one_of([16, 64, 640, 1280, 0x4000]);
        let (which, memory) = (self.random.below(4) as u32, self.address(0));
        let (low, high) = (memory as u32, (memory >> 32) as u32);
        let (number, mut body) = match self.random.below(12) {
            0 => (gpu::CREATE, [which, gpu::FORMAT, side, side, 0, 0, 0, 0]),
            1..3 => (gpu::ATTACH, [which, 1, low, high, 4 * side * side, 0, 0, 0]),
            3 => (gpu::SHOW, [0, 0, side, side, 0, which, 0, 0]),
            4..6 => (gpu::FLUSH, [0, 0, side, side, which, 0, 0, 0]),
            6..8 => (gpu::TRANSFER, [0, 0, side, side, 0, 0, which, 0]),
            8 => (self.random.one_of([gpu::UNREF, gpu::DETACH, gpu::DISPLAY_INFO]), [which; 8]),
            9 => (self.random.one_of([gpu::EDID, gpu::CURSOR, gpu::MOVE]), [0; 8]),
            10 => (gpu::CURSOR, [0, side, side, 0, which, 0, 0, 0]),
            _ => (self.random.next() as u32, [side; 8]),
        };
        if self.random.once_in(3) {
            body[self.random.below(8) as usize] = self.value() as u32;
        }
        let room = self.random.one_of([gpu::ANSWER, gpu::ANSWER, gpu::ANSWER, 24, 23, 0]);
        let Some((queue, base)) = self.queue(victim) else { return };
        let (head, answer) = (base + DATA, base + DATA + 0x1000);
        let len = gpu::write(head, number, &body);
        queue.send(&[(head, len - self.random.one_of([0, 0, 0, 4, 31]), false), (answer, room, true)]);
        self.chains += 1;
        self.live += u64::from(live);
    }

    /// Something like a request of the device's kind, with a mistake or without.
    fn request(&mut self, victim: &mut Victim) {
        let live = victim.device_lives();
        let (kind, sector, len) =
            (self.random.below(16) as u32, self.value(), self.random.one_of([0, 16, 60, 512, 4096u32]));
        let reads = self.random.once_in(2);
        let Some((queue, base)) = self.queue(victim) else { return };
        let (head, data) = (base + DATA, base + DATA + 0x1000);
        store(head, kind);
        store(head + 4, self.random.next() as u32);
        store(head + 8, sector);
        let wrong = self.random.one_of([0u32, 0, 0, 1, 15]);
        queue.send(&[
            (head, 16 - wrong, false),
            (data, len, reads),
            (head + 0x800, 1, self.random.below(8) != 0),
        ]);
        self.chains += 1;
        self.live += u64::from(live);
    }
}

impl Victim {
    /// Whether it would look at its queues: ready, and not in need of a reset.
    fn device_lives(&self) -> bool {
        self.device.status() & 0x4c == 0x0c
    }
}

/// Reading is all that is wanted of it.
fn drop_value<T>(_: T) {}

/// A driver that behaves: the device must serve it.
fn behave(victim: &mut Victim, checks: &mut Checks) {
    let Victim { device, base, .. } = victim;
    pci::enable(device.slot, &device.bars);
    checks.holds("a device begins again", device.begin(VERSION_1));
    let (number, name) = match device.kind {
        virtio::BLOCK => (0, "the disk"),
        virtio::NET => (1, "the network"),
        virtio::CONSOLE => (1, "the console"),
        virtio::GPU => (0, "the screen"),
        virtio::INPUT => (1, "the remote control"),
        virtio::SOUND => (0, "the sound"),
        _ => (0, "the entropy device"),
    };
    let mut queue = device.queue(number, *base);
    device.go();
    let (head, data) = (*base + DATA, *base + DATA + 0x1000);
    (0..3).for_each(|at| store(head + 8 * at, 0u64));
    match device.kind {
        virtio::BLOCK => {
            store(head + 32, 0xffu8);
            queue.send(&[(head, 16, false), (data, 512, true), (head + 32, 1, true)]);
        }
        virtio::ENTROPY => queue.send(&[(data, 16, true)]),
        virtio::GPU => {
            let len = gpu::write(head, gpu::DISPLAY_INFO, &[]);
            queue.send(&[(head, len, false), (data, gpu::ANSWER, true)]);
        }
        // A lamp that it has not; a request that it does not know.
        virtio::INPUT => queue.send(&[(head, 8, false)]),
        virtio::SOUND => queue.send(&[(head, 24, false), (data, 4, true)]),
        _ => queue.send(&[(head, 24, false)]),
    }
    checks.holds(name, queue.wait().is_some());
    match device.kind {
        virtio::BLOCK => checks.is("the disk's status", load::<u8>(head + 32), 0),
        // VIRTIO_GPU_RESP_OK_DISPLAY_INFO. 5.7.6.7.
        virtio::GPU => checks.is("the screen's answer", load::<u32>(data), 0x1101),
        _ => {}
    }
    clock::wait(1, || false);
}
