//! Files and guests for the loaders' tests.

extern crate std;

use super::{Format, Guest, LoadError, Program, Reading, Source, load};
use crate::block::BlockError;
use crate::platform::Ram;
use crate::testkit::FakeRam;
use core::future::{Future, ready};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use hv_abi::manifest::StartState;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const RSDP: u64 = 0xe_0000;

/// A file in memory.
pub(super) struct File(pub Vec<u8>);

impl Source for File {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at<'a>(&'a self, offset: u64, into: &'a mut [u8]) -> Reading<'a> {
        into.copy_from_slice(&self.0[offset as usize..][..into.len()]);
        Box::pin(ready(Ok(())))
    }
}

/// A file of a length only, which fails when it is read from `fails_from` on.
pub(super) struct Hollow {
    pub len: u64,
    pub fails_from: u64,
}

impl Source for Hollow {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at<'a>(&'a self, offset: u64, into: &'a mut [u8]) -> Reading<'a> {
        into.fill(0x77);
        let fails = offset + into.len() as u64 > self.fails_from;
        Box::pin(ready(if fails { Err(BlockError::Device) } else { Ok(()) }))
    }
}

/// Runs what waits for nothing but its next turn.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// A kernel in a guest, before it runs.
pub(super) struct Loaded {
    pub ram: FakeRam,
    pub start: Result<StartState, LoadError>,
}

/// Loads a kernel into a guest with so many MiB.
pub(super) fn load_with(
    format: Format,
    mib: u64,
    kernel: &[u8],
    initrd: Option<&dyn Source>,
    cmdline: &str,
) -> Loaded {
    let layout = Ram::new(mib * MIB).expect("a lawful amount");
    let ram = FakeRam::new(layout);
    let kernel = File(kernel.to_vec());
    let program = Program { format, kernel: &kernel, initrd, cmdline };
    let start = now(load(&program, &Guest { memory: &ram, ram: layout, rsdp: RSDP }));
    Loaded { ram, start }
}

/// Puts bytes into a file that is being made.
pub(super) fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// An empty file of so many bytes.
pub(super) fn empty(len: usize) -> Vec<u8> {
    vec![0; len]
}
