//! What an exit costs: instructions of hv and the guest's loop together, as the micro-guest reads them
//! from its time stamp counter while every instruction is one tick.
//!
//! What goes between VMs is measured on one core, because with several the translator runs one at a time
//! and the figures mean nothing. An IPI to a vCPU that runs meanwhile is therefore not among them: the
//! vCPU's own stands for it. `doorbell` is rung while nobody has taken the last ring; `doorbell-woken` and
//! `io-request` have the turns of the management VM in them, `hlt-wake` those of a vCPU on the same core.

use super::{PATIENCE, digits};
use crate::image;
use crate::progress::{self, Step};
use crate::qemu::session::{Ending, Session};
use crate::qemu::{Accel, Door, Machine};
use crate::setup::Toolbox;
use crate::workspace::Workspace;
use anyhow::{Result, bail, ensure};

/// A kind of exit: the micro-guest's name for it, what is aimed at, and what the same loop read under
/// Linux 6.1 with KVM and QEMU 7.2, and under Xen 4.17, on the same emulated machine.
struct Kind {
    name: &'static str,
    aim: Option<u64>,
    kvm: Option<u64>,
    xen: Option<u64>,
}

const KINDS: &[Kind] = &[
    Kind { name: "cpuid", aim: Some(300), kvm: Some(3257), xen: Some(6192) },
    Kind { name: "hypercall", aim: Some(400), kvm: Some(9747), xen: None },
    Kind { name: "rdmsr", aim: None, kvm: Some(3229), xen: None },
    Kind { name: "port", aim: None, kvm: Some(1746), xen: Some(1192) },
    Kind { name: "eoi", aim: None, kvm: Some(3815), xen: None },
    Kind { name: "self-ipi", aim: None, kvm: Some(10_399), xen: None },
    Kind { name: "tsc-deadline", aim: Some(2500), kvm: Some(9116), xen: None },
    Kind { name: "doorbell", aim: Some(800), kvm: Some(4226), xen: None },
    Kind { name: "doorbell-port", aim: Some(800), kvm: Some(1786), xen: None },
    Kind { name: "doorbell-woken", aim: None, kvm: None, xen: None },
    Kind { name: "io-request", aim: Some(3000), kvm: Some(5508), xen: None },
    Kind { name: "hlt-wake", aim: None, kvm: Some(13_718), xen: None },
];

/// Measures twice and prints the table. What is aimed at is told, not enforced.
///
/// # Errors
/// When the guest does not come to its end, or the figures differ from run to run.
pub(super) fn measure(workspace: &Workspace, toolbox: &Toolbox) -> Result<()> {
    let artifacts = image::micro_guest(workspace, toolbox)?;
    let machine =
        Machine { door: Door::Rom, cpus: 1, accel: Accel::Icount, no_reboot: true, ..Machine::default() };
    let step = Step::start("exits of the micro-guest, twice");
    let sessions = [Session::start(&machine, &artifacts)?, Session::start(&machine, &artifacts)?];
    let [first, second] = sessions.map(figures);
    let (first, second) = (first?, second?);
    step.done("");
    progress::result(&format!(
        "{:28} {:>10} {:>8} {:>8} {:>8}  instructions",
        "exit", "hearth", "aim", "kvm", "xen"
    ));
    for Kind { name, aim, kvm, xen } in KINDS {
        let text = |figure: &Option<u64>| figure.map_or("-".to_owned(), digits);
        let figure = first.iter().find(|(found, _)| found == name).map(|(_, figure)| *figure);
        let over = figure.zip(*aim).is_some_and(|(figure, aim)| figure > aim);
        progress::result(&format!(
            "{name:28} {:>10} {:>8} {:>8} {:>8}{}",
            text(&figure),
            text(aim),
            text(kvm),
            text(xen),
            if over { "  above the aim" } else { "" }
        ));
    }
    ensure!(first == second, "the figures differ from run to run: {first:?}, then {second:?}");
    Ok(())
}

/// The micro-guest's `bench` lines.
fn figures(mut session: Session) -> Result<Vec<(String, u64)>> {
    let mut figures = Vec::new();
    loop {
        match session.wait_for("vm.log", Some(PATIENCE), |_| {}) {
            Ending::Bad(why) => {
                bail!("{why}, and the micro-guest did not come to its end; next: `cargo hearth test guest/`")
            }
            Ending::Event(line) if line.contains("guest.end") => return Ok(figures),
            Ending::Event(line) => figures.extend(figure(&line)),
        }
    }
}

/// Of `… text="bench NAME TICKS"` the name and the ticks.
fn figure(line: &str) -> Option<(String, u64)> {
    let (_, text) = line.split_once("text=\"bench ")?;
    let (name, ticks) = text.trim_end_matches('"').split_once(' ')?;
    Some((name.to_owned(), ticks.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn a_bench_line_is_read_and_no_other() {
        let line = "0.06 INFO vm.log vm=management cpu=0 text=\"bench self-ipi 1174\"";
        assert_eq!(figure(line), Some(("self-ipi".to_owned(), 1174)));
        assert_eq!(figure("0.06 INFO vm.log vm=management cpu=0 text=guest.end"), None);
        assert_eq!(figure("text=\"bench cpuid many\""), None);
    }
}
