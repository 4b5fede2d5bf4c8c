//! The checkout that the command works on, and the places in it.

use crate::qemu::Artifacts;
use anyhow::{Context, Result, anyhow};
use std::env;
use std::path::{Path, PathBuf};

/// Version of the product, from the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The oldest Rust that builds the workspace, from its `rust-version`.
pub const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");

/// A checkout of Hearth.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout that holds the current folder.
    ///
    /// # Errors
    /// When the current folder is in none.
    pub fn find() -> Result<Self> {
        let here =
            env::current_dir().context("asking for the current folder; next: change to one that exists")?;
        Self::above(&here).ok_or_else(|| {
            anyhow!(
                "{} is not inside a checkout of Hearth; next: change into one and type again",
                here.display()
            )
        })
    }

    fn above(folder: &Path) -> Option<Self> {
        let root = folder.ancestors().find(|up| up.join("image-builder/Cargo.toml").is_file())?;
        Some(Self { root: root.to_owned() })
    }

    /// The top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts what it builds for bare metal. Apart from the host's folder, so that the two
    /// never wait for each other's lock.
    pub fn bare_target(&self) -> PathBuf {
        self.root.join("target/bare")
    }

    /// The finished artifacts.
    pub fn artifacts(&self) -> Artifacts {
        Artifacts { dir: self.root.join("target/hearth") }
    }

    /// Where the test kernels are put.
    pub fn kernels(&self) -> PathBuf {
        self.artifacts().dir.join("kernels")
    }

    /// What is kept because it takes long to make; may be removed at any time.
    pub fn cache(&self) -> PathBuf {
        self.artifacts().dir.join("cache")
    }

    /// The hard-float target that the management VM is built for.
    pub fn vm_target(&self) -> PathBuf {
        self.root.join("appliance-vms/management/x86_64-hearth-vm.json")
    }

    /// The 32-bit target that a test kernel is built for.
    pub fn flat_target(&self) -> PathBuf {
        self.root.join("tests/kernels/i686-hearth-kernel.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_crate_is_in_a_checkout_and_the_root_folder_is_not() {
        let found = Workspace::above(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("a checkout");
        assert!(found.root().join("hv/abi").is_dir());
        assert!(Workspace::above(Path::new("/")).is_none());
    }
}
