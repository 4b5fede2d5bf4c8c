//! Which interrupt vector of hv's stands for which message of which device.

use core::ops::RangeInclusive;

/// Vectors for devices: above the exceptions and what firmware may have left on, below hv's own timer
/// and kick.
pub const VECTORS: RangeInclusive<u8> = 0x30..=0xef;
const COUNT: usize = (*VECTORS.end() - *VECTORS.start()) as usize + 1;

/// A message of a device, and the event that it sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Address of the device.
    pub device: u32,
    /// Number of the message.
    pub message: u32,
    /// Number of the event.
    pub event: u32,
}

/// One route a vector.
#[derive(Debug)]
pub struct Vectors([Option<Route>; COUNT]);

impl Default for Vectors {
    fn default() -> Self {
        Self::new()
    }
}

impl Vectors {
    /// All vectors free.
    pub const fn new() -> Self {
        Self([None; COUNT])
    }

    /// Gives the message a vector, or the one it has already a new event. `None`: all are in use.
    pub fn bind(&mut self, route: Route) -> Option<u8> {
        let at = self.position(route.device, route.message);
        let at = at.or_else(|| self.0.iter().position(Option::is_none))?;
        self.0[at] = Some(route);
        Some(VECTORS.start() + at as u8)
    }

    /// The message needs its vector no more.
    pub fn free(&mut self, device: u32, message: u32) {
        if let Some(at) = self.position(device, message) {
            self.0[at] = None;
        }
    }

    /// What a vector stands for.
    pub fn get(&self, vector: u8) -> Option<Route> {
        let at = vector.checked_sub(*VECTORS.start())?;
        self.0.get(usize::from(at)).copied().flatten()
    }

    fn position(&self, device: u32, message: u32) -> Option<usize> {
        self.0
            .iter()
            .position(|slot| slot.is_some_and(|route| (route.device, route.message) == (device, message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn route(device: u32, message: u32, event: u32) -> Route {
        Route { device, message, event }
    }

    #[test]
    fn a_message_has_one_vector_for_as_long_as_it_is_bound() {
        let mut vectors = Vectors::new();
        assert_eq!(vectors.bind(route(8, 0, 100)), Some(0x30));
        assert_eq!(vectors.bind(route(8, 1, 101)), Some(0x31));
        assert_eq!(vectors.bind(route(8, 0, 102)), Some(0x30));
        assert_eq!(vectors.get(0x30), Some(route(8, 0, 102)));
        vectors.free(8, 0);
        vectors.free(8, 7);
        assert_eq!(vectors.get(0x30), None);
        assert_eq!(vectors.get(0x31), Some(route(8, 1, 101)));
        assert_eq!(vectors.bind(route(16, 0, 1)), Some(0x30));
    }

    #[test]
    fn vectors_are_given_out_to_the_last_and_never_beyond() {
        let mut vectors = Vectors::new();
        for (message, vector) in VECTORS.enumerate() {
            assert_eq!(vectors.bind(route(8, message as u32, 0)), Some(vector));
        }
        assert_eq!(vectors.bind(route(9, 0, 0)), None);
        assert_eq!(vectors.bind(route(8, 3, 5)), Some(0x33), "a bound one may change its event");
        for outside in [0, 0x2f, 0xf0, 0xff] {
            assert_eq!(vectors.get(outside), None);
        }
    }
}
