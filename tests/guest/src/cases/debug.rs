//! Debug registers, breakpoints and single steps, also over instructions that exit.

use super::{Fault, Named, Outcome, check};
use crate::traps::{last, provoke};
use crate::{Handover, window};
use core::arch::asm;
use core::arch::x86_64::__cpuid;

pub const ONE: &[Named] = &[
    ("debug/registers", registers),
    ("debug/watchpoint", watchpoint),
    ("debug/breakpoint", breakpoint),
    ("debug/single-step", single_step),
    ("debug/step-over-exits", step_over_exits),
];

const DB: Fault = Some((1, 0));
/// DR6: a single step.
const STEP: u64 = 1 << 14;
/// DR6 with nothing in it; DR7 too.
const QUIET: u64 = 0xffff_0ff0;
const OFF: u64 = 0x400;

macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reads a register.
        unsafe { asm!(concat!("mov {}, ", $register), out(reg) value) };
        value
    }};
}

macro_rules! write {
    ($register:literal, $value:expr) => {
        check(
            provoke!(concat!("mov ", $register, ", rcx"), $value, 0).1.is_none(),
            "a debug register can't be written",
        )
    };
}

fn registers(_: &Handover) -> Outcome {
    check(read!("dr7") == OFF, "DR7 is not as after reset")?;
    check(read!("dr6") == QUIET, "DR6 is not as after reset")?;
    write!("dr0", 0x1000_u64)?;
    write!("dr1", 0xffff_ffff_8123_4567_u64)?;
    write!("dr2", 0x7fff_0000_0002_u64)?;
    write!("dr3", 3_u64)?;
    check(__cpuid(0x4000_0000).eax != 0, "CPUID goes wrong")?;
    let kept = read!("dr0") == 0x1000
        && read!("dr1") == 0xffff_ffff_8123_4567
        && read!("dr2") == 0x7fff_0000_0002
        && read!("dr3") == 3;
    check(kept, "addresses in debug registers do not outlast an exit")?;
    write!("dr7", 0x155_u64 | OFF)?;
    check(__cpuid(0x4000_0000).eax != 0 && read!("dr7") == 0x155 | OFF, "DR7 does not outlast an exit")?;
    write!("dr7", OFF)
}

fn watchpoint(handover: &Handover) -> Outcome {
    let at = window::frame(handover, 10);
    let page = window::map(handover, 10, at | window::RW);
    write!("dr0", page + 4)?;
    write!("dr6", QUIET)?;
    // Four bytes, writes only, exact.
    write!("dr7", OFF | 0b1101 << 16 | 1 << 9 | 0b10)?;
    check(provoke!("mov al, [rcx]", page + 4, 0).1.is_none(), "reading trips a watchpoint on writes")?;
    check(provoke!("mov [rcx], al", page + 3, 0).1.is_none(), "the byte before is watched too")?;
    let hit = provoke!("mov [rcx], al", page + 5, 0x5a).1;
    let why = read!("dr6");
    write!("dr7", OFF)?;
    check(hit == DB, "a watchpoint is not hit")?;
    check(why & 0xf == 1 && why & STEP == 0, "DR6 does not say which watchpoint")?;
    check(window::get::<1>(at + 5) == [0x5a], "a watched write is not made")?;
    check(provoke!("mov [rcx], al", page + 5, 0).1.is_none(), "a watchpoint that is off is hit")
}

fn breakpoint(handover: &Handover) -> Outcome {
    let code = window::frame(handover, 11);
    // nop; nop; jmp rcx
    window::put(code, &[0x90, 0x90, 0xff, 0xe1]);
    write!("dr3", code + 1)?;
    write!("dr6", QUIET)?;
    write!("dr7", OFF | 1 << 9 | 1 << 7)?;
    let hit = provoke!("lea rcx, [rip + 2f]\njmp rax", 0, code).1;
    let (why, rip) = (read!("dr6"), last().rip);
    write!("dr7", OFF)?;
    check(hit == DB && rip == code + 1, "a breakpoint is not hit before its instruction")?;
    check(why & 0xf == 8, "DR6 does not say which breakpoint")?;
    check(provoke!("int3", 0, 0).1 == Some((3, 0)), "INT3 is not a breakpoint")
}

fn single_step(_: &Handover) -> Outcome {
    write!("dr6", QUIET)?;
    let hit = provoke!("pushfq\nor qword ptr [rsp], 0x100\npopfq\nnop\nnop\nnop", 0, 0).1;
    check(hit == DB && read!("dr6") & STEP != 0, "a single step does not trap")?;
    let [before, at] = window::get::<2>(last().rip - 1);
    check([before, at] == [0x90, 0x90], "a single step is not one instruction")
}

/// hv moves RIP itself over what it carries out: the trap must come right behind it.
fn step_over_exits(_: &Handover) -> Outcome {
    macro_rules! steps {
        ($instruction:literal, $rcx:expr, $rax:expr, $bytes:expr, $what:literal) => {{
            write!("dr6", QUIET)?;
            let hit = provoke!(
                concat!("pushfq\nor qword ptr [rsp], 0x100\npopfq\n", $instruction, "\nnop\nnop\nnop"),
                $rcx,
                $rax
            )
            .1;
            check(hit == DB && read!("dr6") & STEP != 0, $what)?;
            let (expected, rip): (&[u8], u64) = (&$bytes, last().rip);
            let before: [u8; 2] = window::get(rip - expected.len() as u64);
            check(before[..expected.len()] == *expected && window::get(rip) == [0x90], $what)?;
        }};
    }
    steps!("rdmsr", 0x1b, 0, [0x0f, 0x32], "a single step over RDMSR goes wrong");
    steps!("wbinvd", 0, 0, [0x0f, 0x09], "a single step over WBINVD goes wrong");
    steps!("mov eax, [rcx]", 0xfee0_0030_u64, 0, [0x8b, 0x01], "a single step over device memory goes wrong");
    steps!("in al, dx", 0, 0x5000 << 32, [0xec], "a single step over IN goes wrong");
    Ok(())
}
