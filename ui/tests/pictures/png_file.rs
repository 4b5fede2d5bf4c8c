//! PNG files of surfaces.

use embedded_graphics::prelude::Size;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::Path;

/// Writes pixels (`0x00RRGGBB`, line by line); with a palette if 256 colours do, which is smaller.
pub fn write(path: &Path, size: Size, pixels: &[u32]) -> Result<(), Box<dyn Error>> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut colours = pixels.to_vec();
    colours.sort_unstable();
    colours.dedup();
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), size.width, size.height);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let bytes = |pixels: &[u32]| {
        pixels.iter().flat_map(|pixel| pixel.to_be_bytes()[1..].to_vec()).collect::<Vec<u8>>()
    };
    let data = if colours.len() <= 256 {
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(bytes(&colours));
        encoder.set_filter(png::Filter::NoFilter);
        pixels.iter().map(|pixel| colours.binary_search(pixel).map_or(0, |at| at as u8)).collect()
    } else {
        encoder.set_color(png::ColorType::Rgb);
        bytes(pixels)
    };
    encoder.write_header()?.write_image_data(&data)?;
    Ok(())
}

/// Reads what [`write`] wrote.
#[allow(dead_code, reason = "the preview only writes")]
pub fn read(path: &Path) -> Result<(Size, Vec<u32>), Box<dyn Error>> {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(path)?));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().ok_or("too large")?];
    let frame = reader.next_frame(&mut bytes)?;
    let pixels =
        bytes.chunks_exact(3).map(|pixel| u32::from_be_bytes([0, pixel[0], pixel[1], pixel[2]])).collect();
    Ok((Size::new(frame.width, frame.height), pixels))
}
