//! Which appliances go into an image, with everything that has to be built for them.

use crate::recipe::{FILE, Recipe};
use crate::rootfs;
use crate::setup::{self, needs::Need};
use crate::system::{Bundle, Ready};
use crate::workspace::{VERSION, Workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Reads the recipes in `with` and of the built-in appliances, and builds what they ask for.
///
/// Built in is every folder of `appliance-vms` with a recipe. One that wants a Debian root takes
/// minutes and a mirror the first time, so it comes along only when `with` names it. `yes` answers
/// whether missing packages may be installed.
///
/// # Errors
/// With every recipe's mistakes, or when something cannot be built.
pub fn gather(workspace: &Workspace, with: &[PathBuf], yes: bool) -> Result<Vec<Ready>> {
    let mut recipes = Vec::new();
    let mut mistakes = Vec::new();
    for folder in with {
        match Recipe::read(folder) {
            Ok(recipe) => recipes.push(recipe),
            Err(error) => mistakes.push(format!("{error:#}")),
        }
    }
    for folder in built_in(workspace)? {
        if with.iter().any(|named| is_same(named, &folder)) {
            continue;
        }
        match Recipe::read(&folder) {
            Ok(recipe) if recipe.rootfs.is_some() => {}
            Ok(recipe) => recipes.push(recipe),
            Err(error) => mistakes.push(format!("{error:#}")),
        }
    }
    if !mistakes.is_empty() {
        bail!("{}", mistakes.join("\n"));
    }
    if recipes.iter().any(|recipe| recipe.rootfs.is_some()) {
        setup::provide(&Need::FOR_ROOTFS, yes)?;
    }
    let ready = |recipe: Recipe| {
        let build = |rootfs| rootfs::build(&workspace.cache(), &recipe, rootfs);
        let products = recipe.rootfs.as_ref().map(build).transpose();
        let products = products.with_context(|| format!("building the root of {:?}", recipe.name))?;
        Ok(Ready { recipe, products })
    };
    recipes.into_iter().map(ready).collect()
}

/// The bundle of these appliances.
///
/// # Errors
/// When two share a name, or a file cannot be read.
pub fn bundle(appliances: &[Ready]) -> Result<Bundle> {
    Bundle::of(VERSION, appliances)
}

/// The folders of built-in appliances, by name.
fn built_in(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let all = workspace.root().join("appliance-vms");
    let entries = fs::read_dir(&all).with_context(|| format!("reading {}", all.display()))?;
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.join(FILE).is_file()).collect();
    folders.sort();
    Ok(folders)
}

fn is_same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}
