# Into the guest and back.
#
# svm_switch(RDI = Gprs, RSI = physical address of the guest's VMCB, RDX = that of this CPU's own)
#
# True on entry: interrupts off, GIF set, the VMCB's RAX and RSP are the guest's, this CPU's own block
# holds what VMLOAD restores (FS, GS, TR, LDTR, system call and SYSENTER registers).
# Owed: the guest's registers in Gprs but RAX and RSP, which are in the VMCB; the host as before.

.text
.global svm_switch
svm_switch:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdx
    pushq %rdi
    movq %rsi, %rax
    vmload %rax
    movq 0x08(%rdi), %rcx
    movq 0x10(%rdi), %rdx
    movq 0x18(%rdi), %rbx
    movq 0x28(%rdi), %rbp
    movq 0x30(%rdi), %rsi
    movq 0x40(%rdi), %r8
    movq 0x48(%rdi), %r9
    movq 0x50(%rdi), %r10
    movq 0x58(%rdi), %r11
    movq 0x60(%rdi), %r12
    movq 0x68(%rdi), %r13
    movq 0x70(%rdi), %r14
    movq 0x78(%rdi), %r15
    movq 0x38(%rdi), %rdi
    clgi                                # nothing arrives between here and the guest
    sti                                 # so that physical interrupts end the guest's turn (15.21.1)
    vmrun %rax
    cli
    vmsave %rax                         # RAX is the host's again: the guest's block
    pushq %rdi
    movq 0x08(%rsp), %rdi
    movq %rcx, 0x08(%rdi)
    movq %rdx, 0x10(%rdi)
    movq %rbx, 0x18(%rdi)
    movq %rbp, 0x28(%rdi)
    movq %rsi, 0x30(%rdi)
    popq 0x38(%rdi)
    movq %r8, 0x40(%rdi)
    movq %r9, 0x48(%rdi)
    movq %r10, 0x50(%rdi)
    movq %r11, 0x58(%rdi)
    movq %r12, 0x60(%rdi)
    movq %r13, 0x68(%rdi)
    movq %r14, 0x70(%rdi)
    movq %r15, 0x78(%rdi)
    addq $8, %rsp
    popq %rax
    vmload %rax                         # GS and TR are the host's before an NMI may come
    stgi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    retq
