//! The library behind the `hearth` command: from a checkout to a running, tested, flashed box.
//!
//! Each command is one module ([`image`], [`run`], [`bench`], [`gate`], [`flash`]). They stand on
//! [`setup`] (what this computer must have), [`bare`] (how bare metal is built), [`payload`] and
//! [`rom`] (pure functions from ELF to bytes) and [`qemu`] (one description of an emulated box).

#![forbid(unsafe_code)]

pub mod appliances;
pub mod bare;
pub mod bench;
pub mod disk;
pub mod flash;
pub mod gate;
pub mod image;
pub mod payload;
pub mod process;
pub mod progress;
pub mod qemu;
pub mod recipe;
pub mod rom;
pub mod rootfs;
pub mod run;
pub mod setup;
pub mod system;
pub mod workspace;
