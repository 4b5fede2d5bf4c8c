//! What is on the screen is drawn here: pure functions onto any `embedded-graphics` target.
//!
//! Today that is the [`notice`]: one thing said in plain words, by a door or by hv, when there is
//! no television interface (yet, or any more). It needs no heap and no floating point.

#![no_std]
#![forbid(unsafe_code)]

pub mod canvas;
pub mod notice;
pub mod theme;
