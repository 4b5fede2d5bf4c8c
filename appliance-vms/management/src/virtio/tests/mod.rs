//! Devices, driven through their registers as Linux drives them, and otherwise.

mod blk;
mod console;
mod net;
mod rng;
mod transport;
