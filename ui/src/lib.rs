//! What is on the screen is drawn here: pure functions onto any `embedded-graphics` target.
//!
//! The [`notice`] is one thing said in plain words, by a door or by hv, when there is no
//! television interface (yet, or any more). It needs no heap and no floating point. The
//! television interface itself is `tv`, behind the feature of that name.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "tv")]
extern crate alloc;

pub mod canvas;
pub mod notice;
pub mod theme;
#[cfg(feature = "tv")]
pub mod tv;
