//! Reading apt's sources (sources.list(5)), both ways of writing them.

use std::fs;
use std::path::Path;

/// The address of the first mirror of Debian that `/etc/apt`, or a folder like it, names.
pub fn debian_mirror(apt: &Path) -> Option<String> {
    let mut files = vec![apt.join("sources.list")];
    let parts = fs::read_dir(apt.join("sources.list.d")).into_iter().flatten();
    let mut parts: Vec<_> = parts.filter_map(|entry| Some(entry.ok()?.path())).collect();
    parts.sort();
    files.append(&mut parts);
    files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        let addresses = match file.extension()?.to_str()? {
            "list" => one_line(&text),
            "sources" => paragraphs(&text),
            _ => return None,
        };
        addresses.into_iter().find(|address| is_debian(address))
    })
}

/// `deb [options] address suite component…`
fn one_line(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("deb "));
    let without_options = lines.map(|line| {
        let line = line.trim_start();
        line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(line, |(_, rest)| rest)
    });
    without_options.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Paragraphs of fields, `URIs:` among them.
fn paragraphs(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("URIs:"));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// Whether it is the archive itself, which ends so everywhere; not the one of security updates, nor
/// another's.
fn is_debian(address: &str) -> bool {
    address.starts_with("http") && address.trim_end_matches('/').ends_with("/debian")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("sources.list.d")).expect("made");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("written");
        }
        debian_mirror(folder.path())
    }

    #[test]
    fn both_ways_of_writing_are_read() {
        let line = "# deb x/debian\ndeb [arch=amd64 trusted=yes] http://a.test/debian/ trixie main\n";
        assert_eq!(found(&[("sources.list", line)]).as_deref(), Some("http://a.test/debian/"));
        let fields = "Types: deb\n# URIs: no\nURIs: http://b.test/debian\nSuites: bookworm\n";
        assert_eq!(
            found(&[("sources.list.d/debian.sources", fields)]).as_deref(),
            Some("http://b.test/debian")
        );
    }

    #[test]
    fn other_archives_are_no_mirror_of_debian() {
        let others = "deb http://a.test/debian-security x main\ndeb https://a.test/apt x main\n\
                      deb cdrom:[x]/debian x main\n";
        assert_eq!(
            found(&[("sources.list", others), ("sources.list.d/x.save", "URIs: http://a/debian")]),
            None
        );
    }
}
