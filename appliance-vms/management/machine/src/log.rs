//! The box log, from this side: lines for `log.write`, which hv puts the time before.

use crate::{dma, hypercall};
use core::fmt;
use management::log::Text;

/// Writes one line. `write` is given the sink, and is made by [`event`].
pub fn write(write: impl FnOnce(&mut Text) -> fmt::Result) {
    let mut text = Text::new();
    // The text takes everything, and is cut where it is full.
    let _ = write(&mut text);
    let line = text.finish();
    hypercall::log(dma::physical(line.as_ptr()), line.len());
}

/// Writes an event to the log: `event!(Info, "disk.found", name = "disk0")`. Needs no heap.
macro_rules! event {
    ($level:ident, $event:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::log::write(|text| {
            hv_abi::log::Line::start(text, hv_abi::log::Level::$level, $event)
                $(.and_then(|line| line.field(stringify!($key).trim_start_matches("r#"), &$value)))*
                .map(drop)
        })
    };
}
pub(crate) use event;
