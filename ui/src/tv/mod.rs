//! The television interface: a state that events change, and that is drawn.
//!
//! [`update`] is the one way to a new [`State`]; it answers what the machine is to do. A
//! [`Painter`] turns states into pixels and says which changed. Neither reads a clock, waits, or
//! knows a device: time is a number of milliseconds that the caller brings.

pub mod focus;
pub mod lettering;
mod painter;
pub mod scene;
pub mod screens;
pub mod state;
mod surface;
mod update;
mod widgets;
pub mod words;

pub use focus::{Direction, Id};
pub use painter::{Painter, Pictures};
pub use state::{Place, Settings, State, VmId};
pub use surface::{Picture, Surface};
pub use update::{Command, Event, Key, Press, update};
