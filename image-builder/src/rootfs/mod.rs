//! Debian roots for appliances: from a list of packages to kernel, initrd and a read-only image.
//!
//! Two stages, each kept by the hash of what goes into it under `target/hearth/cache`: packages become
//! a tar file ([`debian`], minutes), and that with the appliance's own files becomes the products
//! ([`tree`], seconds). The same recipe, lock and files give the same bytes.

mod debian;
mod initrd;
pub mod lock;
mod mirror;
mod overlay;
mod sources;
mod tree;

use crate::image::hex;
use crate::recipe::{FILE, Product, Recipe, Rootfs};
use crate::setup::{self, needs::Need};
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use clap::Args;
use lock::Lock;
pub use mirror::APT_HELPER;
use mirror::Mirror;
use overlay::Overlay;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// A plain Debian, in a checkout.
pub const DEBIAN: &str = "appliance-vms/debian-minimal";
/// The same with programs that check what they do to disks, processors and memory; for tests.
pub const PROVING: &str = "tests/appliances/proving";
/// A Debian that runs virtual machines by KVM; for tests.
pub const KVM_HOST: &str = "tests/appliances/kvm-host";
/// Changed whenever the same inputs give other bytes, so that nothing old is taken from the cache.
const GENERATION: u32 = 1;

/// What `hearth lock` is asked.
#[derive(Args)]
pub struct Arguments {
    /// The appliance's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// `hearth lock`: writes today's versions of an appliance's packages into its lock.
///
/// # Errors
/// When it has no `[rootfs]`, the mirror can't be read, or the lock cannot be written.
pub fn lock_command(arguments: &Arguments, yes: bool) -> Result<()> {
    let folder = &arguments.folder;
    let recipe = Recipe::read(folder)?;
    let rootfs = recipe.rootfs.with_context(|| {
        format!("{} has no [rootfs], so there is nothing to lock", folder.join(FILE).display())
    })?;
    setup::provide(&Need::FOR_ROOTFS, yes)?;
    let lock = Mirror::find()?.resolve(&rootfs.packages)?;
    let file = folder.join(lock::FILE);
    fs::write(&file, lock.to_string()).with_context(|| format!("writing {}", file.display()))
}

/// The folder with what is built from a recipe's `[rootfs]`; builds what is not in the folder `cache`,
/// usually [`Workspace::cache`](crate::workspace::Workspace::cache).
///
/// # Errors
/// When the lock is missing or for another list, a package can't be had, or something does not build.
pub fn build(cache: &Path, recipe: &Recipe, rootfs: &Rootfs) -> Result<PathBuf> {
    let plan = Plan::of(cache, recipe, rootfs)?;
    if plan.is_built() {
        return Ok(plan.products);
    }
    if !plan.tar.is_file() {
        let packages = cache.join("packages");
        let remedy = format!("`cargo hearth lock {}` takes today's versions", recipe.folder.display());
        Mirror::find()?.fetch(&plan.lock.packages, &packages, &remedy)?;
        let aside = plan.tar.with_extension("new");
        debian::bootstrap(rootfs, &plan.lock, &packages, &aside)?;
        fs::rename(&aside, &plan.tar).with_context(|| format!("moving {}", aside.display()))?;
    }
    let aside = plan.products.with_extension("new");
    let _ = fs::remove_dir_all(&aside); // of a build that was cut short
    fs::create_dir_all(&aside).with_context(|| format!("making {}", aside.display()))?;
    tree::finish(&plan.tar, &plan.overlay, &aside)?;
    fs::rename(&aside, &plan.products).with_context(|| format!("moving {}", aside.display()))?;
    Ok(plan.products)
}

/// The folder with what is built from a recipe of this checkout, such as [`DEBIAN`]; builds what is not
/// in the cache.
///
/// # Errors
/// As [`build`].
pub fn of_checkout(workspace: &Workspace, folder: &str) -> Result<PathBuf> {
    let recipe = Recipe::read(&workspace.root().join(folder))?;
    let rootfs = recipe.rootfs.as_ref().with_context(|| format!("{folder} has no [rootfs]"))?;
    build(&workspace.cache(), &recipe, rootfs)
}

/// The same folder, if everything is in the cache already.
///
/// # Errors
/// When the lock is missing or for another list, or the appliance's files can't be read.
pub fn cached(cache: &Path, recipe: &Recipe, rootfs: &Rootfs) -> Result<Option<PathBuf>> {
    let plan = Plan::of(cache, recipe, rootfs)?;
    Ok(plan.is_built().then_some(plan.products))
}

/// What a root is made of, and where its stages lie.
struct Plan {
    lock: Lock,
    overlay: Overlay,
    tar: PathBuf,
    products: PathBuf,
}

impl Plan {
    fn of(cache: &Path, recipe: &Recipe, rootfs: &Rootfs) -> Result<Self> {
        let lock = Lock::read(&recipe.folder, &rootfs.packages)?;
        let overlay = Overlay::read(&recipe.folder)?;
        fs::create_dir_all(cache).with_context(|| format!("making {}", cache.display()))?;
        let mut hash = Sha256::new();
        hash.update(format!("{GENERATION} {rootfs:?}\n{lock}\n"));
        hash.update(debian::MODULES_SCRIPT);
        hash.update(debian::INITRD_MODULES);
        let tar = cache.join(format!("root-{}.tar", short(&hash)));
        overlay.digest(&mut hash);
        hash.update(initrd::INIT);
        let products = cache.join(format!("rootfs-{}", short(&hash)));
        Ok(Self { lock, overlay, tar, products })
    }

    fn is_built(&self) -> bool {
        Product::ALL.iter().all(|product| self.products.join(product.name()).is_file())
    }
}

/// As much of a digest as a file's name needs.
fn short(hash: &Sha256) -> String {
    hex(&hash.clone().finalize()[..8])
}
