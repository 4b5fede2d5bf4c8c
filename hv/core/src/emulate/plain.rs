//! The short way for what drivers do to device memory: a `MOV` between a register or an immediate and
//! memory, in 64-bit code. The CPU has checked all of it and says where it went, so the instruction is
//! read only for its length, its width, and what it moves. All others are [`super::Emulation`]'s.

use super::walk::follow;
use super::{GuestMemory, Mode};
use crate::cpu::{Gprs, Register, VirtualCpu};
use hv_abi::memory::PAGE_SIZE;

/// Bytes that are looked at: more than the longest such instruction has.
const WINDOW: usize = 16;

/// What memory is moved to or from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// Memory is read into this register: an index of [`crate::cpu::Gprs`].
    Into(usize),
    /// Memory is written from this register.
    From(usize),
    /// Memory is written with this.
    Immediate(u64),
}

/// A plain move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainMove {
    /// Linear address of the memory.
    pub linear: u64,
    /// Bytes of the instruction.
    pub length: u8,
    /// Bytes that it moves: 1, 2, 4 or 8.
    pub size: u8,
    /// Its other operand.
    pub other: Other,
}

impl PlainMove {
    /// The instruction at RIP, at which the CPU has stopped, if it is one. `given`: its bytes, where the
    /// CPU saves them.
    #[inline]
    pub fn at_rip(
        cpu: &impl VirtualCpu,
        gprs: &Gprs,
        memory: &impl GuestMemory,
        given: Option<&[u8]>,
    ) -> Option<Self> {
        if Mode::of(cpu) != Mode::Bits64 {
            return None;
        }
        let rip = cpu.get(Register::Rip);
        let (window, bytes) = match given {
            Some(given) => {
                let mut window = [0; WINDOW];
                window.iter_mut().zip(given).for_each(|(to, from)| *to = *from);
                (window, given.len())
            }
            None if rip % PAGE_SIZE > PAGE_SIZE - WINDOW as u64 => return None,
            None => (memory.read_u128(follow(cpu, memory, rip)?)?.to_le_bytes(), WINDOW),
        };
        Self::decode(window, gprs, rip).filter(|moved| usize::from(moved.length) <= bytes)
    }

    /// APM 3, 1.2 (encoding) and `MOV`. A prefix other than operand size and REX is rare enough.
    #[inline]
    fn decode(code: [u8; WINDOW], gprs: &Gprs, rip: u64) -> Option<Self> {
        let narrow = code[0] == 0x66;
        let at = usize::from(narrow);
        let rex = if code[at] & 0xf0 == 0x40 { code[at] } else { 0 };
        let at = at + usize::from(rex != 0);
        let [opcode, modrm, sib] = [code[at], code[at + 1], code[at + 2]];
        let register = modrm >> 3 & 7;
        let scaled = modrm & 7 == 4;
        let base = if scaled { sib } else { modrm } & 7;
        let at = at + 2 + usize::from(scaled);
        let no_base = base == 5 && modrm >> 6 == 0;
        let four = |at: usize| i32::from_le_bytes([code[at], code[at + 1], code[at + 2], code[at + 3]]);
        let wide = four(at);
        let (end, displacement) = match modrm >> 6 {
            0 if !no_base => (at, 0),
            0 | 2 => (at + 4, wide),
            1 => (at + 1, i32::from(wide as i8)),
            _ => return None,
        };
        let size = match opcode & 1 {
            0 => 1,
            _ if rex & 8 != 0 => 8,
            _ if narrow => 2,
            _ => 4,
        };
        let high_byte = size == 1 && rex == 0 && register >= 4;
        let gpr = usize::from(register | (rex & 4) << 1);
        let (length, other) = match opcode {
            0x88 | 0x89 if !high_byte => (end, Other::From(gpr)),
            0x8a | 0x8b if !high_byte => (end, Other::Into(gpr)),
            0xc6 | 0xc7 if register == 0 => {
                let value = match size {
                    1 => i64::from(four(end) as i8),
                    2 => i64::from(four(end) as i16),
                    _ => i64::from(four(end)),
                };
                (end + usize::from(size.min(4)), Other::Immediate(value.cast_unsigned()))
            }
            _ => return None,
        };
        let value = |low: u8, high: u8| gprs.0[usize::from(low & 7 | (high & 1) << 3)];
        let mut linear = match (no_base, scaled) {
            (false, _) => value(base, rex),
            (true, true) => 0,
            (true, false) => rip.wrapping_add(length as u64),
        };
        if scaled && (sib >> 3 & 7 != 4 || rex & 2 != 0) {
            linear = linear.wrapping_add(value(sib >> 3, rex >> 1) << (sib >> 6));
        }
        linear = linear.wrapping_add_signed(displacement.into());
        Some(Self { linear, length: length as u8, size, other })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind};

    const RIP: u64 = 0xffff_8000_0010_0000;

    fn gprs() -> Gprs {
        Gprs(core::array::from_fn(|at| 0x0123_4567_89ab_cdef_u64.rotate_left(7 * at as u32)))
    }

    fn decode(code: &[u8]) -> Option<PlainMove> {
        let mut window = [0; WINDOW];
        window[..code.len()].copy_from_slice(code);
        PlainMove::decode(window, &gprs(), RIP)
    }

    /// What the full decoder makes of it, if it is a move between memory and a register or an immediate:
    /// length, size, address, whether it stores.
    fn full(code: &[u8]) -> Option<(u8, u8, u64, bool)> {
        let instruction = Decoder::with_ip(64, code, RIP, DecoderOptions::NONE).decode();
        let memory = (0..2).find(|&at| instruction.op_kind(at) == OpKind::Memory)?;
        let moves = instruction.mnemonic() == Mnemonic::Mov;
        let size = instruction.memory_size().size() as u8;
        let value = |name: iced_x86::Register| match name {
            name if name.is_segment_register() => Some(0),
            name => Some(gprs().0[name.full_register().number()]),
        };
        let linear = instruction.virtual_address(memory, 0, |name, _, _| value(name))?;
        moves.then_some((instruction.len() as u8, size, linear, memory == 0))
    }

    #[test]
    fn whatever_is_taken_for_a_move_is_one_to_the_full_decoder_too() {
        let mut found = 0;
        for (prefixes, opcode, modrm, sib) in every_start() {
            let mut code = [0x11; WINDOW];
            code[..prefixes.len()].copy_from_slice(prefixes);
            let at = prefixes.len();
            code[at..at + 3].copy_from_slice(&[opcode, modrm, sib]);
            let Some(moved) = decode(&code) else { continue };
            let stores = !matches!(moved.other, Other::Into(_));
            let found_too = Some((moved.length, moved.size, moved.linear, stores));
            assert_eq!(full(&code), found_too, "{code:02x?}");
            found += 1;
        }
        assert!(found > 10_000, "{found}");
    }

    fn every_start() -> impl Iterator<Item = (&'static [u8], u8, u8, u8)> {
        const PREFIXES: [&[u8]; 6] = [&[], &[0x66], &[0x40], &[0x4d], &[0x66, 0x44], &[0x66, 0x48]];
        let opcodes = || [0x88, 0x89, 0x8a, 0x8b, 0x8c, 0xc6, 0xc7, 0x0f, 0xa4, 0x01].into_iter();
        let sibs = || [0x00, 0x25, 0x65, 0xe5, 0xcb].into_iter();
        PREFIXES.into_iter().flat_map(move |prefixes| {
            opcodes().flat_map(move |opcode| {
                (0..=0xff).flat_map(move |modrm| sibs().map(move |sib| (prefixes, opcode, modrm, sib)))
            })
        })
    }

    #[test]
    fn registers_and_immediates_are_read_as_the_manual_says() {
        let decode = |code: &[u8]| decode(code).map(|moved| (moved.length, moved.size, moved.other));
        let some = |length, size, other| Some((length, size, other));
        // mov [rdx], ax; mov [r8+rcx*4+1], r9d; mov sil, [rdi]; mov dh, [rdi]
        assert_eq!(decode(&[0x66, 0x89, 0x02]), some(3, 2, Other::From(0)));
        assert_eq!(decode(&[0x45, 0x89, 0x4c, 0x88, 0x01]), some(5, 4, Other::From(9)));
        assert_eq!(decode(&[0x40, 0x8a, 0x37]), some(3, 1, Other::Into(6)));
        assert_eq!(decode(&[0x8a, 0x37]), None);
        // mov qword [rip+2], -2; mov word [rbx], 0x1234
        let minus_two = Other::Immediate(2u64.wrapping_neg());
        assert_eq!(decode(&[0x48, 0xc7, 0x05, 2, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]), some(11, 8, minus_two));
        assert_eq!(decode(&[0x66, 0xc7, 0x03, 0x34, 0x12]), some(5, 2, Other::Immediate(0x1234)));
        // mov eax, ecx; lock mov; gs: mov
        for other in [&[0x89, 0xc8][..], &[0xf0, 0x89, 0x02], &[0x65, 0x89, 0x02]] {
            assert_eq!(decode(other), None);
        }
    }
}
