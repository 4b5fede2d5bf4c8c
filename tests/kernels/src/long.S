# The rest of the way into a 64-bit kernel, and its interrupts. The first 4 GiB are mapped where they are.

.text
.code32
begin:
    testl %ebp, %ebp
    jnz 3f
    movl $tables + 0x1000 + 3, tables   # fourth level
    xorl %ecx, %ecx
1:
    movl %ecx, %eax                     # third level: four tables of the second
    shll $12, %eax
    addl $tables + 0x2000 + 3, %eax
    movl %eax, tables + 0x1000(,%ecx,8)
    incl %ecx
    cmpl $4, %ecx
    jne 1b
    xorl %ecx, %ecx
2:
    movl %ecx, %eax                     # second level: 2 MiB each
    shll $21, %eax
    orl $0x83, %eax
    movl %eax, tables + 0x2000(,%ecx,8)
    incl %ecx
    cmpl $2048, %ecx
    jne 2b
3:
    movl %cr4, %eax
    orl $0x20, %eax                     # PAE
    movl %eax, %cr4
    movl $tables, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax                    # LME
    wrmsr
    movl $0x80010033, %eax
    movl %eax, %cr0
    ljmpl $0x18, $4f
.code64
4:
    movl %esp, %esp                     # the upper halves are not known after 32-bit code
    movl %edi, %edi
    movl %esi, %esi
    testl %ebp, %ebp
    jnz 5f
    call {start}
5:
    call {start_other}

.global fault_entries, interrupt_entry
.balign 16
fault_entries:                          # one every 16 bytes
.set vector, 0
.rept 32
    pushq $vector
    jmp fault
    .balign 16
    .set vector, vector + 1
.endr
fault:
    cld
    movq %rsp, %rdi
    andq $-16, %rsp
    call {fault}

interrupt_entry:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %rbp
    cld
    movq %rsp, %rbp
    andq $-16, %rsp
    call {interrupt}
    movq %rbp, %rsp
    popq %rbp
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rax
    iretq

.bss
.balign 4096
tables:
.skip 0x6000
