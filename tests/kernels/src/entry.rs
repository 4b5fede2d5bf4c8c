//! From the loader to the kernel's own `main` ([`crate::kernel!`]).

use crate::boot::Boot;
use crate::{console, end, interrupts, say, smp};
use core::arch::global_asm;

#[cfg(target_arch = "x86")]
global_asm!(
    include_str!("header.S"),
    include_str!("flat.S"),
    start = sym start,
    start_other = sym smp::start_other,
    fault = sym interrupts::fault,
    interrupt = sym interrupts::interrupt,
    options(att_syntax)
);
#[cfg(target_arch = "x86_64")]
global_asm!(
    include_str!("header.S"),
    include_str!("long.S"),
    start = sym start,
    start_other = sym smp::start_other,
    fault = sym interrupts::fault,
    interrupt = sym interrupts::interrupt,
    options(att_syntax)
);

unsafe extern "Rust" {
    safe fn kernel_main(boot: &Boot) -> bool;
}

/// From the entry in assembly: the loader's magic, and where it says more.
extern "C" fn start(magic: u32, info: u32) -> ! {
    console::set_up();
    interrupts::install();
    let Some(boot) = Boot::new(magic, u64::from(info)) else {
        say!("fail no loader leaves {magic:#x}");
        end::exit(end::FAILED)
    };
    say!("kernel.start protocol={:?} cmdline={:?}", boot.protocol, boot.command_line());
    let passed = kernel_main(&boot);
    end::as_told(boot.option("end="), passed)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("fail {info}");
    end::exit(end::FAILED)
}

/// Makes a function `fn(&Boot) -> bool` the kernel: whether all was well.
#[macro_export]
macro_rules! kernel {
    ($main:path) => {
        #[unsafe(no_mangle)]
        fn kernel_main(boot: &$crate::boot::Boot) -> bool {
            $main(boot)
        }
    };
}
