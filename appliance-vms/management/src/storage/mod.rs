//! What lies on the disks, and who may reach which of it.

pub mod bounce;
pub mod bytes;
#[cfg(test)]
mod fake;
pub mod gpt;
pub mod part;
pub mod settings;
pub mod system;
pub mod volumes;
