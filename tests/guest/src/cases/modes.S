# From long mode to 32-bit protected mode, without paging or with the paging that the caller says, and
# back; see modes.rs. Copied to low memory, which is mapped where it is.
#
# modes_start(RDI = parameters, below 4 GiB), with the stack below 4 GiB and interrupts off. It owes all
# registers that the calling convention keeps, the descriptor tables and control registers.

.set GDT, 0x00                          # parameters, as in modes.rs
.set IDT, 0x10
.set OLD_GDT, 0x20
.set OLD_IDT, 0x30
.set CR3, 0x40
.set CR4, 0x48
.set CR0, 0x50
.set BACK, 0x58
.set SEEN, 0x60

.text
.global modes_start, modes_32, modes_64, modes_interrupt, modes_end
.code64
modes_start:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %cr0, %rax
    pushq %rax
    movq %cr4, %rax
    pushq %rax
    movq %cr3, %rax
    pushq %rax
    sgdt OLD_GDT(%rdi)
    sidt OLD_IDT(%rdi)
    lgdt GDT(%rdi)
    lidt IDT(%rdi)
    pushq $0x30
    leaq modes_32(%rip), %rax
    pushq %rax
    lretq

.code32
modes_32:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %cr0, %eax
    andl $0x7fffffff, %eax              # paging off: long mode ends
    movl %eax, %cr0
    movl $0xc0000080, %ecx
    rdmsr
    andl $~0x100, %eax                  # LME
    wrmsr
    movl CR4(%edi), %eax
    movl %eax, %cr4
    movl CR3(%edi), %eax
    movl %eax, %cr3
    movl CR0(%edi), %eax
    movl %eax, %cr0
    jmp 1f
1:
    movl $0x40000000, %eax
    cpuid
    movl %ebx, SEEN(%edi)
    movl $0x1b, %ecx
    rdmsr
    movl %eax, SEEN+0x04(%edi)
    movl 0xfee00030, %eax
    movl %eax, SEEN+0x08(%edi)
    movzwl 0xfee00032, %edx
    movl %edx, SEEN+0x0c(%edi)
    pushl %edi
    xorl %esi, %esi
    movl $0x48450000, %eax
    vmmcall
    popl %edi
    movl %eax, SEEN+0x10(%edi)
    movw $0x5000, %dx
    inl %dx, %eax
    movl %eax, SEEN+0x14(%edi)
    orl $0x10042, 0xfee00350
    movl 0xfee00350, %eax
    movl %eax, SEEN+0x18(%edi)
    movl $0xfee00030, %esi              # a string from the device into RAM
    pushl %edi
    leal SEEN+0x1c(%edi), %edi
    movsl
    popl %edi
    pushl 0xfee00030
    popl SEEN+0x20(%edi)
    movl $0, 0xfee00310                 # an interrupt to ourselves ends HLT
    movl $0x44044, 0xfee00300
    sti
    hlt
    cli
    movl %cr4, %eax
    movl %eax, SEEN+0x28(%edi)
    movl $0xc0000080, %ecx
    rdmsr
    movl %eax, SEEN+0x2c(%edi)

    movl %cr0, %eax
    andl $0x7fffffff, %eax
    movl %eax, %cr0
    movl 8(%esp), %eax                  # PAE before LME: in QEMU 7.2 an exit with LME and without
    movl %eax, %cr4                     # PAE and PG leaves the host without paging
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl (%esp), %eax
    movl %eax, %cr3
    movl 16(%esp), %eax
    movl %eax, %cr0                     # paging on: long mode again
    ljmpl *BACK(%edi)

modes_interrupt:                        # EDI is still the parameters
    incl SEEN+0x24(%edi)
    movl $0, 0xfee000b0
    iretl

.code64
modes_64:
    movl %edi, %edi
    movl %esp, %esp
    addq $24, %rsp
    lgdt OLD_GDT(%rdi)
    lidt OLD_IDT(%rdi)
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    retq
modes_end:
