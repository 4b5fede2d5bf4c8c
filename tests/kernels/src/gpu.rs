//! Requests to virtio-gpu, as they are in memory. Virtual I/O Device 1.2, 5.7.6.

use crate::memory::store;

/// Requests of the control queue. 5.7.6.7, `enum virtio_gpu_ctrl_type`.
pub const DISPLAY_INFO: u32 = 0x100;
/// A picture: its number, format, width, height.
pub const CREATE: u32 = 0x101;
/// It goes: its number.
pub const UNREF: u32 = 0x102;
/// It is shown: a rectangle, the screen, its number.
pub const SHOW: u32 = 0x103;
/// A part is to be seen: a rectangle, its number.
pub const FLUSH: u32 = 0x104;
/// A part was drawn: a rectangle, where in the memory (two words), its number.
pub const TRANSFER: u32 = 0x105;
/// It is drawn in that memory: its number, how many pieces; address (two words), bytes, nothing of each.
pub const ATTACH: u32 = 0x106;
/// It is drawn in no memory: its number.
pub const DETACH: u32 = 0x107;
/// What the screen says of itself.
pub const EDID: u32 = 0x10a;
/// Requests of the cursor queue.
pub const CURSOR: u32 = 0x300;
/// See [`CURSOR`].
pub const MOVE: u32 = 0x301;
/// `VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM`.
pub const FORMAT: u32 = 2;
/// Bytes of the longest answer: an EDID's.
pub const ANSWER: u32 = 24 + 8 + 1024;

/// Writes a request; how many bytes it has.
pub fn write(at: u64, number: u32, body: &[u32]) -> u32 {
    let words = [number, 0, 0, 0, 0, 0].into_iter().chain(body.iter().copied());
    let mut bytes = 0;
    for word in words {
        store(at + bytes, word);
        bytes += 4;
    }
    bytes as u32
}
