//! The timer's rules, each by name. SDM 3, 11.5.4.

use super::{Bench, Deadline, R, TSC_DEADLINE};

#[test]
fn one_shot_and_periodic_timers() {
    let mut bench = Bench::xapic(0);
    bench.write(R::LVT_TIMER, 0x50);
    bench.write(R::TIMER_DIVIDE, 0b1000); // by 32
    bench.write(R::TIMER_INITIAL, 100);
    assert_eq!((bench.0.deadline(), bench.read(R::TIMER_CURRENT)), (Some(Deadline::AtNanos(3200)), 100));
    assert!(!bench.at(1600));
    assert_eq!(bench.read(R::TIMER_CURRENT), 50);
    assert!(!bench.at(1601));
    assert_eq!(bench.read(R::TIMER_CURRENT), 50, "a tick that has begun is still to come");
    bench.1.now.nanos = 1600;
    bench.write(R::TIMER_DIVIDE, 0b1011); // by 1: what is left is counted at the new speed
    assert!(!bench.at(1649) && bench.at(1650) && !bench.at(9999));
    assert_eq!((bench.0.deadline(), bench.read(R::TIMER_CURRENT)), (None, 0));
    // A count that has ended does not start again when the mode becomes periodic; one that runs
    // goes on.
    bench.write(R::LVT_TIMER, 0x2_0050);
    assert_eq!((bench.0.deadline(), bench.read(R::TIMER_INITIAL)), (None, 100));
    bench.at(10_000);
    bench.write(R::TIMER_INITIAL, 100);
    assert!(bench.at(10_100) && !bench.at(10_199) && bench.at(10_450) && !bench.at(10_499));
    assert_eq!(bench.0.deadline(), Some(Deadline::AtNanos(10_500)), "no drift, one for all missed");
    bench.1.now.nanos = 10_530;
    assert_eq!(bench.read(R::TIMER_CURRENT), 70, "the next period runs, looked at or not");
    // Masked, it counts and does not interrupt, then or later.
    bench.write(R::LVT_TIMER, 0x3_0050);
    bench.at(10_531);
    assert_eq!(bench.0.deadline(), None);
    assert!(!bench.at(10_700));
    bench.1.now.nanos = 10_801;
    bench.write(R::LVT_TIMER, 0x2_0050);
    assert!(!bench.at(10_899) && bench.at(10_900));
    for (divide, by) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
        bench.write(R::TIMER_DIVIDE, divide);
        bench.write(R::TIMER_INITIAL, u32::MAX);
        let expiry = bench.1.now.nanos + u64::from(u32::MAX) * by;
        assert_eq!(bench.0.deadline(), Some(Deadline::AtNanos(expiry)), "divided by {by}");
    }
    bench.write(R::TIMER_INITIAL, 0);
    assert_eq!(bench.0.deadline(), None);
}

#[test]
fn tsc_deadline_timer() {
    let mut bench = Bench::xapic(0);
    bench.msr(TSC_DEADLINE, 30).unwrap();
    assert_eq!(bench.0.read_msr(TSC_DEADLINE, &bench.1), Ok(0), "ignored in the other modes");
    bench.write(R::LVT_TIMER, 0x50);
    bench.write(R::TIMER_INITIAL, 100);
    bench.write(R::LVT_TIMER, 0x4_0050);
    assert_eq!((bench.0.deadline(), bench.read(R::TIMER_INITIAL)), (None, 0), "disarmed by the change");
    bench.write(R::TIMER_INITIAL, 100);
    assert_eq!((bench.0.deadline(), bench.read(R::TIMER_CURRENT)), (None, 0), "no count in this mode");
    bench.msr(TSC_DEADLINE, 30).unwrap();
    assert_eq!(bench.0.read_msr(TSC_DEADLINE, &bench.1), Ok(30));
    assert_eq!(bench.0.deadline(), Some(Deadline::AtTsc(30)));
    assert!(!bench.at(9) && bench.at(10) && !bench.at(11));
    assert_eq!(bench.0.read_msr(TSC_DEADLINE, &bench.1), Ok(0));
    bench.msr(TSC_DEADLINE, 1).unwrap();
    assert!(bench.at(11), "a deadline that has passed fires at once");
    bench.msr(TSC_DEADLINE, 36).unwrap();
    bench.1.now.tsc = 36;
    assert_eq!(bench.0.read_msr(TSC_DEADLINE, &bench.1), Ok(0), "it has passed, noticed or not");
    bench.msr(TSC_DEADLINE, 90).unwrap();
    assert!(bench.at(13), "what was due before a write is not lost");
    bench.msr(TSC_DEADLINE, 0).unwrap();
    assert!(!bench.at(40), "0 disarms");
    bench.msr(TSC_DEADLINE, 900).unwrap();
    bench.write(R::LVT_TIMER, 0x50);
    assert_eq!(bench.0.deadline(), None, "disarmed by the change back");
}
