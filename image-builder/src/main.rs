//! The `hearth` command: arguments in, one sentence out when something fails.

#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use image_builder::{bench, flash, gate, image, rootfs, run, setup};
use std::process::ExitCode;

/// Builds, runs, tests and flashes Hearth
#[derive(Parser)]
#[command(name = "cargo hearth", bin_name = "cargo hearth", version)]
struct Arguments {
    /// Answer yes to whether missing packages may be installed
    #[arg(long, global = true)]
    yes: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and start a box in QEMU
    Run(run::Arguments),
    /// Run all checks and tests, or the QEMU tests of one name
    Test(gate::Arguments),
    /// Build hearth.img, hearth.rom and hearth.elf into target/hearth
    Image(image::Arguments),
    /// Write today's versions of an appliance's Debian packages into its packages.lock
    Lock(rootfs::Arguments),
    /// Write hearth.img to a disk
    Flash(flash::Args),
    /// Measure what is promised
    Bench(bench::Arguments),
    /// Say what is needed, what is here, and how to get the rest
    Doctor,
}

fn main() -> ExitCode {
    let Arguments { yes, command } = Arguments::parse();
    let outcome = match &command {
        Command::Run(arguments) => run::command(arguments, yes).map(|()| true),
        Command::Test(arguments) => gate::command(arguments, yes),
        Command::Image(arguments) => image::command(arguments, yes).map(|()| true),
        Command::Lock(arguments) => rootfs::lock_command(arguments, yes).map(|()| true),
        Command::Flash(arguments) => flash::run(arguments).map(|()| true),
        Command::Bench(arguments) => bench::command(arguments, yes).map(|()| true),
        Command::Doctor => Ok(setup::doctor()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hearth: {error:#}");
            ExitCode::FAILURE
        }
    }
}
