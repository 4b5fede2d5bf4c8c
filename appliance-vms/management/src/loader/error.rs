//! Why a kernel is not started: where, with which arithmetic, and what helps.

use crate::block::BlockError;
use crate::memory::NotRam;
use core::fmt;
use hv_abi::memory::PhysRange;

/// Why a kernel can't be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The kernel is not what the appliance says.
    NotAKernel {
        /// What it should be.
        wanted: &'static str,
        /// What is missing, or what it looks like instead.
        why: &'static str,
    },
    /// A file ends before it should.
    CutShort {
        /// The file, or its part.
        what: &'static str,
        /// Bytes that it should have.
        needs: u64,
        /// Bytes that it has.
        has: u64,
    },
    /// A Linux kernel without a 64-bit entry point.
    Only32Bit,
    /// It wants something that this loader can't give.
    Unsupported(&'static str),
    /// The kernel does not fit below the end of its RAM.
    TooLittleRam {
        /// Where it must lie, and how much it needs there.
        needs: PhysRange,
        /// Where its RAM below 4 GiB ends.
        ram_end: u64,
    },
    /// A part of the kernel belongs where there is no RAM for it.
    OutsideRam(PhysRange),
    /// A part of the kernel belongs where the loader leaves what it tells the kernel.
    OnLoader(PhysRange),
    /// There is no room for the initrd beside the kernel.
    InitrdTooLarge {
        /// Its bytes.
        bytes: u64,
        /// Bytes that there are for it.
        room: u64,
    },
    /// The command line is longer than the kernel takes.
    CommandLineTooLong {
        /// Its bytes.
        bytes: usize,
        /// Most bytes.
        most: usize,
    },
    /// A file could not be read.
    Unreadable {
        /// The file.
        what: &'static str,
        /// What the disk said.
        error: BlockError,
    },
    /// What this program takes for the guest's RAM is not: its own mistake.
    NotRam(NotRam),
}

impl From<NotRam> for LoadError {
    fn from(error: NotRam) -> Self {
        Self::NotRam(error)
    }
}

/// Bytes, in KiB rounded up.
struct Kib(u64);

impl fmt::Display for Kib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB", self.0.div_ceil(1024))
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotAKernel { wanted, why } => {
                write!(f, "the kernel is no {wanted}: {why}; see kernel.format in appliance.toml")
            }
            Self::CutShort { what, needs, has } => write!(
                f,
                "the {what} is cut short: it should have {needs} bytes and has {has}; copy it again"
            ),
            Self::Only32Bit => f.write_str(
                "the kernel has no 64-bit entry point (XLF_KERNEL_64); take one that is built for x86-64",
            ),
            Self::Unsupported(what) => write!(f, "the kernel wants {what}, which is not to be had here"),
            Self::TooLittleRam { needs, ram_end } => write!(
                f,
                "the kernel needs {} from {:#x} on, so RAM up to {}, and has {}: {} too few; \
                 give it more memory in appliance.toml",
                Kib(needs.len),
                needs.base,
                Kib(needs.end()),
                Kib(ram_end),
                Kib(needs.end().saturating_sub(ram_end))
            ),
            Self::OutsideRam(range) => write!(
                f,
                "the kernel has a part at {range}, where it has no RAM to use; give it more memory in \
                 appliance.toml, or link it from 1 MiB on"
            ),
            Self::OnLoader(range) => {
                write!(
                    f,
                    "the kernel has a part at {range}, where its boot information is; link it from 1 MiB on"
                )
            }
            Self::InitrdTooLarge { bytes, room } => write!(
                f,
                "the initrd has {}, and beside the kernel there is room for {}: {} too few; \
                 give it more memory in appliance.toml",
                Kib(bytes),
                Kib(room),
                Kib(bytes.saturating_sub(room))
            ),
            Self::CommandLineTooLong { bytes, most } => {
                write!(f, "the command line has {bytes} bytes, and the kernel takes {most}; shorten it")
            }
            Self::Unreadable { what, error } => write!(f, "the {what} could not be read ({error:?})"),
            Self::NotRam(NotRam { address, len }) => {
                write!(f, "{len} bytes of its RAM at {address:#x} can't be reached; this is Hearth's mistake")
            }
        }
    }
}
