//! Keys that are down and up become presses: short ones, long ones, and those that a held key repeats.

use super::Key;
use heapless::Vec;

/// How a key was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// Shortly, or again because it is held.
    Tap,
    /// For longer than [`HOLD`].
    Hold,
}

/// From here on OK and Home are held, in milliseconds.
pub const HOLD: u64 = 600;
/// A key that repeats does so for the first time after so many milliseconds, and then again and again.
pub const FIRST_REPEAT: u64 = 400;
/// Milliseconds between repetitions.
pub const REPEAT: u64 = 100;
/// Most repetitions: the end of a key's press may have been lost, with the batteries or the cable.
const MOST_REPEATS: u32 = 100;
/// Keys that are looked after at a time; no hand holds more.
const MOST_HELD: usize = 8;

/// A key that is down.
struct Held {
    key: Key,
    /// When something follows, in milliseconds; `None`: nothing does.
    next: Option<u64>,
    repeats: u32,
}

/// Keys on their way from a keyboard to whoever they are for. Times are milliseconds of any clock.
#[derive(Default)]
pub struct Presses {
    held: Vec<Held, MOST_HELD>,
}

/// Whether the key is told when it is let go or has been held.
fn waits(key: Key) -> bool {
    matches!(key, Key::Ok | Key::Home)
}

fn repeats(key: Key) -> bool {
    use Key::{ChannelDown, ChannelUp, Down, Left, Right, Up, VolumeDown, VolumeUp};
    matches!(key, Up | Down | Left | Right | VolumeUp | VolumeDown | ChannelUp | ChannelDown)
}

impl Presses {
    /// A key is down or up. Keyboards tell some keys as down again and again; that is no news.
    pub fn key(&mut self, key: Key, down: bool, now: u64) -> Option<(Key, Press)> {
        let at = self.held.iter().position(|held| held.key == key);
        match (at, down) {
            (None, true) => {
                let next =
                    if waits(key) { Some(now + HOLD) } else { repeats(key).then_some(now + FIRST_REPEAT) };
                // Of a ninth only the press is seen.
                let kept = self.held.push(Held { key, next, repeats: 0 }).is_ok();
                (!waits(key) || !kept).then_some((key, Press::Tap))
            }
            (Some(at), false) => {
                let held = self.held.swap_remove(at);
                (waits(key) && held.next.is_some()).then_some((key, Press::Tap))
            }
            _ => None,
        }
    }

    /// When [`Presses::due`] has something, unless a key comes before.
    pub fn deadline(&self) -> Option<u64> {
        self.held.iter().filter_map(|held| held.next).min()
    }

    /// The next press that time has made.
    pub fn due(&mut self, now: u64) -> Option<(Key, Press)> {
        let held = self.held.iter_mut().find(|held| held.next.is_some_and(|next| next <= now))?;
        if waits(held.key) {
            held.next = None;
            return Some((held.key, Press::Hold));
        }
        held.repeats += 1;
        // From now and not from when it was due: who was late does not hurry.
        held.next = (held.repeats < MOST_REPEATS).then_some(now + REPEAT);
        Some((held.key, Press::Tap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_and_home_are_told_when_they_are_let_go_or_were_held() {
        for key in [Key::Ok, Key::Home] {
            let mut presses = Presses::default();
            assert_eq!(presses.key(key, true, 0), None);
            assert_eq!((presses.deadline(), presses.due(HOLD - 1)), (Some(HOLD), None));
            assert_eq!(presses.key(key, false, 100), Some((key, Press::Tap)));
            assert_eq!(presses.key(key, true, 1000), None);
            assert_eq!(presses.key(key, true, 1300), None, "the keyboard repeats it");
            assert_eq!(presses.due(1000 + HOLD), Some((key, Press::Hold)));
            assert_eq!((presses.due(9000), presses.deadline()), (None, None));
            assert_eq!(presses.key(key, false, 9000), None);
        }
    }

    #[test]
    fn arrows_are_told_at_once_and_again_while_they_are_held() {
        let mut presses = Presses::default();
        assert_eq!(presses.key(Key::Left, true, 0), Some((Key::Left, Press::Tap)));
        assert_eq!(presses.due(FIRST_REPEAT - 1), None);
        assert_eq!(presses.due(FIRST_REPEAT), Some((Key::Left, Press::Tap)));
        assert_eq!(presses.due(FIRST_REPEAT), None);
        assert_eq!(presses.deadline(), Some(FIRST_REPEAT + REPEAT));
        assert_eq!(presses.key(Key::Left, false, 450), None);
        assert_eq!(presses.deadline(), None);
    }

    #[test]
    fn other_keys_are_told_once_and_no_key_repeats_for_ever() {
        let mut presses = Presses::default();
        assert_eq!(presses.key(Key::Back, true, 0), Some((Key::Back, Press::Tap)));
        assert_eq!(presses.deadline(), None);
        presses.key(Key::Down, true, 0);
        let mut told = 0;
        while let Some(deadline) = presses.deadline() {
            told += presses.due(deadline).map_or(0, |_| 1);
        }
        assert_eq!(told, MOST_REPEATS);
    }

    #[test]
    fn more_keys_than_a_hand_holds_are_told_all_the_same() {
        let mut presses = Presses::default();
        let told = Key::ALL.into_iter().filter_map(|key| presses.key(key, true, 0)).count();
        assert!(told >= Key::ALL.len() - 2, "{told}");
        assert!(Key::ALL.into_iter().all(|key| presses.key(key, false, 1).is_none_or(|(key, _)| waits(key))));
    }
}
