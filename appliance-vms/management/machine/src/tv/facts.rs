//! What the interface shows of the box itself: its parts, and the time.

use super::Desk;
use crate::appliances::Clock;
use crate::entry::Handover;
use alloc::rc::Rc;
use alloc::string::String;
use core::arch::x86_64::__cpuid;
use management::executor::Handle;
use management::models::rtc::WallClock;
use ui::tv::Event;
use ui::tv::state::Machine;

const SECOND: u64 = 1_000_000_000;
/// CPUID: the highest extended leaf, and the three with the processor's name. APM 3, E.4.
const EXTENDED: u32 = 0x8000_0000;
const NAME: core::ops::RangeInclusive<u32> = 0x8000_0002..=0x8000_0004;

/// The box in plain words.
pub fn machine(handover: &Handover) -> Machine {
    Machine {
        version: env!("CARGO_PKG_VERSION").into(),
        processor: processor(),
        // What firmware keeps for itself is missing from it.
        memory: (handover.machine_ram.next_multiple_of(1 << 30) >> 30) as u32,
        isolation: isolation().into(),
    }
}

/// What the processor calls itself.
fn processor() -> String {
    if __cpuid(EXTENDED).eax < *NAME.end() {
        return String::new();
    }
    let registers = NAME.map(__cpuid).flat_map(|leaf| [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]);
    let bytes: heapless::Vec<u8, 48> =
        registers.flat_map(u32::to_le_bytes).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).trim().into()
}

/// What keeps appliances apart, by the vendor's name for it.
fn isolation() -> &'static str {
    // "Auth" of AuthenticAMD; the other vendor that hv runs on is Intel.
    if __cpuid(0).ebx == u32::from_le_bytes(*b"Auth") { "AMD-V" } else { "Intel VT-x" }
}

/// Tells the time, each minute.
pub async fn tell_time(handle: Handle, clock: Rc<Clock>, desk: Rc<Desk>) {
    loop {
        let (shown, left) = management::tv::clock(clock.unix_nanos() / SECOND);
        desk.tell(Event::Clock(shown));
        handle.sleep(left * SECOND).await;
    }
}
