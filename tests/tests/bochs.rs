//! The rom door on a CPU of the other vendor.

use anyhow::{Result, ensure};
use hearth_tests::bochs::{Bochs, missing};
use hearth_tests::runner::Tests;
use hearth_tests::{PATIENCE, VERSION, artifacts};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    tests.add_if_possible("rom/bochs/1cpu/512M", missing(), comes_up);
    tests.run()
}

/// Bochs's board has neither fw_cfg nor ACPI tables: the door counts memory by CMOS and builds the
/// tables itself.
fn comes_up() -> Result<()> {
    Bochs::start(&artifacts()?.rom(), 512)?.check(|log| {
        let door = log.wait_for("boot.door", PATIENCE)?;
        ensure!(door.field("door")? == "rom" && door.field("version")? == VERSION, "{door}");
        log.wait_for("hv.ready", PATIENCE)?;
        let cpus = log.last("hv.cpus")?;
        ensure!(cpus.field("vendor")? == "intel" && cpus.number("online")? == 1, "{cpus}");
        let memory = log.last("hv.memory")?;
        let usable = memory.number("usable_kib")?;
        ensure!((496 << 10..=512 << 10).contains(&usable), "512 MiB were given: {memory}");
        let info = log.last("boot.info")?;
        ensure!(info.number("rsdp")? != 0, "no ACPI: {info}");
        // Where this Bochs draws, 8 bits a pixel are the most; asked for more, it would end.
        ensure!(info.field("framebuffer")? == "none", "a screen that Bochs can't show: {info}");
        Ok(())
    })
}
