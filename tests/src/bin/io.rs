//! For `cargo hearth bench io`: what disk and network give a Debian guest on Hearth, beside the same
//! Debian under Debian's QEMU and KVM on the same emulated PC. Time is the guest's own, so a busy
//! computer makes both slower: only the ratios say something. Both are run one after the other, again
//! and again, and the middle of each figure counts.

use anyhow::{Context, Result, bail, ensure};
use hearth_tests::debian::{Guest, GuestBox, VOLUME, nested, reported, wait_for_report, web::Web};
use hearth_tests::qemu::Qemu;
use image_builder::qemu::{Accel, Door, Machine};
use image_builder::rootfs::PROVING;
use std::fmt::Write as _;

/// Something that is measured.
struct Figure {
    /// The errand's word for it.
    word: &'static str,
    /// What it is.
    what: &'static str,
    /// In what it is told.
    unit: &'static str,
    /// fio's `rw`, `bs` and `iodepth`, and the field of its terse output (fio(1), "Terse output") that
    /// is the figure; nothing for what fio does not measure.
    fio: Option<(&'static str, &'static str, u32, u32)>,
    /// Whether less is better, as of time.
    less: bool,
}

impl Figure {
    const fn of_disk(
        word: &'static str,
        what: &'static str,
        unit: &'static str,
        fio: (&'static str, &'static str, u32, u32),
    ) -> Self {
        Self { word, what, unit, fio: Some(fio), less: false }
    }

    /// How many times as good `ours` is as `theirs`.
    fn ratio(&self, ours: f64, theirs: f64) -> f64 {
        if self.less { theirs / ours } else { ours / theirs }
    }

    /// Whether a ratio is promised.
    const fn is_promised(&self) -> bool {
        !self.less
    }
}

/// All of it. Of fio's terse output, fields 7 and 8 are KiB and requests a second that were read, 48 and
/// 49 what was written.
const FIGURES: [Figure; 7] = [
    Figure::of_disk("read", "virtio-blk, sequential read", "KiB/s", ("read", "1m", 4, 7)),
    Figure::of_disk("write", "virtio-blk, sequential write", "KiB/s", ("write", "1m", 4, 48)),
    Figure::of_disk("read1", "virtio-blk, random 4 KiB, depth 1", "reads/s", ("randread", "4k", 1, 8)),
    Figure::of_disk("read32", "virtio-blk, random 4 KiB, depth 32", "reads/s", ("randread", "4k", 32, 8)),
    Figure::of_disk("write32", "virtio-blk, random 4 KiB, depth 32", "writes/s", ("randwrite", "4k", 32, 49)),
    Figure { word: "network", what: "virtio-net, download", unit: "KiB/s", fio: None, less: false },
    Figure { word: "boot", what: "kernel's start to login", unit: "ms", fio: None, less: true },
];
/// Bytes of the download.
const DOWNLOAD: usize = 64 << 20;
/// Seconds that fio measures a figure.
const SECONDS: u32 = 10;
/// How often each is run.
const ROUNDS: usize = 3;
/// Promised of disk and network: so much of what KVM gives.
const PROMISE: f64 = 0.8;

fn main() -> Result<()> {
    let web = Web::serve(DOWNLOAD)?;
    let guest = guest(&web);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        theirs.push(told("kvm", round, &under_kvm(&guest).context("under KVM")?)?);
        ours.push(told("hearth", round, &on_hearth(&guest).context("on Hearth")?)?);
    }
    println!("{:36} {:>10} {:>10} {:>6} {:>9}", "", "hearth", "kvm", "ratio", "promised");
    let mut broken = Vec::new();
    for (at, figure) in FIGURES.iter().enumerate() {
        let (ours, theirs) = (middle(&ours, at), middle(&theirs, at));
        let ratio = figure.ratio(ours, theirs);
        let promise = if figure.is_promised() { format!("{PROMISE:.2}") } else { "-".to_owned() };
        println!("{:36} {ours:>10.0} {theirs:>10.0} {ratio:>6.2} {promise:>9}  {}", figure.what, figure.unit);
        if figure.is_promised() && ratio < PROMISE {
            broken.push(figure.what);
        }
    }
    ensure!(broken.is_empty(), "not as promised: {}", broken.join("; "));
    Ok(())
}

/// Measures everything, and says each figure.
fn guest(web: &Web) -> Guest {
    let fio = format!("fio --name=io --filename={VOLUME} --direct=1 --ioengine=libaio --minimal");
    let mut errand = format!(
        "tell boot $(($(cut -d ' ' -f 1 /proc/uptime | tr -d .) * 10))\nonline\n\
         {fio} --rw=write --bs=1m --iodepth=4 >/dev/null\n"
    );
    for Figure { word, fio: job, .. } in &FIGURES {
        let Some((order, block, depth, field)) = job else { continue };
        let _ = writeln!(
            errand,
            "tell {word} $({fio} --rw={order} --bs={block} --iodepth={depth} --time_based \
             --runtime={SECONDS} | cut -d ';' -f {field})"
        );
    }
    let _ = writeln!(
        errand,
        "millis() {{ echo $(($(date +%s%N) / 1000000)); }}\nstart=$(millis)\n\
         busybox wget -q -O /dev/null {} && tell network $(({} * 1000 / ($(millis) - start)))\ntell end",
        web.url(),
        DOWNLOAD >> 10
    );
    Guest { name: "debian", folder: PROVING, memory_mib: 512, volume_mib: 256, sound: false, errand }
}

/// What it reports under KVM.
fn under_kvm(guest: &Guest) -> Result<Vec<String>> {
    let lines = nested::run(guest)?;
    Ok(lines.iter().filter_map(|line| line.strip_prefix("errand: ")).map(str::to_owned).collect())
}

/// What it reports on Hearth.
fn on_hearth(guest: &Guest) -> Result<Vec<String>> {
    let machine = Machine { door: Door::Rom, accel: Accel::Tcg, ..Machine::default() };
    let guest_box = GuestBox::of(std::slice::from_ref(guest))?;
    Qemu::start_with(&machine, &guest_box.artifacts)?.check(|qemu| {
        wait_for_report(&mut qemu.log, guest.name, "end")?;
        let events = qemu.log.events();
        Ok(events.iter().filter_map(|event| reported(event, guest.name, "")).map(str::to_owned).collect())
    })
}

/// The figures that a guest has reported, in the order of [`FIGURES`]; they are also told at once.
fn told(place: &str, round: usize, reports: &[String]) -> Result<[f64; FIGURES.len()]> {
    let mut figures = [0.0; FIGURES.len()];
    for (figure, Figure { word, .. }) in figures.iter_mut().zip(&FIGURES) {
        let report = reports.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        let Some(report) = report else { bail!("nothing was said of {word}, but {reports:?}") };
        *figure = report.trim().parse().with_context(|| format!("{word} {report}"))?;
    }
    eprintln!("{place:>8}, round {round}: {}", reports.join(", "));
    Ok(figures)
}

/// The middle one of a figure of all rounds.
fn middle(rounds: &[[f64; FIGURES.len()]], at: usize) -> f64 {
    let mut all: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
