//! Tasks against a clock that the test turns.

use super::*;
use alloc::vec::Vec;
use core::task::Waker;

#[derive(Clone, Default)]
struct Hand(Rc<Cell<u64>>);

impl Clock for Hand {
    fn now(&self) -> u64 {
        self.0.get()
    }
}

fn executor() -> (Executor, Handle, Hand) {
    let hand = Hand::default();
    let executor = Executor::new(hand.clone());
    let handle = executor.handle();
    (executor, handle, hand)
}

type Told = Rc<RefCell<Vec<u64>>>;

#[test]
fn with_nothing_to_do_it_rests_for_ever() {
    let (executor, ..) = executor();
    assert_eq!(executor.turn(), Rest::Forever);
    assert_eq!(executor.load(), Load::default());
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines_and_not_early() {
    let (executor, handle, hand) = executor();
    let told = Told::default();
    for deadline in [30, 10, 20, 10] {
        let (told, sleep) = (Rc::clone(&told), handle.sleep_until(deadline));
        let task = async move {
            sleep.await;
            told.borrow_mut().push(deadline);
        };
        handle.spawn("sleeper", task).expect("room");
    }
    assert_eq!(executor.turn(), Rest::Until(10));
    hand.0.set(9);
    assert_eq!(executor.turn(), Rest::Until(10));
    for (now, rest) in [(10, Rest::Until(20)), (25, Rest::Until(30)), (30, Rest::Forever)] {
        hand.0.set(now);
        assert_eq!(executor.turn(), rest);
    }
    assert_eq!(*told.borrow(), [10, 10, 20, 30]);
}

#[test]
fn an_event_is_kept_until_it_is_waited_for_and_wakes_its_owner_only() {
    let (executor, handle, _) = executor();
    let told = Told::default();
    let events = [handle.event().expect("room"), handle.event().expect("room")];
    assert_eq!(events.each_ref().map(Event::number), [0, 1]);
    executor.signal(1);
    executor.signal(1);
    for event in events {
        let told = Rc::clone(&told);
        let task = async move {
            loop {
                event.wait().await;
                told.borrow_mut().push(event.number().into());
            }
        };
        handle.spawn("waiter", task).expect("room");
    }
    assert_eq!(executor.turn(), Rest::Forever);
    executor.signal(0);
    executor.signal(1000);
    executor.signal(u32::MAX);
    assert_eq!(executor.turn(), Rest::Forever);
    assert_eq!(*told.borrow(), [1, 0]);
}

#[test]
fn numbers_of_events_are_used_again_and_run_out() {
    let (executor, handle, _) = executor();
    let mut all: Vec<_> = (0..EVENTS).map_while(|_| handle.event()).collect();
    assert_eq!(all.len(), EVENTS as usize);
    assert!(handle.event().is_none());
    executor.signal(7);
    all.remove(7);
    let again = handle.event().expect("one is free");
    assert_eq!(again.number(), 7);
    assert!(!again.take(), "what happened to another owner is not this one's");
}

#[test]
fn tasks_start_and_end_others_and_themselves() {
    let (executor, handle, _) = executor();
    let told = Told::default();
    let victim = handle.spawn("victim", core::future::pending()).expect("room");
    let (inner, heard) = (handle.clone(), Rc::clone(&told));
    let parent = async move {
        inner.cancel(victim);
        let (again, heard_too) = (inner.clone(), Rc::clone(&heard));
        let own = Rc::new(Cell::new(None));
        let name = Rc::clone(&own);
        let child = async move {
            heard_too.borrow_mut().push(1);
            if let Some(task) = name.take() {
                again.cancel(task);
            }
            again.give_way().await;
            heard_too.borrow_mut().push(2);
        };
        own.set(inner.spawn("child", child).ok());
    };
    let parent = handle.spawn("parent", parent).expect("room");
    while executor.turn() == Rest::None {}
    assert!(!handle.is_alive(victim) && !handle.is_alive(parent));
    assert_eq!(*told.borrow(), [1], "who cancels itself ends where it waits next");
    handle.cancel(victim);
}

#[test]
fn a_task_that_is_cancelled_lets_go_of_its_timer_and_event() {
    let (executor, handle, _) = executor();
    let event = handle.event().expect("room");
    let sleep = handle.sleep_until(5);
    let task = async move {
        sleep.await;
        event.wait().await;
    };
    let task = handle.spawn("waiter", task).expect("room");
    assert_eq!(executor.turn(), Rest::Until(5));
    handle.cancel(task);
    assert_eq!(executor.turn(), Rest::Forever);
    assert_eq!(handle.event().expect("room").number(), 0);
}

#[test]
fn wakers_of_a_task_that_is_over_wake_nobody() {
    let (executor, handle, _) = executor();
    let kept = Rc::new(RefCell::new(None::<Waker>));
    let keep = Rc::clone(&kept);
    let task = async move {
        poll_fn(|context| {
            *keep.borrow_mut() = Some(context.waker().clone());
            Poll::Ready(())
        })
        .await;
    };
    handle.spawn("short", task).expect("room");
    executor.turn();
    let told = Told::default();
    let heard = Rc::clone(&told);
    let next = async move {
        loop {
            heard.borrow_mut().push(0);
            core::future::pending::<()>().await;
        }
    };
    handle.spawn("next in the slot", next).expect("room");
    executor.turn();
    kept.borrow_mut().take().expect("kept").wake();
    assert_eq!(executor.turn(), Rest::Forever);
    assert_eq!(told.borrow().len(), 1);
}

#[test]
fn a_future_that_is_late_is_given_up() {
    let (executor, handle, hand) = executor();
    let told = Rc::new(RefCell::new(Vec::new()));
    for (limit, takes) in [(10, 5), (10, 50)] {
        let (handle_too, told) = (handle.clone(), Rc::clone(&told));
        let task = async move {
            let slow = handle_too.sleep(takes);
            let outcome = handle_too.within(limit, slow).await;
            told.borrow_mut().push(outcome);
        };
        handle.spawn("impatient", task).expect("room");
    }
    for now in [0, 5, 10] {
        hand.0.set(now);
        executor.turn();
    }
    assert_eq!(*told.borrow(), [Some(()), None]);
    assert_eq!(executor.turn(), Rest::Forever, "no timer is left behind");
}

#[test]
fn there_is_room_for_so_many_tasks() {
    let (executor, handle, _) = executor();
    let tasks: Vec<_> = (0..MAX_TASKS).map(|_| handle.spawn("one", core::future::pending())).collect();
    assert!(tasks.iter().all(Result::is_ok));
    assert_eq!(handle.spawn("too many", async {}), Err(TooManyTasks));
    assert_eq!(executor.turn(), Rest::Forever);
    handle.cancel(tasks[MAX_TASKS - 1].expect("room"));
    assert!(handle.spawn("in its place", async {}).is_ok());
    executor.turn();
    assert_eq!(executor.load().polls, MAX_TASKS as u64 + 1);
}

#[test]
fn who_holds_the_cpu_too_long_is_on_record() {
    let (executor, handle, hand) = executor();
    for (name, held) in [("quick", 1000), ("slow", MOST_HELD + 1), ("just so", MOST_HELD)] {
        let hand = hand.clone();
        handle.spawn(name, async move { hand.0.set(hand.0.get() + held) }).expect("room");
    }
    executor.turn();
    let load = Load { polls: 3, longest: MOST_HELD + 1, longest_task: "slow", too_long: 1 };
    assert_eq!(executor.load(), load);
}

#[test]
fn wakers_work_from_other_threads() {
    extern crate std;
    let (executor, handle, _) = executor();
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut polls = 0;
    let task = poll_fn(move |context| {
        polls += 1;
        let _ = sender.send(context.waker().clone());
        if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
    });
    let task = handle.spawn("woken from elsewhere", task).expect("room");
    for _ in 0..3 {
        while executor.turn() == Rest::None {}
        let waker = receiver.recv().expect("sent");
        std::thread::spawn(move || waker.wake()).join().expect("it woke");
    }
    assert!(!handle.is_alive(task));
}

#[test]
fn turns_are_taken_one_after_the_other_also_when_one_gives_up() {
    let (executor, handle, hand) = executor();
    let (told, turns) = (Told::default(), Rc::new(Turns::new(())));
    let tasks = [1, 2, 3].map(|number| {
        let (told, turns, clock) = (Rc::clone(&told), Rc::clone(&turns), handle.clone());
        let task = async move {
            let turn = turns.take().await;
            told.borrow_mut().push(number);
            clock.sleep(10).await;
            told.borrow_mut().push(number);
            drop(turn);
        };
        handle.spawn("taker", task).expect("room")
    });
    executor.turn();
    handle.cancel(tasks[1]);
    for now in [10, 20] {
        hand.0.set(now);
        while executor.turn() == Rest::None {}
    }
    assert_eq!(*told.borrow(), [1, 1, 3, 3]);
}
