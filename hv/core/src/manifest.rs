//! What a VM shall be, read from its manifest: everything that can be refused is refused here, with
//! the arithmetic.

use crate::sched::Class;
use derive_more::Display;
use heapless::{String, Vec};
use hv_abi::ioreq::{EVENTS, NO_EVENT};
use hv_abi::manifest::{ANY_CORE, APICS, GRANULE, MAX_PIECES, MAX_VCPUS, VERSION, VmManifest};
use hv_abi::memory::PhysRange;

/// A name in the log and on screen.
pub type Name = String<16>;

/// A manifest that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Name.
    pub name: Name,
    /// How urgent it is.
    pub class: Class,
    /// Its RAM, guest-physical.
    pub ram: Vec<PhysRange, MAX_PIECES>,
    /// A vCPU each: the core that it is pinned to.
    pub cores: Vec<Option<u32>, MAX_VCPUS>,
    /// Where its I/O requests go.
    pub io_page: Option<u64>,
    /// The event that says so.
    pub io_event: u32,
    /// The event that says that it ended.
    pub end_event: u32,
}

/// What there is to be had.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Cores that run.
    pub cores: u32,
    /// Bits of a guest-physical address.
    pub physical_bits: u8,
    /// Bytes of free RAM.
    pub free: u64,
}

/// Why a manifest is refused.
#[derive(Clone, Copy, Debug, Display, PartialEq, Eq)]
pub enum Refusal {
    /// Another layout than this hv knows.
    #[display("its manifest has version {_0}, hv knows {VERSION}")]
    Version(u32),
    /// No name, or not one of `[a-z][a-z0-9-]{0,14}`.
    #[display("its name is not a-z, then up to 14 of a-z, 0-9 and -")]
    Name,
    /// None, or too many.
    #[display("{_0} vCPUs, and there can be 1 to {MAX_VCPUS}")]
    Vcpus(u32),
    /// No such class.
    #[display("class {_0}, and there are 0 to 2")]
    Class(u32),
    /// No such event.
    #[display("event {_0}, and there are 0 to {}", EVENTS - 1)]
    Event(u32),
    /// No RAM.
    #[display("it has no RAM")]
    NoRam,
    /// RAM that is not in whole granules.
    #[display("RAM {_0} is not in multiples of {GRANULE:#x}")]
    NotGranular(PhysRange),
    /// RAM beyond the addresses that the VM has.
    #[display("RAM {_0} ends above {:#x}, the last of {_1} address bits", 1_u64 << _1)]
    TooHigh(PhysRange, u8),
    /// Two pieces share an address.
    #[display("RAM {_0} and {_1} share {:#x} bytes", _0.end().min(_1.end()) - _0.base.max(_1.base))]
    Overlap(PhysRange, PhysRange),
    /// A core that does not run.
    #[display("vCPU {vcpu} is pinned to core {core}, and there are 0 to {}", cores - 1)]
    Core {
        /// Which vCPU wants it.
        vcpu: usize,
        /// Which.
        core: u8,
        /// How many there are.
        cores: u32,
    },
    /// More RAM than is free.
    #[display(
        "it needs {} KiB of RAM, {} KiB are free: {} KiB too few",
        wanted >> 10,
        free >> 10,
        (wanted - free).div_ceil(1 << 10)
    )]
    TooLarge {
        /// Bytes.
        wanted: u64,
        /// Bytes.
        free: u64,
    },
}

/// Reads a manifest.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read(manifest: &VmManifest, limits: Limits) -> Result<Wanted, Refusal> {
    if manifest.version != VERSION {
        return Err(Refusal::Version(manifest.version));
    }
    let vcpus = usize::try_from(manifest.vcpus).ok().filter(|count| (1..=MAX_VCPUS).contains(count));
    let vcpus = vcpus.ok_or(Refusal::Vcpus(manifest.vcpus))?;
    let class = match manifest.class {
        0 => Class::Urgent,
        1 => Class::Front,
        2 => Class::Back,
        other => return Err(Refusal::Class(other)),
    };
    for event in [manifest.io_event, manifest.end_event] {
        if event != NO_EVENT && event >= EVENTS {
            return Err(Refusal::Event(event));
        }
    }
    let mut cores = Vec::new();
    for (vcpu, core) in manifest.cores.into_iter().enumerate().take(vcpus) {
        let pinned = (core != ANY_CORE).then_some(u32::from(core));
        if pinned.is_some_and(|core| core >= limits.cores) {
            return Err(Refusal::Core { vcpu, core, cores: limits.cores });
        }
        // There are as many places as vCPUs.
        let _ = cores.push(pinned);
    }
    Ok(Wanted {
        name: name(&manifest.name)?,
        class,
        ram: ram(manifest, limits)?,
        cores,
        io_page: (manifest.io_page != 0).then_some(manifest.io_page),
        io_event: manifest.io_event,
        end_event: manifest.end_event,
    })
}

fn name(bytes: &[u8; 16]) -> Result<Name, Refusal> {
    let len = bytes.iter().position(|&byte| byte == 0).ok_or(Refusal::Name)?;
    let (name, rest) = bytes.split_at(len);
    let [first, others @ ..] = name else { return Err(Refusal::Name) };
    let lawful = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if !first.is_ascii_lowercase() || !others.iter().all(lawful) || rest.iter().any(|&byte| byte != 0) {
        return Err(Refusal::Name);
    }
    let text = core::str::from_utf8(name).map_err(|_| Refusal::Name)?;
    Name::try_from(text).map_err(|_| Refusal::Name)
}

fn ram(manifest: &VmManifest, limits: Limits) -> Result<Vec<PhysRange, MAX_PIECES>, Refusal> {
    let mut ram = Vec::<PhysRange, MAX_PIECES>::new();
    let mut wanted = 0_u64;
    for piece in manifest.ram.into_iter().filter(|piece| !piece.is_empty()) {
        if (piece.base | piece.len) % GRANULE != 0 {
            return Err(Refusal::NotGranular(piece));
        }
        if piece.base.checked_add(piece.len).is_none_or(|end| end > 1 << limits.physical_bits) {
            return Err(Refusal::TooHigh(piece, limits.physical_bits));
        }
        if let Some(other) = ram.iter().chain([&APICS]).find(|other| piece.overlaps(**other)) {
            return Err(Refusal::Overlap(piece, *other));
        }
        // Pieces that are apart have no more bytes than there are addresses, and as many places.
        wanted += piece.len;
        let _ = ram.push(piece);
    }
    match wanted {
        0 => Err(Refusal::NoRam),
        wanted if wanted > limits.free => Err(Refusal::TooLarge { wanted, free: limits.free }),
        _ => Ok(ram),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const MIB: u64 = 1 << 20;
    const LIMITS: Limits = Limits { cores: 2, physical_bits: 40, free: 64 * MIB };

    fn manifest() -> VmManifest {
        let mut name = [0; 16];
        name[..7].copy_from_slice(b"music-2");
        let mut ram = [PhysRange::default(); MAX_PIECES];
        ram[0] = PhysRange::new(0, 16 * MIB);
        ram[2] = PhysRange::new(1 << 32, 8 * MIB);
        VmManifest {
            version: VERSION,
            vcpus: 2,
            name,
            ram,
            class: 1,
            io_event: 3,
            end_event: NO_EVENT,
            reserved: 0,
            io_page: 0x1000,
            cores: [ANY_CORE; MAX_VCPUS],
        }
    }

    #[test]
    fn a_manifest_that_makes_sense_is_taken_as_it_is() {
        let mut manifest = manifest();
        manifest.cores[1] = 1;
        let wanted = read(&manifest, LIMITS).expect("it makes sense");
        assert_eq!(
            (wanted.name.as_str(), wanted.class, wanted.io_page),
            ("music-2", Class::Front, Some(0x1000))
        );
        assert_eq!(wanted.ram, [PhysRange::new(0, 16 * MIB), PhysRange::new(1 << 32, 8 * MIB)]);
        assert_eq!(wanted.cores, [None, Some(1)]);
        assert_eq!((wanted.io_event, wanted.end_event), (3, NO_EVENT));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_arithmetic() {
        let mut rows = std::vec::Vec::new();
        let mut row = |words: &'static str, change: fn(&mut VmManifest)| {
            let mut manifest = manifest();
            change(&mut manifest);
            rows.push((words, manifest));
        };
        row("version 2, hv knows 1", |m| m.version = 2);
        row("0 vCPUs", |m| m.vcpus = 0);
        row("17 vCPUs, and there can be 1 to 16", |m| m.vcpus = 17);
        row("class 3", |m| m.class = 3);
        row("event 1024", |m| m.end_event = 1024);
        row("its name", |m| m.name[0] = b'M');
        row("its name", |m| m.name = [0; 16]);
        row("its name", |m| m.name = [b'a'; 16]);
        row("its name", |m| m.name[9] = b'a');
        row("no RAM", |m| m.ram = [PhysRange::default(); MAX_PIECES]);
        row("multiples of 0x200000", |m| m.ram[0].len = MIB);
        row("multiples of 0x200000", |m| m.ram[0].base = 4096);
        row("the last of 40 address bits", |m| m.ram[0].base = 1 << 40);
        row("the last of 40 address bits", |m| m.ram[0].base = u64::MAX - 2 * MIB + 1);
        row("0x0..0x1000000 share 0x200000 bytes", |m| m.ram[2].base = 14 * MIB);
        row("0xfec00000..0xff000000 share", |m| m.ram[0].base = 0xfe00_0000);
        row("vCPU 1 is pinned to core 2, and there are 0 to 1", |m| m.cores[1] = 2);
        row("it needs 73728 KiB of RAM, 65536 KiB are free: 8192 KiB too few", |m| m.ram[0].len = 64 * MIB);
        for (words, manifest) in rows {
            let refusal = read(&manifest, LIMITS).expect_err(words).to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
