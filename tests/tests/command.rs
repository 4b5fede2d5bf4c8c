//! The `hearth` command from outside: what it prints, what it leaves behind, what it refuses.

use anyhow::{Context, Result, ensure};
use hearth_tests::command::{hearth, hearth_in, hearth_program, run};
use hearth_tests::event::Line;
use hearth_tests::runner::Tests;
use hearth_tests::{artifacts, root};
use hv_abi::flash::MAX_ROM;
use hv_abi::payload::{Header, MAGIC};
use image_builder::qemu::{Artifacts, Door};
use std::fs;
use std::mem::offset_of;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    // The two that take longest, first: the others run beside them.
    tests.add("bench/boot", bench_boot);
    tests.add("image/reproducible", reproducible);
    for door in Door::ALL {
        tests.add(format!("run/dry/{}", door.name()), move || dry_run(door));
    }
    tests.add("run/dry/defaults", dry_run_by_default);
    tests.add("run/until-ready", run_until_ready);
    tests.add("run/until-too-late", run_until_too_late);
    tests.add("refuses/subcommand", || hearth(["bake"])?.failed_over("bake").map(drop));
    tests.add("refuses/option", || hearth(["run", "--doors", "rom"])?.failed_over("--door").map(drop));
    tests.add("refuses/door", || hearth(["run", "--door", "window"])?.failed_over("uefi").map(drop));
    tests.add("refuses/no-cpus", || {
        hearth(["run", "--dry-run", "--cpus", "0"])?.failed_over("cpus").map(drop)
    });
    tests.add("refuses/memory", || {
        hearth(["run", "--dry-run", "--memory", "2T"])?.failed_over("2G").map(drop)
    });
    tests.add("refuses/bench", || hearth(["bench", "speed"])?.failed_over("boot").map(drop));
    tests.add("refuses/appliance", || {
        hearth(["image", "--with", "nowhere"])?.failed_over("nowhere").map(drop)
    });
    tests.add("refuses/flash-nothing", || hearth(["flash", "/dev/null"])?.failed_over("/dev/null").map(drop));
    tests.add("help", help);
    tests.add("image/sizes", sizes);
    tests.add("image/again", build_again);
    tests.run()
}

/// A QEMU that leaves a note for every machine it is to start, in the only place where one is
/// looked for.
struct FakeQemu {
    folder: tempfile::TempDir,
}

impl FakeQemu {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join(image_builder::qemu::PROGRAM);
        let note = folder.path().join("note");
        let script = format!(
            "#!/bin/sh\ncase \"$1\" in --version|-version) echo 'QEMU emulator version 7.2.0' ;;\n*) echo \"$@\" >> '{}' ;; esac\n",
            note.display()
        );
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder })
    }

    /// Runs `cargo hearth run --dry-run …` and answers the command line it prints.
    fn dry_run(&self, arguments: &[&str]) -> Result<String> {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder.path().to_owned()).chain(std::env::split_paths(&old));
        let path = std::env::join_paths(folders)?;
        let arguments = ["run", "--dry-run", "--headless"].iter().chain(arguments);
        let outcome = hearth_in(root(), &[("PATH", &path)], arguments)?.succeeded()?;
        let note = fs::read_to_string(self.folder.path().join("note")).unwrap_or_default();
        ensure!(note.is_empty(), "--dry-run started a machine: {note}");
        let starts = |line: &&str| line.contains(image_builder::qemu::PROGRAM);
        let line = outcome.output.lines().find(starts).map(str::to_owned);
        line.with_context(|| format!("no command line was printed: {outcome:#?}"))
    }
}

fn dry_run(door: Door) -> Result<()> {
    let name = door.name();
    let arguments = ["--door", name, "--memory", "768M", "--cpus", "3", "--", "-device", "edu"];
    let line = FakeQemu::new()?.dry_run(&arguments)?;
    let artifact = match door {
        Door::Rom => "hearth.rom",
        Door::Uefi => "hearth.img",
        Door::Pvh => "hearth.elf",
    };
    for part in [artifact, "-smp 3", "-m 768M", "-display none", "-device edu"] {
        ensure!(line.contains(part), "`{part}` is not in: {line}");
    }
    Ok(())
}

fn dry_run_by_default() -> Result<()> {
    let line = FakeQemu::new()?.dry_run(&[])?;
    ensure!(line.contains("OVMF") && line.contains("hearth.img"), "not what a PC does: {line}");
    Ok(())
}

/// What the README starts with, on the quickest door.
fn run_until_ready() -> Result<()> {
    let outcome =
        hearth(["run", "--headless", "--without", "debian", "--door", "pvh", "--until", "hv.ready"])?
            .succeeded()?;
    let lines: Vec<_> = outcome.output.lines().map(|line| Line::read(line.as_bytes())).collect();
    let last = lines.iter().filter_map(Line::event).next_back();
    ensure!(
        last.is_some_and(|event| event.name == "hv.ready"),
        "it does not end with hv.ready: {outcome:#?}"
    );
    Ok(())
}

/// A box that ends before the event that is waited for.
fn run_until_too_late() -> Result<()> {
    let arguments = [
        "run",
        "--headless",
        "--without",
        "debian",
        "--door",
        "pvh",
        "--options",
        "test=panic",
        "--until",
        "no.such",
    ];
    let outcome = hearth(arguments)?.failed_over("no.such")?;
    ensure!(outcome.output.contains(" ERROR panic "), "the log is not shown: {outcome:#?}");
    Ok(())
}

fn help() -> Result<()> {
    let outcome = hearth(["--help"])?.succeeded()?;
    for command in ["run", "test", "image", "flash", "bench", "doctor"] {
        let listed = outcome.output.lines().any(|line| line.trim_start().starts_with(command));
        ensure!(listed, "{command} is not listed: {}", outcome.output);
    }
    Ok(())
}

/// The promises of size.
fn sizes() -> Result<()> {
    let artifacts = artifacts()?;
    let rom = fs::metadata(artifacts.rom())?.len();
    ensure!(rom <= MAX_ROM && rom % (64 << 10) == 0, "hearth.rom has {rom} bytes");
    let payload = fs::read(artifacts.payload())?;
    ensure!(payload.starts_with(&MAGIC), "a.payload is no payload");
    let number =
        |at: usize| payload[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    // Before the management VM's program lies hv alone, with all that it takes when loaded.
    let (memory, module) =
        (number(offset_of!(Header, module_offset)), number(offset_of!(Header, module_len)));
    ensure!(memory <= 1 << 20, "hv may take 1 MiB when loaded, and takes {memory} bytes");
    ensure!(module > 0, "the management VM is not in the payload");
    let image = fs::metadata(artifacts.image())?;
    ensure!(image.blocks() * 512 < image.len() / 2, "hearth.img is not sparse: {} blocks", image.blocks());
    Ok(())
}

/// A build of what is built already leaves the files alone.
fn build_again() -> Result<()> {
    let written = || -> Result<Vec<SystemTime>> {
        let files = all_artifacts(&artifacts()?);
        files.iter().map(|file| Ok(fs::metadata(file)?.modified()?)).collect()
    };
    hearth(["image", "--without", "debian"])?.succeeded()?;
    let before = written()?;
    hearth(["image", "--without", "debian"])?.succeeded()?;
    ensure!(written()? == before, "a second build wrote something again");
    Ok(())
}

/// The same sources, in another folder, with nothing built, give the same bytes.
fn reproducible() -> Result<()> {
    hearth(["image", "--without", "debian"])?.succeeded()?;
    let elsewhere = tempfile::tempdir()?;
    let copy = elsewhere.path().join("another-checkout");
    copy_sources(root(), &copy)?;
    // The program that was just run does for the other checkout: it works where it stands.
    run(hearth_program()?.args(["image", "--without", "debian"]).current_dir(&copy))?.succeeded()?;
    let theirs = Artifacts { dir: copy.join("target/hearth") };
    for (ours, theirs) in all_artifacts(&artifacts()?).iter().zip(&all_artifacts(&theirs)) {
        let same =
            fs::read(ours)? == fs::read(theirs).with_context(|| format!("reading {}", theirs.display()))?;
        ensure!(same, "{} depends on where or when it is built", ours.display());
    }
    Ok(())
}

fn all_artifacts(artifacts: &Artifacts) -> [PathBuf; 5] {
    [artifacts.image(), artifacts.rom(), artifacts.elf(), artifacts.application(), artifacts.payload()]
}

/// Copies a checkout without what is built from it.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("listing {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
        } else if entry.file_name() != "target" && entry.file_name() != ".git" {
            copy_sources(&source, &target)?;
        }
    }
    Ok(())
}

/// One count of instructions a door, the same on each run.
fn bench_boot() -> Result<()> {
    let outcome = hearth(["bench", "boot"])?.succeeded()?;
    for door in Door::ALL {
        let row = format!("boot {}", door.name());
        let line = outcome.output.lines().find(|line| line.starts_with(&row));
        let line = line.with_context(|| format!("no line for {}: {outcome:#?}", door.name()))?;
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        ensure!(digits.len() >= 6, "no count of instructions: {line}");
    }
    Ok(())
}
