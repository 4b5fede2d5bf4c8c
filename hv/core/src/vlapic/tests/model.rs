//! A comparison with a model that is too simple to be wrong, and random accesses.

use super::{APIC_BASE, Bench, Deadline, R, TSC_DEADLINE, Trigger};
use crate::random::Random;

/// Vectors as plain flags, priorities as the manual defines them.
fn priorities(request: &[bool; 256], service: &[bool; 256], tpr: usize) -> (usize, Option<usize>) {
    let in_service = service.iter().rposition(|&on| on).unwrap_or(0);
    let ppr = if tpr / 16 >= in_service / 16 { tpr } else { in_service & 0xf0 };
    (ppr, request.iter().rposition(|&on| on).filter(|vector| vector / 16 > ppr / 16))
}

#[test]
fn arbitration_equals_the_naive_definition() {
    let (mut random, mut bench) = (Random(1), Bench::xapic(0));
    let (mut request, mut service, mut level) = ([false; 256], [false; 256], [false; 256]);
    for _ in 0..100_000 {
        let vector = 16 + random.below(240) as usize;
        match random.below(8) {
            0 | 1 => {
                level[vector] = random.below(2) == 0;
                request[vector] = true;
                bench.0.accept(vector as u8, if level[vector] { Trigger::Level } else { Trigger::Edge });
            }
            2 => bench.write(R::TASK_PRIORITY, vector as u32 % 64),
            3 | 4 => {
                let ended = service.iter().rposition(|&on| on);
                bench.write(R::EOI, 0);
                ended.inspect(|&vector| service[vector] = false);
                let told = bench.1.ended.pop().map(usize::from);
                assert_eq!(told, ended.filter(|&vector| level[vector]));
            }
            _ => {
                if let Some(next) = bench.0.next_interrupt() {
                    let below = service.iter().rposition(|&on| on).unwrap_or(0);
                    assert!(usize::from(next) / 16 > below / 16, "interrupts nest by class");
                    bench.0.acknowledge(next);
                    (request[usize::from(next)], service[usize::from(next)]) = (false, true);
                }
            }
        }
        let tpr = bench.read(R::TASK_PRIORITY) as usize;
        let (ppr, next) = priorities(&request, &service, tpr);
        assert_eq!(bench.read(R::PROCESSOR_PRIORITY) as usize, ppr);
        assert_eq!(bench.0.next_interrupt().map(usize::from), next);
        let register = vector / 32;
        for (at, set) in [(0x100, &service), (0x180, &level), (0x200, &request)] {
            let bits = (0..32).fold(0, |bits, bit| bits | u32::from(set[register * 32 + bit]) << bit);
            assert_eq!(bench.read(R(at + register as u32 * 16)), bits);
        }
    }
}

#[test]
fn whatever_a_guest_writes_it_stays_sane() {
    let (mut random, mut bench) = (Random(2), Bench::xapic(1));
    for step in 0..200_000 {
        let value = random.next() >> random.below(64);
        let offset = random.next() & if random.below(2) == 0 { 0xff0 } else { 0xfff };
        bench.1.now.nanos += random.below(1 << 20);
        bench.1.now.tsc += random.below(1 << 22);
        match random.below(8) {
            0 => _ = bench.0.read_page(offset, 1 << random.below(4), &bench.1),
            1 | 2 => bench.0.write_page(offset, 4, value, &mut bench.1),
            3 => _ = bench.0.read_msr(0x800 + random.below(0x48) as u32, &bench.1),
            4 | 5 => _ = bench.msr(0x800 + random.below(0x48) as u32, value),
            6 if step % 16 == 0 => _ = bench.msr(APIC_BASE, 0xfee0_0000 | random.below(4) << 10),
            6 => _ = bench.msr(TSC_DEADLINE, value),
            _ => bench.write(R::SPURIOUS, 0x1ff),
        }
        bench.0.expire(bench.1.now);
        if let Some(vector) = bench.0.next_interrupt() {
            assert!(vector >= 16 && vector >> 4 > bench.0.processor_priority() >> 4);
            bench.0.acknowledge(vector);
            assert_eq!(bench.0.processor_priority(), vector & 0xf0);
        }
        assert!(match bench.0.deadline() {
            Some(Deadline::AtNanos(at)) => at > bench.1.now.nanos,
            Some(Deadline::AtTsc(at)) => at > bench.1.now.tsc,
            None => true,
        });
        bench.1.sent.clear();
    }
}
