//! Disks: a fake one that does things at once, or when it is told to.

use crate::block::{BlockDevice, BlockError, Geometry, Operation, Pending};
use crate::memory::HostRange;
use crate::virtio::blk::Blk;
use crate::virtio::ring::Fault;
use crate::virtio::testkit::{Driver, FakeMemory, Machine, Piece};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::task::{Poll, Waker};

pub const SECTORS: u64 = 64;
const DATA: u64 = 0x2000;
const HEAD: u64 = 0x1000;
const STATUS: u64 = 0x1100;

/// A disk in memory.
pub struct FakeDisk {
    memory: Rc<FakeMemory>,
    geometry: Cell<Geometry>,
    pub bytes: RefCell<Vec<u8>>,
    /// What it was asked, in order.
    pub asked: RefCell<Vec<(Operation, u64)>>,
    /// Sectors whose requests wait.
    pub waits: RefCell<Vec<u64>>,
    pub fails: Cell<Option<BlockError>>,
    wakers: RefCell<Vec<Waker>>,
}

impl FakeDisk {
    pub fn new(machine: &Machine) -> Rc<Self> {
        let geometry = Geometry { sectors: SECTORS, block: 512, read_only: false, discards: true };
        Rc::new(Self {
            memory: machine.memory.clone(),
            geometry: Cell::new(geometry),
            bytes: RefCell::new((0..SECTORS * 512).map(|at| (at / 512) as u8).collect()),
            asked: RefCell::default(),
            waits: RefCell::default(),
            fails: Cell::new(None),
            wakers: RefCell::default(),
        })
    }

    /// All requests that wait go on.
    pub fn go_on(&self) {
        self.waits.borrow_mut().clear();
        self.wakers.take().into_iter().for_each(Waker::wake);
    }

    fn carry_out(&self, operation: Operation, sector: u64, memory: &[HostRange]) -> Result<(), BlockError> {
        if let Some(error) = self.fails.get() {
            return Err(error);
        }
        let mut bytes = self.bytes.borrow_mut();
        let mut at = sector as usize * 512;
        for range in memory {
            let len = range.len as usize;
            match operation {
                Operation::Read => self.memory.host_write(*range, &bytes[at..at + len]),
                _ => self.memory.host_read(*range, &mut bytes[at..at + len]),
            }
            at += len;
        }
        if let Operation::WriteZeroes { sectors } | Operation::Discard { sectors } = operation {
            bytes[at..at + sectors as usize * 512].fill(0);
        }
        Ok(())
    }
}

impl BlockDevice for FakeDisk {
    fn geometry(&self) -> Geometry {
        self.geometry.get()
    }
    fn request<'a>(&'a self, operation: Operation, sector: u64, memory: &'a [HostRange]) -> Pending<'a> {
        self.asked.borrow_mut().push((operation, sector));
        Box::pin(core::future::poll_fn(move |context| {
            if self.waits.borrow().contains(&sector) {
                self.wakers.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(self.carry_out(operation, sector, memory))
        }))
    }
}

/// A driver whose memory the disk shares.
fn start(change: impl FnOnce(&mut Geometry), features: u64) -> (Rc<FakeDisk>, Driver<Blk>) {
    let machine = Machine::new();
    let disk = FakeDisk::new(&machine);
    let mut geometry = disk.geometry();
    change(&mut geometry);
    disk.geometry.set(geometry);
    let blk = Blk::new(disk.clone(), "a name that is longer than it may be", 2);
    let mut driver = Driver::probe_in(machine, blk);
    driver.restart(features);
    (disk, driver)
}

fn disk() -> (Rc<FakeDisk>, Driver<Blk>) {
    start(|_| {}, u64::MAX)
}

fn head(driver: &Driver<Blk>, at: u64, kind: u32, sector: u64) {
    driver.put(at, &kind.to_le_bytes());
    driver.put(at + 8, &sector.to_le_bytes());
}

/// Makes a request with `data` between head and status, and waits for its status.
fn ask(driver: &mut Driver<Blk>, kind: u32, sector: u64, data: &[Piece]) -> (u8, u32) {
    head(driver, HEAD, kind, sector);
    driver.put(STATUS, &[0xee]);
    let mut pieces = vec![(HEAD, 16, false)];
    pieces.extend_from_slice(data);
    pieces.push((STATUS, 1, true));
    let name = driver.request(1, &pieces);
    let answers = driver.queues[1].answers();
    assert_eq!(answers.iter().map(|answer| answer.0).collect::<Vec<_>>(), [name]);
    assert_eq!(driver.vectors(), [2]);
    (driver.machine.memory.bytes(STATUS, 1)[0], answers[0].1)
}

fn segment(driver: &Driver<Blk>, sector: u64, sectors: u32, flags: u32) -> [Piece; 1] {
    driver.put(DATA, &sector.to_le_bytes());
    driver.put(DATA + 8, &sectors.to_le_bytes());
    driver.put(DATA + 12, &flags.to_le_bytes());
    [(DATA, 16, false)]
}

#[test]
fn the_configuration_says_what_the_disk_is_like() {
    let (_, mut driver) = disk();
    let at = driver.configuration;
    let read = |driver: &mut Driver<Blk>, offset, size| driver.read(at + offset, size);
    assert_eq!(read(&mut driver, 0, 8), SECTORS);
    assert_eq!([read(&mut driver, 12, 4), read(&mut driver, 20, 4)], [254, 512]);
    assert_eq!([read(&mut driver, 34, 2), read(&mut driver, 36, 4)], [2, 1 << 22]);
    assert_eq!([read(&mut driver, 40, 4), read(&mut driver, 44, 4)], [1, 1]);
    assert_eq!(
        [read(&mut driver, 48, 4), read(&mut driver, 52, 4), read(&mut driver, 56, 1)],
        [1 << 16, 1, 1]
    );
    assert_eq!(driver.features & 0xffff, 0x7644);
}

#[test]
fn reads_and_writes_use_the_guests_buffers() {
    let (disk, mut driver) = disk();
    driver.put(DATA, &[0xab; 1024]);
    assert_eq!(ask(&mut driver, 1, 5, &[(DATA, 100, false), (DATA + 100, 924, false)]), (0, 1));
    assert_eq!(disk.bytes.borrow()[5 * 512..7 * 512], [0xab; 1024]);
    assert_eq!(ask(&mut driver, 0, 6, &[(DATA + 4096, 1000, true), (DATA + 8192, 24, true)]), (0, 1025));
    assert_eq!(driver.machine.memory.bytes(DATA + 4096, 512), [0xab; 512]);
    assert_eq!(driver.machine.memory.bytes(DATA + 8192, 24), [7; 24]);
    assert_eq!(ask(&mut driver, 4, 0, &[]), (0, 1));
    assert_eq!(disk.asked.borrow().last(), Some(&(Operation::Flush, 0)));
}

#[test]
fn names_are_cut_to_20_bytes() {
    let (_, mut driver) = disk();
    assert_eq!(ask(&mut driver, 8, 0, &[(DATA, 20, true)]), (0, 21));
    assert_eq!(driver.machine.memory.bytes(DATA, 20), *b"a name that is longe");
    assert_eq!(ask(&mut driver, 8, 0, &[(DATA, 5, true)]), (0, 6));
}

#[test]
fn sectors_are_discarded_and_zeroed() {
    let (disk, mut driver) = disk();
    let pieces = segment(&driver, 3, 2, 1);
    assert_eq!(ask(&mut driver, 13, 0, &pieces), (0, 1));
    let pieces = segment(&driver, 7, 1, 0);
    assert_eq!(ask(&mut driver, 11, 0, &pieces), (0, 1));
    let expected = [(Operation::WriteZeroes { sectors: 2 }, 3), (Operation::Discard { sectors: 1 }, 7)];
    assert_eq!(*disk.asked.borrow(), expected);
    for (kind, sector, sectors, flags, status) in [
        (13, 0, 1, 2, 2),
        (11, 0, 1, 1, 2),
        (11, SECTORS, 1, 0, 1),
        (11, u64::MAX, 1, 0, 1),
        (13, 0, 1 << 17, 0, 1),
    ] {
        let pieces = segment(&driver, sector, sectors, flags);
        assert_eq!(ask(&mut driver, kind, 0, &pieces), (status, u32::from(status == 0)), "{kind} {sector}");
    }
    assert_eq!(ask(&mut driver, 11, 0, &[(DATA, 32, false)]).0, 1, "one segment");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (disk, mut driver) = disk();
    for (kind, sector, len) in [(0, SECTORS, 512), (0, u64::MAX, 512), (0, 0, 511), (0, 0, 0)] {
        assert_eq!(ask(&mut driver, kind, sector, &[(DATA, len, true)]), (1, 0));
        assert_eq!(ask(&mut driver, 1, sector, &[(DATA, len, false)]), (1, 0));
    }
    assert_eq!(ask(&mut driver, 99, 0, &[(DATA, 512, true)]), (2, 0));
    assert_eq!(*disk.asked.borrow(), []);
    let name = driver.request(1, &[(HEAD, 15, false), (STATUS, 1, true)]);
    assert_eq!(driver.queues[1].answers(), [(name, 0)]);
    assert_eq!(driver.function.borrow().fault(), None);
    driver.request(1, &[(HEAD, 16, false)]);
    assert_eq!(driver.function.borrow().fault(), Some(Fault::Request));
}

#[test]
fn errors_of_the_disk_are_passed_on() {
    let (disk, mut driver) = disk();
    for (error, status) in [(BlockError::Device, 1), (BlockError::Dead, 1), (BlockError::Unsupported, 2)] {
        disk.fails.set(Some(error));
        assert_eq!(ask(&mut driver, 0, 0, &[(DATA, 512, true)]), (status, 0));
    }
}

#[test]
fn a_read_only_disk_is_not_written() {
    let (disk, mut driver) = start(|geometry| geometry.read_only = true, u64::MAX);
    assert_eq!(driver.features & 0xffff, 0x1664);
    assert_eq!(ask(&mut driver, 1, 0, &[(DATA, 512, false)]), (1, 0));
    let pieces = segment(&driver, 0, 1, 0);
    assert_eq!(ask(&mut driver, 13, 0, &pieces), (1, 0));
    assert_eq!(*disk.asked.borrow(), []);
}

#[test]
fn without_flush_writes_are_durable_when_they_are_answered() {
    let (disk, mut driver) = start(|_| {}, !(1 << 9));
    assert_eq!(ask(&mut driver, 1, 4, &[(DATA, 512, false)]), (0, 1));
    assert_eq!(*disk.asked.borrow(), [(Operation::Write, 4), (Operation::Flush, 0)]);
}

/// Offers a read of a sector on queue 0, with head and status of its own.
fn offer(driver: &mut Driver<Blk>, sector: u64) -> u16 {
    let at = 0x1_0000 + sector * 0x400;
    head(driver, at, 0, sector);
    driver.queues[0].offer(&[(at, 16, false), (at + 0x200, 512, true), (at + 0x100, 1, true)])
}

#[test]
fn requests_are_done_in_any_order() {
    let (disk, mut driver) = disk();
    disk.waits.borrow_mut().push(1);
    let names: Vec<u16> = (0..3).map(|sector| offer(&mut driver, sector)).collect();
    driver.queues[0].set_used_event(1);
    driver.ring(0);
    assert_eq!(driver.queues[0].answers(), [(names[0], 513), (names[2], 513)]);
    assert_eq!(driver.vectors(), [1]);
    driver.queues[0].set_used_event(2);
    disk.go_on();
    assert!(driver.machine.woken.take() > 0);
    driver.poll();
    assert_eq!(driver.queues[0].answers(), [(names[1], 513)]);
    assert_eq!(driver.vectors(), [1]);
}

#[test]
fn a_reset_ends_when_the_disk_lets_go_of_memory() {
    let (disk, mut driver) = disk();
    disk.waits.borrow_mut().push(1);
    offer(&mut driver, 1);
    driver.ring(0);
    driver.set_status(0);
    assert_eq!(driver.status(), 0xf, "the reset goes on");
    driver.set_status(0xb);
    driver.poll();
    assert_eq!(driver.status(), 0xf);
    assert!(!driver.machine.bridge.is_quiet());
    disk.go_on();
    driver.poll();
    assert_eq!((driver.status(), driver.queues[0].answers(), driver.vectors()), (0, vec![], vec![]));
    driver.restart(u64::MAX);
    let name = offer(&mut driver, 2);
    driver.ring(0);
    assert_eq!(driver.queues[0].answers(), [(name, 513)]);
}

#[test]
fn the_disk_has_only_so_much_to_do() {
    let (disk, mut driver) = disk();
    disk.waits.borrow_mut().push(1);
    head(&driver, HEAD, 0, 1);
    for queue in 0..2 {
        for _ in 0..85 {
            driver.queues[queue].offer(&[(HEAD, 16, false), (DATA, 512, true), (STATUS, 1, true)]);
        }
        driver.ring(queue);
    }
    assert_eq!(driver.function.borrow().device().on_their_way(), 128);
    disk.go_on();
    driver.poll();
    assert_eq!([driver.queues[0].answers().len(), driver.queues[1].answers().len()], [85, 85]);
    assert_eq!(driver.function.borrow().device().on_their_way(), 0);
}
