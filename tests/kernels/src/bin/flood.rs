//! A guest that wants all there is of the screen: it draws a whole picture again and again, as fast as it is
//! answered, with as many requests on their way as the queue takes. It says `flood N` now and then.

#![no_std]
#![no_main]
// It is a program for a bare (virtual) machine.
#![allow(unsafe_code)]

use test_kernels::boot::Boot;
use test_kernels::memory::{fill, load, store};
use test_kernels::virtio::{Device, GPU, Queue, VERSION_1};
use test_kernels::{gpu, kernel, say};

kernel!(run);

/// Where its queue, requests, answers and pixels are: RAM behind its image.
const RINGS: u64 = 16 << 20;
const REQUESTS: u64 = RINGS + 0x1_0000;
const ANSWERS: u64 = RINGS + 0x2_0000;
const PIXELS: u64 = 20 << 20;
/// Bytes between two of them.
const REQUEST: u64 = 0x80;
const ANSWER: u64 = 0x600;
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
/// A sign of life every so many pictures.
const TELL: u32 = 64;
/// `VIRTIO_GPU_RESP_OK_NODATA`. 5.7.6.7.
const OK: u32 = 0x1100;

fn run(_: &Boot) -> bool {
    let Some(device) = Device::all().find(|device| device.kind == GPU && device.begin(VERSION_1)) else {
        return false;
    };
    let mut queue = device.queue(0, RINGS);
    device.go();
    let bytes = WIDTH * HEIGHT * 4;
    for (number, body) in [
        (gpu::CREATE, [1, gpu::FORMAT, WIDTH, HEIGHT, 0, 0]),
        (gpu::ATTACH, [1, 1, PIXELS as u32, 0, bytes, 0]),
        (gpu::SHOW, [0, 0, WIDTH, HEIGHT, 0, 1]),
    ] {
        ask(&mut queue, 0, number, &body);
        if queue.wait().is_none() || load::<u32>(ANSWERS) != OK {
            say!("the screen does not do {number:#x}");
            return false;
        }
    }
    let slots = u64::from(queue.size / 2);
    let (mut pictures, mut waiting) = (0, 0);
    loop {
        while waiting + 2 <= slots {
            let slot = u64::from(pictures) * 2 % slots;
            // Each is another one.
            fill(PIXELS, (WIDTH * 4).into(), pictures as u8);
            ask(&mut queue, slot, gpu::TRANSFER, &[0, 0, WIDTH, HEIGHT, 0, 0, 1, 0]);
            ask(&mut queue, slot + 1, gpu::FLUSH, &[0, 0, WIDTH, HEIGHT, 1, 0]);
            waiting += 2;
            pictures += 1;
            if pictures % TELL == 0 {
                say!("flood {pictures}");
            }
        }
        if queue.wait().is_none() {
            say!("the screen does not answer");
            return false;
        }
        waiting -= 1;
    }
}

/// Asks something, in a slot of its own.
fn ask(queue: &mut Queue, slot: u64, number: u32, body: &[u32]) {
    let (request, answer) = (REQUESTS + slot * REQUEST, ANSWERS + slot * ANSWER);
    store(answer, 0u32);
    let len = gpu::write(request, number, body);
    queue.send(&[(request, len, false), (answer, gpu::ANSWER, true)]);
}
