//! The Debian root of `appliance-vms/debian-minimal`, if it was built: on a bare machine, without hv, so
//! that a fault can be told from one of ours; on Hearth, alone and three at once; and built again, to
//! the same bytes.

use anyhow::{Context, Error, Result, anyhow, ensure};
use hearth_tests::debian::{
    self, Guest, GuestBox, LOGIN, PATIENCE, READY, VOLUME, bare, fio::Proof, reported, wait_for_exit,
    wait_for_report, wait_for_words, web::Web,
};
use hearth_tests::event::Event;
use hearth_tests::qemu::Qemu;
use hearth_tests::runner::Tests;
use image_builder::qemu::{Accel, Door, Machine};
use image_builder::recipe::Product;
use image_builder::rootfs::{self, DEBIAN, PROVING};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of the download.
const DOWNLOAD: usize = 64 << 20;
/// Set, fio and stress-ng check all that they can, not a slice of it.
const WHOLE: &str = "HEARTH_FIO_WHOLE";
/// How long three guests are kept busy, in minutes, if not for a slice of that.
const SOAK: &str = "HEARTH_SOAK_MINUTES";
/// How often one of the three is killed: in a slice, in a soak.
const KILLS: [usize; 2] = [2, 10];

/// Complaints that only say how busy the computer was, on a bare machine as well: Linux finds that more time
/// passed between two reads of a clock, or during its timer interrupts, than it had work for
/// (`cs_watchdog_read` in kernel/time/clocksource.c; `hrtimer_interrupt`, three rounds, in kernel/time/hrtimer.c).
/// A run of the bare machine may be spared them and the next one on Hearth not.
const BUSY: [&str; 2] = ["clocksource: Long readout interval", "hrtimer: interrupt took"];

/// Boxes with Debian keep a computer's two CPUs busy: one at a time.
static TURN: Mutex<()> = Mutex::new(());
/// What the kernel complained about on the bare machine, once it was started.
static BARE: Mutex<Option<Result<BTreeSet<String>, String>>> = Mutex::new(None);

fn main() -> ExitCode {
    let mut tests = Tests::default();
    let built = |folder| debian::products(folder).err().map(|error| format!("{error:#}"));
    let missing = built(DEBIAN);
    tests.add_if_possible("debian/bare", missing.clone(), || bare_complaints().map(drop));
    tests.add_if_possible("debian/again", missing.clone(), same_bytes);
    tests.add_if_possible("debian/hearth/life", missing.clone(), life);
    let without_fio = missing.clone().or_else(|| built(PROVING));
    tests.add_if_possible("debian/hearth/fio", without_fio, fio);
    // Long, and busy: only when the bench asks for it.
    let unasked = env::var_os(SOAK).is_none().then(|| "type `cargo hearth bench soak`".to_owned());
    tests.add_if_wanted("debian/hearth/three", missing.or(unasked), three);
    tests.run()
}

/// Reports what the kernel has complained about so far. A line of the log holds 100 bytes.
const COMPLAIN: &str = "dmesg --level=emerg,alert,crit,err,warn | while read -r line; do \
                        tell dmesg \"$(echo \"$line\" | sed 's/^\\[[^]]*\\] *//' | cut -c1-70)\"; done; tell end\n";

/// What a guest goes through in its three boots. The first block of the volume says which one it is.
fn whole_life(web: &Web) -> Guest {
    let measure = "measure() { sha256sum | cut -d ' ' -f 1; }\n\
                   read_back() { dd if=$volume bs=1M skip=1 count=32 iflag=direct 2>/dev/null | measure; }\n\
                   mark() { printf '%-4096s' \"$1\" | dd of=$volume bs=4096 conv=fsync 2>/dev/null; }\n";
    let first = "tell cpus $(nproc)\n\
                 tell clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)\n\
                 tell entropy $(cat /sys/devices/virtual/misc/hw_random/rng_current)\n\
                 online; tell download $(busybox wget -q -O - $url | measure)\n\
                 head -c 32M /dev/urandom >/run/noise\n\
                 dd if=/run/noise of=$volume bs=1M seek=1 conv=fsync 2>/dev/null\n\
                 tell written $(measure </run/noise)\n";
    let errand = format!(
        "volume={VOLUME} url={}\n{measure}\
         case $(dd if=$volume bs=4096 count=1 iflag=direct 2>/dev/null | tr -d '\\0 ') in\n\
         '')\n{first}{COMPLAIN}mark once; systemctl reboot;;\n\
         once)\ntell again $(read_back); mark twice; tell wait;;\n\
         *)\ntell still $(read_back); systemctl poweroff;;\nesac",
        web.url()
    );
    Guest { name: "debian", folder: DEBIAN, memory_mib: 512, volume_mib: 64, sound: false, errand }
}

/// A guest with two vCPUs comes up, has everything that it was promised, keeps what it has written
/// over its own restart and the box's, and switches itself off.
fn life() -> Result<()> {
    let bare = bare_complaints()?;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let web = Web::serve(DOWNLOAD)?;
    let guest_box = GuestBox::of(&[whole_life(&web)])?;
    let vm = "debian";
    Qemu::start_with(&machine(2048), &guest_box.artifacts)?.check(|qemu| {
        let log = &mut qemu.log;
        wait_for_words(log, vm, READY)?;
        for (word, wanted) in
            [("cpus", "2"), ("clock", "kvm-clock"), ("entropy", "virtio_rng.0"), ("download", web.digest())]
        {
            let found = wait_for_report(log, vm, word)?;
            ensure!(found == wanted, "{word} is {found:?}, not {wanted:?}\n{}", log.tail());
        }
        let written = wait_for_report(log, vm, "written")?;
        wait_for_report(log, vm, "end")?;
        let events = log.events();
        ensure!(events.iter().any(|event| says(event, LOGIN)), "nobody asked for a login\n{}", log.tail());
        ensure!(events.iter().any(|event| event.name == "vm.net"), "it has no address\n{}", log.tail());
        check_complaints(&events, vm, &bare)?;
        wait_for_exit(log, vm, "it restarted itself")?;
        let again = wait_for_report(log, vm, "again")?;
        ensure!(again == written, "after its restart it read {again}, not {written}");
        wait_for_report(log, vm, "wait")?;
        qemu.qmp.reset()?;
        let log = &mut qemu.log;
        log.wait_for("hv.ready", PATIENCE)?;
        let still = wait_for_report(log, vm, "still")?;
        ensure!(still == written, "after the box's restart it read {still}, not {written}");
        wait_for_exit(log, vm, "it switched itself off")
    })
}

/// The guest's kernel complains about nothing that it does not complain about on a bare machine.
fn check_complaints(events: &[Event], vm: &str, bare: &BTreeSet<String>) -> Result<()> {
    let complaints: BTreeSet<String> =
        events.iter().filter_map(|event| reported(event, vm, "dmesg")).map(stable).collect();
    let is_busy = |complaint: &&String| BUSY.iter().any(|words| complaint.starts_with(words));
    let ours: Vec<&String> = complaints.difference(bare).filter(|complaint| !is_busy(complaint)).collect();
    ensure!(ours.is_empty(), "the kernel complains here and not on a bare machine: {ours:#?}");
    Ok(())
}

/// In a guest, fio reads what it has written, and stress-ng finds nothing wrong.
fn fio() -> Result<()> {
    let bare = bare_complaints()?;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let proof = if env::var_os(WHOLE).is_some() { Proof::whole() } else { Proof::slice() };
    let vm = "debian";
    let errand = format!("{}{COMPLAIN}", proof.errand(VOLUME));
    let guest = Guest { name: vm, folder: PROVING, memory_mib: 768, volume_mib: 128, sound: false, errand };
    let guest_box = GuestBox::of(std::slice::from_ref(&guest))?;
    Qemu::start_with(&machine(2048), &guest_box.artifacts)?.check(|qemu| {
        let log = &mut qemu.log;
        for word in proof.steps() {
            wait_for_report(log, vm, word)?;
        }
        wait_for_report(log, vm, "end")?;
        let events = log.events();
        let reports: Vec<String> =
            events.iter().filter_map(|event| reported(event, vm, "")).map(str::to_owned).collect();
        proof.judge(&reports)?;
        check_complaints(&events, vm, &bare)
    })
}

/// Two guests work with checksums and tell of every round; a third one works too and is killed again
/// and again, in the middle of it.
fn three() -> Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let minutes = env::var(SOAK).ok().map(|text| text.parse::<u64>().context(SOAK)).transpose()?;
    let kills = if minutes.is_some() { KILLS[1] } else { KILLS[0] };
    let least = Duration::from_mins(minutes.unwrap_or(0));
    let web = Web::serve(DOWNLOAD / 8)?;
    let guests = ["one", "two", "victim"].map(|name| worker(name, &web));
    let guest_box = GuestBox::of(&guests)?;
    Qemu::start_with(&machine(2048), &guest_box.artifacts)?.check(|qemu| {
        let log = &mut qemu.log;
        let started = Instant::now();
        for _ in 0..kills {
            wait_for_report(log, "victim", "round")?;
            wait_for_exit(log, "victim", "it restarted itself")?;
        }
        for vm in ["one", "two", "victim"] {
            wait_for_report(log, vm, "round")?;
        }
        while started.elapsed() < least {
            wait_for_report(log, "one", "round")?;
        }
        let wrong = |event: &&Event| {
            event.name == "vm.device"
                || ["one", "two", "victim"].iter().any(|vm| reported(event, vm, "wrong").is_some())
        };
        let events = log.events();
        let found: Vec<String> = events.iter().filter(wrong).map(ToString::to_string).collect();
        ensure!(found.is_empty(), "something went wrong: {found:#?}");
        let ended = events
            .iter()
            .filter(|event| event.name == "vm.exit" && event.field("vm").is_ok_and(|vm| vm != "victim"));
        let ended: Vec<String> = ended.map(ToString::to_string).collect();
        ensure!(ended.is_empty(), "one ended that nobody killed: {ended:#?}");
        Ok(())
    })
}

/// Writes noise, reads it back past the cache, downloads; the victim resets itself, as a power cut
/// would, in the middle of its second round.
fn worker(name: &'static str, web: &Web) -> Guest {
    let errand = format!(
        "name={name} round=0\nonline\n\
         measure() {{ sha256sum | cut -d ' ' -f 1; }}\n\
         while :; do\n\
         head -c 16M /dev/urandom >/run/noise; wanted=$(measure </run/noise)\n\
         [ $name$round != victim1 ] || {{ sleep 1; echo b >/proc/sysrq-trigger; }} &\n\
         dd if=/run/noise of={VOLUME} bs=64k oflag=direct conv=fsync 2>/dev/null || tell wrong write\n\
         found=$(dd if={VOLUME} bs=64k count=256 iflag=direct 2>/dev/null | measure)\n\
         [ \"$found\" = \"$wanted\" ] || tell wrong read $found\n\
         found=$(busybox wget -q -O - {} | measure)\n\
         [ \"$found\" = {} ] || tell wrong download $found\n\
         dmesg | grep -q -i -E 'virtio.*(error|fail|timeout)|I/O error|blocked for more' && tell wrong dmesg\n\
         round=$((round + 1)); tell round $round\n\
         done",
        web.url(),
        web.digest()
    );
    Guest { name, folder: DEBIAN, memory_mib: 384, volume_mib: 32, sound: false, errand }
}

fn machine(memory_mib: u64) -> Machine {
    Machine { door: Door::Rom, memory_mib, accel: Accel::Tcg, ..Machine::default() }
}

fn says(event: &Event, words: &str) -> bool {
    event.name == "vm.console" && event.field("text").is_ok_and(|text| text.contains(words))
}

/// What the kernel complains about on a bare machine; also, that everything starts there.
fn bare_complaints() -> Result<BTreeSet<String>> {
    let mut known = BARE.lock().unwrap_or_else(PoisonError::into_inner);
    let result = known.get_or_insert_with(|| {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let guest = Guest {
            name: "debian",
            folder: DEBIAN,
            memory_mib: 512,
            volume_mib: 64,
            sound: false,
            errand: COMPLAIN.to_owned(),
        };
        let lines = bare::run(&guest).map_err(|error: Error| format!("{error:#}"))?;
        Ok(lines.iter().filter_map(|line| line.strip_prefix("errand: dmesg ")).map(stable).collect())
    });
    result.clone().map_err(|error| anyhow!(error))
}

/// A complaint without its numbers, which differ from run to run.
fn stable(complaint: &str) -> String {
    complaint.trim().chars().filter(|character| !character.is_ascii_digit()).collect()
}

/// From the same packages, in another folder, come the same bytes.
fn same_bytes() -> Result<()> {
    let (workspace, recipe) = debian::recipe(DEBIAN)?;
    let rootfs = recipe.rootfs.as_ref().context("it has no [rootfs]")?;
    let first: PathBuf = debian::products(DEBIAN)?;
    let elsewhere = tempfile::tempdir_in(workspace.artifacts().dir)?;
    std::os::unix::fs::symlink(workspace.cache().join("packages"), elsewhere.path().join("packages"))?;
    let second = rootfs::build(elsewhere.path(), &recipe, rootfs)?;
    for product in Product::ALL {
        let read = |folder: &Path| fs::read(folder.join(product.name()));
        ensure!(read(&first)? == read(&second)?, "{} depends on when it is built", product.name());
    }
    Ok(())
}
