# Where a started CPU begins: copied to a page below 1 MiB, entered by STARTUP.
#
# True on entry (SDM 3, 9.4.4): real mode, CS = page << 8, IP = 0, interrupts off, caches as INIT
# left them. The parameters at the end of this code are filled in; the page tables that they name
# map this page where it is, and all of hv.
# Owed: long mode on those tables, a stack, the first argument, a jump to 64-bit code.

.text
.code16
.global ap_trampoline, ap_trampoline_end, ap_parameters, ap_far_pointer
.balign 16
ap_trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds                       # everything below is addressed from the page's start
    lgdtl ap_gdt_pointer - ap_trampoline

    # From real mode straight to long mode: PAE and the tables first, then LME, then protection
    # and paging in one write (APM 2, 14.6.1 allows it with CR0.PE and CR0.PG set together).
    movl $0x20, %eax                    # CR4.PAE
    movl %eax, %cr4
    movl ap_root - ap_trampoline, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              # EFER
    rdmsr
    orl $0x900, %eax                    # LME, NXE
    wrmsr
    movl $0x80010033, %eax              # PG, WP, NE, ET, MP, PE; caches on
    movl %eax, %cr0
    ljmpl *(ap_far_pointer - ap_trampoline)

.code64
ap_long_mode:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movq ap_stack(%rip), %rsp
    movq ap_argument(%rip), %rdi
    movq ap_entry(%rip), %rax
    xorl %ebp, %ebp
    pushq %rbp                          # the entry never returns to this
    jmpq *%rax

.balign 8
ap_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 0x08: 64-bit code, present, accessed
    .quad 0x00cf93000000ffff            # 0x10: data, present, writable, accessed
ap_gdt_end:
.balign 8
# Filled in by smp.rs (struct Parameters).
ap_parameters:
ap_root:        .quad 0
ap_stack:       .quad 0
ap_argument:    .quad 0
ap_entry:       .quad 0
ap_gdt_pointer: .word ap_gdt_end - ap_gdt - 1
ap_gdt_base:    .long 0
                .word 0
ap_far_pointer: .long 0
                .word 0x08
                .word 0
ap_trampoline_end:
