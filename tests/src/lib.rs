//! The end-to-end tests' tools: start a box, follow its log, look at its screen, talk to its
//! monitor. Everything waits on events; nothing sleeps.
//!
//! The tests under `tests/` use only what anyone may rely on: the `hearth` command, the artifacts
//! in `target/hearth`, the box log, the screen.

pub mod bochs;
pub mod boot;
pub mod command;
pub mod damage;
pub mod debian;
pub mod emulator;
pub mod event;
pub mod guests;
pub mod log;
pub mod qemu;
pub mod refusal;
pub mod runner;
pub mod screen;
pub mod signing;
pub mod television;
pub mod wav;

use anyhow::{Result, ensure};
use image_builder::qemu::Artifacts;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an event may take. Far more than it needs: a test that fails on time measures how busy
/// the machine is.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// The product's version: the workspace's.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The checkout.
///
/// # Panics
/// Never: this crate's folder is in it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the checkout")
}

/// The artifacts of the last `cargo hearth image`.
///
/// # Errors
/// One is missing.
pub fn artifacts() -> Result<Artifacts> {
    let artifacts = Artifacts { dir: root().join("target/hearth") };
    for file in [artifacts.image(), artifacts.rom(), artifacts.elf()] {
        ensure!(file.is_file(), "{} is not there; next: `cargo hearth image`", file.display());
    }
    Ok(artifacts)
}

/// Where pictures of failed tests are kept.
///
/// # Errors
/// The folder cannot be made.
pub fn failures() -> Result<PathBuf> {
    let folder = root().join("target/hearth/test-failures");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
