//! Who has which memory.

mod frames;
pub mod layout;
mod ownership;

pub use frames::Frames;
pub use ownership::{Owner, OwnershipError, OwnershipMap};
