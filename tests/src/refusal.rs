//! What holds for every box that does not come up because something is wrong with it.

use crate::event::Event;
use crate::qemu::Qemu;
use crate::screen::{Region, Screen};
use crate::{PATIENCE, failures};
use anyhow::{Context, Error, Result, bail, ensure};
use ui::notice::{self, Notice, Tone};

/// Waits until the box refuses: a sentence and a remedy on the serial line, the same on the screen,
/// and every CPU halted for good. `name` is the test's, for the picture that is kept when it fails.
///
/// # Errors
/// One of these is missing.
pub fn refuses(qemu: &mut Qemu, name: &str) -> Result<Event> {
    let event = qemu.log.wait_until("boot.refused", PATIENCE, |event| {
        matches!(event.name.as_str(), "boot.refused" | "hv.ready")
    })?;
    ensure!(event.name == "boot.refused", "it should not come up\n{}", qemu.log.tail());
    let (what, remedy) = (event.field("what")?, event.field("remedy")?);
    ensure!(is_sentence(what) && is_sentence(remedy), "not sentences: {event}");
    qemu.wait_until_halted()?;
    let screen = qemu.screen()?;
    says(&screen, what, remedy).or_else(|error| keep(&screen, name, error))?;
    Ok(event)
}

/// Checks that `screen` shows a title, then `text`, then `detail`, to the pixel.
///
/// # Errors
/// It does not.
pub fn says(screen: &Screen, text: &str, detail: &str) -> Result<()> {
    let lines = screen.text_lines(screen.all());
    let [title, first, ..] = lines[..] else { bail!("the screen shows {} lines of text", lines.len()) };
    ensure!(title.height > first.height, "the first line is no title");
    // Where the rest stands depends on the title's height, but not on what it says.
    let notice = Notice { tone: Tone::Trouble, title: "A title", text, detail };
    let wanted = Screen::drawn(screen.width, screen.height, |canvas| {
        let Ok(()) = notice::draw(canvas, &notice);
    });
    let below = Region { y: first.y, height: screen.height - first.y, ..screen.all() };
    let same = screen.crop(below).same_as(&wanted.crop(below), 0, 0);
    same.with_context(|| format!("the screen does not say {text:?}, {detail:?}"))
}

/// Keeps the picture that a test failed on, and says where.
///
/// # Errors
/// Always: `error`, with the picture's name.
pub fn keep<T>(screen: &Screen, name: &str, error: Error) -> Result<T> {
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let file = failures()?.join(format!("{name}.ppm"));
    screen.save(&file).context("keeping the picture")?;
    Err(error.context(format!("the picture is kept in {}", file.display())))
}

/// At least four words, a capital first, a full stop last.
fn is_sentence(text: &str) -> bool {
    text.starts_with(char::is_uppercase) && text.ends_with('.') && text.split_whitespace().count() >= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_notice_will_do() {
        let notice = Notice {
            tone: Tone::Trouble,
            title: "Hearth can't start",
            text: "It is broken.",
            detail: "Mend it.",
        };
        let screen = Screen::drawn(1280, 720, |canvas| {
            let Ok(()) = notice::draw(canvas, &notice);
        });
        says(&screen, "It is broken.", "Mend it.").expect("the very notice");
        assert!(says(&screen, "It is broken?", "Mend it.").is_err());
        assert!(says(&screen, "It is broken.", "Mend it!").is_err());
        let blank = Screen::drawn(1280, 720, |_| {});
        assert!(says(&blank, "It is broken.", "Mend it.").unwrap_err().to_string().contains("0 lines"));
    }

    #[test]
    fn a_sentence_is_told_from_a_code() {
        assert!(is_sentence("This computer's processor can't run virtual machines."));
        for text in ["", "EINVAL", "no svm here now.", "Svm missing.", "This has no full stop"] {
            assert!(!is_sentence(text), "{text}");
        }
    }
}
