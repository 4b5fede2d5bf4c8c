extern crate std;
use super::*;
use core::cell::Cell;

/// 25 November 2026, 13:45:08, a Wednesday.
const NOW: u64 = 1_795_614_308;

struct Clock(Cell<u64>);

impl WallClock for Clock {
    fn unix_nanos(&self) -> u64 {
        self.0.get()
    }
}

struct Port {
    clock: Rc<Clock>,
    rtc: Rtc,
}

impl Port {
    fn new() -> Self {
        let clock = Rc::new(Clock(Cell::new(NOW * SECOND)));
        Self { clock: clock.clone(), rtc: Rtc::new(clock) }
    }

    fn read(&mut self, index: u64) -> u64 {
        self.rtc.write(0, 1, index);
        self.rtc.read(1, 1)
    }

    fn write(&mut self, index: u64, value: u64) {
        self.rtc.write(0, 1, index);
        self.rtc.write(1, 1, value);
    }

    fn pass(&self, nanos: u64) {
        self.clock.0.set(self.clock.0.get() + nanos);
    }

    /// Hours, minutes, seconds, as they are shown.
    fn time(&mut self) -> [u64; 3] {
        [4, 2, 0].map(|index| self.read(index))
    }

    /// Century, year, month, day, day of the week.
    fn date(&mut self) -> [u64; 5] {
        [0x32, 9, 8, 7, 6].map(|index| self.read(index))
    }
}

#[test]
fn it_shows_the_time_in_bcd_and_24_hours() {
    let mut port = Port::new();
    assert_eq!((port.date(), port.time()), ([0x20, 0x26, 0x11, 0x25, 4], [0x13, 0x45, 0x08]));
    assert_eq!([0xa, 0xb, 0xd].map(|index| port.read(index)), [0x26, 0x02, 0x80]);
    port.pass(52 * SECOND);
    assert_eq!(port.time(), [0x13, 0x46, 0x00]);
}

#[test]
fn a_real_clock_is_read_whatever_it_counts_in() {
    let mut port = Port::new();
    let now = seconds_of(|index| port.read(index.into()) as u8).expect("it shows a time");
    assert_eq!(Moment::from_unix(now).year, 2026);
    assert_eq!(show(&Moment::from_unix(now), HOURS_24)[..3], [0x08, 0x45, 0x13]);
    // One whose register of the century is something else's, and one that is always at it.
    let century = |index| if index == 0x32 { 0xff } else { port.read(u64::from(index)) as u8 };
    assert_eq!(seconds_of(century), Some(now));
    assert_eq!(seconds_of(|index| if index == 0xa { 0x80 } else { 0x11 }), None);
    // Nobody there.
    assert_eq!(seconds_of(|_| 0xff), None);
}

#[test]
fn it_shows_the_time_in_every_mode() {
    let mut port = Port::new();
    port.write(0xb, 0x06);
    assert_eq!(port.time(), [13, 45, 8]);
    port.write(0xb, 0x04);
    assert_eq!(port.time(), [0x80 | 1, 45, 8]);
    port.write(0xb, 0x00);
    assert_eq!(port.time(), [0x81, 0x45, 0x08]);
    port.pass(11 * 3600 * SECOND);
    assert_eq!(port.time(), [0x12, 0x45, 0x08], "after midnight");
    port.pass(12 * 3600 * SECOND);
    assert_eq!(port.time(), [0x92, 0x45, 0x08], "after noon");
}

/// As Linux sets it: drivers/rtc/rtc-mc146818-lib.c, `mc146818_set_time`.
#[test]
fn a_guest_sets_it_and_it_goes_on_from_there() {
    let mut port = Port::new();
    port.write(0xb, 0x82);
    port.write(0xa, 0x76);
    for (index, value) in [(9, 0x99), (8, 0x12), (7, 0x31), (4, 0x23), (2, 0x59), (0, 0x58), (0x32, 0x20)] {
        port.write(index, value);
    }
    port.pass(3 * SECOND);
    assert_eq!(port.time(), [0x23, 0x59, 0x58], "it stands still");
    port.write(0xb, 0x02);
    port.write(0xa, 0x26);
    assert_eq!(port.time(), [0x23, 0x59, 0x58]);
    port.pass(2 * SECOND);
    assert_eq!((port.date(), port.time()), ([0x21, 0, 1, 1, 6], [0, 0, 0]));
}

#[test]
fn what_is_no_time_is_not_set() {
    let mut port = Port::new();
    let before = (port.date(), port.time());
    for (index, value) in
        [(0, 0x60), (0, 0x0a), (2, 0xff), (4, 0x24), (7, 0), (7, 0x32), (8, 0x13), (9, 0xa0)]
    {
        port.write(index, value);
        assert_eq!((port.date(), port.time()), before, "{index:#x} {value:#x}");
    }
    port.write(2, 0x05);
    assert_eq!(port.time(), [0x13, 0x05, 0x08], "without standing still");
}

#[test]
fn an_update_is_announced_and_flagged() {
    let mut port = Port::new();
    assert_eq!((port.read(0xa), port.read(0xc)), (0x26, 0));
    port.pass(SECOND - 1);
    assert_eq!((port.read(0xa), port.read(0xc)), (0xa6, 0));
    port.pass(1);
    assert_eq!((port.read(0xa), port.read(0xc), port.read(0xc)), (0x26, 0x10, 0));
}

#[test]
fn its_ram_keeps_and_the_rest_of_its_ports_is_nobody() {
    let mut port = Port::new();
    port.write(0x8f, 0x0a);
    assert_eq!(port.read(0x0f), 0x0a);
    assert_eq!(port.read(1), 0, "the alarm is RAM");
    // An index and its data in one access.
    port.rtc.write(0, 2, 0x5570);
    assert_eq!(port.read(0x70), 0x55);
    assert_eq!(port.rtc.read(0, 1), 0xff);
    port.write(0xb, 0x72);
    assert_eq!(port.read(0xb), 0x02, "no interrupts");
}
