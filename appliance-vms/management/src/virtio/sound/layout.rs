//! Requests and answers, as they are in memory (virtio 1.2, 5.14.6).

use super::format::Params;
use alloc::vec::Vec;

/// Bytes of the longest request, SET_PARAMS.
pub const REQUEST: usize = 24;
/// Bytes of the header of a message with sound, its stream, and of its status (5.14.6.8).
pub const TRANSFER: u64 = 4;
pub const STATUS: usize = 8;
/// Bytes of an event: kind, which one (5.14.6.5).
pub const EVENT: usize = 8;
/// Most bytes that a driver may want to be told of one thing.
pub const MAX_ITEM: u32 = 256;

/// What is wanted.
mod code {
    pub const JACK_INFO: u32 = 1;
    pub const PCM_INFO: u32 = 0x100;
    pub const PCM_SET_PARAMS: u32 = 0x101;
    pub const PCM_PREPARE: u32 = 0x102;
    pub const PCM_RELEASE: u32 = 0x103;
    pub const PCM_START: u32 = 0x104;
    pub const PCM_STOP: u32 = 0x105;
    pub const CHMAP_INFO: u32 = 0x200;
    pub const JACK_CONNECTED: u32 = 0x1000;
    pub const JACK_DISCONNECTED: u32 = 0x1001;
}

/// How a request has ended (5.14.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Outcome {
    Done = 0x8000,
    /// It is malformed, or comes at a time when it makes no sense.
    BadMessage = 0x8001,
    NotSupported = 0x8002,
    /// Sound for no stream, or for one that is not ready for it (5.14.6.8).
    Io = 0x8003,
}

/// Things that are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Jack,
    Stream,
    ChannelMap,
}

/// A request of the control queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// What things from number `first` on are, `count` of them, in `size` bytes each.
    Info {
        item: Item,
        first: u32,
        count: u32,
        size: u32,
    },
    /// `None`: not as anything that is offered.
    SetParams {
        params: Option<Params>,
    },
    Prepare,
    Release,
    Start,
    Stop,
}

impl Command {
    /// The request whose first `len` bytes were read.
    pub fn new(bytes: &[u8; REQUEST], len: usize) -> Result<Self, Outcome> {
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| words.get(at).map_or(0, |&word| u32::from_le_bytes(word));
        let has = |bytes| if len >= bytes { Ok(()) } else { Err(Outcome::BadMessage) };
        let info =
            |item| has(16).map(|()| Self::Info { item, first: word(1), count: word(2), size: word(3) });
        has(4)?;
        let command = match word(0) {
            code::JACK_INFO => return info(Item::Jack),
            code::PCM_INFO => return info(Item::Stream),
            code::CHMAP_INFO => return info(Item::ChannelMap),
            code::PCM_SET_PARAMS => {
                has(REQUEST)?;
                Self::set_params([word(2), word(3), word(4)], word(5))?
            }
            code::PCM_PREPARE => Self::Prepare,
            code::PCM_RELEASE => Self::Release,
            code::PCM_START => Self::Start,
            code::PCM_STOP => Self::Stop,
            // Also to remap a jack: there is one.
            _ => return Err(Outcome::NotSupported),
        };
        has(8)?;
        // There is one stream.
        if word(1) == 0 { Ok(command) } else { Err(Outcome::BadMessage) }
    }

    /// Bytes of the buffer and of a period, features; and channels, format and rate in one word.
    fn set_params([buffer, period, features]: [u32; 3], kind: u32) -> Result<Self, Outcome> {
        if period == 0 || buffer == 0 || !buffer.is_multiple_of(period) {
            return Err(Outcome::BadMessage);
        }
        let [channels, format, rate, _] = kind.to_le_bytes();
        let params = Params::new(format, rate, channels).filter(|_| features == 0);
        Ok(Self::SetParams { params })
    }
}

impl Item {
    /// How many there are.
    pub fn count(self) -> u32 {
        match self {
            Self::Jack | Self::Stream => 1,
            Self::ChannelMap => 2,
        }
    }

    /// What is said of number `number`. All belong to the same function group, 0.
    pub fn describe(self, number: u32, connected: bool) -> Vec<u8> {
        match self {
            Self::Jack => jack(connected),
            Self::Stream => stream(),
            Self::ChannelMap => channel_map(number),
        }
    }
}

/// `struct virtio_snd_jack_info` (5.14.6.4.1): function group, features, default configuration,
/// capabilities, connected. The middle two are HDA's (High Definition Audio 1.0a, 7.3.3.31 and 7.3.4.9).
fn jack(connected: bool) -> Vec<u8> {
    // A green 3.5 mm jack at the back that a line goes out of, first of the first group.
    const DEFAULTS: u32 = 0x0101_4010;
    // It can tell whether something is plugged in, and is an output.
    const CAPABILITIES: u32 = 1 << 2 | 1 << 4;
    let words = [0, 0, DEFAULTS, CAPABILITIES, connected.into(), 0];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// `struct virtio_snd_pcm_info` (5.14.6.6.2): function group, features, formats, rates, direction, least and
/// most channels.
fn stream() -> Vec<u8> {
    let (formats, rates) = Params::offered();
    let mut bytes = alloc::vec![0; 8];
    bytes.extend_from_slice(&formats.to_le_bytes());
    bytes.extend_from_slice(&rates.to_le_bytes());
    bytes.extend_from_slice(&[0, 1, 2, 0, 0, 0, 0, 0]);
    bytes
}

/// `struct virtio_snd_chmap_info` (5.14.6.9.1): function group, direction, channels, where each is heard.
fn channel_map(number: u32) -> Vec<u8> {
    const MONO: u8 = 2;
    const FRONT_LEFT: u8 = 3;
    const FRONT_RIGHT: u8 = 4;
    let mut bytes = alloc::vec![0; 5];
    bytes.extend_from_slice(if number == 0 { &[2, FRONT_LEFT, FRONT_RIGHT] } else { &[1, MONO] });
    bytes.resize(24, 0);
    bytes
}

/// The event that the jack is used, or no longer.
pub fn jack_event(connected: bool) -> [u8; EVENT] {
    let code = if connected { code::JACK_CONNECTED } else { code::JACK_DISCONNECTED };
    u64::from(code).to_le_bytes()
}

/// The status of a message with sound.
pub fn status(outcome: Outcome, latency: u32) -> [u8; STATUS] {
    (u64::from(outcome as u32) | u64::from(latency) << 32).to_le_bytes()
}
