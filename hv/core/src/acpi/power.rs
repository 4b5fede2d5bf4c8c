//! How the machine is switched off: the sleep state S5. ACPI 6.5, 7.4.2.

use super::{FADT, HEADER, Name, PhysicalMemory, checked, port, register, u32_at, u64_at};

/// What has to be written where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerOff {
    /// Ports of the PM1 control registers A and B, 16 bits, and the sleep type for each.
    Pm1([Option<(u16, u8)>; 2]),
    /// Port of the sleep control register, 8 bits, and the sleep type: hardware-reduced ACPI.
    Sleep(u16, u8),
}

impl PowerOff {
    /// What a PM1 control register, in which `now` stands, gets: the sleep type (bits 10–12), then the
    /// same with `go` (bit 13). 4.8.3.2.1.
    pub fn pm1(now: u16, sleep_type: u8, go: bool) -> u16 {
        now & !0x3c00 | u16::from(sleep_type) << 10 | u16::from(go) << 13
    }

    /// What the sleep control register gets: the sleep type (bits 2–4), and go (bit 5). 4.8.3.7.
    pub fn sleep(sleep_type: u8) -> u8 {
        sleep_type << 2 | 1 << 5
    }
}

/// Finds it out from the FADT, and from the DSDT that it names.
pub(super) fn read(memory: &impl PhysicalMemory, fadt: &[u8; FADT]) -> Option<PowerOff> {
    const FLAG_HARDWARE_REDUCED: u32 = 1 << 20;
    let dsdt = match u64_at(fadt, 140) {
        0 => u64::from(u32_at(fadt, 40)),
        address => address,
    };
    let [a, b] = sleep_types(memory, dsdt)?;
    if u32_at(fadt, 112) & FLAG_HARDWARE_REDUCED != 0 {
        let control = Some(register(fadt, 244)).filter(|control| control.is_port)?;
        let control = u16::try_from(control.address).ok().filter(|&port| port != 0)?;
        return Some(PowerOff::Sleep(control, a));
    }
    let (pm1a, pm1b) = (port(fadt, 64, 172)?, port(fadt, 68, 184));
    Some(PowerOff::Pm1([Some((pm1a, a)), pm1b.map(|port| (port, b))]))
}

/// The sleep types of S5 in the DSDT.
///
/// hv runs no AML. The object is a plain `Name (_S5, Package {…})` wherever there is one, so its bytes
/// are looked for; whatever has not exactly that form is passed over.
fn sleep_types(memory: &impl PhysicalMemory, dsdt: u64) -> Option<[u8; 2]> {
    /// What is looked at in one go, and how many places to begin at; the object fits in the rest.
    const WINDOW: usize = 64;
    const BEGINNINGS: usize = 32;
    let len = checked(memory, dsdt, Name(*b"DSDT")).ok()?;
    (HEADER..len).step_by(BEGINNINGS).find_map(|at| {
        let mut window = [0; WINDOW];
        let seen = &mut window[..(len - at).min(WINDOW as u64) as usize];
        if !memory.read(dsdt + at, seen) {
            return None;
        }
        (0..BEGINNINGS.min(seen.len())).find_map(|from| s5_package(&seen[from..]))
    })
}

/// The first two numbers of the package, if `aml` begins with S5's. 20.2.5.1, 20.2.5.4.
fn s5_package(aml: &[u8]) -> Option<[u8; 2]> {
    const NAME: u8 = 0x08;
    const PACKAGE: u8 = 0x12;
    let rest = aml.strip_prefix(&[NAME])?;
    let rest = rest.strip_prefix(b"\\").unwrap_or(rest).strip_prefix(b"_S5_")?;
    let rest = rest.strip_prefix(&[PACKAGE])?;
    // The package's length says in its first byte how many more bytes it has (20.2.4).
    let more = usize::from(*rest.first()? >> 6);
    let rest = rest.get(1 + more..)?;
    let (&elements, rest) = rest.split_first()?;
    if elements < 2 {
        return None;
    }
    let (a, rest) = sleep_type(rest)?;
    let (b, _) = sleep_type(rest)?;
    Some([a, b])
}

/// A number that is a sleep type (three bits), and what follows it. 20.2.3.
fn sleep_type(aml: &[u8]) -> Option<(u8, &[u8])> {
    // ZeroOp and OneOp; a byte, a word, a double word with its prefix.
    let ([value @ (0 | 1), rest @ ..]
    | [0x0a, value, rest @ ..]
    | [0x0b, value, 0, rest @ ..]
    | [0x0c, value, 0, 0, 0, rest @ ..]) = aml
    else {
        return None;
    };
    (*value < 8).then_some((*value, rest))
}
