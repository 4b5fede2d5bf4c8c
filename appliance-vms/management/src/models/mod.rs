//! A guest's devices that are on no bus: pure state machines, one a file.
//!
//! Each answers accesses to its registers ([`crate::bus::Registers`]), drives its pin through
//! [`crate::interrupts::Pin`], and keeps what its owner must do until the owner asks.

pub mod board;
pub mod debug_exit;
pub mod lines;
pub mod power;
pub mod reset;
pub mod rtc;
#[cfg(test)]
mod tests;
pub mod uart;

/// What a guest asks of whoever runs it. Devices keep it until they are asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Switch it off.
    PowerOff,
    /// Start it again.
    Reset,
    /// End it with a status.
    Exit(u64),
}
