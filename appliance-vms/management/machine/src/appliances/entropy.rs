//! Random bytes, from the processor.

use core::arch::asm;
use core::arch::x86_64::__cpuid;
use management::virtio::rng::Entropy;

/// `RDRAND` (SDM 1, 7.3.17).
pub struct Processor;

impl Processor {
    /// If this processor has it.
    pub fn find() -> Option<Self> {
        (__cpuid(1).ecx >> 30 & 1 == 1).then_some(Self)
    }

    /// Eight random bytes.
    #[allow(clippy::unused_self, reason = "who has one has seen that the instruction is there")]
    pub fn word(&self) -> u64 {
        loop {
            let (value, there): (u64, u8);
            // SAFETY: the processor has the instruction.
            unsafe {
                asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) there, options(nomem, nostack));
            };
            if there == 1 {
                return value;
            }
            core::hint::spin_loop();
        }
    }
}

impl Entropy for Processor {
    fn fill(&mut self, into: &mut [u8]) {
        for bytes in into.chunks_mut(8) {
            bytes.copy_from_slice(&self.word().to_le_bytes()[..bytes.len()]);
        }
    }
}
