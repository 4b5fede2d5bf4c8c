# One stub a vector; see traps.rs. The calling convention's scratch registers are saved, no more.

.macro guest_stub vector
    .balign 16
    .if \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17
    .else
    pushq $0
    .endif
    pushq $\vector
    jmp guest_common
.endm

.text
.balign 16
.global guest_stubs
guest_stubs:
.altmacro
    .set vector, 0
    .rept 256
    guest_stub %vector
    .set vector, vector + 1
    .endr
.noaltmacro

guest_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    cld
    movq %rsp, %rdi
    pushq %rbx
    movq %rsp, %rbx
    andq $-16, %rsp
    call guest_trap
    movq %rbx, %rsp
    popq %rbx
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq
