# Exceptions, which end the program, and interrupts, which end sleep.
#
# True on entry (APM 2, 8.9): interrupts off, the interrupted SS, RSP, RFLAGS, CS, RIP pushed, and an
# error code for vectors 8, 10-14, 17, 21, 29, 30. Exceptions come on a stack of their own.
# Owed to management_trap: RDI = a Frame (traps.rs), the stack 16-byte aligned.

.macro stub vector
    .balign 16
    .if \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30
    .else
    pushq $0                            # in place of the error code
    .endif
    pushq $\vector
    jmp exception
.endm

.set X2APIC_EOI, 0x80b

.text
.balign 16
.global exception_stubs
exception_stubs:
.altmacro                               # so that %vector is its value at that turn
    .set vector, 0
    .rept 32
    stub %vector
    .set vector, vector + 1
    .endr
.noaltmacro

exception:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    andq $-16, %rsp
    call management_trap

# An interrupt has done its work by ending the sleep; what it is about is in the event page or on the
# clock. It is ended, and that is all.
.balign 16
.global interrupt_stub
interrupt_stub:
    btrl $0, END_OF_INTERRUPT(%rip)     # hv looks at the next exit
    jc 1f
    pushq %rax
    pushq %rcx
    pushq %rdx
    movl $X2APIC_EOI, %ecx
    xorl %eax, %eax
    xorl %edx, %edx
    wrmsr
    popq %rdx
    popq %rcx
    popq %rax
1:  iretq

.balign 16
.global spurious_stub
spurious_stub:
    iretq

# The end: the processor has no table for what happens next, and stops (APM 2, 8.2.9).
.global management_end
management_end:
    lidt nothing(%rip)
    ud2

.section .rodata
nothing:
    .word 0
    .quad 0
