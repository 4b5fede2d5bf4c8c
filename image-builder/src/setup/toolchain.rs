//! Which Rust toolchain builds bare metal.
//!
//! All bare-metal code is built with `-Zbuild-std`, from the library's source that lies beside a
//! compiler, because no toolchain brings a library for our hard-float target. So a toolchain
//! qualifies by holding that source: the one in use, when rustup's `rust-src` is added or a
//! distribution packages it, else Debian's `rustc-web`.

use super::world::World;
use crate::workspace::RUST_VERSION;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a toolchain keeps the library's source, below its sysroot.
pub const LIBRARY: &str = "lib/rustlib/src/rust/library";

/// A toolchain that can build bare metal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The folder that holds it.
    pub sysroot: PathBuf,
    /// Its compiler.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// The compiler's version, as it prints it.
    pub version: String,
    /// Whether it has clippy.
    pub clippy: bool,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.version, self.sysroot.display())
    }
}

/// LLVM's linker in its two roles. The toolchain's `rust-lld` plays both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linkers {
    /// Links ELF.
    pub elf: PathBuf,
    /// Links PE, for UEFI.
    pub pe: PathBuf,
}

/// The toolchain in use, if it qualifies, else Debian's.
pub fn resolve(world: &dyn World) -> Option<Toolchain> {
    candidates(world).into_iter().find_map(|rustc| qualify(world, &rustc))
}

/// Compilers to look at, best first.
fn candidates(world: &dyn World) -> Vec<PathBuf> {
    let chosen = world.variable("RUSTC").map(PathBuf::from);
    let in_use = chosen.or_else(|| world.program("rustc"));
    in_use.into_iter().chain([PathBuf::from("/usr/bin/rustc")]).collect()
}

fn qualify(world: &dyn World, rustc: &Path) -> Option<Toolchain> {
    let sysroot = PathBuf::from(world.output(rustc, &["--print", "sysroot"])?.trim());
    // `rustc` in PATH may be rustup's proxy; what it stands for is in the sysroot.
    let (rustc, cargo) = (sysroot.join("bin/rustc"), sysroot.join("bin/cargo"));
    let complete = [&rustc, &cargo, &sysroot.join(LIBRARY)].iter().all(|path| world.exists(path));
    let version = world.output(&rustc, &["--version"])?.trim().to_owned();
    let new_enough = release(&version)? >= release(RUST_VERSION)?;
    let clippy =
        ["bin/cargo-clippy", "bin/clippy-driver"].iter().all(|name| world.exists(&sysroot.join(name)));
    (complete && new_enough).then_some(Toolchain { sysroot, rustc, cargo, version, clippy })
}

/// Major and minor number in `1.95`, `1.95.0-nightly` or `rustc 1.95.0 (…)`.
fn release(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// The linkers: the toolchain's own, else those in PATH.
pub fn linkers(world: &dyn World, sysroot: Option<&Path>) -> Option<Linkers> {
    let own = sysroot.and_then(|sysroot| {
        let host = host_triple(world, sysroot)?;
        let lld = sysroot.join("lib/rustlib").join(host).join("bin/rust-lld");
        world.exists(&lld).then(|| Linkers { elf: lld.clone(), pe: lld })
    });
    own.or_else(|| {
        let lld = world.program("rust-lld").map(|lld| Linkers { elf: lld.clone(), pe: lld });
        lld.or_else(|| Some(Linkers { elf: world.program("ld.lld")?, pe: world.program("lld-link")? }))
    })
}

fn host_triple(world: &dyn World, sysroot: &Path) -> Option<String> {
    let about = world.output(&sysroot.join("bin/rustc"), &["-vV"])?;
    about.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::world::Fake;
    use super::*;

    /// A compiler `rustc` of `version` that lives in `sysroot`, with library source or without.
    fn with(world: Fake, rustc: &str, sysroot: &str, version: &str, source: bool) -> Fake {
        let own = format!("{sysroot}/bin/rustc");
        let mut world = world
            .with_program(rustc)
            .with_program(&own)
            .with_program(&format!("{sysroot}/bin/cargo"))
            .answer(&format!("{rustc} --print sysroot"), &format!("{sysroot}\n"))
            .answer(&format!("{own} --version"), &format!("rustc {version} (x 2026-01-01)\n"))
            .answer(&format!("{own} -vV"), "rustc\nhost: x86_64-unknown-linux-gnu\n");
        if source {
            world = world.file(&format!("{sysroot}/{LIBRARY}"), "");
        }
        world
    }

    fn rustup(source: bool) -> Fake {
        with(Fake::linux("ID=debian"), "/home/bin/rustc", "/home/toolchain", "1.95.0", source)
    }

    fn debian(world: Fake, version: &str) -> Fake {
        with(world, "/usr/bin/rustc", "/usr", version, true)
    }

    /// `program` finds /usr/bin first; here the home folder comes first, as rustup arranges it.
    fn resolve_chosen(world: &Fake) -> Option<PathBuf> {
        let mut world = world.clone();
        world.variables.push(("RUSTC".to_owned(), "/home/bin/rustc".to_owned()));
        resolve(&world).map(|toolchain| toolchain.sysroot)
    }

    #[test]
    fn the_toolchain_in_use_comes_first_if_it_has_the_source() {
        assert_eq!(resolve_chosen(&rustup(true)), Some("/home/toolchain".into()));
        assert_eq!(resolve_chosen(&debian(rustup(true), "1.96.0")), Some("/home/toolchain".into()));
    }

    #[test]
    fn debians_stands_in_if_it_is_new_enough() {
        assert_eq!(resolve_chosen(&rustup(false)), None);
        assert_eq!(resolve_chosen(&debian(rustup(false), "1.96.0")), Some("/usr".into()));
        assert_eq!(resolve_chosen(&debian(rustup(false), "1.63.0")), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(release("rustc 1.100.0 (abc)") > release("1.95"));
        assert_eq!(release("rustc 1.97.0-nightly (abc)"), Some((1, 97)));
        assert_eq!(release("no number"), None);
    }

    #[test]
    fn the_toolchains_own_linker_comes_before_the_systems() {
        let world = rustup(true).with_program("/usr/bin/ld.lld");
        let sysroot = Some(Path::new("/home/toolchain"));
        assert_eq!(linkers(&world, sysroot), None, "half of the pair");
        let world = world.with_program("/usr/bin/lld-link");
        let found = linkers(&world, sysroot).expect("the system's");
        assert_eq!((found.elf, found.pe), ("/usr/bin/ld.lld".into(), "/usr/bin/lld-link".into()));
        let lld = "/home/toolchain/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld";
        let found = linkers(&world.file(lld, ""), sysroot).expect("its own");
        assert_eq!(found.elf, found.pe);
        assert_eq!(found.elf, Path::new(lld));
    }
}
