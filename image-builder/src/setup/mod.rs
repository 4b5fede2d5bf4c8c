//! What this computer must have: looked for, installed where we can, named where we cannot.
//!
//! Every decision is a pure function over [`world::World`]; only [`install`] changes the computer.

pub mod distro;
pub mod firmware;
pub mod install;
pub mod needs;
pub mod toolchain;
pub mod world;

use crate::progress;
use crate::qemu::PROGRAM;
use anyhow::{Context, Result, bail};
use distro::Distro;
use needs::{Need, look};
use toolchain::{Linkers, Toolchain};
use world::{ThisComputer, World};

/// What builds bare metal here.
#[derive(Clone, Debug)]
pub struct Toolbox {
    /// Compiler, cargo and library source.
    pub toolchain: Toolchain,
    /// The linkers.
    pub linkers: Linkers,
}

/// Sees to it that all of `needs` are here, and finds what builds bare metal.
///
/// # Errors
/// As [`provide`]; also when there is no toolchain.
pub fn ensure(needs: &[Need], yes: bool) -> Result<Toolbox> {
    provide(needs, yes)?;
    toolbox(&ThisComputer)
}

/// Sees to it that all of `needs` are here; installs what is missing where it can. `yes` answers
/// its question.
///
/// # Errors
/// With the line to type, when something is missing and could not be installed.
pub fn provide(needs: &[Need], yes: bool) -> Result<()> {
    let world = ThisComputer;
    let mut missing = missing(&world, needs);
    if missing.contains(&Need::Toolchain) {
        install::library_by_rustup(&world);
        missing = self::missing(&world, needs);
    }
    if !missing.is_empty() {
        install::packages(&world, &missing, yes)?;
        missing = self::missing(&world, needs);
    }
    if !missing.is_empty() {
        bail!("{}", told(&world, &missing));
    }
    Ok(())
}

/// What builds bare metal here, if it is here.
///
/// # Errors
/// When it is not; with the line to type.
pub fn toolbox(world: &dyn World) -> Result<Toolbox> {
    let toolchain = toolchain::resolve(world).with_context(|| told(world, &[Need::Toolchain]))?;
    let linkers =
        toolchain::linkers(world, Some(&toolchain.sysroot)).with_context(|| told(world, &[Need::Linker]))?;
    Ok(Toolbox { toolchain, linkers })
}

fn missing(world: &dyn World, needs: &[Need]) -> Vec<Need> {
    look(world, needs)
        .into_iter()
        .filter(|finding| finding.found.is_none())
        .map(|finding| finding.need)
        .collect()
}

/// What is missing, and the line that brings it.
pub fn told(world: &dyn World, missing: &[Need]) -> String {
    let names: Vec<&str> = missing.iter().map(|need| need.plain()).collect();
    let line = Distro::of(world).line(missing, world.program("rustup").is_some());
    format!("not on this computer: {}; next: {line}", names.join(", "))
}

/// Whether QEMU can show a window here.
pub fn has_window() -> bool {
    missing(&ThisComputer, &[Need::Window]).is_empty()
}

/// `hearth doctor`: a table of needs. Answers whether all that `run` needs is here.
pub fn doctor() -> bool {
    let world = ThisComputer;
    let findings = look(&world, &Need::ALL);
    let wide = Need::ALL.iter().map(|need| need.plain().len()).max().unwrap_or(0);
    for finding in &findings {
        let (mark, state) = match &finding.found {
            Some(found) => ("ok     ", found.clone()),
            None => ("MISSING", format!("for: {}", finding.need.purpose())),
        };
        progress::result(&format!("{mark}  {:wide$}  {state}", finding.need.plain()));
    }
    let missing: Vec<Need> =
        findings.iter().filter(|finding| finding.found.is_none()).map(|finding| finding.need).collect();
    if !missing.is_empty() {
        let line = Distro::of(&world).line(&missing, world.program("rustup").is_some());
        progress::result(&format!("\nTo get what is missing, type:\n  {line}"));
    }
    let ready = !missing.iter().any(|need| Need::FOR_RUN.contains(need));
    let summary = if ready { "`cargo hearth run` can start" } else { "`cargo hearth run` cannot start" };
    progress::result(&format!(
        "\n{summary} ({PROGRAM}, {} {}).",
        std::env::consts::OS,
        std::env::consts::ARCH
    ));
    ready
}
