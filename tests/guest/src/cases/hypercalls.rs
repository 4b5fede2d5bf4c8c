//! Hypercalls, ports, and instructions that are not there.

use super::exceptions::place;
use super::{GP, Named, Outcome, UD, check};
use crate::hypercall::call;
use crate::traps::{COME_BACK, Trip, last, provoke};
use crate::{Handover, smp};
use core::arch::asm;
use hv_abi::hypercall::{Call, MAX_LOG, Status, VERSION};
use x86_64::instructions::port::Port;

pub const ONE: &[Named] = &[
    ("hypercall/hello", hello),
    ("hypercall/misuse", misuse),
    ("port/nobody", nobody_at_a_port),
    ("port/out-string", out_string),
    ("port/pm-timer", pm_timer),
    ("port/level-3", level_3),
    ("instruction/absent", absent),
];

fn hello(_: &Handover) -> Outcome {
    check(call(Call::HELLO, [0; 4]) == VERSION.cast_signed(), "hv speaks another version")?;
    let first = call(Call::TIME_NOW, [0; 4]);
    check(call(Call::TIME_NOW, [0; 4]) >= first && first > 0, "time does not go on")
}

fn misuse(handover: &Handover) -> Outcome {
    check(call(Call(12_345), [0; 4]) == Status::NO_SUCH_CALL.0, "an unknown call is not refused")?;
    let (end, last) = (handover.ram_end, u64::MAX - 3);
    for address in [0, 0xfee0_0000, u64::MAX, 0xffff_8000_0000_0000, end, end - 4, last] {
        let refused = call(Call::LOG_WRITE, [address, 8, 0, 0]) == Status::BAD_ADDRESS.0;
        check(refused, "memory that is not ours is read")?;
    }
    for length in [MAX_LOG + 1, u64::MAX] {
        let long = call(Call::LOG_WRITE, [handover.low, length, 0, 0]);
        check(long == Status::BAD_ARGUMENT.0, "a line that is too long is taken")?;
    }
    Ok(())
}

fn nobody_at_a_port(_: &Handover) -> Outcome {
    // SAFETY: nobody is at these ports of a virtual machine without devices.
    let (byte, word, double) = unsafe {
        Port::<u32>::new(0x5000).write(0);
        (Port::<u8>::new(0x5000).read(), Port::<u16>::new(0x5000).read(), Port::<u32>::new(0x5000).read())
    };
    check((byte, word, double) == (0xff, 0xffff, u32::MAX), "a port where nobody is does not read all ones")?;
    let (mut rax, mut wide) = (u64::MAX << 8, 0x1234_5678_9abc_def0_u64);
    // SAFETY: as above.
    unsafe {
        asm!("in al, dx", inout("rax") rax, in("dx") 0x5001_u16);
        asm!("in eax, dx", inout("rax") wide, in("dx") 0x5001_u16);
    }
    check(rax == u64::MAX && wide == 0xffff_ffff, "IN changes more or less of RAX than it should")?;
    let (mut bytes, mut count) = ([0_u8; 300], 300_u64);
    // SAFETY: the buffer is as long as the count.
    unsafe {
        asm!("rep insb", inout("rcx") count, inout("rdi") bytes.as_mut_ptr() => _, in("dx") 0x5000_u16);
    }
    check(count == 0 && bytes.iter().all(|&byte| byte == 0xff), "a string from a port is not read whole")
}

fn out_string(_: &Handover) -> Outcome {
    let words = [0_u16; 70];
    let (mut count, mut from) = (70_u64, words.as_ptr().addr() as u64 + 2 * 69);
    // SAFETY: nobody is at the port; downwards, the buffer is as long as the count.
    unsafe {
        asm!("std", "rep outsw", "cld", inout("rcx") count, inout("rsi") from, in("dx") 0x5000_u16);
    }
    let below = words.as_ptr().addr() as u64 - 2;
    check(count == 0 && from == below, "a string to a port, downwards, does not end where it should")
}

fn pm_timer(_: &Handover) -> Outcome {
    let mut timer = Port::<u32>::new(0x608);
    // SAFETY: reading the PM timer changes nothing.
    let mut read = || unsafe { timer.read() };
    let first = read();
    check(smp::wait(|| call(Call::HELLO, [0; 4]) > 0) && read() != first, "the PM timer stands still")
}

/// Ports for level 3: by IOPL they are open, and without it, and without a bitmap in the task segment, they
/// fault before hv hears of it. (APM 2, 12.2.4.)
fn level_3(handover: &Handover) -> Outcome {
    const IOPL_3: u64 = 3 << 12;
    // in al, 0xe5 and out 0xe5, al, where nobody is; int 0x90
    let (read, write) = ([0xe4, 0xe5, 0xcd, COME_BACK], [0xe6, 0xe5, 0xcd, COME_BACK]);
    let back = Some((COME_BACK, 0));
    for code in [&read, &write] {
        let trip = place(handover, code);
        check(trip.go() == GP, "level 3 has a port that nobody gave it")?;
        check(last().rip == trip.rip, "an access to a port that is not allowed is passed over")?;
    }
    let open = |code| {
        let trip = place(handover, code);
        Trip { flags: trip.flags | IOPL_3, ..trip }
    };
    check(open(&read).go() == back && last().rax as u8 == 0xff, "level 3 does not read a port with IOPL 3")?;
    check(open(&write).go() == back && last().cs & 3 == 3, "level 3 does not write a port with IOPL 3")
}

fn absent(_: &Handover) -> Outcome {
    for (fault, what) in [
        (provoke!("vmrun", 0, 0).1, "VMRUN is there"),
        (provoke!("vmload", 0, 0).1, "VMLOAD is there"),
        (provoke!("vmsave", 0, 0).1, "VMSAVE is there"),
        (provoke!("stgi", 0, 0).1, "STGI is there"),
        (provoke!("clgi", 0, 0).1, "CLGI is there"),
        (provoke!("invlpga", 0, 0).1, "INVLPGA is there"),
        (provoke!("skinit", 0, 0).1, "SKINIT is there"),
        (provoke!("rsm", 0, 0).1, "RSM is there"),
        (provoke!("monitor", 0, 0).1, "MONITOR is there"),
        (provoke!("mwait", 0, 0).1, "MWAIT is there"),
        (provoke!("ud2", 0, 0).1, "UD2 does not fault"),
    ] {
        check(fault == UD, what)?;
    }
    check(provoke!("rdpmc", 0, 0).1 == GP, "RDPMC does not fault")?;
    check(provoke!("wbinvd", 0, 0).1.is_none(), "WBINVD faults")?;
    check(provoke!("invd", 0, 0).1.is_none(), "INVD faults")?;
    check(provoke!("pause", 0, 0).1.is_none(), "PAUSE faults")
}
