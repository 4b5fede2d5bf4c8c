//! The run queue of one core: who runs next, and for how long.
//!
//! Strict priority between classes, so that sound never waits for a game; fair shares within a
//! class, by the time each has had; and a reserve for the classes below, so that nothing starves.
//! A queue belongs to its core alone: others ask it to act through a mailbox and an interrupt.

use heapless::Vec;

/// Most virtual CPUs that one core is home to.
pub const MAX_RUNNERS: usize = 32;

/// How urgent a virtual machine is; the first is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The management VM, and whoever makes sound.
    Urgent = 0,
    /// The VM on the screen.
    Front = 1,
    /// The rest.
    Back = 2,
}

const CLASSES: usize = 3;

/// Longest turn while somebody of the same class waits, in milliseconds.
const SLICE: u64 = 2;
/// The reserve is kept within windows of this many milliseconds.
const WINDOW: u64 = 100;

/// One virtual CPU in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Runner {
    id: u32,
    class: Class,
    runnable: bool,
    /// Ticks it has had, made comparable with the others of its class.
    had: u64,
}

/// Who runs, and until when at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which virtual CPU.
    pub id: u32,
    /// When to ask again, in ticks; `None`: nobody else wants the core.
    pub until: Option<u64>,
}

/// No room for another virtual CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// A core's queue. Time is in ticks of a clock that never stops.
#[derive(Debug)]
pub struct RunQueue {
    slice: u64,
    window: u64,
    runners: Vec<Runner, MAX_RUNNERS>,
    window_start: u64,
    /// Ticks that each class has had in this window.
    window_had: [u64; CLASSES],
    /// How far each class has come: the least that one of it had that wanted to run.
    pace: [u64; CLASSES],
}

impl RunQueue {
    /// An empty queue whose clock makes so many ticks a millisecond.
    pub const fn new(khz: u64) -> Self {
        let (slice, window) = (SLICE * khz, WINDOW * khz);
        Self {
            slice,
            window,
            runners: Vec::new(),
            window_start: 0,
            window_had: [0; CLASSES],
            pace: [0; CLASSES],
        }
    }

    /// Adds a virtual CPU, asleep.
    ///
    /// # Errors
    /// [`QueueFull`].
    pub fn add(&mut self, id: u32, class: Class) -> Result<(), QueueFull> {
        self.remove(id);
        self.runners.push(Runner { id, class, runnable: false, had: 0 }).map_err(|_| QueueFull)
    }

    /// Removes a virtual CPU; one that is not there is no error.
    pub fn remove(&mut self, id: u32) {
        self.runners.retain(|runner| runner.id != id);
    }

    /// Gives a virtual CPU another class.
    pub fn set_class(&mut self, id: u32, class: Class) {
        let pace = self.pace[class as usize];
        if let Some(runner) = self.find(id) {
            (runner.class, runner.had) = (class, pace);
        }
    }

    /// The virtual CPU wants to run. One that slept, or has just come, is not paid for the time before:
    /// it comes in a slice before the one of its class that had least, so that it is served first.
    pub fn wake(&mut self, id: u32) {
        let (pace, slice) = (self.pace, self.slice);
        if let Some(runner) = self.find(id).filter(|runner| !runner.runnable) {
            runner.runnable = true;
            runner.had = runner.had.max(pace[runner.class as usize].saturating_sub(slice));
        }
    }

    /// The virtual CPU has nothing to do.
    pub fn sleep(&mut self, id: u32) {
        if let Some(runner) = self.find(id) {
            runner.runnable = false;
        }
    }

    /// The virtual CPU had the core from `from` to `to`, with all that hv did for it meanwhile. Is told
    /// before others are woken, who otherwise would be paid for this time.
    pub fn charge(&mut self, id: u32, from: u64, to: u64) {
        let ticks = to.saturating_sub(from);
        self.turn_window(to);
        let Some(runner) = self.find(id) else { return };
        runner.had += ticks;
        let class = runner.class;
        self.window_had[class as usize] += ticks;
        let mine = self.runners.iter().filter(|other| other.class == class && other.runnable);
        if let Some(least) = mine.map(|other| other.had).min() {
            let pace = &mut self.pace[class as usize];
            *pace = least.max(*pace);
        }
    }

    /// Who runs at time `now`.
    pub fn pick(&mut self, now: u64) -> Option<Turn> {
        self.turn_window(now);
        let mut wanting = self.runners.iter().filter(|runner| runner.runnable);
        let first = wanting.next()?;
        if wanting.next().is_none() {
            return Some(Turn { id: first.id, until: None });
        }
        let class = self.class_to_serve()?;
        let waiting = |runner: &&Runner| runner.runnable;
        let mine = self.runners.iter().filter(waiting).filter(|runner| runner.class == class);
        let chosen = mine.min_by_key(|runner| runner.had)?;
        let below = self.runners.iter().filter(waiting).any(|runner| runner.class > class);
        // Also while only other classes wait: one of its own may wake, who does not preempt it.
        let slice = self.end_of_slice(now);
        let budget = below.then(|| now + self.budget_left(class).max(self.slice / 2));
        let window = self.window_start + self.window;
        // While a class below is owed its reserve, or runs on it, the window's end changes things.
        let others = self.runners.iter().filter(waiting).any(|runner| runner.class != class);
        let until = [Some(slice), budget, others.then_some(window)].into_iter().flatten().min();
        Some(Turn { id: chosen.id, until })
    }

    /// When a turn ends at the latest that had no end, once somebody waits: who is due then is picked then.
    pub const fn end_of_slice(&self, now: u64) -> u64 {
        now + self.slice
    }

    /// Beside `running`: whether somebody wants to run, and whether they should take the core at once.
    pub fn beside(&self, running: u32) -> (bool, bool) {
        let class = self.runners.iter().find(|runner| runner.id == running).map(|runner| runner.class);
        let others = self.runners.iter().filter(|runner| runner.runnable && runner.id != running);
        others.fold((false, false), |(_, urgent), other| (true, urgent || Some(other.class) < class))
    }

    /// The most urgent class with somebody to run whose budget is not used up, or else the most
    /// urgent one: the core is never idle while somebody wants it.
    fn class_to_serve(&self) -> Option<Class> {
        let classes = [Class::Urgent, Class::Front, Class::Back];
        let wanted =
            |class: &Class| self.runners.iter().any(|runner| runner.runnable && runner.class == *class);
        let mut wanting = classes.into_iter().filter(wanted);
        let first = wanting.next()?;
        let mut serve = first;
        for below in wanting {
            if self.budget_left(serve) > 0 {
                return Some(serve);
            }
            serve = below;
        }
        Some(serve)
    }

    /// What `class` may still take of this window while a class below waits: nine tenths of what
    /// the classes above left it.
    fn budget_left(&self, class: Class) -> u64 {
        let (above, mine) = self.window_had.split_at(class as usize);
        let left = self.window.saturating_sub(above.iter().sum());
        (left / 10 * 9).saturating_sub(mine[0])
    }

    fn find(&mut self, id: u32) -> Option<&mut Runner> {
        self.runners.iter_mut().find(|runner| runner.id == id)
    }

    fn turn_window(&mut self, now: u64) {
        if now >= self.window_start.saturating_add(self.window) {
            self.window_start = now - now % self.window;
            self.window_had = [0; CLASSES];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Runs the queue for `span`; everyone runnable spins. Answers what each had.
    fn spin(queue: &mut RunQueue, span: u64) -> [u64; 4] {
        let (mut now, mut had) = (0, [0; 4]);
        while now < span {
            let turn = queue.pick(now).expect("somebody spins");
            let until = turn.until.unwrap_or(span).min(span);
            assert!(until > now, "a turn must get on");
            queue.charge(turn.id, now, until);
            had[turn.id as usize] += until - now;
            now = until;
        }
        had
    }

    fn queue(runners: &[(u32, Class)]) -> RunQueue {
        let mut queue = RunQueue::new(MS);
        for &(id, class) in runners {
            queue.add(id, class).expect("room");
            queue.wake(id);
        }
        queue
    }

    #[test]
    fn equals_share_equally() {
        let had = spin(&mut queue(&[(0, Class::Back), (1, Class::Back)]), 1000 * MS);
        assert!(had[0].abs_diff(had[1]) <= (SLICE * MS), "{had:?}");
    }

    #[test]
    fn a_higher_class_comes_first_but_leaves_a_tenth() {
        let had = spin(&mut queue(&[(0, Class::Urgent), (1, Class::Back)]), 1000 * MS);
        assert!((895 * MS..=905 * MS).contains(&had[0]), "{had:?}");
        let all = spin(&mut queue(&[(0, Class::Urgent), (1, Class::Front), (2, Class::Back)]), 1000 * MS);
        assert!(all.iter().take(3).all(|&had| had >= 5 * MS), "{all:?}");
    }

    #[test]
    fn alone_there_is_no_end_to_a_turn() {
        let mut queue = queue(&[(3, Class::Front)]);
        assert_eq!(queue.pick(5), Some(Turn { id: 3, until: None }));
        queue.sleep(3);
        assert_eq!(queue.pick(5), None);
    }

    #[test]
    fn who_slept_is_not_paid_for_it() {
        let mut queue = queue(&[(0, Class::Back), (1, Class::Back)]);
        queue.sleep(1);
        let had = spin(&mut queue, 500 * MS);
        assert_eq!(had[0], 500 * MS);
        queue.wake(1);
        let turn = queue.pick(500 * MS).expect("two want it");
        assert!(turn.until.expect("two want it") <= 500 * MS + (SLICE * MS));
        let mut had = [0; 2];
        let mut now = 500 * MS;
        while now < 600 * MS {
            let turn = queue.pick(now).expect("two want it");
            let until = turn.until.expect("two want it");
            queue.charge(turn.id, now, until);
            had[turn.id as usize] += until - now;
            now = until;
        }
        assert!(had[0].abs_diff(had[1]) <= 2 * (SLICE * MS), "{had:?}");
    }

    #[test]
    fn who_has_just_come_is_not_paid_for_the_time_before() {
        let mut queue = queue(&[(0, Class::Back)]);
        spin(&mut queue, 500 * MS);
        queue.sleep(0);
        queue.add(1, Class::Back).expect("room");
        queue.wake(1);
        let turn = queue.pick(500 * MS).expect("one wants it");
        queue.wake(0);
        queue.charge(turn.id, 500 * MS, 503 * MS);
        assert_eq!(queue.pick(503 * MS).map(|turn| turn.id), Some(0), "it had less since then");
    }

    #[test]
    fn only_a_higher_class_takes_the_core_at_once() {
        let mut queue = queue(&[(0, Class::Urgent), (1, Class::Back), (2, Class::Back)]);
        assert_eq!(queue.beside(1), (true, true));
        assert_eq!(queue.beside(0), (true, false), "who waits is less urgent");
        queue.sleep(0);
        assert_eq!(queue.beside(1), (true, false), "who waits is as urgent");
        queue.sleep(2);
        assert_eq!(queue.beside(1), (false, false));
    }

    #[test]
    fn a_class_can_be_changed_while_it_runs() {
        let mut queue = queue(&[(0, Class::Front), (1, Class::Back)]);
        spin(&mut queue, 50 * MS);
        queue.set_class(1, Class::Front);
        queue.set_class(0, Class::Back);
        assert_eq!(queue.pick(50 * MS).map(|turn| turn.id), Some(1));
    }

    #[test]
    fn a_full_queue_says_so() {
        let mut queue = RunQueue::new(MS);
        for id in 0..MAX_RUNNERS as u32 {
            queue.add(id, Class::Back).expect("room");
        }
        assert_eq!(queue.add(1000, Class::Back), Err(QueueFull));
        queue.add(3, Class::Urgent).expect("it was there already");
    }

    /// Its turn began when only somebody less urgent waited, and is no longer for that.
    #[test]
    fn who_wakes_waits_for_one_of_its_class_no_longer_than_a_slice() {
        let mut queue = queue(&[(0, Class::Urgent), (1, Class::Back)]);
        queue.add(2, Class::Urgent).expect("room");
        let turn = queue.pick(0).expect("somebody runs");
        queue.wake(2);
        assert_eq!((turn.id, queue.beside(0)), (0, (true, false)));
        let until = turn.until.expect("somebody waits");
        assert!(until <= SLICE * MS, "it waits for {until} ticks");
        queue.charge(0, 0, until);
        assert_eq!(queue.pick(until).map(|turn| turn.id), Some(2));
    }
}
