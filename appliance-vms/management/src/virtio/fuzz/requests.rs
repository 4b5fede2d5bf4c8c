//! What requests say, often enough what the device understands.

use crate::virtio::Device;
use crate::virtio::gpu::Gpu;
use crate::virtio::sound::Sound;
use crate::virtio::testkit::{Driver, Piece, Random};
use alloc::vec;
use alloc::vec::Vec;

/// Where requests say what they want, where more of that may be, and where data are.
const HEAD: u64 = 0x1000;
const SEGMENT: u64 = 0x1100;
const DATA: u64 = 0x1_0000;
/// Numbers of the devices that have requests of their own.
const GPU: u16 = Gpu::KIND.number;
const SOUND: u16 = Sound::KIND.number;

/// Something like a request for a queue: pieces to read, of which the first may say what is wanted, and
/// pieces to write.
pub fn pieces<D: Device + 'static>(driver: &Driver<D>, queue: usize, random: &mut Random) -> Vec<Piece> {
    let words = match D::KIND.number {
        GPU => gpu(random),
        SOUND => sound(queue, random),
        _ => any(random),
    };
    let segment = if D::KIND.number == GPU {
        [(DATA + random.below(0x1000)) as u32, 0, random.one_of(&[3, 4096, 0x1_0000, 0x1_0000]), 0]
    } else {
        [random.below(70) as u32, 0, random.below(4) as u32, random.below(3) as u32]
    };
    for (address, words) in [(HEAD, &words[..]), (SEGMENT, &segment)] {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        driver.put(address, &bytes);
    }
    let said = (HEAD, 4 * words.len() as u32, false);
    if matches!(D::KIND.number, GPU | SOUND) && !random.once_in(16) {
        return vec![said, (SEGMENT, 16, false), (DATA, 1056, true)];
    }
    any_pieces(said, random)
}

fn any_pieces(said: Piece, random: &mut Random) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    if !random.once_in(3) {
        pieces.push(said);
    }
    for _ in 0..random.below(3) {
        pieces.push(random.one_of(&[(SEGMENT, 16, false), (DATA, 60, false), (DATA, 1024, false)]));
    }
    for _ in 0..random.below(3) {
        let len = random.one_of(&[20, 512, 2048, 0x1_0000]);
        pieces.push((DATA + 0x200 * random.below(16), len, true));
    }
    if pieces.is_empty() || random.once_in(2) {
        pieces.push((HEAD + 0x80, 1, true));
    }
    pieces
}

/// A disk's request, or a console's message.
fn any(random: &mut Random) -> Vec<u32> {
    let (kind, event) = (random.below(14) as u32, (random.below(8) | random.below(2) << 16) as u32);
    let words = vec![kind, event, random.below(70) as u32, 0];
    words.into_iter().take(random.one_of(&[2, 3, 4, 4])).collect()
}

/// A screen's request.
fn gpu(random: &mut Random) -> Vec<u32> {
    let any = 0x100 + random.below(12) as u32;
    let usual = [0x101, 0x101, 0x103, 0x103, 0x104, 0x105, 0x105, 0x106, 0x300, 0x301, any, any];
    let (kind, resource) = (random.one_of(&usual), random.one_of(&[1, 1, 1, 1, 2, 0]));
    let side = |random: &mut Random| random.one_of(&[64, 64, 64, 64, 64, 300, 4096, u32::MAX]);
    let part =
        [random.below(8) as u32, 0, random.one_of(&[1, 56, 56, 0xffff]), random.one_of(&[1, 64, 64, 9999])];
    let mut words = vec![kind, random.below(2) as u32, random.next() as u32, 0, 0, 0];
    match kind {
        0x101 => {
            let format = random.one_of(&[1, 2, 2, 67, 5]);
            words.extend_from_slice(&[resource, format, side(random), side(random)]);
        }
        0x103 => {
            words.extend_from_slice(&part);
            words.extend_from_slice(&[u32::from(random.once_in(8)), resource]);
        }
        0x104 => {
            words.extend_from_slice(&part);
            words.extend_from_slice(&[resource, 0]);
        }
        0x105 => {
            words.extend_from_slice(&part);
            words.extend_from_slice(&[random.one_of(&[0, 0, 1, u32::MAX]), 0, resource, 0]);
        }
        0x106 => words.extend_from_slice(&[resource, random.one_of(&[1, 1, 2, 9999])]),
        0x300.. => words.extend_from_slice(&[0, 1, 2, 0, resource, 3, 4, 0]),
        _ => words.extend_from_slice(&[resource, 0]),
    }
    words
}

/// A sound card's request, or the header of sound.
fn sound(queue: usize, random: &mut Random) -> Vec<u32> {
    let stream = u32::from(random.once_in(16));
    if queue > 0 {
        return vec![stream];
    }
    let any = random.one_of(&[0, 1, 2, 0x100, 0x103, 0x105, 0x200]);
    let code = random.one_of(&[0x101, 0x101, 0x102, 0x102, 0x102, 0x104, 0x104, 0x104, any]);
    match code {
        0x101 => {
            let kind =
                u32::from_le_bytes(random.one_of(&[[2, 5, 7, 0], [2, 5, 7, 0], [1, 4, 6, 0], [3, 5, 7, 0]]));
            vec![code, stream, random.one_of(&[4096, 4096, 0]), 1024, 0, kind]
        }
        0x102..0x106 => vec![code, stream],
        _ => vec![code, stream, random.one_of(&[0, 1, 2, u32::MAX]), random.one_of(&[24, 32, 1 << 30])],
    }
}
