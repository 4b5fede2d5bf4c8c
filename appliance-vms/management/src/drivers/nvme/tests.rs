use super::controller::{RESETS, TIMEOUT};
use super::fake::{FakeNvme, Manners};
use super::layout::nvm;
use super::*;
use crate::drivers::dma::DmaMemory;
use crate::drivers::fake::{RAM, Ram, now};
use crate::testkit::Random;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::task::Waker;

const DISK: usize = 2 << 20;

struct Bench {
    ram: Ram,
    device: Rc<FakeNvme>,
    disk: Nvme,
    /// Memory for data: 1 MiB.
    memory: Box<dyn DmaMemory>,
}

impl Bench {
    fn new(shift: u8, depth: u16) -> Self {
        let ram = Ram::new(4 << 20);
        let device = FakeNvme::new(&ram, DISK, shift, depth);
        let disk = Nvme::new(Box::new(device.clone()), &ram, 5).unwrap();
        let memory = ram.allocate(1 << 20).unwrap();
        Self { ram, device, disk, memory }
    }

    fn ready(shift: u8, depth: u16) -> Self {
        let bench = Self::new(shift, depth);
        bench.disk.poll(Duration::ZERO);
        assert!(bench.disk.is_ready());
        bench
    }

    fn at(&self, offset: u64, len: u64) -> HostRange {
        HostRange { address: self.memory.host().address + offset, len }
    }

    /// A request of a disk that answers at once.
    fn ask(&self, operation: Operation, sector: u64, memory: &[HostRange]) -> Result<(), BlockError> {
        let request = self.disk.request(operation, sector, memory);
        for _ in 0..100 {
            self.disk.poll(Duration::from_secs(1));
        }
        now(request)
    }
}

fn is_pending(request: &mut Pending<'_>) -> bool {
    request.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn a_disk_gets_ready_and_says_what_it_is() {
    let bench = Bench::new(12, 64);
    assert_eq!(bench.disk.geometry().sectors, 0);
    assert!(!bench.disk.is_ready());
    assert_eq!(bench.disk.deadline(), Some(Duration::from_millis(1)));
    bench.disk.poll(Duration::ZERO);
    assert!(bench.disk.is_ready());
    assert_eq!(bench.disk.model(), "Fake disk SN-1");
    let geometry = Geometry { sectors: 4096, block: 4096, read_only: false, discards: true };
    assert_eq!(bench.disk.geometry(), geometry);
    assert_eq!(bench.disk.deadline(), Some(Duration::from_secs(1)));
}

#[test]
fn any_transfer_reads_what_was_written() {
    for (shift, depth) in [(9, 64), (9, 2), (12, 7)] {
        let bench = Bench::ready(shift, depth);
        let block = 1_u64 << shift;
        let mut random = Random(u64::from(shift) + u64::from(depth));
        let mut copy = vec![0; DISK];
        for _ in 0..12 {
            // Pieces of whole blocks, anywhere where a block may begin.
            let mut memory = Vec::new();
            for _ in 0..=random.index(5) {
                let blocks = 1 + random.index(60) as u64;
                let place = random.index(((1 << 20) / block - blocks + 1) as usize) as u64;
                memory.push(bench.at(place * block, blocks * block));
            }
            let bytes: u64 = memory.iter().map(|range| range.len).sum();
            let first = random.index(((DISK as u64 - bytes) / block) as usize) as u64 * block;
            let pattern: Vec<u8> = (0..1 << 17).flat_map(|_| random.next().to_le_bytes()).collect();
            bench.memory.write(0, &pattern);
            let written: Vec<u8> =
                memory.iter().flat_map(|range| bench.ram.get(range.address, range.len as usize)).collect();
            assert_eq!(bench.ask(Operation::Write, first / 512, &memory), Ok(()));
            copy[first as usize..][..bytes as usize].copy_from_slice(&written);
            assert!(*bench.device.content.borrow() == copy);
            let whole = [bench.at(0, bytes.min(1 << 20))];
            assert_eq!(bench.ask(Operation::Read, first / 512, &whole), Ok(()));
            let len = whole[0].len as usize;
            assert!(bench.ram.get(whole[0].address, len) == written[..len]);
        }
    }
}

#[test]
fn pieces_that_end_within_pages_are_sent_one_by_one() {
    let bench = Bench::ready(9, 64);
    let memory = [bench.at(512, 512), bench.at(2048, 1024), bench.at(3072, 1024), bench.at(8192, 4608)];
    assert_eq!(bench.ask(Operation::Write, 0, &memory), Ok(()));
    // The second and third piece follow each other, up to the page that the fourth continues.
    assert_eq!(*bench.device.came.borrow(), [nvm::WRITE, nvm::WRITE]);
    for odd in [[bench.at(0, 256), bench.at(4096, 256)], [bench.at(2, 512), bench.at(4096, 512)]] {
        assert_eq!(bench.ask(Operation::Write, 0, &odd), Err(BlockError::Unsupported));
    }
}

#[test]
fn discard_zeroes_and_flush_do_what_they_say() {
    let bench = Bench::ready(9, 64);
    bench.device.content.borrow_mut().fill(1);
    assert_eq!(bench.ask(Operation::WriteZeroes { sectors: 8 }, 8, &[]), Ok(()));
    assert_eq!(bench.ask(Operation::Discard { sectors: 4 }, 0, &[]), Ok(()));
    assert_eq!(bench.ask(Operation::Flush, u64::MAX, &[]), Ok(()));
    assert_eq!(bench.ask(Operation::WriteZeroes { sectors: 0 }, 8, &[]), Ok(()));
    let content = bench.device.content.borrow();
    assert!(content[..2048].iter().all(|&byte| byte == 0xdd) && content[2048..4096] == [1; 2048]);
    assert!(content[4096..8192] == [0; 4096] && content[8192] == 1);
    let came = [nvm::WRITE_ZEROES, nvm::DATASET_MANAGEMENT, nvm::FLUSH];
    assert_eq!(*bench.device.came.borrow(), came);
}

#[test]
fn what_is_not_on_the_disk_is_refused() {
    let bench = Bench::ready(12, 64);
    let memory = [bench.at(0, 4096)];
    let sectors = DISK as u64 / 512;
    for sector in [sectors, sectors - 7, 4, u64::MAX] {
        assert_eq!(bench.ask(Operation::Read, sector, &memory), Err(BlockError::OutOfRange));
    }
    let huge = Operation::WriteZeroes { sectors: u64::MAX };
    assert_eq!(bench.ask(huge, 8, &[]), Err(BlockError::OutOfRange));
    assert_eq!(bench.ask(Operation::Read, 0, &[bench.at(0, 512)]), Err(BlockError::OutOfRange));
    assert!(bench.device.came.borrow().is_empty());
}

#[test]
fn requests_are_done_in_any_order_and_more_than_the_queue_holds() {
    let bench = Bench::ready(9, 8);
    bench.device.manners.borrow_mut().holds = true;
    let mut random = Random(41);
    let memory: Vec<_> = (0..100).map(|at| [bench.at(at * 512, 512)]).collect();
    for (at, range) in memory.iter().enumerate() {
        bench.ram.put(range[0].address, &[at as u8; 512]);
    }
    let mut requests: Vec<_> = memory
        .iter()
        .enumerate()
        .map(|(at, range)| bench.disk.request(Operation::Write, at as u64 * 3, range))
        .collect();
    assert_eq!(bench.device.came.borrow().len(), 7);
    assert!(requests.iter_mut().all(is_pending));
    for _ in 0..20 {
        bench.device.answer(|len| random.index(len));
        bench.disk.poll(Duration::ZERO);
    }
    assert!(requests.into_iter().all(|request| now(request) == Ok(())));
    let content = bench.device.content.borrow();
    assert!((0..100).all(|at| content[at * 3 * 512] == at as u8));
}

#[test]
fn what_nobody_waits_for_is_carried_out() {
    let bench = Bench::ready(9, 2);
    bench.device.manners.borrow_mut().holds = true;
    bench.ram.put(RAM, &[0]);
    bench.memory.write(0, &[9; 1024]);
    let memory = [bench.at(0, 512)];
    for sector in 0..3 {
        drop(bench.disk.request(Operation::Write, sector, &memory));
    }
    for _ in 0..3 {
        bench.device.answer(|_| 0);
        bench.disk.poll(Duration::ZERO);
    }
    assert_eq!(bench.device.content.borrow()[..1536], [9; 1536]);
}

#[test]
fn errors_are_told_apart() {
    let bench = Bench::ready(9, 64);
    let cases = [
        (0x01, BlockError::Unsupported),
        (0x80, BlockError::OutOfRange),
        (0x20, BlockError::ReadOnly),
        (0x281, BlockError::Device),
    ];
    for (status, error) in cases {
        bench.device.manners.borrow_mut().status = status;
        assert_eq!(bench.ask(Operation::Write, 0, &[bench.at(0, 512)]), Err(error));
    }
    bench.device.manners.borrow_mut().status = 0;
    assert_eq!(bench.ask(Operation::Write, 0, &[bench.at(0, 512)]), Ok(()));
}

#[test]
fn a_disk_that_forgets_is_reset_and_asked_again() {
    let bench = Bench::ready(9, 64);
    bench.device.manners.borrow_mut().forgets = 1;
    bench.memory.write(0, &[5; 512]);
    let memory = [bench.at(0, 512)];
    let mut request = bench.disk.request(Operation::Write, 7, &memory);
    for second in 1..=TIMEOUT.as_secs() {
        bench.disk.poll(Duration::from_secs(second));
        assert!(is_pending(&mut request));
    }
    bench.disk.poll(Duration::from_secs(1) + TIMEOUT);
    bench.disk.poll(Duration::from_secs(2) + TIMEOUT);
    bench.disk.poll(Duration::from_secs(2) + TIMEOUT);
    assert_eq!(now(request), Ok(()));
    assert_eq!((bench.disk.resets(), bench.disk.death()), (1, None));
    assert_eq!(bench.device.content.borrow()[7 * 512], 5);
}

#[test]
fn a_command_that_the_disk_never_answers_fails_and_others_do_not() {
    let bench = Bench::ready(9, 64);
    bench.device.manners.borrow_mut().hangs_on = Some(nvm::FLUSH);
    let memory = [bench.at(0, 512)];
    let bad = bench.disk.request(Operation::Flush, 0, &[]);
    for second in 1..40 {
        assert_eq!(bench.ask(Operation::Read, 0, &memory), Ok(()));
        bench.disk.poll(Duration::from_secs(second));
        bench.disk.poll(Duration::from_secs(second));
    }
    assert_eq!(now(bad), Err(BlockError::Device));
    assert_eq!((bench.disk.resets(), bench.disk.death()), (2, None));
}

#[test]
fn a_disk_that_never_answers_is_dead() {
    let bench = Bench::ready(9, 64);
    bench.device.manners.borrow_mut().forgets = u32::MAX;
    let memory = [bench.at(0, 512)];
    let requests: Vec<_> = (0..100).map(|at| bench.disk.request(Operation::Read, at, &memory)).collect();
    let mut second = 0;
    while let Some(deadline) = bench.disk.deadline() {
        second += 1;
        assert!(second < 100_000, "{deadline:?}");
        bench.disk.poll(deadline);
    }
    assert_eq!(bench.disk.death(), Some(Death::Silent));
    assert_eq!(bench.disk.resets(), RESETS);
    let results: Vec<_> = requests.into_iter().map(now).collect();
    assert!(results.iter().all(|result| matches!(result, Err(BlockError::Device | BlockError::Dead))));
    assert_eq!(bench.ask(Operation::Flush, 0, &[]), Err(BlockError::Dead));
    assert_eq!(Death::Silent.to_string(), "the NVMe disk does not answer");
}

#[test]
fn disks_that_cannot_be_used_say_why() {
    type Change = fn(&mut Manners);
    let cases: [(Death, Change); 4] = [
        (Death::NotReady, |manners| manners.lazy = true),
        (Death::NotReady, |manners| manners.fatal = true),
        (Death::Gone, |manners| manners.gone = true),
        (Death::Unsuitable, |manners| manners.empty = true),
    ];
    for (death, change) in cases {
        let bench = Bench::new(9, 64);
        change(&mut bench.device.manners.borrow_mut());
        let mut polls = 0;
        while let Some(deadline) = bench.disk.deadline() {
            polls += 1;
            assert!(polls < 10_000);
            bench.disk.poll(deadline);
        }
        assert!(bench.disk.death() == Some(death) && !bench.disk.is_ready());
    }
    let ram = Ram::new(8192);
    let device = FakeNvme::new(&ram, DISK, 9, 64);
    assert_eq!(Nvme::new(Box::new(device.clone()), &ram, 5).err(), Some(Death::NoMemory));
    device.manners.borrow_mut().gone = true;
    assert_eq!(Nvme::new(Box::new(device), &ram, 5).err(), Some(Death::Gone));
}
