//! A 32-bit kernel without paging that looks at everything outside test kernels ask of a PC, as Multiboot 1
//! or by its PVH note. The command line: `modules=1` if there is one, `end=` how it is to end.

#![no_std]
#![no_main]
// It is a program for a bare (virtual) machine.
#![allow(unsafe_code)]

use test_kernels::boot::{Boot, Protocol};
use test_kernels::checks::Checks;
use test_kernels::{acpi, apic, clock, cpu, interrupts, kernel, memory, pci, smp};

kernel!(run);

const MIB: u64 = 1 << 20;
/// As large as the outside suites' are.
const LARGE: usize = 12 << 20;

/// Cleared memory, as the loader owes it.
static mut BSS: [u8; LARGE] = [0; LARGE];

fn run(boot: &Boot) -> bool {
    let mut checks = Checks::default();
    told(boot, &mut checks);
    ram(boot, &mut checks);
    board(&mut checks);
    firmware(boot, &mut checks);
    processor(&mut checks);
    interrupting(&mut checks);
    checks.tell()
}

/// What the loader says.
fn told(boot: &Boot, checks: &mut Checks) {
    checks.holds("32-bit protected mode without paging", cpu::cr0() >> 31 == 0 && cpu::cr0() & 1 == 1);
    let line = boot.command_line();
    match boot.protocol {
        Protocol::Multiboot => {
            let first = line.split(' ').next().unwrap_or("");
            checks
                .holds("the command line begins with a file name", !first.is_empty() && !first.contains('='));
            checks.is("sizes, command line, modules and map count", boot.flags() & 0x4d, 0x4d);
            let [lower, upper] = boot.sizes();
            checks.is("memory below 640 KiB", lower, 640);
            checks.is("memory from 1 MiB on", upper << 10, boot.ram_end() - MIB);
        }
        Protocol::Pvh => checks.is("PVH names the root pointer", Some(boot.rsdp()), acpi::root()),
    }
    checks.holds("the command line is all there", line.ends_with("last=word"));
    let module = boot.module().map(|bytes| str::from_utf8(bytes).unwrap_or(""));
    checks.is("the first module", module, Some("NR_CPUS=2\nMEMSIZE=64\n"));
}

/// The memory map, A20, and memory that must be clear.
fn ram(boot: &Boot, checks: &mut Checks) {
    let mut end = 0;
    let in_order = boot.map().all(|range| core::mem::replace(&mut end, range.base + range.len) <= range.base);
    checks.holds("the memory map is in order", in_order);
    let usable = |address| {
        boot.map().any(|range| range.kind == 1 && (range.base..range.base + range.len).contains(&address))
    };
    checks.holds("it names RAM", usable(0x8000) && usable(MIB) && !usable(0xa_0000) && !usable(0xfee0_0000));
    let bss = (&raw const BSS).addr() as u64;
    let clear = (bss..bss + LARGE as u64).step_by(4).all(|at| memory::load::<u32>(at & !3) == 0);
    checks.holds("12 MiB of .bss are clear", clear);
    let even = bss.next_multiple_of(2 * MIB);
    memory::store(even + MIB, 1u32);
    memory::store(even, 2u32);
    checks.is("A20 is on", memory::load(even + MIB), 1u32);
}

/// Ports of an old PC.
fn board(checks: &mut Checks) {
    use cpu::port::{read_8, read_32, write_8, write_16};
    write_8(0x21, 0xff);
    write_8(0xa1, 0xff);
    write_8(0x70, 0x0b);
    let status = read_8(0x71);
    write_8(0x70, 0x09);
    let year = read_8(0x71);
    let year = if status & 4 == 0 { (year >> 4) * 10 + (year & 15) } else { year };
    checks.holds("the RTC knows the year", (24..99).contains(&year));
    checks.is("port 0x92 says that A20 is on", read_8(0x92) & 3, 2);
    write_8(0x92, read_8(0x92) | 2);
    write_16(0x510, 0);
    checks.is("fw_cfg is not there", read_8(0x511), 0xff);
    checks.is("nobody is at a port", read_32(0x5000), 0xffff_ffff);
    checks.is("PCI by ports finds a host bridge", pci::read_32(0, 8) >> 16, 0x0600);
    checks.is("PCI by ports finds nobody", pci::read_32(31, 0), 0xffff_ffff);
}

/// ACPI, as it is found without help.
fn firmware(boot: &Boot, checks: &mut Checks) {
    let short = acpi::root().map_or(0, |root| u64::from(memory::load::<u32>(root + 16)));
    checks.is("ACPI has a table of short addresses", memory::load(short), *b"RSDT");
    checks.holds("ACPI has a FADT", acpi::table(*b"FACP").is_some());
    checks.is("ACPI names the CPUs", Some(acpi::cpus() as u64), boot.number("cpus="));
}

/// Registers that suites touch at their start, and calls that nobody knows.
fn processor(checks: &mut Checks) {
    (0xc001_0004..=0xc001_0007).for_each(|counter| cpu::write_msr(counter, 0));
    checks.is("an unknown hypercall answers", cpu::hypercall(0x1234_5678).cast_signed(), -1000);
    let [_, b, c, d] = cpu::cpuid(0x4000_0000);
    checks.is("KVM's signature", [b, c, d], [0x4b4d_564b, 0x564b_4d56, 0x4d]);
}

/// The xAPIC page, its timer, an IPI to itself, the I/O APIC, the other CPU.
fn interrupting(checks: &mut Checks) {
    checks.is("the APIC is an xAPIC", (apic::id(), apic::is_x2()), (0, false));
    checks.holds("its version", apic::read(apic::VERSION) & 0xf0 == 0x10);
    checks.holds("the APIC goes off and on", apic::restart());
    apic::enable();
    apic::write(apic::LVT_LINT0, 0x1_0000);
    memory::store(0xfec0_0000, 1u32);
    let pins = memory::load::<u32>(0xfec0_0010) >> 16 & 0xff;
    checks.is("the I/O APIC's pins", pins, 23);
    let comes = |name: &str, checks: &mut Checks, cause: &mut dyn FnMut()| {
        let before = interrupts::count();
        cause();
        cpu::sleep_until(|| interrupts::count() != before);
        checks.is(name, interrupts::count(), before + 1);
    };
    let vector = interrupts::VECTOR;
    comes("an IPI to itself", checks, &mut || apic::send(0, apic::FIXED | vector));
    comes("the timer, once", checks, &mut || {
        apic::write(apic::TIMER_DIVIDE, 0xb);
        apic::write(apic::LVT_TIMER, vector);
        apic::write(apic::TIMER_INITIAL, 100_000);
    });
    checks.is("the timer has stopped", apic::read(apic::TIMER_CURRENT), 0);
    apic::write(apic::LVT_TIMER, 1 << 16);
    checks.holds("the other CPU starts", smp::start(1, apic::OTHERS));
    comes("an IPI from the other CPU", checks, &mut || smp::interrupt(0));
    checks.holds("time passes", !clock::wait(1, || false));
}
