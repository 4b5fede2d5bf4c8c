//! An NVMe controller that is not there: the device's side of registers and queues.

use super::layout::{CSTS_FATAL, CSTS_READY, PAGE, admin, nvm, register};
use crate::drivers::fake::{RAM, Ram};
use crate::drivers::registers::DeviceRegisters;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

/// What a test wants of it.
#[derive(Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)] // a list of switches
pub(super) struct Manners {
    /// It never gets ready.
    pub(super) lazy: bool,
    /// It says that it failed instead of getting ready.
    pub(super) fatal: bool,
    /// Its registers read all ones.
    pub(super) gone: bool,
    /// It keeps commands until [`FakeNvme::answer`].
    pub(super) holds: bool,
    /// It forgets the next commands, so many.
    pub(super) forgets: u32,
    /// It does nothing that a command of this opcode asks, ever.
    pub(super) hangs_on: Option<u8>,
    /// The status of every data command.
    pub(super) status: u16,
    /// Its namespace has no blocks.
    pub(super) empty: bool,
}

struct Queue {
    commands: u64,
    completions: u64,
    depth: u64,
    head: u64,
    tail: u64,
    phase: bool,
}

struct State {
    cc: u32,
    aqa: u32,
    asq: u64,
    acq: u64,
    made_completions: Option<u64>,
    admin: Option<Queue>,
    io: Option<Queue>,
    held: Vec<[u32; 16]>,
}

pub(super) struct FakeNvme {
    ram: Ram,
    pub(super) manners: RefCell<Manners>,
    shift: u8,
    depth: u16,
    state: RefCell<State>,
    pub(super) content: RefCell<Vec<u8>>,
    /// Opcodes of data commands that came.
    pub(super) came: RefCell<Vec<u8>>,
}

impl FakeNvme {
    pub(super) fn new(ram: &Ram, bytes: usize, shift: u8, depth: u16) -> Rc<Self> {
        let state = State {
            cc: 0,
            aqa: 0,
            asq: 0,
            acq: 0,
            made_completions: None,
            admin: None,
            io: None,
            held: Vec::new(),
        };
        Rc::new(Self {
            ram: ram.clone(),
            manners: RefCell::default(),
            shift,
            depth,
            state: RefCell::new(state),
            content: RefCell::new(vec![0; bytes]),
            came: RefCell::default(),
        })
    }

    /// Does what it holds, in an order that `pick` gives.
    pub(super) fn answer(&self, mut pick: impl FnMut(usize) -> usize) {
        let mut state = self.state.borrow_mut();
        while !state.held.is_empty() {
            let at = pick(state.held.len());
            let command = state.held.swap_remove(at);
            let status = self.data_command(&command);
            let State { io: Some(io), .. } = &mut *state else { panic!("no queue") };
            self.complete(io, 1, &command, status);
        }
    }

    fn complete(&self, queue: &mut Queue, number: u32, command: &[u32; 16], status: u16) {
        let id = command[0] >> 16;
        let last = id | u32::from(queue.phase) << 16 | u32::from(status) << 17;
        let dwords = [0, 0, queue.head as u32 | number << 16, last];
        let bytes: Vec<u8> = dwords.iter().flat_map(|dword| dword.to_le_bytes()).collect();
        self.ram.put(queue.completions + queue.tail * 16, &bytes);
        queue.tail = (queue.tail + 1) % queue.depth;
        queue.phase ^= queue.tail == 0;
    }

    fn fetch(&self, queue: &mut Queue, tail: u64) -> Vec<[u32; 16]> {
        assert!(tail < queue.depth, "a doorbell beyond the queue");
        let mut commands = Vec::new();
        while queue.head != tail {
            let bytes = self.ram.get(queue.commands + queue.head * 64, 64);
            let (dwords, _) = bytes.as_chunks::<4>();
            commands.push(core::array::from_fn(|at| u32::from_le_bytes(dwords[at])));
            queue.head = (queue.head + 1) % queue.depth;
        }
        commands
    }

    fn admin(&self, tail: u64) {
        let mut state = self.state.borrow_mut();
        let mut queue = state.admin.take().expect("a doorbell of a disk that is off");
        for command in self.fetch(&mut queue, tail) {
            let address = wide(&command, 6);
            let depth = u64::from(command[10] >> 16) + 1;
            match command[0] as u8 {
                admin::IDENTIFY => self.ram.put(address, &self.identify(command[10])),
                admin::SET_FEATURES => assert_eq!((command[10], command[11]), (7, 0)),
                admin::CREATE_COMPLETION => {
                    assert_eq!((command[10] as u16, command[11]), (1, 3 | 5 << 16));
                    state.made_completions = Some(address);
                }
                admin::CREATE_SUBMISSION => {
                    assert_eq!((command[10] as u16, command[11]), (1, 1 | 1 << 16));
                    assert!(depth <= u64::from(self.depth));
                    let completions = state.made_completions.expect("completions first");
                    let (commands, phase) = (address, true);
                    state.io = Some(Queue { commands, completions, depth, head: 0, tail: 0, phase });
                }
                other => panic!("administration {other:#x}"),
            }
            self.complete(&mut queue, 0, &command, 0);
        }
        state.admin = Some(queue);
    }

    fn identify(&self, what: u32) -> Vec<u8> {
        let mut page = vec![0; PAGE as usize];
        if what == 1 {
            page[4..24].copy_from_slice(b"SN-1\n               ");
            page[24..64].copy_from_slice(b"Fake disk                               ");
            page[77] = 4; // 64 KiB
            page[520] = 0b1100;
        } else if !self.manners.borrow().empty {
            let blocks = self.content.borrow().len() as u64 >> self.shift;
            page[..8].copy_from_slice(&blocks.to_le_bytes());
            page[26] = 2;
            page[128 + 8 + 2] = self.shift;
        }
        page
    }

    fn io(&self, tail: u64) {
        let mut state = self.state.borrow_mut();
        let mut queue = state.io.take().expect("a doorbell of a queue that was not made");
        for command in self.fetch(&mut queue, tail) {
            let opcode = command[0] as u8;
            self.came.borrow_mut().push(opcode);
            let mut manners = self.manners.borrow_mut();
            if manners.forgets > 0 {
                manners.forgets -= 1;
            } else if manners.hangs_on == Some(opcode) {
            } else if manners.holds {
                state.held.push(command);
            } else {
                drop(manners);
                let status = self.data_command(&command);
                self.complete(&mut queue, 1, &command, status);
            }
        }
        state.io = Some(queue);
    }

    fn data_command(&self, command: &[u32; 16]) -> u16 {
        let status = self.manners.borrow().status;
        if status != 0 {
            return status;
        }
        let mut content = self.content.borrow_mut();
        let block = u64::from(command[10]) | u64::from(command[11]) << 32;
        let start = (block << self.shift) as usize;
        let len = ((u64::from(command[12] & 0xffff) + 1) << self.shift) as usize;
        match command[0] as u8 {
            nvm::FLUSH => {}
            nvm::WRITE_ZEROES => content[start..start + len].fill(0),
            nvm::DATASET_MANAGEMENT => {
                assert_eq!((command[10], command[11]), (0, 4));
                let range = self.ram.get(wide(command, 6), 16);
                let blocks = u32::from_le_bytes(range[4..8].try_into().unwrap()) as usize;
                let first = u64::from_le_bytes(range[8..].try_into().unwrap()) as usize;
                content[first << self.shift..(first + blocks) << self.shift].fill(0xdd);
            }
            opcode => {
                assert!(len <= 64 << 10, "a transfer larger than MDTS");
                let mut at = start;
                for (address, bytes) in self.pages(command, len) {
                    if opcode == nvm::READ {
                        self.ram.put(address, &content[at..at + bytes]);
                    } else {
                        content[at..at + bytes].copy_from_slice(&self.ram.get(address, bytes));
                    }
                    at += bytes;
                }
                assert_eq!(at, start + len);
            }
        }
        0
    }

    /// What PRP entries mean (section 4.3).
    fn pages(&self, command: &[u32; 16], len: usize) -> Vec<(u64, usize)> {
        let (first, second) = (wide(command, 6), wide(command, 8));
        assert!(first >= RAM && first.is_multiple_of(4));
        let ahead = len.min((PAGE - first % PAGE) as usize);
        let mut pages = vec![(first, ahead)];
        let mut left = len - ahead;
        let mut entry = second;
        let listed = left > PAGE as usize;
        while left > 0 {
            let address = if listed {
                let bytes = self.ram.get(entry, 8);
                u64::from_le_bytes(bytes.try_into().unwrap())
            } else {
                second
            };
            assert!(address.is_multiple_of(PAGE), "a PRP entry with an offset");
            let bytes = left.min(PAGE as usize);
            pages.push((address, bytes));
            left -= bytes;
            entry += 8;
        }
        pages
    }

    fn configure(&self, value: u32) {
        let mut state = self.state.borrow_mut();
        state.cc = value;
        if value & 1 == 0 {
            (state.admin, state.io, state.made_completions) = (None, None, None);
            state.held.clear();
        } else {
            assert_eq!(value, 0x0046_0001);
            let depth = u64::from(state.aqa & 0xfff) + 1;
            let (commands, completions, phase) = (state.asq, state.acq, true);
            state.admin = Some(Queue { commands, completions, depth, head: 0, tail: 0, phase });
        }
    }
}

fn wide(command: &[u32; 16], at: usize) -> u64 {
    u64::from(command[at]) | u64::from(command[at + 1]) << 32
}

impl DeviceRegisters for Rc<FakeNvme> {
    fn read(&self, offset: u64) -> u32 {
        let manners = self.manners.borrow();
        let enabled = self.state.borrow().cc & 1 == 1;
        match offset {
            _ if manners.gone => u32::MAX,
            register::CC => self.state.borrow().cc,
            register::CSTS if enabled && manners.fatal => CSTS_FATAL,
            register::CSTS if enabled && !manners.lazy => CSTS_READY,
            _ => 0,
        }
    }

    fn write(&self, offset: u64, value: u32) {
        // The doorbells' stride is 8 bytes.
        match offset {
            register::CC => self.configure(value),
            register::AQA => self.state.borrow_mut().aqa = value,
            0x1000 => self.admin(value.into()),
            0x1010 => self.io(value.into()),
            0x1008 | 0x1018 => {}
            other => panic!("a write to {other:#x}"),
        }
    }

    fn read_wide(&self, offset: u64) -> u64 {
        assert_eq!(offset, register::CAP);
        // Time-out 1 s, stride 8 bytes, NVM command set.
        if self.manners.borrow().gone {
            return u64::MAX;
        }
        u64::from(self.depth - 1) | 2 << 24 | 1 << 32 | 1 << 37
    }

    fn write_wide(&self, offset: u64, value: u64) {
        let mut state = self.state.borrow_mut();
        match offset {
            register::ASQ => state.asq = value,
            register::ACQ => state.acq = value,
            other => panic!("a write to {other:#x}"),
        }
    }
}
