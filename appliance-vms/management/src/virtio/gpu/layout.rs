//! Requests and answers, as they are in memory (virtio 1.2, 5.7.6.7 and 5.7.6.8).

use super::edid::{BLOCK, edid};
use super::screen::{Mode, Rect};
use alloc::vec::Vec;

/// Bytes of the header of all requests and answers.
pub const HEADER: usize = 24;
/// Bytes of the longest request, without entries that follow it.
pub const REQUEST: usize = 56;
const WORDS: usize = REQUEST / 4;
/// Where entries of ATTACH_BACKING begin, and the bytes of each: address, length, nothing.
pub const ENTRIES: u64 = 32;
pub const ENTRY: usize = 16;
/// Screens that DISPLAY_INFO has room for.
const MAX_SCANOUTS: usize = 16;
/// Bytes that EDID has room for.
const MAX_EDID: usize = 1024;
/// Flag of the header: the driver wants to know by number when this is done.
const FENCE: u32 = 1;

/// What is wanted, and what is answered (`enum virtio_gpu_ctrl_type`).
#[allow(missing_docs, reason = "their names are the standard's")]
pub mod kind {
    pub const GET_DISPLAY_INFO: u32 = 0x100;
    pub const RESOURCE_CREATE_2D: u32 = 0x101;
    pub const RESOURCE_UNREF: u32 = 0x102;
    pub const SET_SCANOUT: u32 = 0x103;
    pub const RESOURCE_FLUSH: u32 = 0x104;
    pub const TRANSFER_TO_HOST_2D: u32 = 0x105;
    pub const RESOURCE_ATTACH_BACKING: u32 = 0x106;
    pub const RESOURCE_DETACH_BACKING: u32 = 0x107;
    pub const GET_EDID: u32 = 0x10a;
    pub const UPDATE_CURSOR: u32 = 0x300;
    pub const MOVE_CURSOR: u32 = 0x301;
    pub const OK_NODATA: u32 = 0x1100;
    pub const OK_DISPLAY_INFO: u32 = 0x1101;
    pub const OK_EDID: u32 = 0x1104;
}

/// Why a request is refused (`VIRTIO_GPU_RESP_ERR_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    /// There is no such request.
    Unknown = 0x1200,
    /// The guest has no more memory for pictures, or would have too many.
    Memory = 0x1201,
    Scanout = 0x1202,
    Resource = 0x1203,
    Parameter = 0x1205,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    DisplayInfo(Mode),
    Edid(Mode),
    Refused(Refusal),
}

/// The header of a request, as far as its answer has the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    flags: u32,
    fence: u64,
    context: u32,
    ring: u32,
}

/// A request of the control queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    DisplayInfo,
    Create { resource: u32, format: u32, width: u32, height: u32 },
    Unref { resource: u32 },
    SetScanout { rect: Rect, scanout: u32, resource: u32 },
    Flush { rect: Rect, resource: u32 },
    Transfer { rect: Rect, offset: u64, resource: u32 },
    Attach { resource: u32, entries: u32 },
    Detach { resource: u32 },
    Edid { scanout: u32 },
}

/// A request of the cursor queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorCommand {
    /// The pointer gets a picture and a place.
    Update { scanout: u32, x: i32, y: i32, resource: u32, hot: (u32, u32) },
    /// It moves.
    Move { scanout: u32, x: i32, y: i32 },
}

/// A request's first bytes, as words.
pub struct Request {
    words: [u32; WORDS],
    len: usize,
}

impl Request {
    /// Of a request whose first `len` bytes were read.
    pub fn new(bytes: &[u8; REQUEST], len: usize) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        Self {
            words: core::array::from_fn(|at| words.get(at).map_or(0, |&word| u32::from_le_bytes(word))),
            len,
        }
    }

    pub fn header(&self) -> Header {
        let [_, flags, low, high, context, ring, ..] = self.words;
        Header { flags, fence: u64::from(low) | u64::from(high) << 32, context, ring }
    }

    /// All words after the header, if the request has at least `count` of them.
    fn body(&self, count: usize) -> Result<[u32; WORDS - 6], Refusal> {
        let enough = self.len >= HEADER + 4 * count;
        let body = core::array::from_fn(|at| self.words[at + 6]);
        enough.then_some(body).ok_or(Refusal::Parameter)
    }

    pub fn command(&self) -> Result<Command, Refusal> {
        let rect = |[x, y, width, height, ..]: [u32; WORDS - 6]| Rect { x, y, width, height };
        Ok(match self.words[0] {
            kind::GET_DISPLAY_INFO => self.body(0).map(|_| Command::DisplayInfo)?,
            kind::RESOURCE_CREATE_2D => {
                let [resource, format, width, height, ..] = self.body(4)?;
                Command::Create { resource, format, width, height }
            }
            kind::RESOURCE_UNREF => Command::Unref { resource: self.body(1)?[0] },
            kind::SET_SCANOUT => {
                let body = self.body(6)?;
                Command::SetScanout { rect: rect(body), scanout: body[4], resource: body[5] }
            }
            kind::RESOURCE_FLUSH => {
                let body = self.body(5)?;
                Command::Flush { rect: rect(body), resource: body[4] }
            }
            kind::TRANSFER_TO_HOST_2D => {
                let body = self.body(7)?;
                let offset = u64::from(body[4]) | u64::from(body[5]) << 32;
                Command::Transfer { rect: rect(body), offset, resource: body[6] }
            }
            kind::RESOURCE_ATTACH_BACKING => {
                let [resource, entries, ..] = self.body(2)?;
                Command::Attach { resource, entries }
            }
            kind::RESOURCE_DETACH_BACKING => Command::Detach { resource: self.body(1)?[0] },
            kind::GET_EDID => Command::Edid { scanout: self.body(1)?[0] },
            _ => return Err(Refusal::Unknown),
        })
    }

    pub fn cursor_command(&self) -> Result<CursorCommand, Refusal> {
        let [scanout, x, y, _, resource, hot_x, hot_y, ..] = self.body(7)?;
        let (x, y) = (x.cast_signed(), y.cast_signed());
        match self.words[0] {
            kind::UPDATE_CURSOR => Ok(CursorCommand::Update { scanout, x, y, resource, hot: (hot_x, hot_y) }),
            kind::MOVE_CURSOR => Ok(CursorCommand::Move { scanout, x, y }),
            _ => Err(Refusal::Unknown),
        }
    }
}

impl Answer {
    /// Its bytes, to a request with that header.
    pub fn bytes(self, header: Header) -> Vec<u8> {
        let kind = match self {
            Self::Done => kind::OK_NODATA,
            Self::DisplayInfo(_) => kind::OK_DISPLAY_INFO,
            Self::Edid(_) => kind::OK_EDID,
            Self::Refused(refusal) => refusal as u32,
        };
        let mut words = alloc::vec![kind, header.flags & FENCE, 0, 0, 0, 0];
        if header.flags & FENCE != 0 {
            words[2..].copy_from_slice(&[
                header.fence as u32,
                (header.fence >> 32) as u32,
                header.context,
                header.ring,
            ]);
        }
        if let Self::DisplayInfo(mode) = self {
            let (width, height) = mode.size();
            words.extend_from_slice(&[0, 0, width, height, 1, 0]);
            words.resize(HEADER / 4 + 6 * MAX_SCANOUTS, 0);
        }
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        if let Self::Edid(mode) = self {
            bytes.extend_from_slice(&(BLOCK as u64).to_le_bytes());
            bytes.extend_from_slice(&edid(mode));
            bytes.resize(HEADER + 8 + MAX_EDID, 0);
        }
        bytes
    }
}
