//! The CMOS clock with its RAM. Motorola MC146818A data sheet; the century's register is where the
//! FADT says.
//!
//! It shows the box's time plus what the guest has set it forward, and has no interrupt: flags of
//! alarm and periods stay clear. Registers of the time are those of one moment, so that a guest that
//! looks while they change reads nothing torn.

pub mod calendar;
#[cfg(test)]
mod tests;

use crate::bus::{Registers, bytewise_read, bytewise_write};
use alloc::rc::Rc;
use calendar::Moment;

/// What time it is, in the box.
pub trait WallClock {
    /// Nanoseconds since 1970.
    fn unix_nanos(&self) -> u64;
}

/// Registers by index.
mod register {
    pub const SECONDS: u8 = 0x00;
    pub const MINUTES: u8 = 0x02;
    pub const HOURS: u8 = 0x04;
    pub const WEEKDAY: u8 = 0x06;
    pub const DAY: u8 = 0x07;
    pub const MONTH: u8 = 0x08;
    pub const YEAR: u8 = 0x09;
    pub const A: u8 = 0x0a;
    pub const B: u8 = 0x0b;
    pub const C: u8 = 0x0c;
    pub const D: u8 = 0x0d;
    pub const CENTURY: u8 = 0x32;
    /// The registers of the time, in the order that [`super::Shown`] keeps them.
    pub const TIME: [u8; 8] = [SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY];
}

/// A: an update is about to begin.
const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// A after power-on: 32 768 Hz, 1024 periods a second, as every PC has it.
const DIVIDER: u8 = 0x26;
/// B: the time stands still, to be set.
const SET: u8 = 1 << 7;
/// B: interrupts of periods, alarm and updates, of which there are none.
const INTERRUPTS: u8 = 0b111 << 4;
/// B: binary instead of BCD.
const BINARY: u8 = 1 << 2;
/// B: 24 hours instead of 12.
const HOURS_24: u8 = 1 << 1;
/// C: an update has ended.
const UPDATED: u8 = 1 << 4;
/// D: the battery is good.
const VALID: u8 = 1 << 7;
/// In hours of 12: afternoon.
const AFTERNOON: u8 = 1 << 7;

const SECOND: u64 = 1_000_000_000;
/// How long before an update the bit says so: 244 µs, and 1984 µs of update. Data sheet, figure 16.
const UPDATE: u64 = 2_228_000;

/// The time as registers show it, in the order of [`register::TIME`].
type Shown = [u8; 8];

/// A guest's clock and CMOS RAM.
pub struct Rtc {
    clock: Rc<dyn WallClock>,
    /// Seconds that the guest's time is ahead of the box's.
    ahead: i64,
    index: u8,
    divider: u8,
    mode: u8,
    /// The time while it stands still.
    held: Option<Shown>,
    /// The second when the guest last looked for an update.
    seen: i64,
    ram: [u8; 128],
}

impl Rtc {
    /// As after power-on, with a good battery.
    pub fn new(clock: Rc<dyn WallClock>) -> Self {
        let seen = seconds(&*clock);
        Self { clock, ahead: 0, index: 0, divider: DIVIDER, mode: HOURS_24, held: None, seen, ram: [0; 128] }
    }

    fn now(&self) -> i64 {
        seconds(&*self.clock) + self.ahead
    }

    fn shown(&self) -> Shown {
        self.held.unwrap_or_else(|| show(&Moment::from_unix(self.now()), self.mode))
    }

    /// Sets the time to what registers show, if that is a time.
    fn set(&mut self, shown: Shown) {
        if let Some(moment) = understand(shown, self.mode) {
            self.ahead += moment.unix() - self.now();
            self.seen = self.now();
        }
    }

    fn set_mode(&mut self, value: u8) {
        let before = core::mem::replace(&mut self.mode, value & !INTERRUPTS);
        if value & SET == 0 {
            if let Some(shown) = self.held.take() {
                self.set(shown);
            }
        } else if before & SET == 0 {
            self.held = Some(show(&Moment::from_unix(self.now()), before));
        }
    }

    fn updating(&self) -> bool {
        self.held.is_none() && self.clock.unix_nanos() % SECOND >= SECOND - UPDATE
    }

    fn take_flags(&mut self) -> u8 {
        let now = self.now();
        if core::mem::replace(&mut self.seen, now) == now { 0 } else { UPDATED }
    }

    fn read_register(&mut self) -> u8 {
        match self.index {
            register::A if self.updating() => self.divider | UPDATE_IN_PROGRESS,
            register::A => self.divider,
            register::B => self.mode,
            register::C => self.take_flags(),
            register::D => VALID,
            index => {
                let time = register::TIME.iter().zip(self.shown()).find(|(register, _)| **register == index);
                let kept = self.ram.get(usize::from(index)).copied().unwrap_or(u8::MAX);
                time.map_or(kept, |(_, value)| value)
            }
        }
    }

    fn write_register(&mut self, value: u8) {
        match self.index {
            register::A => self.divider = value & !UPDATE_IN_PROGRESS,
            register::B => self.set_mode(value),
            register::C | register::D => {}
            index if register::TIME.contains(&index) => {
                let mut shown = self.shown();
                let place = register::TIME.iter().zip(&mut shown).find(|(register, _)| **register == index);
                if let Some((_, place)) = place {
                    *place = value;
                }
                if self.held.is_some() {
                    self.held = Some(shown);
                } else {
                    self.set(shown);
                }
            }
            index => {
                if let Some(place) = self.ram.get_mut(usize::from(index)) {
                    *place = value;
                }
            }
        }
    }
}

impl Registers for Rtc {
    fn read(&mut self, offset: u64, size: u8) -> u64 {
        bytewise_read(offset, size, |offset| if offset == 1 { self.read_register() } else { u8::MAX })
    }

    fn write(&mut self, offset: u64, size: u8, value: u64) {
        bytewise_write(offset, size, value, |offset, byte| match offset {
            // Bit 7 masks NMIs, of which there are none.
            0 => self.index = byte & 0x7f,
            1 => self.write_register(byte),
            _ => {}
        });
    }
}

/// Seconds since 1970 by a real clock, whose registers `read` reads; `None`: it shows no time. The century
/// of one that keeps none is ours.
pub fn seconds_of(mut read: impl FnMut(u8) -> u8) -> Option<i64> {
    const ATTEMPTS: usize = 10_000;
    const CENTURY: u8 = 20;
    // An update between two registers shows in that two looks differ.
    let mut last = None;
    let mut shown = (0..ATTEMPTS).find_map(|_| {
        let quiet = read(register::A) & UPDATE_IN_PROGRESS == 0;
        let shown = quiet.then(|| register::TIME.map(&mut read));
        let same = shown.is_some() && shown == last;
        last = shown;
        shown.filter(|_| same)
    })?;
    let mode = read(register::B);
    let past = |moment: &Moment| moment.year >= 1970;
    let moment = understand(shown, mode).filter(past).or_else(|| {
        shown[7] = encode(CENTURY, mode);
        understand(shown, mode)
    });
    moment.map(|moment| moment.unix())
}

/// Whole seconds since 1970, in the box.
fn seconds(clock: &dyn WallClock) -> i64 {
    (clock.unix_nanos() / SECOND).cast_signed()
}

/// A number as registers show it.
const fn encode(number: u8, mode: u8) -> u8 {
    if mode & BINARY == 0 { (number / 10 % 10) << 4 | (number % 10) } else { number }
}

/// What registers show, as a number; `None` if it is not BCD.
const fn decode(shown: u8, mode: u8) -> Option<u8> {
    let (tens, ones) = (shown >> 4, shown & 0xf);
    match mode & BINARY {
        0 if tens > 9 || ones > 9 => None,
        0 => Some(tens * 10 + ones),
        _ => Some(shown),
    }
}

fn show(moment: &Moment, mode: u8) -> Shown {
    let hour = match (mode & HOURS_24, moment.hour) {
        (0, hour) => {
            let afternoon = if hour >= 12 { AFTERNOON } else { 0 };
            encode((hour + 11) % 12 + 1, mode) | afternoon
        }
        (_, hour) => encode(hour, mode),
    };
    // Below 10 000, and not negative.
    let year = moment.year.rem_euclid(10_000).cast_unsigned();
    let two = |number: u8| encode(number, mode);
    [
        two(moment.second),
        two(moment.minute),
        hour,
        two(moment.weekday),
        two(moment.day),
        two(moment.month),
        two((year % 100) as u8),
        two((year / 100) as u8),
    ]
}

fn understand(shown: Shown, mode: u8) -> Option<Moment> {
    let [second, minute, hour, weekday, day, month, year, century] = shown;
    let number = |shown: u8, most: u8| decode(shown, mode).filter(|number| *number <= most);
    let hour = if mode & HOURS_24 != 0 {
        number(hour, 23)?
    } else {
        let afternoon = if hour & AFTERNOON == 0 { 0 } else { 12 };
        number(hour & !AFTERNOON, 12).filter(|hour| *hour != 0)? % 12 + afternoon
    };
    let not_zero = |number: &u8| *number != 0;
    Some(Moment {
        second: number(second, 59)?,
        minute: number(minute, 59)?,
        hour,
        weekday,
        day: number(day, 31).filter(not_zero)?,
        month: number(month, 12).filter(not_zero)?,
        year: i64::from(number(century, 99)?) * 100 + i64::from(number(year, 99)?),
    })
}
