# Where hv starts the management VM.
#
# True on entry (ABI.md, "How the management VM starts"): long mode, interrupts off, all memory mapped
# where it is, RDI = the handover.
# Owed to management_main: a processor that has what the compiler was told it has, SSE switched on,
# this program's own stack, aligned as after a call, RDI as it was.

.set WANTED, (1 << 0) | (1 << 9) | (1 << 13) | (1 << 19) | (1 << 20) | (1 << 23)
                                        # CPUID leaf 1, ECX: SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT
.set CR0_EM_TS, (1 << 2) | (1 << 3)
.set CR0_MP, 1 << 1
.set CR4_OSFXSR_OSXMMEXCPT, (1 << 9) | (1 << 10)
.set LOG_WRITE, 0x48450001

.text
.global management_entry
management_entry:
    movq %rdi, %r12
    movl $1, %eax
    xorl %ecx, %ecx
    cpuid
    andl $WANTED, %ecx
    cmpl $WANTED, %ecx
    jne refuse
    movq %cr0, %rax
    andq $~CR0_EM_TS, %rax
    orq $CR0_MP, %rax
    movq %rax, %cr0
    movq %cr4, %rax
    orq $CR4_OSFXSR_OSXMMEXCPT, %rax
    movq %rax, %cr4
    movq %r12, %rdi
    leaq stack_top(%rip), %rsp
    xorl %ebp, %ebp                     # the call chain ends here
    pushq %rbp
    jmp management_main

refuse:
    movl $LOG_WRITE, %eax
    leaq refusal(%rip), %rdi
    leaq image_start(%rip), %rcx
    subq %rcx, %rdi
    addq 8(%r12), %rdi                  # the program lies at the start of its RAM
    movl $(refusal_end - refusal), %esi
    vmmcall
0:  hlt
    jmp 0b

.section .rodata
refusal:
    .ascii "ERROR mgmt.refused what=\"This computer's processor has no SSE4.2 or POPCNT, which Hearth needs: it is older than ten years, or an emulator hides them.\""
refusal_end:
