//! The television: the launcher comes up through every door, the remote control reaches and leaves every
//! screen, and what is on them is so. A cell's name is `tv/what`.

use anyhow::{Result, ensure};
use hearth_tests::PATIENCE;
use hearth_tests::debian::{self, GuestBox};
use hearth_tests::event::Event;
use hearth_tests::guests::{self, Guest, NEIGHBOUR, is_of};
use hearth_tests::qemu::Qemu;
use hearth_tests::runner::Tests;
use hearth_tests::television::Pace;
use hearth_tests::television::key::{BACK, DOWN, HOME, LEFT, OK, RIGHT, UP, VOLUME_DOWN};
use image_builder::qemu::{Accel, Door, Machine, Screen};
use image_builder::rootfs::DEBIAN;
use std::process::ExitCode;

/// Sizes of pictures.
const HD: (usize, usize) = (1280, 720);
const FULL_HD: (usize, usize) = (1920, 1080);
/// Microseconds that two pictures take at sixty a second.
const TWO_PICTURES: u64 = 33_333;
/// Microseconds that the launcher may take beside a guest that floods it: slower than it should, but it follows.
const BESIDE_A_FLOOD: u64 = 250_000;

fn main() -> ExitCode {
    let mut tests = Tests::default();
    for door in Door::ALL {
        tests.add(format!("tv/{}", door.name()), move || launcher(door));
    }
    for door in [Door::Rom, Door::Pvh] {
        tests.add(format!("tv/{}/full-hd", door.name()), move || full_hd(door));
    }
    for door in Door::ALL {
        tests.add(format!("tv/virtio-gpu/{}", door.name()), move || virtio_gpu(door, HD));
    }
    tests.add("tv/virtio-gpu/full-hd", || virtio_gpu(Door::Rom, FULL_HD));
    for (name, size) in [("hd", HD), ("full-hd", FULL_HD)] {
        tests.add(format!("tv/pace/{name}"), move || pace(name, size));
    }
    tests.add("tv/flood", flood);
    tests.add("tv/virtio-keyboard", virtio_keyboard);
    tests.add("tv/first-run", first_run);
    tests.add("tv/settings", settings);
    tests.add("tv/settings-kept", settings_kept);
    tests.add("tv/appliance", appliance);
    tests.add("tv/power", power);
    let missing = debian::products(DEBIAN).err().map(|error| format!("{error:#}"));
    tests.add_if_possible("tv/debian", missing, debian_guest);
    tests.run()
}

fn base() -> Machine {
    Machine { door: Door::Rom, memory_mib: 512, accel: Accel::Tcg, ..Machine::default() }
}

/// The launcher, the keyboard on PS/2, and a way back.
fn launcher(door: Door) -> Result<()> {
    Qemu::start(&Machine { door, ..base() })?.check(|qemu| {
        qemu.comes_to("launcher")?;
        qemu.says(
            &format!("tv-{}", door.name()),
            &["Hearth", "Online", "Nothing is installed yet.", "Power"],
        )?;
        qemu.goes(&[RIGHT, OK], "settings")?;
        qemu.goes(&[BACK], "launcher")
    })
}

/// A screen that says it is larger gets a larger picture.
fn full_hd(door: Door) -> Result<()> {
    let extra = ["-global", "VGA.xres=1920", "-global", "VGA.yres=1080"].map(str::to_owned).to_vec();
    Qemu::start(&Machine { door, extra, ..base() })?.check(|qemu| {
        qemu.comes_to("launcher")?;
        let screen = qemu.screen()?;
        ensure!((screen.width, screen.height) == (1920, 1080), "{}×{}", screen.width, screen.height);
        qemu.says(
            &format!("tv-full-hd-{}", door.name()),
            &["Hearth", "Settings", "Nothing is installed yet."],
        )?;
        qemu.goes(&[RIGHT, OK], "settings")
    })
}

/// A box whose only screen is on virtio-gpu, which has no pixels of its own that a door could find.
fn virtio_gpu(door: Door, (width, height): (usize, usize)) -> Result<()> {
    let size = format!("virtio-gpu-device.xres={width}");
    let lines = format!("virtio-gpu-device.yres={height}");
    let extra = ["-global", &size, "-global", &lines].map(str::to_owned).to_vec();
    Qemu::start(&Machine { door, extra, screen: Screen::VirtioGpu, ..base() })?.check(|qemu| {
        let found = qemu.log.wait_for("display.found", PATIENCE)?;
        ensure!(found.field("driver")? == "virtio-gpu", "{found}");
        qemu.comes_to("launcher")?;
        let screen = qemu.screen()?;
        ensure!((screen.width, screen.height) == (width, height), "{}×{}", screen.width, screen.height);
        let name = format!("tv-virtio-gpu-{}-{height}", door.name());
        qemu.says(&name, &["Hearth", "Online", "Nothing is installed yet.", "Power"])?;
        qemu.goes(&[RIGHT, OK], "settings")?;
        qemu.says(&name, &["Settings", "Picture", "Storage"])?;
        qemu.goes(&[BACK], "launcher")
    })
}

/// A box whose clock counts its instructions, eight nanoseconds each: 125 million a second, about what QEMU's
/// translator executes. How busy this computer is makes no difference.
fn counted(extra: &[&str], machine: Machine) -> Machine {
    let extra = ["-icount", "shift=3,sleep=off"].iter().chain(extra).map(|&word| word.to_owned()).collect();
    Machine { cpus: 1, accel: Accel::Icount, extra, ..machine }
}

/// The launcher follows keys within two pictures of sixty a second, and moves in thirty at least at 720 lines.
fn pace(name: &str, (width, height): (usize, usize)) -> Result<()> {
    let size = [format!("VGA.xres={width}"), format!("VGA.yres={height}")];
    let machine = counted(&["-global", &size[0], "-global", &size[1]], base());
    Qemu::start(&machine)?.check(|qemu| {
        qemu.comes_to("launcher")?;
        let mut pace = Pace::default();
        for key in [RIGHT, RIGHT, LEFT, LEFT, RIGHT, LEFT] {
            pace.follow(qemu, key)?;
        }
        println!("tv {name} {}", told(&pace));
        if (width, height) == HD {
            ensure!(pace.answer_micros <= TWO_PICTURES, "{}", told(&pace));
            ensure!(pace.rate() >= 30, "{}", told(&pace));
        }
        Ok(())
    })
}

/// A guest that has its whole screen drawn again and again, as fast as it goes, takes neither the launcher from the
/// viewer nor its neighbour's time.
fn flood() -> Result<()> {
    let flood = Guest { name: "flood", kernel: Ok("flood"), devices: "display = true\n", ..Guest::default() };
    let (_folder, artifacts) = guests::with(&[NEIGHBOUR, flood])?;
    Qemu::start_with(&counted(&[], guests::machine()), &artifacts)?.check(|qemu| {
        qemu.comes_to("launcher")?;
        let flows = |event: &Event| {
            is_of(event, "vm.console", "flood")
                && event.field("text").is_ok_and(|text| text.starts_with("flood "))
        };
        qemu.log.wait_until("the flood", PATIENCE, flows)?;
        let mut pace = Pace::default();
        for key in [UP, RIGHT, LEFT, DOWN, RIGHT, LEFT] {
            pace.follow(qemu, key)?;
        }
        let before = guests::console(&qemu.log, "neighbour").len();
        qemu.log.wait_until("more of the flood", PATIENCE, flows)?;
        qemu.log.wait_until("a sign of life of the neighbour's", PATIENCE, |event| {
            is_of(event, "vm.console", "neighbour")
        })?;
        println!(
            "tv flood {} neighbour_ticks={}",
            told(&pace),
            guests::console(&qemu.log, "neighbour").len() - before
        );
        ensure!(pace.answer_micros <= BESIDE_A_FLOOD, "{}", told(&pace));
        Ok(())
    })
}

fn told(pace: &Pace) -> String {
    let Pace { answer_micros, longest_micros, .. } = pace;
    format!("pictures_a_second={} answer_micros={answer_micros} longest_micros={longest_micros}", pace.rate())
}

/// Keys come from virtio-input too.
fn virtio_keyboard() -> Result<()> {
    let extra = ["-device", "virtio-keyboard-pci"].map(str::to_owned).to_vec();
    Qemu::start(&Machine { extra, ..base() })?.check(|qemu| {
        for driver in ["ps2", "virtio-input"] {
            let found = qemu.log.wait_for("input.found", PATIENCE)?;
            ensure!(found.field("driver")? == driver, "not {driver}: {found}");
        }
        qemu.comes_to("launcher")?;
        // QEMU gives keys to the one that was plugged in last.
        qemu.goes(&[RIGHT, RIGHT, OK], "power")?;
        qemu.goes(&[HOME], "launcher")
    })
}

/// The first run is offered; it can be put off, and once done it is not offered again.
fn first_run() -> Result<()> {
    Qemu::start(&base())?.check(|qemu| {
        qemu.comes_to("launcher")?;
        qemu.goes(&[OK], "wizard-language")?;
        qemu.says("tv-language", &["Welcome to Hearth", "Which language", "Deutsch"])?;
        qemu.goes(&[HOME], "launcher")?;
        qemu.goes(&[OK], "wizard-language")?;
        qemu.goes(&[BACK], "launcher")?;
        qemu.goes(&[OK], "wizard-language")?;
        qemu.goes(&[OK], "wizard-look")?;
        qemu.says("tv-look", &["Can you read this well?", "Large type"])?;
        qemu.goes(&[BACK], "wizard-language")?;
        qemu.goes(&[OK], "wizard-look")?;
        qemu.goes(&[OK], "wizard-sound")?;
        qemu.says("tv-sound", &["How loud", "Volume"])?;
        qemu.goes(&[LEFT, RIGHT, DOWN, OK], "wizard-network")?;
        qemu.says("tv-network", &["The box is connected."])?;
        qemu.goes(&[OK], "wizard-end")?;
        qemu.says("tv-end", &["The Home key"])?;
        qemu.goes(&[OK], "launcher")?;
        // Where "Set up" was, the settings are now.
        qemu.goes(&[OK], "settings")
    })
}

/// Every part of the settings says what is so, and what is chosen shows at once.
fn settings() -> Result<()> {
    Qemu::start(&base())?.check(|qemu| {
        qemu.comes_to("launcher")?;
        qemu.goes(&[RIGHT, OK], "settings")?;
        qemu.goes(&[RIGHT], "settings-sound")?;
        qemu.says("tv-settings-sound", &["Volume", "Night sound"])?;
        qemu.goes(&[BACK], "settings")?;
        qemu.goes(&[DOWN, OK], "settings-picture")?;
        qemu.says("tv-settings-picture", &["Language", "Scaling", "Smooth", "30 min"])?;
        qemu.qmp.press(&[OK])?;
        qemu.says("tv-settings-german", &["Sprache", "Skalierung", "Einstellungen"])?;
        qemu.goes(&[BACK], "settings")?;
        qemu.goes(&[DOWN, OK], "settings-network")?;
        qemu.says("tv-settings-network", &["10.0.2.15", "hearth"])?;
        qemu.qmp.press(&[OK])?;
        qemu.log.wait_for("net.address", PATIENCE)?;
        qemu.goes(&[BACK], "settings")?;
        qemu.goes(&[DOWN, OK], "settings-storage")?;
        qemu.says("tv-settings-storage", &["Belegt", "Frei"])?;
        qemu.goes(&[OK], "settings")?;
        qemu.goes(&[DOWN, OK], "settings-appliances")?;
        qemu.goes(&[OK], "settings")?;
        qemu.goes(&[DOWN, OK], "settings-about")?;
        qemu.says("tv-settings-about", &["AMD EPYC", "AMD-V", env!("CARGO_PKG_VERSION")])?;
        qemu.goes(&[HOME], "launcher")
    })
}

/// What was set is so after a restart that nobody announced, and the first run is over.
fn settings_kept() -> Result<()> {
    Qemu::start(&base())?.check(|qemu| {
        qemu.comes_to("launcher")?;
        qemu.goes(&[OK], "wizard-language")?;
        // "Deutsch", then what is offered, to the end.
        qemu.goes(&[RIGHT, OK], "wizard-look")?;
        qemu.goes(&[OK], "wizard-sound")?;
        qemu.goes(&[DOWN, OK], "wizard-network")?;
        qemu.goes(&[OK], "wizard-end")?;
        qemu.goes(&[OK], "launcher")?;
        qemu.log.wait_for("settings.kept", PATIENCE)?;
        qemu.qmp.reset()?;
        qemu.comes_to("launcher")?;
        qemu.says("tv-settings-kept", &["Einstellungen", "Ausschalten"])?;
        qemu.goes(&[OK], "settings")
    })
}

/// An appliance is on the launcher, is closed, started and restarted from it, and can't keep the viewer.
fn appliance() -> Result<()> {
    let (_folder, artifacts) = guests::with(&[NEIGHBOUR])?;
    Qemu::start_with(&guests::machine(), &artifacts)?.check(|qemu| {
        qemu.comes_to("launcher")?;
        qemu.log.wait_until("the neighbour", PATIENCE, |event| is_of(event, "vm.console", "neighbour"))?;
        qemu.says("tv-tile", &["neighbour", "Set up"])?;
        qemu.goes(&[UP, OK], "watching")?;
        qemu.says("tv-watching", &["neighbour shows no picture"])?;
        qemu.goes(&[HOME], "launcher")?;
        qemu.goes(&[OK], "watching")?;
        qemu.goes_by_holding(HOME, "overlay")?;
        qemu.says("tv-overlay", &["neighbour", "Carry on", "Restart", "Close"])?;
        qemu.goes(&[BACK], "watching")?;
        qemu.goes(&[HOME], "launcher")?;
        qemu.goes_by_holding(OK, "overlay")?;
        qemu.goes(&[RIGHT, RIGHT, RIGHT, OK], "ask")?;
        qemu.says("tv-ask", &["Close neighbour?"])?;
        qemu.goes(&[RIGHT, OK], "launcher")?;
        qemu.log.wait_until("the neighbour's end", PATIENCE, |event| {
            is_of(event, "vm.state", "neighbour") && event.field("state").is_ok_and(|now| now == "stopped")
        })?;
        qemu.goes_by_holding(OK, "appliance")?;
        qemu.says("tv-appliance", &["Start with the box", "Volume"])?;
        qemu.goes(&[BACK], "settings-appliances")?;
        qemu.goes(&[HOME], "launcher")?;
        qemu.goes(&[OK], "watching")?;
        // Not before it runs again.
        qemu.says("tv-started", &["neighbour shows no picture"])?;
        qemu.goes(&[HOME], "launcher")
    })
}

/// Debian's own driver has the screen: its console is on the television and in its tile, and hears digits; it
/// can keep neither Home nor the picture.
fn debian_guest() -> Result<()> {
    let (memory_mib, volume_mib) = (512, 32);
    let guest = debian::Guest {
        name: "debian",
        folder: DEBIAN,
        memory_mib,
        volume_mib,
        sound: false,
        errand: "tell up".to_owned(),
    };
    let guest_box = GuestBox::of(&[guest])?;
    let machine = Machine { memory_mib: 1024, ..base() };
    Qemu::start_with(&machine, &guest_box.artifacts)?.check(|qemu| {
        qemu.comes_to("launcher")?;
        debian::wait_for_report(&mut qemu.log, "debian", "up")?;
        qemu.goes(&[UP, OK], "watching")?;
        qemu.says("tv-debian", &["Debian GNU/Linux 13", "login:"])?;
        // Letters of a keyboard are typed as they are: "Back" and "Play" are Backspace and Space there.
        for key in ["4", "0", "7", "spc", "k", "i", "t", "x", "backspace", "c", "h", "e", "n"] {
            qemu.qmp.press(&[key])?;
        }
        qemu.says("tv-debian-typed", &["40", "kitchen"])?;
        qemu.goes(&[HOME], "launcher")?;
        qemu.says("tv-debian-tile", &["debian", "On"])?;
        qemu.goes(&[OK], "watching")?;
        // The volume is shown over the picture, and then the picture is all there is again.
        qemu.qmp.press(&[VOLUME_DOWN])?;
        qemu.says("tv-debian-volume", &["Volume"])?;
        qemu.goes_by_holding(HOME, "overlay")?;
        qemu.says("tv-debian-overlay", &["Carry on", "Close"])?;
        qemu.goes(&[BACK], "watching")?;
        qemu.says("tv-debian-again", &["login:", "40"])
    })
}

/// The screen goes off and any key wakes it; the box restarts, and switches itself off.
fn power() -> Result<()> {
    Qemu::start(&base())?.check(|qemu| {
        qemu.comes_to("launcher")?;
        qemu.goes(&[RIGHT, RIGHT, OK], "power")?;
        qemu.says("tv-power", &["What should the box do?", "Screen off", "Turn off", "Cancel"])?;
        qemu.goes(&[OK], "dark")?;
        let screen = qemu.screen()?;
        ensure!(screen.ink(screen.all()) == 0 && screen.pixel(0, 0) == [0; 3], "the screen is not dark");
        qemu.goes(&[VOLUME_DOWN], "launcher")?;
        qemu.goes(&[OK], "power")?;
        qemu.qmp.press(&[RIGHT])?;
        qemu.qmp.press(&[OK])?;
        qemu.qmp.wait_for("RESET", PATIENCE)?;
        qemu.comes_to("launcher")?;
        qemu.goes(&[RIGHT, RIGHT, OK], "power")?;
        for key in [RIGHT, RIGHT, OK] {
            qemu.qmp.press(&[key])?;
        }
        let end = qemu.qmp.wait_for("SHUTDOWN", PATIENCE)?;
        ensure!(end["data"]["reason"] == "guest-shutdown", "it ended otherwise: {end}");
        qemu.wait_for_end()
    })
}
