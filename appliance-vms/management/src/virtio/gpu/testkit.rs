//! What the device makes of a driver's bytes, and what it answers, for tests of the driver.

use super::Mode;
use super::layout::{Answer, Header, REQUEST, Request};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What a request asks for, in words.
pub fn understood(bytes: &[u8]) -> String {
    let mut first = [0; REQUEST];
    let len = bytes.len().min(REQUEST);
    first[..len].copy_from_slice(&bytes[..len]);
    match Request::new(&first, len).command() {
        Ok(command) => format!("{command:?}"),
        Err(refusal) => format!("{refusal:?}"),
    }
}

/// The answer to a driver that asks for screens.
pub fn answer_bytes(mode: Mode) -> Vec<u8> {
    Answer::DisplayInfo(mode).bytes(Header::default())
}
