//! Devices, driven through their registers as Linux drives them, and otherwise.

pub(super) mod blk;
mod console;
mod gpu;
mod input;
mod net;
pub(super) mod rng;
mod sound;
mod transport;
