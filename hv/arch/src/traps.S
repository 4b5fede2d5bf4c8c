# Every exception and interrupt: one stub a vector, one way in.
#
# True on entry to a stub (APM 2, 8.9): interrupts off, the interrupted SS, RSP, RFLAGS, CS, RIP
# pushed, and an error code for vectors 8, 10-14, 17, 21, 29, 30.
# Owed to trap_entry: RDI = a TrapFrame (traps.rs), the stack 16-byte aligned.

.macro stub vector
    .balign 16
    .if \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30
    .else
    pushq $0                            # in place of the error code
    .endif
    pushq $\vector
    jmp trap_common
.endm

.text
.balign 16
.global trap_stubs
trap_stubs:
.altmacro                               # so that %vector is its value at that turn
    .set vector, 0
    .rept 256
    stub %vector
    .set vector, vector + 1
    .endr
.noaltmacro

trap_common:
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
    movq %rsp, %rbx                     # preserved by the call
    andq $-16, %rsp
    call trap_entry
    movq %rbx, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp                      # vector and error code
    iretq
