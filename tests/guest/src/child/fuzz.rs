//! A job that does anything at all: instructions that mean something and bytes that don't, at privilege
//! levels 0 and 3, and every way there is to reach hv. What a step does follows from the seed and the
//! step's number alone, so a run that ended can be gone on with, and one that broke something repeated.
//!
//! A step may well end the VM, or leave it spinning or asleep for good; the micro-guest starts it again
//! behind that step. Five things are not done, because QEMU 7.2 does not survive them (`DECISIONS.md`,
//! 11 and 12): `MOV CR0`, with which it leaves paging in the middle of 64-bit code, and would then run its
//! host without; `MOV CR8`, which aborts it when a virtual interrupt waits; `MOV` to a debug register,
//! because it aborts when an interrupt's delivery writes where a data breakpoint is; `LTR`, which it
//! lets have no task segment, and aborts when the next interrupt looks for a stack there; and `BTS` and its
//! like on a register, because its translator aborts over them behind `LOCK`.

use super::Room;
use super::jobs::{BELL, BELL_PORT, COUNT};
use crate::random::Random;
use crate::traps::Trip;
use crate::{Handover, window};
use hv_defs::apic::icr;

/// The complement of [`COUNT`], which here is the number of the next step: who runs anything at all may
/// well write into this page.
pub const MIRROR: usize = 1;
/// What it follows from.
pub const SEED: usize = 2;
/// The step before which it ends.
pub const END: usize = 3;

/// The window's pages for code, data and a stack; what comes behind the code is nobody's.
const CODE: u64 = 30;
const DATA: u64 = 32;
/// Where in the page the code is.
const OFFSET: u64 = 0x800;
/// Comes back from everywhere: `INT` with `COME_BACK`, and shifted by a byte the same after a `NOP`.
const BACK: [u8; 2] = [0xcd, crate::traps::COME_BACK];

/// Does it, from the step in [`COUNT`] on.
pub fn anything(room: &'static Room) {
    let handover = room.handover();
    let data = [0, 1].map(|page| {
        let frame = window::frame(&handover, 12 + page);
        window::map(&handover, DATA + page, frame | window::USER)
    });
    let (seed, end) = (room.get(SEED), room.get(END));
    for step in room.get(COUNT)..end {
        let mut random = Random(seed << 40 ^ step);
        // The first numbers of neighbours are alike.
        random.next();
        Attempt::new(&mut random, data[0]).go(&handover, data[1] + 0x800);
        room.set(COUNT, step + 1);
        room.set(MIRROR, !(step + 1));
    }
}

/// A few instructions, and the registers that they begin with.
struct Attempt {
    code: [u8; 32],
    len: usize,
    rax: u64,
    rcx: u64,
    rsi: u64,
    rdi: u64,
    flags: u64,
    user: bool,
    astride: bool,
}

impl Attempt {
    fn new(random: &mut Random, data: u64) -> Self {
        let [rax, rcx, rsi, rdi] = core::array::from_fn(|_| operand(random, data));
        // All but the bits that are virtual-8086 mode's; interrupts, now and then.
        let flags = 2 | if random.below(4) == 0 { random.next() & 0x4_7fd5 } else { 0 };
        let (user, astride) = (random.below(8) == 0, random.below(16) == 0);
        let mut attempt = Self { code: [0x90; 32], len: 0, rax, rcx, rsi, rdi, flags, user, astride };
        match random.below(16) {
            0..=3 => attempt.instruction(random),
            4 | 5 => attempt.port(random, false),
            6 => attempt.port(random, true),
            7 | 8 => attempt.msr(random),
            9..=11 => attempt.memory(random, data),
            12 | 13 => attempt.hypercall(random),
            14 => attempt.apic(random),
            _ => attempt.interrupt(random),
        }
        attempt
    }

    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.code[self.len] = *byte;
            self.len += 1;
        }
    }

    /// `MOV EDX, value`.
    fn put_edx(&mut self, value: u32) {
        self.put(&[0xba]);
        self.put(&value.to_le_bytes());
    }

    fn instruction(&mut self, random: &mut Random) {
        self.user = random.below(2) == 0;
        loop {
            self.len = 0;
            self.put(&random.next().to_le_bytes());
            self.put(&random.next().to_le_bytes()[..7]);
            if random.below(4) > 0 {
                self.len = 0;
                self.shape(random);
                self.len = 15;
            }
            if !self.code.windows(3).any(ends_qemu) {
                return;
            }
        }
    }

    /// The beginning of what could be an instruction.
    fn shape(&mut self, random: &mut Random) {
        const PREFIXES: [u8; 11] = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
        const PRIVILEGED: [u8; 20] = [
            0x00, 0x01, 0x05, 0x06, 0x07, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23, 0x30, 0x32, 0x33, 0x34, 0x35,
            0xa2, 0xae, 0xb2, 0xc7,
        ];
        while random.below(3) == 0 && self.len < 4 {
            self.put(&[pick(random, &PREFIXES)]);
        }
        if random.below(2) == 0 {
            self.put(&[0x40 | random.below(16) as u8]);
        }
        match random.below(6) {
            0..=2 => self.put(&[random.next() as u8]),
            3 => self.put(&[0x0f, random.next() as u8]),
            _ => self.put(&[0x0f, pick(random, &PRIVILEGED)]),
        }
        // An operand in memory, by a register that is set; or any.
        let by_register = (random.below(3) as u8 % 2 * 0x40) | (random.next() as u8 & 0o70);
        let any = random.next() as u8;
        let operand = if random.below(2) == 0 { by_register | pick(random, &[0, 1, 6, 7]) } else { any };
        self.put(&[operand]);
    }

    fn port(&mut self, random: &mut Random, string: bool) {
        const KNOWN: [u16; 14] =
            [0x20, 0x21, 0x61, 0x64, 0x70, 0x71, 0x92, 0xcf8, 0xcfc, 0x3f8, 0x608, 0x60a, 0x500, BELL_PORT];
        let any = random.below(0x1_0000) as u16;
        let port = if random.below(4) == 0 { pick(random, &KNOWN) } else { any };
        self.put_edx(port.into());
        if random.below(3) == 0 {
            self.put(&[0x66]);
        }
        if string && random.below(2) == 0 {
            self.put(&[0xf3]);
            self.rcx = random.below(40);
        }
        let first = if string { 0x6c } else { 0xec };
        self.put(&[first | random.below(4) as u8]);
    }

    fn msr(&mut self, random: &mut Random) {
        const KNOWN: [u32; 24] = [
            0x10,
            0x1b,
            0x3b,
            0x48,
            0x49,
            0xfe,
            0x174,
            0x1d9,
            0x200,
            0x277,
            0x2ff,
            0x6e0,
            0x828,
            0x830,
            0x832,
            0xc000_0080,
            0xc000_0082,
            0xc000_0103,
            0xc001_0015,
            0xc001_0117,
            0x4b56_4d00,
            0x4b56_4d01,
            0x4b56_4d04,
            0xda0,
        ];
        const GROUPS: [u32; 6] = [0, 0x800, 0x4b56_4d00, 0xc000_0000, 0xc001_0000, 0x4000_0000];
        self.rcx = match random.below(4) {
            0 => random.next() & 0xffff_ffff,
            1 => pick(random, &KNOWN).into(),
            _ => u64::from(pick(random, &GROUPS)) + (random.below(0x2000) >> random.below(8)),
        };
        let high = if random.below(2) == 0 { 0 } else { random.next() as u32 };
        self.put_edx(high);
        self.put(&[0x0f, if random.below(3) == 0 { 0x32 } else { 0x30 }]);
    }

    fn memory(&mut self, random: &mut Random, data: u64) {
        const FORMS: [&[u8]; 34] = [
            &[0x8a, 0x06],
            &[0x66, 0x8b, 0x06],
            &[0x8b, 0x06],
            &[0x48, 0x8b, 0x06],
            &[0x0f, 0xb6, 0x06],
            &[0x0f, 0xbf, 0x06],
            &[0x48, 0x63, 0x06],
            &[0x88, 0x07],
            &[0x66, 0x89, 0x07],
            &[0x89, 0x07],
            &[0x48, 0x89, 0x07],
            &[0xc6, 0x07, 1],
            &[0x48, 0xc7, 0x07, 1, 2, 3, 0x84],
            &[0xf3, 0xa4],
            &[0xf3, 0x48, 0xa5],
            &[0xf3, 0x66, 0xa5],
            &[0xa5],
            &[0xf3, 0xaa],
            &[0xf3, 0x48, 0xab],
            &[0x66, 0xab],
            &[0xac],
            &[0xf3, 0x48, 0xad],
            &[0x02, 0x06],
            &[0x01, 0x07],
            &[0xf0, 0x48, 0x01, 0x07],
            &[0xf0, 0x0f, 0xb1, 0x0f],
            &[0xf0, 0x48, 0x0f, 0xc1, 0x07],
            &[0x48, 0x87, 0x07],
            &[0x3b, 0x06],
            &[0x84, 0x07],
            &[0x80, 0x0f, 3],
            &[0x83, 0x27, 0xf0],
            &[0x0f, 0xba, 0x2f, 5],
            &[0xa6],
        ];
        self.rcx = random.below(24);
        let place = |random: &mut Random| if random.below(4) == 0 { data + 0x100 } else { hole(random) };
        (self.rsi, self.rdi) = (place(random), place(random));
        self.put(pick(random, &FORMS));
    }

    fn hypercall(&mut self, random: &mut Random) {
        self.rax = match random.below(4) {
            0 => random.next() >> random.below(64),
            1 => random.below(16),
            _ => 0x4845_0000 + random.below(0x60),
        };
        self.put_edx(random.next() as u32 >> random.below(32));
        // MOV R10, value.
        self.put(&[0x49, 0xba]);
        self.put(&(random.next() >> random.below(64)).to_le_bytes());
        self.put(&[0x0f, 0x01, 0xd9]);
    }

    /// A write to a register of the local APIC: at its page, or as an MSR.
    fn apic(&mut self, random: &mut Random) {
        let register = random.below(0x40);
        if random.below(4) == 0 {
            self.rcx = 0x800 + register;
            self.put_edx(random.next() as u32 >> random.below(64).min(31));
            self.put(&[0x0f, 0x30]);
        } else {
            self.rdi = 0xfee0_0000 + register * 16;
            self.put(&[0x89, 0x07]);
        }
    }

    /// A command: every mode, level, shorthand and kind of destination.
    fn interrupt(&mut self, random: &mut Random) {
        let kind =
            (random.next() as u32) & (0b111 << 8 | icr::LOGICAL | icr::ASSERT | 0b1001 << 15 | 1 << 19);
        let command = kind | random.below(256) as u32;
        let to = pick(random, &[0, 1, 2, 3, 0xff, random.0 as u8]);
        (self.rdi, self.rsi) = (0xfee0_0310, 0xfee0_0300);
        for (instruction, value) in [([0xc7, 0x07], u32::from(to) << 24), ([0xc7, 0x06], command)] {
            self.put(&instruction);
            self.put(&value.to_le_bytes());
        }
        // Whatever comes may come at once.
        if random.below(2) == 0 {
            self.flags |= 1 << 9;
        }
    }

    /// Goes there and comes back; what it brings back is of no interest.
    fn go(&self, handover: &Handover, stack: u64) {
        let page = window::map(handover, CODE, window::frame(handover, 10) | window::USER);
        let at = if self.astride { 0x1000 - 1 - self.len as u64 / 2 } else { OFFSET };
        for place in [OFFSET, 0x1000 - 0x40] {
            (0..0x40).step_by(2).for_each(|offset| window::put(page + place + offset, &BACK));
        }
        let room = (0x1000 - at) as usize;
        window::put(page + at, &self.code[..self.len.min(room)]);
        let trip = if self.user { Trip::to_user } else { Trip::to_kernel };
        let Self { rax, rcx, rsi, rdi, flags, .. } = *self;
        Trip { flags, rax, rcx, rsi, rdi, ..trip(page + at, stack) }.go();
    }
}

/// Whether these three bytes are `MOV` to CR0, CR8 or a debug register, `LTR`, or what sets bits of a
/// register.
fn ends_qemu(bytes: &[u8]) -> bool {
    let (form, register) = (bytes[2] >> 6, bytes[2] >> 3 & 7);
    let system = matches!((bytes[1], register), (0x22, 0) | (0x23, _) | (0x00, 3));
    let bits = matches!((bytes[1], form), (0xab | 0xb3 | 0xba | 0xbb, 3));
    bytes[0] == 0x0f && (system || bits)
}

/// Bytes that may be run, or zero.
pub fn harmless(bytes: u64) -> u64 {
    if bytes.to_ne_bytes().windows(3).any(ends_qemu) { 0 } else { bytes }
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}

/// What could be an address, or a number.
fn operand(random: &mut Random, data: u64) -> u64 {
    match random.below(6) {
        0 => random.next(),
        1 => random.next() >> random.below(64),
        2 => hole(random),
        3 => 0x0000_7fff_ffff_fff0 + random.below(32),
        _ => data + random.below(0x1000),
    }
}

/// Guest-physical memory that is mapped where it is, and not RAM; or just about.
fn hole(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => 0xfee0_0000 + random.below(0x1000),
        1 => 0xfec0_0000 + random.below(0x40),
        2 => BELL - 8 + random.below(16),
        3 => super::RAM - 16 + random.below(32),
        4 => 0xffff_fff0 + random.below(8),
        _ => super::RAM + random.below((1 << 32) - super::RAM - 16),
    }
}
