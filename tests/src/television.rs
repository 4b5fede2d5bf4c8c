//! A viewer: presses keys of the remote control, and reads what is on the screen.

use crate::PATIENCE;
use crate::qemu::Qemu;
use crate::refusal::keep;
use crate::screen::Screen;
use anyhow::{Context, Result, bail, ensure};
use std::process::Command;
use std::time::{Duration, Instant};

/// What reads pictures; Debian's package `tesseract-ocr`.
pub const READER: &str = "tesseract";
/// How it looks at a picture: words wherever they are, in no order.
const SCATTERED: &str = "11";
/// A key is down for so many milliseconds when it is held.
const HELD: u32 = 1000;
/// How long what follows no event may take to be on the screen. Far more than it needs.
const SOON: Duration = Duration::from_mins(1);

/// Names of keys of the remote control, as QEMU's keyboard has them.
pub mod key {
    #![allow(missing_docs, reason = "they are what they are called")]
    pub const UP: &str = "up";
    pub const DOWN: &str = "down";
    pub const LEFT: &str = "left";
    pub const RIGHT: &str = "right";
    pub const OK: &str = "ret";
    pub const BACK: &str = "esc";
    pub const HOME: &str = "home";
    pub const VOLUME_DOWN: &str = "volumedown";
}

impl Qemu {
    /// Waits for the first picture of a screen, which has to be that one.
    ///
    /// # Errors
    /// There is none, or it is another.
    pub fn comes_to(&mut self, screen: &str) -> Result<()> {
        let frame = self.log.wait_for("ui.frame", PATIENCE)?;
        ensure!(frame.field("screen")? == screen, "not {screen} but {frame}\n{}", self.log.tail());
        Ok(())
    }

    /// Presses keys one after the other; the last one leads to a screen.
    ///
    /// # Errors
    /// It leads nowhere, or somewhere else.
    pub fn goes(&mut self, keys: &[&str], screen: &str) -> Result<()> {
        for key in keys {
            self.qmp.press(&[key])?;
        }
        self.comes_to(screen).with_context(|| format!("{keys:?} should lead to {screen}"))
    }

    /// Holds a key, which leads to a screen.
    ///
    /// # Errors
    /// As [`Qemu::goes`].
    pub fn goes_by_holding(&mut self, key: &str, screen: &str) -> Result<()> {
        self.qmp.hold(key, HELD)?;
        self.comes_to(screen).with_context(|| format!("holding {key} should lead to {screen}"))
    }

    /// Looks at the screen until it says all these words. `name` is the test's, for the picture that is
    /// kept if it does not.
    ///
    /// # Errors
    /// It does not.
    pub fn says(&mut self, name: &str, words: &[&str]) -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let screen = self.screen()?;
            let text = read(&screen)?;
            let missing: Vec<&&str> = words.iter().filter(|words| !text.contains(**words)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let error = anyhow::anyhow!("the screen does not say {missing:?}, but:\n{text}");
                return keep(&screen, name, error);
            }
        }
    }
}

/// How the interface followed keys: its `ui.motion` events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Pictures after the first one of each movement, and the microseconds they took.
    pictures: u64,
    micros: u64,
    /// Most microseconds from a key to the next picture.
    pub answer_micros: u64,
    /// Most microseconds between two pictures.
    pub longest_micros: u64,
}

impl Pace {
    /// Presses a key and waits until all stands still again; the picture must have changed.
    ///
    /// # Errors
    /// Nothing moves.
    pub fn follow(&mut self, qemu: &mut Qemu, key: &str) -> Result<()> {
        let before = qemu.screen()?;
        qemu.qmp.press(&[key])?;
        let motion = qemu.log.wait_for("ui.motion", PATIENCE).with_context(|| format!("pressing {key}"))?;
        ensure!(qemu.screen()? != before, "the log says {motion}, and the picture is the same");
        self.pictures += motion.number("frames")? - 1;
        self.micros += motion.number("micros")?;
        self.answer_micros = self.answer_micros.max(motion.number("answer_micros")?);
        self.longest_micros = self.longest_micros.max(motion.number("longest_micros")?);
        Ok(())
    }

    /// Pictures a second, in motion.
    pub fn rate(&self) -> u64 {
        (self.pictures * 1_000_000).checked_div(self.micros).unwrap_or_default()
    }
}

/// The text in a picture of the screen, in one line.
///
/// # Errors
/// There is no [`READER`], or it fails.
pub fn read(screen: &Screen) -> Result<String> {
    let folder = tempfile::tempdir().context("making a folder for a picture")?;
    let file = folder.path().join("screen.ppm");
    // It was taught with black letters on white paper.
    screen.print().save(&file)?;
    let output = Command::new(READER)
        .arg(&file)
        .args(["-", "--psm", SCATTERED])
        .output()
        .with_context(|| format!("starting {READER}; next: `cargo hearth doctor`"))?;
    if !output.status.success() {
        bail!("{READER}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
