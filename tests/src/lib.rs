//! The end-to-end tests' tools: start a box, follow its log, look at its screen, talk to its
//! monitor. Everything waits on events; nothing sleeps.
//!
//! The tests under `tests/` use only what anyone may rely on: the `hearth` command, the artifacts
//! in `target/hearth`, the box log, the screen.

pub mod bochs;
pub mod event;
pub mod log;
pub mod qemu;
pub mod qmp;
pub mod runner;
pub mod screen;

use anyhow::{Result, ensure};
use image_builder::qemu::Artifacts;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an event may take. Far more than it needs: a test that fails on time measures how busy
/// the machine is.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
