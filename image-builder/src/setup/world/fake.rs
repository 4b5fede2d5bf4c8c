//! A computer for tests.

use super::World;
use std::path::{Path, PathBuf};

/// A computer made up by a test.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    pub(crate) system: String,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) files: Vec<(PathBuf, String)>,
    pub(crate) answers: Vec<(String, String)>,
}

impl Fake {
    #[must_use]
    pub(crate) fn linux(os_release: &str) -> Self {
        Self { system: "linux".to_owned(), ..Self::default() }.file("/etc/os-release", os_release)
    }

    #[must_use]
    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.into(), text.to_owned()));
        self
    }

    /// A program in PATH, by its full name.
    #[must_use]
    pub(crate) fn with_program(self, path: &str) -> Self {
        self.file(path, "")
    }

    /// What `command line` prints.
    #[must_use]
    pub(crate) fn answer(mut self, command_line: &str, text: &str) -> Self {
        self.answers.push((command_line.to_owned(), text.to_owned()));
        self
    }
}

impl World for Fake {
    fn system(&self) -> String {
        self.system.clone()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        ["/usr/bin", "/home/bin"]
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|path| self.exists(path))
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.iter().any(|(file, _)| file == path)
    }

    fn text(&self, path: &Path) -> Option<String> {
        self.files.iter().find(|(file, _)| file == path).map(|(_, text)| text.clone())
    }

    fn output(&self, program: &Path, arguments: &[&str]) -> Option<String> {
        let line = format!("{} {}", program.display(), arguments.join(" "));
        self.answers.iter().find(|(asked, _)| *asked == line).map(|(_, text)| text.clone())
    }
}
