//! The box's network: who may speak to whom, and under which address.

pub mod counters;
#[cfg(test)]
mod fake;
mod limit;
pub mod mac;
pub mod snoop;
pub mod stack;
pub mod switch;
