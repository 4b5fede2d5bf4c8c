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

# guest_excursion(RDI = Trip, RSI = where to say where to go on, RDX = where to say with which stack):
# goes where the trip says by IRETQ, and comes back here by way of `guest_trap`.
.global guest_excursion
guest_excursion:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdx)
    leaq 1f(%rip), %rax
    movq %rax, (%rsi)
    movl $0x10, %eax                    # a trip to level 3 has left null
    movl %eax, %ds
    movl %eax, %es
    pushq 0x20(%rdi)
    pushq 0x18(%rdi)
    pushq 0x10(%rdi)
    pushq 0x08(%rdi)
    pushq (%rdi)
    movq 0x28(%rdi), %rax
    movq 0x30(%rdi), %rcx
    movq 0x38(%rdi), %rsi
    movq 0x40(%rdi), %rdi
    iretq
1:
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    retq

# A system call that adds one to RAX, and needs no stack.
.global guest_system_call
guest_system_call:
    incq %rax
    sysretq
