//! For `cargo hearth bench io`: what disk and network give a Debian guest on Hearth, beside the same
//! Debian on the same emulated PC without Hearth (QEMU's own devices, no KVM between). Time is the
//! guest's own, so a busy computer makes both slower: only the ratios say something.

use anyhow::{Context, Result};
use hearth_tests::debian::{Guest, GuestBox, VOLUME, bare, reported, wait_for_report, web::Web};
use hearth_tests::qemu::Qemu;
use image_builder::qemu::{Accel, Door, Machine};

/// What is measured: the errand's word for it, what it is, and in what.
const FIGURES: [(&str, &str, &str); 5] = [
    ("sequential", "virtio-blk, sequential read", "KiB/s"),
    ("random1", "virtio-blk, random 4 KiB, depth 1", "requests/s"),
    ("random32", "virtio-blk, random 4 KiB, depth 32", "requests/s"),
    ("network", "virtio-net, download", "KiB/s"),
    ("boot", "kernel's start to login", "in 1000 s"),
];
/// Bytes of the download.
const DOWNLOAD: usize = 64 << 20;

fn main() -> Result<()> {
    let web = Web::serve(DOWNLOAD)?;
    let guest = guest(&web);
    let alone = bare::run(&guest).context("without Hearth")?;
    let alone: Vec<String> =
        alone.iter().filter_map(|line| line.strip_prefix("errand: ")).map(str::to_owned).collect();
    let hearth = on_hearth(&guest).context("on Hearth")?;
    println!("{:40} {:>10} {:>10} {:>8}", "", "hearth", "without", "ratio");
    for (word, what, unit) in FIGURES {
        let (ours, theirs) = (rate(&hearth, word)?, rate(&alone, word)?);
        println!("{what:40} {ours:>10.1} {theirs:>10.1} {:>8.2}  {unit}", ours / theirs);
    }
    Ok(())
}

/// Says of each figure how much, and in how many milliseconds.
fn guest(web: &Web) -> Guest {
    // Reads past the page cache, and without reading ahead, so each is a request of its own. Every
    // process has one on its way.
    let random = "for my $n (1..$ARGV[0]) { next if fork; srand $n; open my $disk, \"<\", $ARGV[2] or die; \
                  for (1..$ARGV[1]) { sysseek $disk, 4096 * int(rand 65536), 0; sysread $disk, my $block, 4096 } \
                  exit } 1 while wait > 0";
    let errand = format!(
        "millis() {{ echo $(($(date +%s%N) / 1000000)); }}\n\
         timed() {{ word=$1 much=$2; shift 2; sync; echo 3 >/proc/sys/vm/drop_caches; start=$(millis)\n\
         \"$@\" >/dev/null 2>&1; tell $word $much $(($(millis) - start)); }}\n\
         tell boot 1000 $(cut -d ' ' -f 1 /proc/uptime | tr -d .)0\n\
         online\n\
         timed sequential 262144 dd if={VOLUME} bs=1M iflag=direct\n\
         echo 0 >/sys/block/vdc/queue/read_ahead_kb\n\
         timed random1 4000 perl -e '{random}' 1 4000 {VOLUME}\n\
         timed random32 16000 perl -e '{random}' 32 500 {VOLUME}\n\
         timed network {} busybox wget -q -O /dev/null {}\n\
         tell end\n",
        DOWNLOAD >> 10,
        web.url()
    );
    Guest { name: "debian", memory_mib: 512, volume_mib: 256, sound: false, errand }
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

/// How much a second: of `WORD MUCH MILLIS`.
fn rate(reports: &[String], word: &str) -> Result<f64> {
    let report = reports.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    let report = report.with_context(|| format!("nothing was said of {word}, but {reports:?}"))?;
    let (much, millis) = report.trim().split_once(' ').with_context(|| format!("{word} {report}"))?;
    let (much, millis): (f64, f64) = (much.parse()?, millis.parse()?);
    Ok(much * 1000.0 / millis.max(1.0))
}
