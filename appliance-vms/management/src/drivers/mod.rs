//! Drivers of physical devices, over two small traits: their registers, and memory that they reach.

pub mod dma;
pub mod e1000;
#[cfg(test)]
pub(crate) mod fake;
pub mod gpu;
pub mod hda;
pub mod nvme;
pub mod ps2;
pub mod registers;
