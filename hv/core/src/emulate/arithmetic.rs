//! Arithmetic as the CPU does it: a result and the status flags. APM 3, chapter 3.

use super::access::mask;
use hv_defs::control::rflags::{AF, CF, OF, PF, SF, ZF};

/// The flags that depend on the result alone.
const fn of_result(result: u64, size: u64) -> u64 {
    let parity = if (result as u8).count_ones().is_multiple_of(2) { PF } else { 0 };
    let zero = if result == 0 { ZF } else { 0 };
    let sign = if result >> (8 * size - 1) & 1 != 0 { SF } else { 0 };
    parity | zero | sign
}

const fn flag(on: bool, flag: u64) -> u64 {
    if on { flag } else { 0 }
}

/// `a + b + carry`, of operands without bits above `size`.
pub const fn add(a: u64, b: u64, carry: bool, size: u64) -> (u64, u64) {
    let sum = a as u128 + b as u128 + carry as u128;
    let result = sum as u64 & mask(size);
    let flags = flag(sum > mask(size) as u128, CF)
        | flag((a ^ b ^ result) & 0x10 != 0, AF)
        | flag(((a ^ result) & (b ^ result)) >> (8 * size - 1) & 1 != 0, OF);
    (result, flags | of_result(result, size))
}

/// `a - b - borrow`, of operands without bits above `size`.
pub const fn subtract(a: u64, b: u64, borrow: bool, size: u64) -> (u64, u64) {
    let result = a.wrapping_sub(b).wrapping_sub(borrow as u64) & mask(size);
    let flags = flag((a as u128) < b as u128 + borrow as u128, CF)
        | flag((a ^ b ^ result) & 0x10 != 0, AF)
        | flag(((a ^ b) & (a ^ result)) >> (8 * size - 1) & 1 != 0, OF);
    (result, flags | of_result(result, size))
}

/// The flags of `AND`, `OR`, `XOR` and `TEST`; AF, which they leave undefined, is 0.
pub const fn logic(result: u64, size: u64) -> (u64, u64) {
    (result, of_result(result, size))
}
