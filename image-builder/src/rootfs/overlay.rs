//! An appliance's own files, which go over Debian's: the folder `overlay` beside the recipe.

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Name of the folder.
pub const FOLDER: &str = "overlay";

/// What stands at a path. Everything belongs to root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A folder, open to all.
    Folder,
    /// A file, readable to all.
    File {
        /// What it holds.
        bytes: Vec<u8>,
        /// Whether it may be run.
        program: bool,
    },
    /// A symbolic link.
    Link(PathBuf),
}

/// Everything in the folder, by its path in the root.
#[derive(Debug, Default)]
pub struct Overlay {
    /// The files, folders before what is in them.
    pub files: BTreeMap<String, Content>,
}

impl Overlay {
    /// Reads the overlay of an appliance's folder; none is an empty one.
    ///
    /// # Errors
    /// When something in it can't be read, or is neither file, folder nor link.
    pub fn read(appliance: &Path) -> Result<Self> {
        let mut overlay = Self::default();
        let folder = appliance.join(FOLDER);
        if folder.is_dir() {
            overlay.take("", &folder)?;
        }
        Ok(overlay)
    }

    fn take(&mut self, place: &str, folder: &Path) -> Result<()> {
        let reading = || format!("reading {}", folder.display());
        for entry in fs::read_dir(folder).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let file = entry.path();
            let name = entry.file_name();
            let Some(name) = name.to_str() else { bail!("{} is not UTF-8", file.display()) };
            let path = if place.is_empty() { name.to_owned() } else { format!("{place}/{name}") };
            let about = fs::symlink_metadata(&file).with_context(|| format!("reading {}", file.display()))?;
            let content = if about.is_dir() {
                self.take(&path, &file)?;
                Content::Folder
            } else if about.is_symlink() {
                Content::Link(fs::read_link(&file).with_context(|| format!("reading {}", file.display()))?)
            } else {
                ensure!(about.is_file(), "{} is neither file, folder nor link", file.display());
                let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
                Content::File { bytes, program: about.permissions().mode() & 0o100 != 0 }
            };
            self.files.insert(path, content);
        }
        Ok(())
    }

    /// Checks that it can lie over a root with these folders and other files.
    ///
    /// # Errors
    /// When a folder would hide a file or a link, or the other way round.
    pub fn check(&self, folders: &BTreeSet<String>, others: &BTreeSet<String>) -> Result<()> {
        for (path, content) in &self.files {
            let (has, wants) = match content {
                Content::Folder => (others.contains(path), "a folder, and Debian has a file or link there"),
                _ => (folders.contains(path), "a file, and Debian has a folder there"),
            };
            ensure!(!has, "{FOLDER}/{path} is {wants}; next: put it where that leads (bin, lib are in usr)");
        }
        Ok(())
    }

    /// Adds all that matters to a digest.
    pub fn digest(&self, hash: &mut Sha256) {
        for (path, content) in &self.files {
            hash.update(format!("{path:?}: {content:?}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_links_and_programs_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let etc = folder.path().join("overlay/etc");
        fs::create_dir_all(&etc).expect("made");
        fs::write(etc.join("run"), "x").expect("written");
        fs::set_permissions(etc.join("run"), fs::Permissions::from_mode(0o700)).expect("set");
        std::os::unix::fs::symlink("../run", etc.join("link")).expect("linked");
        let overlay = Overlay::read(folder.path()).expect("read");
        let paths: Vec<&str> = overlay.files.keys().map(String::as_str).collect();
        assert_eq!(paths, ["etc", "etc/link", "etc/run"]);
        assert_eq!(overlay.files["etc/link"], Content::Link("../run".into()));
        assert_eq!(overlay.files["etc/run"], Content::File { bytes: b"x".to_vec(), program: true });
        assert!(Overlay::read(Path::new("/nowhere")).expect("none").files.is_empty());
    }

    #[test]
    fn a_folder_over_a_link_is_refused() {
        let files = [("lib".to_owned(), Content::Folder)].into();
        let links = ["lib".to_owned()].into();
        let error = Overlay { files }.check(&BTreeSet::new(), &links).expect_err("a link there");
        assert!(error.to_string().starts_with("overlay/lib is a folder"), "{error}");
    }
}
