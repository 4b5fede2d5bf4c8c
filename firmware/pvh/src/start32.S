# From the PVH entry to Rust.
#
# True on entry (Xen, docs/misc/pvh.pandoc): 32-bit protected mode, paging off, flat segments,
# interrupts off, EBX = physical address of the start info. No stack, nothing else.
# Owed: long mode, the first 4 GiB mapped where they are, a stack, EDI = the start info.

.section .text.entry, "ax"
.code32
.global pvh_entry
pvh_entry:
    cld
    movl %ebx, %edi                     # first argument of pvh_main
    movl $boot_stack_top, %esp

    # Long mode? CPUID 0x8000_0001 EDX bit 29. Without it there is no Rust to say so in: halt.
    pushl %edi
    movl $0x80000001, %eax
    cpuid
    popl %edi
    btl $29, %edx
    jnc 9f

    # Four page directories map 4 GiB in 2 MiB pages.
    movl $boot_directories, %eax
    movl $0x83, %ebx                    # present, writable, large
    xorl %ecx, %ecx
1:  movl %ebx, (%eax,%ecx,8)
    addl $0x200000, %ebx
    incl %ecx
    cmpl $2048, %ecx
    jne 1b

    # One pointer table over them, one root over it.
    movl $boot_pointers, %eax
    movl $boot_directories + 0x3, %ebx  # present, writable
    xorl %ecx, %ecx
2:  movl %ebx, (%eax,%ecx,8)
    addl $0x1000, %ebx
    incl %ecx
    cmpl $4, %ecx
    jne 2b
    movl $boot_pointers + 0x3, boot_root

    movl $0x20, %eax                    # CR4.PAE
    movl %eax, %cr4
    movl $boot_root, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              # EFER
    rdmsr
    orl $0x100, %eax                    # LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax               # PG, PE
    andl $0x9fffffff, %eax              # not CD, not NW: caches on
    movl %eax, %cr0
    lgdtl boot_gdt_pointer
    ljmpl $0x8, $3f

9:  cli
    hlt
    jmp 9b

.code64
3:  movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl %edi, %edi                     # the upper half is undefined after the switch
    xorl %ebp, %ebp
    call pvh_main
    ud2

.section .rodata
.balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 0x08: 64-bit code, present, accessed
    .quad 0x00cf93000000ffff            # 0x10: data, present, writable, accessed
boot_gdt_pointer:
    .word boot_gdt_pointer - boot_gdt - 1
    .long boot_gdt

.section .bss
.balign 4096
boot_root: .skip 4096
boot_pointers: .skip 4096
boot_directories: .skip 4 * 4096
.skip 64 * 1024
boot_stack_top:
