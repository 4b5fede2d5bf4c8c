# Where the micro-guest's other CPUs start: real mode, at a page of low memory. Long mode by the first
# CPU's tables, then smp.rs. Parameters at the end.

.text
.code16
.global smp_start, smp_end, smp_root, smp_stack, smp_gdt_base, smp_far, smp_long, smp_gdt
.balign 16
smp_start:
    cli
    movw %cs, %ax
    movw %ax, %ds
    lgdtl smp_gdt_pointer - smp_start
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl smp_root - smp_start, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010033, %eax
    movl %eax, %cr0
    ljmpl *(smp_far - smp_start)
.code64
smp_long:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movq smp_stack(%rip), %rsp
    xorl %ebp, %ebp
    movabsq $smp_entry, %rax
    pushq %rbp
    jmpq *%rax
.balign 8
smp_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
.balign 8
smp_root: .quad 0
smp_stack: .quad 0
smp_gdt_pointer: .word 23
smp_gdt_base: .long 0
.word 0
smp_far: .long 0
.word 8
smp_end:
