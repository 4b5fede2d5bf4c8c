//! Writing only what is not zero, so that the empty parts of an image take no room on disk.

use std::io::{self, Seek, SeekFrom, Write};

/// The unit in which zeros are left out: the block size of common file systems.
const BLOCK: usize = 4096;

/// Writes `bytes` at `offset` of a file that reads as zeros there, leaving out blocks of zeros.
pub(super) fn write(file: &mut (impl Write + Seek), offset: u64, bytes: &[u8]) -> io::Result<()> {
    // Comparing slices is one call, and quick without optimisation too; the command runs as a debug build.
    let is_data = |block: &[u8]| block != &[0; BLOCK][..block.len()];
    let mut position = 0;
    // One write for each run of blocks with data, not one for each block.
    for run in bytes.chunks(BLOCK).collect::<Vec<_>>().chunk_by(|a, b| is_data(a) == is_data(b)) {
        let length = run.iter().map(|block| block.len()).sum::<usize>();
        if is_data(run[0]) {
            file.seek(SeekFrom::Start(offset + position as u64))?;
            file.write_all(&bytes[position..position + length])?;
        }
        position += length;
    }
    Ok(())
}
