//! The two ways out before there is anything else: COM1 and a linear framebuffer.
//!
//! The doors and hv share this crate, so that a sentence looks the same whoever says it.

#![no_std]
// Port I/O and raw pixels: both are memory or ports that only the caller can vouch for.
#![allow(unsafe_code)]

mod screen;
mod serial;

pub use screen::Screen;
pub use serial::Serial;
