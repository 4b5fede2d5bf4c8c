// What each CPU but the first runs to be counted: it is copied to a page below 1 MiB.
//
// True on entry, after a SIPI for that page (SDM 3, 9.4.3): real mode, IP 0, CS at the page.
// Owed: one byte set, at the CPU's own APIC ID in the 256 bytes at {MARKS} of the page;
// then the CPU halts until hv calls it with INIT.

    .section .rodata.count, "a"
    .code16
    .global count_start, count_end
count_start:
    cli
    movw %cs, %ax
    movw %ax, %ds
    movl $1, %eax
    cpuid
    shrl $24, %ebx                      // initial APIC ID: bits 31 to 24
    movb $1, {MARKS}(%bx)
1:  hlt
    jmp 1b
count_end:
    .code64
    .text
