extern crate std;
use super::*;
use crate::testkit::{Random, Run};

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn died() -> Event {
    Event::Ended(End::Died("triple fault".to_string()))
}

/// An appliance that runs since `now`.
fn running(now: Duration) -> Supervisor {
    let mut appliance = Supervisor::new();
    assert_eq!(appliance.on(now, Event::Wish(Wish::Start)), [Command::Create]);
    assert_eq!(appliance.state(), State::Starting);
    assert_eq!(appliance.on(now, Event::Created), [Command::Start]);
    assert_eq!(appliance.state(), State::Running);
    appliance
}

/// Sees a failure through to the next start; answers the wait before it.
fn fail_once(appliance: &mut Supervisor, now: Duration) -> Duration {
    assert_eq!(appliance.on(now, died()), [Command::Destroy]);
    assert_eq!(appliance.state(), State::Starting);
    let [Command::After(timer, delay)] = appliance.on(now, Event::Gone)[..] else {
        panic!("it must wait");
    };
    assert_eq!(appliance.on(now + delay, Event::Timer(timer)), [Command::Create]);
    assert_eq!(appliance.on(now + delay, Event::Created), [Command::Start]);
    delay
}

#[test]
fn one_that_dies_is_started_again_later_each_time_and_then_given_up() {
    let mut appliance = running(at(0));
    for (failure, delay) in [1, 2, 4, 8].into_iter().enumerate() {
        assert_eq!(fail_once(&mut appliance, at(20 * failure as u64)), at(delay));
        assert_eq!(appliance.reason(), format!("triple fault; it is started again in {delay} s"));
    }
    assert_eq!(appliance.on(at(100), died()), [Command::Destroy]);
    assert_eq!(appliance.state(), State::Failed);
    assert!(appliance.on(at(100), Event::Gone).is_empty());
    let words = "it failed 5 times in 10 minutes and was given up; at last: triple fault";
    assert_eq!((appliance.state(), appliance.reason()), (State::Failed, words));
    assert_eq!(appliance.on(at(101), Event::Wish(Wish::Start)), [Command::Create]);
}

#[test]
fn failures_long_ago_do_not_count() {
    let mut appliance = running(at(0));
    for failure in 0..50 {
        assert_eq!(fail_once(&mut appliance, at(700 * (failure + 1))), FIRST_DELAY);
    }
}

#[test]
fn one_that_switches_itself_off_stays_off() {
    let mut appliance = running(at(0));
    assert!(appliance.on(at(5), Event::Ready).is_empty());
    assert_eq!(appliance.state(), State::Ready);
    assert_eq!(appliance.on(at(9), Event::Ended(End::PowerOff)), [Command::Stop, Command::Destroy]);
    assert_eq!(appliance.state(), State::Stopping);
    assert!(appliance.on(at(9), Event::Gone).is_empty());
    assert_eq!((appliance.state(), appliance.reason()), (State::Stopped, "it switched itself off"));
}

#[test]
fn one_that_restarts_itself_is_started_at_once_unless_it_does_nothing_else() {
    let mut appliance = running(at(0));
    assert_eq!(appliance.on(at(10), Event::Ended(End::Reset)), [Command::Stop, Command::Destroy]);
    assert_eq!(appliance.on(at(10), Event::Gone), [Command::Create]);
    appliance.on(at(10), Event::Created);
    assert_eq!(appliance.on(at(12), Event::Ended(End::Reset)), [Command::Stop, Command::Destroy]);
    assert_eq!(appliance.on(at(12), Event::Gone), [Command::After(1, FIRST_DELAY)]);
}

#[test]
fn a_status_is_told() {
    let mut appliance = running(at(0));
    appliance.on(at(1), Event::Ended(End::Exit(33)));
    appliance.on(at(1), Event::Gone);
    assert_eq!((appliance.state(), appliance.reason()), (State::Stopped, "it ended with status 33"));
}

#[test]
fn one_that_is_asked_to_stop_may_take_its_time_but_not_for_ever() {
    let mut appliance = running(at(0));
    let asked = [Command::PressPowerButton, Command::After(1, STOP_TIME)];
    assert_eq!(appliance.on(at(1), Event::Wish(Wish::Stop)), asked);
    assert_eq!(appliance.state(), State::Stopping);
    assert!(appliance.on(at(2), Event::Timer(0)).is_empty(), "another's");
    assert_eq!(appliance.on(at(31), Event::Timer(1)), [Command::Stop, Command::Destroy]);
    assert_eq!(appliance.reason(), "it did not switch itself off within 30 s, and was stopped");
    appliance.on(at(31), Event::Gone);
    assert_eq!(appliance.state(), State::Stopped);
    assert!(appliance.on(at(40), died()).is_empty(), "an end that comes late");
}

#[test]
fn a_restart_stops_and_starts_however_it_ends() {
    for end in [End::PowerOff, End::Reset, End::Exit(1), End::Died("memory".to_string())] {
        let mut appliance = running(at(0));
        appliance.on(at(1), Event::Wish(Wish::Restart));
        assert_eq!(appliance.on(at(2), Event::Ended(end)).last(), Some(&Command::Destroy));
        assert_eq!(appliance.on(at(2), Event::Gone), [Command::Create]);
    }
}

#[test]
fn minds_can_be_changed_at_any_time() {
    let mut appliance = Supervisor::new();
    appliance.on(at(0), Event::Wish(Wish::Start));
    assert!(appliance.on(at(0), Event::Wish(Wish::Stop)).is_empty(), "nothing can be stopped yet");
    assert_eq!(appliance.on(at(1), Event::Created), [Command::Destroy]);
    assert!(appliance.on(at(1), Event::Wish(Wish::Start)).is_empty(), "it must be gone first");
    assert_eq!(appliance.on(at(2), Event::Gone), [Command::Create]);
    appliance.on(at(3), Event::Created);
    assert_eq!(appliance.on(at(4), Event::Wish(Wish::Kill)), [Command::Stop, Command::Destroy]);
    assert!(appliance.on(at(4), Event::Gone).is_empty());
    assert_eq!((appliance.state(), appliance.reason()), (State::Stopped, "it was stopped at once"));
}

#[test]
fn what_can_never_run_is_not_tried_again() {
    let mut appliance = Supervisor::new();
    appliance.on(at(0), Event::Wish(Wish::Start));
    assert_eq!(appliance.on(at(0), Event::Refused("no kernel".to_string())), [Command::Destroy]);
    assert!(appliance.on(at(0), Event::Gone).is_empty());
    assert_eq!((appliance.state(), appliance.reason()), (State::Failed, "no kernel"));
    appliance.on(at(1), Event::Wish(Wish::Start));
    assert_eq!(appliance.on(at(1), Event::NotStarted("no room".to_string())), [Command::Destroy]);
    assert_eq!(appliance.on(at(1), Event::Gone), [Command::After(1, FIRST_DELAY)]);
    assert_eq!(appliance.reason(), "no room; it is started again in 1 s");
}

/// Whatever happens in whatever order, a VM is created once, runs only when created, and is destroyed
/// before it is created again.
#[test]
fn commands_make_sense_in_every_order_of_events() {
    let mut run = Run::new("supervisor", 200_000);
    let mut random = Random(run.seed);
    let (mut appliance, mut now) = (Supervisor::new(), at(0));
    let (mut exists, mut runs) = (false, false);
    for _ in run.by_ref() {
        now += Duration::from_millis(random.below(20_000));
        let why = || "why".to_string();
        let event = match random.below(12) {
            0 => Event::Wish(Wish::Start),
            1 => Event::Wish(Wish::Stop),
            2 => Event::Wish(Wish::Restart),
            3 => Event::Wish(Wish::Kill),
            4 => Event::Created,
            5 => Event::NotStarted(why()),
            6 => Event::Refused(why()),
            7 => Event::Ready,
            8 => Event::Ended(End::Reset),
            9 => Event::Ended(End::PowerOff),
            10 => Event::Gone,
            _ => Event::Timer(random.below(3) as u32 + appliance.timers.saturating_sub(1)),
        };
        for command in appliance.on(now, event) {
            match command {
                Command::Create => assert!(!core::mem::replace(&mut exists, true)),
                Command::Start => assert!(exists && !core::mem::replace(&mut runs, true)),
                Command::PressPowerButton => assert!(exists && runs),
                Command::Stop => assert!(exists && core::mem::take(&mut runs)),
                Command::Destroy => {
                    assert!(core::mem::take(&mut exists));
                    runs = false;
                }
                Command::After(..) => {}
            }
        }
        assert!(appliance.failures.len() <= MOST_FAILURES);
        if matches!(appliance.state(), State::Running | State::Ready) {
            assert!(exists && runs);
        }
    }
}
