//! Which appliances go into an image, with everything that has to be built for them.

use crate::progress;
use crate::recipe::{FILE, Recipe};
use crate::rootfs;
use crate::setup::{self, needs::Need};
use crate::system::{Bundle, Ready};
use crate::workspace::{VERSION, Workspace};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};

/// Which appliances a command is asked for.
#[derive(Args, Default)]
pub struct Choice {
    /// Add the appliance in this folder; may be given several times
    #[arg(long, value_name = "DIR")]
    with: Vec<PathBuf>,
    /// Leave out the appliance of this name that lies in appliance-vms; may be given several times
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
}

/// Reads the recipes that `choice` names and those of the built-in appliances, and builds what they
/// ask for. `yes` answers whether missing packages may be installed.
///
/// Built in is every folder of `appliance-vms` with a recipe. One that wants a Debian root takes a
/// mirror the first time, which not everybody has: it is left out with a remark where it can't be
/// built, unless `choice` names it.
///
/// # Errors
/// With every recipe's mistakes, or when something that was named cannot be built.
pub fn gather(workspace: &Workspace, choice: &Choice, yes: bool) -> Result<Vec<Ready>> {
    let named = read(&choice.with)?;
    let mut built_in = built_in(workspace)?;
    for name in &choice.without {
        let Some(at) = built_in.iter().position(|recipe| recipe.name == *name) else {
            bail!("no appliance in appliance-vms is called {name:?}; next: see what it holds");
        };
        built_in.swap_remove(at);
    }
    built_in.retain(|recipe| !named.iter().any(|named| is_same(&named.folder, &recipe.folder)));
    let mut appliances =
        named.into_iter().map(|recipe| ready(workspace, recipe, yes)).collect::<Result<Vec<Ready>>>()?;
    for recipe in built_in {
        let (name, has_root) = (recipe.name.clone(), recipe.rootfs.is_some());
        match ready(workspace, recipe, yes) {
            Ok(appliance) => appliances.push(appliance),
            Err(error) if has_root => progress::remark(&left_out(&name, &error)),
            Err(error) => return Err(error),
        }
    }
    Ok(appliances)
}

/// The built-in appliances that need no Debian root, which is what most tests start with.
///
/// # Errors
/// As [`gather`].
pub fn without_roots(workspace: &Workspace) -> Result<Vec<Ready>> {
    let recipes = built_in(workspace)?.into_iter().filter(|recipe| recipe.rootfs.is_none());
    Ok(recipes.map(|recipe| Ready { recipe, products: None }).collect())
}

/// Builds what a recipe asks for.
fn ready(workspace: &Workspace, recipe: Recipe, yes: bool) -> Result<Ready> {
    let Some(rootfs) = &recipe.rootfs else { return Ok(Ready { recipe, products: None }) };
    let products = setup::provide(&Need::FOR_ROOTFS, yes)
        .and_then(|()| rootfs::build(&workspace.cache(), &recipe, rootfs))
        .with_context(|| format!("building the root of {:?}", recipe.name))?;
    Ok(Ready { recipe, products: Some(products) })
}

/// That an appliance can't be built, in one line.
fn left_out(name: &str, error: &anyhow::Error) -> String {
    let why = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("The box comes without the appliance {name:?}: {why}")
}

/// The bundle of these appliances.
///
/// # Errors
/// When two share a name, or a file cannot be read.
pub fn bundle(appliances: &[Ready]) -> Result<Bundle> {
    Bundle::of(VERSION, appliances)
}

/// The recipes of built-in appliances, by folder.
fn built_in(workspace: &Workspace) -> Result<Vec<Recipe>> {
    let all = workspace.root().join("appliance-vms");
    let entries = fs::read_dir(&all).with_context(|| format!("reading {}", all.display()))?;
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.join(FILE).is_file()).collect();
    folders.sort();
    read(&folders)
}

/// Reads recipes; the error holds the mistakes of all.
fn read(folders: &[PathBuf]) -> Result<Vec<Recipe>> {
    let (mut recipes, mut mistakes) = (Vec::new(), Vec::new());
    for folder in folders {
        match Recipe::read(folder) {
            Ok(recipe) => recipes.push(recipe),
            Err(error) => mistakes.push(format!("{error:#}")),
        }
    }
    if !mistakes.is_empty() {
        bail!("{}", mistakes.join("\n"));
    }
    Ok(recipes)
}

fn is_same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_an_appliance_is_left_out_is_one_line() {
        let error = anyhow::anyhow!("no mirror answers:\n  deb.debian.org\nnext: name one");
        let line = left_out("debian", &error.context("building the root of \"debian\""));
        let words = "The box comes without the appliance \"debian\": building the root of \"debian\": no mirror answers: \
                     deb.debian.org next: name one";
        assert_eq!(line, words);
    }

    #[test]
    fn what_lies_in_the_checkout_is_known_by_name() {
        let workspace = Workspace::find().expect("the tests run in a checkout");
        let choice = |name: &str| Choice { with: Vec::new(), without: vec![name.to_owned()] };
        let without = gather(&workspace, &choice("debian"), false).expect("nothing is to be built");
        assert!(without.iter().all(|ready| ready.recipe.name != "debian"));
        let refused = gather(&workspace, &choice("debain"), false).err().expect("there is none of that name");
        assert!(refused.to_string().contains("debain"), "{refused}");
    }
}
