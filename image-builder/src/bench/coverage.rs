//! How much of `hv/core` its host tests reach, in lines: compiled with rustc's coverage counters, and
//! read by LLVM's own tools, which must be of the compiler's LLVM (rustc book, "Instrumentation-based
//! Code Coverage").

use crate::gate::sources;
use crate::process;
use crate::progress::{self, Step};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Promised: lines that are reached, in percent.
const PROMISE: u64 = 85;
/// What is measured, below the checkout.
const MEASURED: &str = "hv/core/src";

/// LLVM's two programs.
struct Tools {
    profdata: PathBuf,
    cov: PathBuf,
}

/// Lines of a file: those that can be reached, and those that were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    all: u64,
    reached: u64,
}

impl Lines {
    /// Tenths of a percent, rounded down.
    fn permille(self) -> u64 {
        1000 * self.reached / self.all.max(1)
    }
}

/// Measures, and prints a line a file, the worst last, and the sum. Without LLVM's tools it says so, and
/// that is an error only where the measurement was `asked` for.
///
/// # Errors
/// Also when a test fails, or fewer lines are reached than promised.
pub(super) fn measure(workspace: &Workspace, asked: bool) -> Result<()> {
    let tools = match Tools::find() {
        Err(error) if !asked => {
            progress::result(&format!("coverage of hv/core: left out, because {error}"));
            return Ok(());
        }
        found => found?,
    };
    let step = Step::start("coverage of hv/core");
    let report = match report(workspace, &tools) {
        Ok(report) => report,
        Err(error) => {
            step.failed();
            return Err(error);
        }
    };
    step.done("");
    let files = per_file(&report, workspace.root())?;
    let mut rows: Vec<_> = files.into_iter().collect();
    rows.sort_by_key(|(_, lines)| std::cmp::Reverse(lines.permille()));
    for (path, lines) in &rows {
        progress::result(&format!(
            "{path:32} {:>4} of {:>4} {:>7}",
            lines.reached,
            lines.all,
            percent(*lines)
        ));
    }
    let sum = rows.iter().fold(Lines::default(), |sum, (_, lines)| Lines {
        all: sum.all + lines.all,
        reached: sum.reached + lines.reached,
    });
    progress::result(&format!(
        "coverage of hv/core: {} of {} lines, {PROMISE} % promised",
        percent(sum),
        sum.all
    ));
    ensure!(
        sum.permille() >= 10 * PROMISE,
        "not as promised: coverage of hv/core; next: test what is last in the list"
    );
    Ok(())
}

fn percent(lines: Lines) -> String {
    format!("{}.{} %", lines.permille() / 10, lines.permille() % 10)
}

impl Tools {
    /// Those of the toolchain in use (rustup's `llvm-tools`), else the system's of the same LLVM.
    fn find() -> Result<Self> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let asked = |argument: &[&str]| process::output(Command::new(&rustc).args(argument));
        let about = asked(&["-vV"]).context("asking rustc for its version; next: `cargo hearth doctor`")?;
        let (host, llvm) = versions(&about).context("rustc does not tell its host and its LLVM")?;
        let sysroot = asked(&["--print", "sysroot"]).unwrap_or_default();
        let own = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
        let tool = |name: &str| {
            let own = own.join(name);
            let numbered = || process::find_in_path(&format!("{name}-{llvm}"));
            if own.is_file() { Some(own) } else { numbered() }
        };
        match (tool("llvm-profdata"), tool("llvm-cov")) {
            (Some(profdata), Some(cov)) => Ok(Self { profdata, cov }),
            _ => bail!(
                "llvm-profdata and llvm-cov of LLVM {llvm} are missing; next: `rustup component add llvm-tools`, or \
                 on Debian `apt-get install llvm-{llvm}`"
            ),
        }
    }
}

/// Of `rustc -vV`: the host, and the number of its LLVM.
fn versions(about: &str) -> Option<(&str, &str)> {
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name));
    Some((field("host: ")?, field("LLVM version: ")?.split('.').next()?))
}

/// Runs the tests of `hv-core`; what they reached, in the format of `lcov`.
fn report(workspace: &Workspace, tools: &Tools) -> Result<String> {
    let folder = workspace.root().join("target/coverage");
    let profiles = folder.join("profiles");
    if profiles.exists() {
        fs::remove_dir_all(&profiles).context("removing the last run's profiles")?;
    }
    let tests = |arguments: &[&str]| {
        let mut command = process::cargo(workspace.root());
        command.args(["test", "--quiet", "--package", "hv-core", "--lib", "--tests"]).args(arguments);
        command.arg("--target-dir").arg(&folder).env("RUSTFLAGS", "-Cinstrument-coverage");
        // %p and %m: a file for each process of each program, so that none writes over another's.
        command.env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw"));
        captured(&mut command)
    };
    let built = tests(&["--no-run", "--message-format=json"])?;
    let programs: Vec<&str> = built.lines().filter_map(program).collect();
    ensure!(!programs.is_empty(), "cargo names no test program of hv-core");
    tests(&[])?;
    let data = folder.join("all.profdata");
    let found = fs::read_dir(&profiles).context("reading the profiles")?;
    let raw: Vec<PathBuf> = found.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    captured(Command::new(&tools.profdata).args(["merge", "-sparse", "-o"]).arg(&data).args(raw))?;
    let mut export = Command::new(&tools.cov);
    export.args(["export", "-format=lcov", "-instr-profile"]).arg(&data).arg(programs[0]);
    export.args(programs[1..].iter().flat_map(|program| ["-object", program]));
    captured(&mut export)
}

/// The test program that a line of cargo's messages names. The path is read as it stands: in a
/// checkout whose path JSON would have to escape nothing is found, and that is said.
fn program(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("\"executable\":\"")?;
    rest.split_once('"').map(|(path, _)| path)
}

/// Of an `lcov` report the lines of each measured file, but for those that are tests. (geninfo(1):
/// `SF:` names the file, `DA:` a line and how often it was reached.)
fn per_file(report: &str, root: &Path) -> Result<BTreeMap<String, Lines>> {
    let mut files = BTreeMap::new();
    let mut current = None;
    for line in report.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            current = measured(Path::new(path), root)?;
        } else if let (Some((name, last)), Some(data)) = (&current, line.strip_prefix("DA:")) {
            let (number, count) = data.split_once(',').context("a line of lcov's without a comma")?;
            if number.parse::<usize>()? <= *last {
                let lines: &mut Lines = files.entry(name.clone()).or_default();
                lines.all += 1;
                lines.reached += u64::from(count != "0");
            }
        }
    }
    ensure!(!files.is_empty(), "the report names no file below {MEASURED}");
    Ok(files)
}

/// The file's name and its last line that is no test, if it is measured.
fn measured(path: &Path, root: &Path) -> Result<Option<(String, usize)>> {
    const TESTS_ONLY: &str = "random.rs";
    let Ok(below) = path.strip_prefix(root) else { return Ok(None) };
    let Ok(name) = below.strip_prefix(MEASURED) else { return Ok(None) };
    if !sources::is_hypervisor(below) || name == Path::new(TESTS_ONLY) {
        return Ok(None);
    }
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Some((name.display().to_string(), sources::without_tests(&text).lines().count())))
}

/// What a program prints; its complaints, if it fails.
fn captured(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        bail!("{text}{}\nnext: mend what it says above", String::from_utf8_lossy(&done.stderr));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustc_tells_its_llvm() {
        let about = "rustc 1.95.0 (x)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.2\n";
        assert_eq!(versions(about), Some(("x86_64-unknown-linux-gnu", "22")));
        assert_eq!(versions("rustc 1.95.0"), None);
    }

    #[test]
    fn cargo_names_programs_in_some_messages() {
        let line = r#"{"reason":"compiler-artifact","executable":"/w/target/deps/fuzz-1","fresh":false}"#;
        assert_eq!(program(line), Some("/w/target/deps/fuzz-1"));
        assert_eq!(program(r#"{"reason":"compiler-artifact","executable":null}"#), None);
    }

    #[test]
    fn only_lines_that_are_no_tests_count() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join(MEASURED);
        fs::create_dir_all(folder.join("vcpu")).expect("a folder");
        let text = "fn one() {\n}\n\n#[cfg(test)]\nmod tests {\n    fn two() {}\n}\n";
        for name in ["one.rs", "vcpu/tests.rs", "testkit.rs", "random.rs"] {
            fs::write(folder.join(name), text).expect("a file");
        }
        let of = |path: &Path| format!("SF:{}\nDA:1,7\nDA:2,0\nDA:6,1\nend_of_record\n", path.display());
        let names = ["one.rs", "vcpu/tests.rs", "testkit.rs", "random.rs"].map(|name| of(&folder.join(name)));
        let report = names.concat() + &of(&root.path().join("hv/defs/src/msr.rs"));
        let files = per_file(&report, root.path()).expect("a sound report");
        let only = ("one.rs".to_owned(), Lines { all: 2, reached: 1 });
        assert_eq!(files.into_iter().collect::<Vec<_>>(), [only]);
        assert_eq!(percent(Lines { all: 3, reached: 2 }), "66.6 %");
        assert!(per_file("SF:/elsewhere.rs\nDA:1,1\n", root.path()).is_err());
    }
}
