//! What is wrong with a box, or with what it is to run, is said in a sentence on the serial line
//! and on the screen; what goes wrong in hv leaves an epitaph. Nothing ends in silence.

use anyhow::{Result, ensure};
use hearth_tests::damage::{self, Damage};
use hearth_tests::qemu::Qemu;
use hearth_tests::refusal::{keep, refuses, says};
use hearth_tests::runner::Tests;
use hearth_tests::{PATIENCE, artifacts};
use image_builder::qemu::{Accel, Door, Machine};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    for door in Door::ALL {
        processors(&mut tests, door);
        payloads(&mut tests, door);
        panics(&mut tests, door);
    }
    tests.add("uefi/payload/deleted", deleted);
    for door in [Door::Rom, Door::Pvh] {
        for memory_mib in [8, 16, 64, 96, 128] {
            let name = format!("{}/memory/{memory_mib}M", door.name());
            tests.add(name.clone(), move || little_memory(&Machine { door, memory_mib, ..base() }, &name));
        }
    }
    tests.add("rom/panic/restarts", panic_restarts);
    tests.add("rom/panic/no-reboot", panic_ends);
    tests.run()
}

fn base() -> Machine {
    Machine { memory_mib: 512, accel: Accel::Tcg, ..Machine::default() }
}

/// CPUs without AMD's virtualization, on a model that has long mode's usual company and on one that
/// has next to nothing; and one that can't translate a guest's memory.
fn processors(tests: &mut Tests, door: Door) {
    for (cpu, word) in
        [("EPYC,-svm", "virtual"), ("qemu64,-svm", "virtual"), ("EPYC,+svm,-npt", "nested paging")]
    {
        let name = format!("{}/cpu/{cpu}", door.name());
        let machine = Machine { door, cpu: cpu.to_owned(), ..base() };
        tests.add(name.clone(), move || {
            Qemu::start(&machine)?.check(|qemu| {
                let refused = refuses(qemu, &name)?;
                let what = refused.field("what")?;
                ensure!(what.contains(word), "it does not say what is missing: {refused}");
                Ok(())
            })
        });
    }
}

fn payloads(tests: &mut Tests, door: Door) {
    for damage in Damage::ALL {
        let name = format!("{}/payload/{}", door.name(), damage.name());
        tests.add(name.clone(), move || {
            with_broken_artifact(door, &name, |artifact| damage.inflict(artifact), "payload")
        });
    }
}

/// The disk's file system has no payload: the one file that hv comes from.
fn deleted() -> Result<()> {
    let delete = |image: &Path| damage::delete_from_fat(image, "a.payload");
    with_broken_artifact(Door::Uefi, "uefi/payload/deleted", delete, "payload")
}

fn with_broken_artifact(
    door: Door,
    name: &str,
    break_it: impl FnOnce(&Path) -> Result<()>,
    word: &str,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (copies, artifact) = damage::copy(door, &artifacts()?, folder.path())?;
    break_it(&artifact)?;
    Qemu::start_with(&Machine { door, ..base() }, &copies)?.check(|qemu| {
        let refused = refuses(qemu, name)?;
        ensure!(refused.field("door")? == door.name(), "not the door's own words: {refused}");
        ensure!(refused.field("what")?.contains(word), "it does not name the {word}: {refused}");
        Ok(())
    })
}

/// 128 MiB are what Hearth promises to take; a box with less says that it has too little.
fn little_memory(machine: &Machine, name: &str) -> Result<()> {
    Qemu::start(machine)?.check(|qemu| {
        if machine.memory_mib >= 128 {
            return qemu.log.wait_for("hv.ready", PATIENCE).map(drop);
        }
        let refused = refuses(qemu, name)?;
        ensure!(refused.field("what")?.contains("memory"), "it does not name the memory: {refused}");
        Ok(())
    })
}

/// Each way hv can break down, told to stay halted: an epitaph that names the place, all registers
/// and what came before; then nothing moves.
fn panics(tests: &mut Tests, door: Door) {
    for (cause, words, cpu) in [
        ("panic", "test=panic", 0),
        ("page-fault", "page fault at address 0xdead0000", 0),
        ("stack-overflow", "stack overflow on CPU 0", 0),
        ("other-cpu", "test=other-cpu", 1),
    ] {
        let machine = Machine { door, options: format!("test={cause} panic=halt"), ..base() };
        tests.add(format!("{}/{cause}", door.name()), move || {
            Qemu::start(&machine)?.check(|qemu| epitaph(qemu, words, cpu))
        });
    }
}

fn epitaph(qemu: &mut Qemu, words: &str, cpu: u64) -> Result<()> {
    let panic = qemu.log.wait_for("panic", PATIENCE)?;
    let (place, what) = (panic.field("where")?, panic.field("what")?);
    ensure!(what.contains(words), "`what` does not say {words:?}: {panic}");
    ensure!(
        place.contains(".rs:") || place.starts_with("0xffffffff8"),
        "`where` is no place of hv's: {panic}"
    );
    ensure!(panic.number("cpu")? == cpu, "it was CPU {cpu}: {panic}");
    let end = qemu.log.wait_for("panic.end", PATIENCE)?;
    ensure!(end.field("action")? == "halt", "{end}");
    let told = qemu.log.events();
    let told = |name: &str, key: &str| {
        told.iter().filter(|event| event.name == name && event.field(key).is_ok()).count()
    };
    for register in ["rsp", "rbp", "cr2", "cr3"] {
        ensure!(told("panic.registers", register) > 0, "{register} is not told\n{}", qemu.log.tail());
    }
    ensure!(told("panic.call", "address") > 0, "the call chain is not told\n{}", qemu.log.tail());
    let kept = told("panic.log", "text");
    let last = qemu.log.last("panic.log")?;
    // What hv said last before it: that it starts the management VM, which may have said more since.
    let text = last.field("text")?;
    let whole = (8..=32).contains(&kept)
        && [" vm.", " mgmt.", " disk.", " net.", " display.", " input.", " ui."]
            .iter()
            .any(|name| text.contains(name));
    ensure!(whole, "{kept} lines from before are told, not the last 32\n{}", qemu.log.tail());
    qemu.wait_until_halted()?;
    let screen = qemu.screen()?;
    let text = format!("Something went wrong inside Hearth: {what} ({place})");
    let said = says(&screen, &text, "The box stays like this until it is switched off.");
    said.or_else(|error| keep(&screen, &format!("epitaph-{words}"), error))
}

/// Ten seconds after a panic the box restarts by itself.
fn panic_restarts() -> Result<()> {
    let machine = Machine { door: Door::Rom, options: "test=panic".to_owned(), ..base() };
    Qemu::start(&machine)?.check(|qemu| {
        qemu.log.wait_for("panic", PATIENCE)?;
        qemu.qmp.wait_for("RESET", PATIENCE)?;
        qemu.log.wait_for("boot.door", PATIENCE)?;
        qemu.log.wait_for("panic", PATIENCE).map(drop)
    })
}

/// The same, with a QEMU that ends where the box would restart; and not before its time.
fn panic_ends() -> Result<()> {
    let options = "test=panic".to_owned();
    let machine = Machine { door: Door::Rom, options, no_reboot: true, ..base() };
    Qemu::start(&machine)?.check(|qemu| {
        qemu.log.wait_for("panic", PATIENCE)?;
        let seen = std::time::Instant::now();
        let event = qemu.qmp.wait_for("SHUTDOWN", PATIENCE)?;
        ensure!(event["data"]["reason"] == "guest-reset", "it ended otherwise: {event}");
        let waited = seen.elapsed().as_secs_f32();
        ensure!(waited > 8.0, "a person has 10 s to read the screen, not {waited} s");
        qemu.wait_for_end()
    })
}
