//! Draws every screen of the television interface into PNG files, without a box.
//!
//! `cargo run -p ui --example preview --features tv [DIRECTORY]` (by default `target/preview`).

#[path = "../tests/pictures/house.rs"]
mod house;
#[path = "../tests/pictures/png_file.rs"]
mod png_file;

use embedded_graphics::prelude::Size;
use std::path::PathBuf;
use ui::tv::Painter;
use ui::tv::state::Look;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).map_or_else(|| PathBuf::from("target/preview"), PathBuf::from);
    for look in Look::ALL {
        for language in ui::tv::words::Language::ALL {
            for (name, mut state) in house::screens() {
                state.settings.look = look;
                state.settings.language = language;
                let mut painter = Painter::new(Size::new(1280, 720))?;
                painter.paint(&state, &house::Film, 0);
                let file = directory.join(format!("{name}-{look:?}-{language:?}.png").to_lowercase());
                png_file::write(&file, painter.surface().size(), painter.surface().pixels())?;
            }
        }
    }
    println!("{}", directory.display());
    Ok(())
}
