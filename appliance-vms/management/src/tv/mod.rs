//! The television: what the interface ([`ui::tv`]) is told of the house, and in which words.

mod pace;
mod record;
mod roster;

pub use pace::Pace;
pub use record::{Motion, Record, Watched};
pub use roster::Roster;

use crate::models::rtc::calendar::Moment;
use crate::net::stack::Address;
use crate::remote::{self, Key, Press};
use alloc::string::ToString;
use ui::tv::state::{Clock, Network, Reach};
use ui::tv::{Direction, Key as UiKey, Press as UiPress};

/// The box's name on the home's network.
pub const NAME: &str = "hearth";
/// Seconds of a minute.
const MINUTE: u64 = 60;

/// What the interface calls a key.
pub fn key(key: Key) -> UiKey {
    match key {
        Key::Up => UiKey::Arrow(Direction::Up),
        Key::Down => UiKey::Arrow(Direction::Down),
        Key::Left => UiKey::Arrow(Direction::Left),
        Key::Right => UiKey::Arrow(Direction::Right),
        Key::Ok => UiKey::Ok,
        Key::Back => UiKey::Back,
        Key::Home => UiKey::Home,
        Key::Menu => UiKey::Menu,
        Key::VolumeUp => UiKey::VolumeUp,
        Key::VolumeDown => UiKey::VolumeDown,
        Key::Mute => UiKey::Mute,
        other => UiKey::Other(other.evdev()),
    }
}

/// Whether a guest that is looked at hears the key; the others are the box's, whatever a guest does.
fn is_guests(key: Key) -> bool {
    !matches!(key, Key::Home | Key::Menu | Key::VolumeUp | Key::VolumeDown | Key::Mute)
}

/// What a guest that is looked at hears of a key, both by Linux's numbers; `None`: nothing.
pub fn for_guest(code: u16) -> Option<u16> {
    let key = Key::from_evdev(code);
    if key.is_some_and(|key| !is_guests(key)) {
        return None;
    }
    // What was typed is what is meant. What only remote controls have goes by a keyboard's name for it.
    if remote::typing().any(|typed| typed == code) { Some(code) } else { key.map(Key::evdev) }
}

/// What the interface calls a press.
pub fn press(press: Press) -> UiPress {
    match press {
        Press::Tap => UiPress::Tap,
        Press::Hold => UiPress::Hold,
    }
}

/// What a clock on the wall shows so many seconds after 1970 began, and how many seconds later it shows
/// something else.
pub fn clock(unix: u64) -> (Clock, u64) {
    let Moment { minute, hour, weekday, day, month, .. } =
        Moment::from_unix(i64::try_from(unix).unwrap_or(i64::MAX));
    // Sunday is 1 there, and Monday 0 here.
    let clock = Clock { hour, minute, weekday: (weekday + 5) % 7, day, month };
    (clock, MINUTE - unix % MINUTE)
}

/// What the network is to the family. A router that gives an address and a way out counts as the world:
/// nobody is asked whether it can be reached.
pub fn network(address: Option<&Address>) -> Network {
    let reach = match address {
        None => Reach::Nowhere,
        Some(Address { router: None, .. }) => Reach::House,
        Some(Address { router: Some(_), .. }) => Reach::Internet,
    };
    let address = address.map(|address| address.ip.to_string()).unwrap_or_default();
    Network { reach, name: NAME.into(), address }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use core::net::Ipv4Addr;

    #[test]
    fn every_key_means_one_thing() {
        let named: vec::Vec<_> = Key::ALL.map(key).into();
        for (at, one) in named.iter().enumerate() {
            assert!(!named[at + 1..].contains(one), "{one:?}");
        }
        assert_eq!(key(Key::Home), UiKey::Home);
    }

    #[test]
    fn a_guest_hears_what_is_typed_and_nothing_that_is_the_boxs() {
        use crate::virtio::input::codes::key;
        for (code, heard) in [
            (30, Some(30)),
            (key::SPACE, Some(key::SPACE)),
            (key::BACKSPACE, Some(key::BACKSPACE)),
            (key::BACK, Some(key::ESC)),
            (key::OK, Some(key::ENTER)),
            (key::NUMERIC_0 + 7, Some(key::DIGIT_7)),
            (key::HOME, None),
            (key::HOMEPAGE, None),
            (key::LEFT_META, None),
            (key::MUTE, None),
            (0x2ff, None),
        ] {
            assert_eq!(for_guest(code), heard, "{code}");
        }
    }

    #[test]
    fn a_clock_changes_with_the_minute() {
        // 25 November 2026 was a Wednesday.
        let (shown, left) = clock(1_795_642_199);
        assert_eq!(shown, Clock { hour: 21, minute: 29, weekday: 2, day: 25, month: 11 });
        assert_eq!(left, 1);
        assert_eq!(clock(1_795_642_200).0.minute, 30);
        assert_eq!(clock(u64::MAX).1, 60 - u64::MAX % 60);
        // 29 November was a Sunday, and the next day a Monday.
        assert_eq!((clock(1_795_910_400).0.weekday, clock(1_795_996_800).0.weekday), (6, 0));
    }

    #[test]
    fn the_network_reaches_as_far_as_there_is_a_way() {
        let ip = Ipv4Addr::new(192, 168, 178, 20);
        let mut address = Address { ip, prefix: 24, router: None, dns: vec![] };
        assert_eq!(network(None).reach, Reach::Nowhere);
        assert_eq!(network(Some(&address)).reach, Reach::House);
        address.router = Some(ip);
        let network = network(Some(&address));
        assert_eq!((network.reach, network.address.as_str()), (Reach::Internet, "192.168.178.20"));
    }
}
