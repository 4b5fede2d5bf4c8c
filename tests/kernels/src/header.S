# How a boot loader finds the kernel and enters it: as Multiboot 1 (Multiboot Specification 0.6.96, 3.1)
# or by its PVH note (Xen, docs/misc/pvh.pandoc). On entry: 32-bit protected mode, paging and interrupts
# off, A20 on, EBX = what the loader has to tell; EAX = the loader's magic if it is Multiboot's. Owed: all
# else, so the kernel brings its own descriptor tables and stack.

.section .multiboot, "a"
.balign 4
.long 0x1badb002, 3, -(0x1badb002 + 3)  # modules on pages, memory sizes

.section .note.pvh, "a", @note
.balign 4
.long 4, 4, 18                          # XEN_ELFNOTE_PHYS32_ENTRY
.asciz "Xen"
.long pvh_entry

.text
.code32
.global multiboot_entry, pvh_entry, gdt
pvh_entry:
    movl (%ebx), %eax                   # the magic of start_info takes Multiboot's place
multiboot_entry:
    cli
    cld
    lgdtl gdt_pointer
    ljmpl $0x08, $1f
1:
    movl $0x10, %ecx
    movl %ecx, %ds
    movl %ecx, %es
    movl %ecx, %ss
    movl %ecx, %fs
    movl %ecx, %gs
    movl $stack_end, %esp
    movl %eax, %edi
    movl %ebx, %esi
    movl $0, %ebp
    jmp begin                           # EDI = magic, ESI = what the loader has to tell

# Where another CPU starts: real mode, in a page below 1 MiB that this is copied to.
.code16
.global smp_page, smp_page_end
.balign 16
smp_page:
    cli
    movw %cs, %ax
    movw %ax, %ds
    lgdtl smp_gdt_pointer - smp_page
    movl $0x11, %eax                    # protected mode
    movl %eax, %cr0
    ljmpl $0x08, $smp_begin
.balign 4
smp_gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
smp_page_end:

.code32
smp_begin:
    movl $0x10, %ecx
    movl %ecx, %ds
    movl %ecx, %es
    movl %ecx, %ss
    movl $smp_stack_end, %esp
    movl $1, %ebp
    jmp begin                           # EBP = which CPU

.balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff            # 0x08: 32-bit code, flat
    .quad 0x00cf93000000ffff            # 0x10: data, flat
    .quad 0x00af9b000000ffff            # 0x18: 64-bit code
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt

.bss
.balign 16
.skip 0x10000
stack_end:
.skip 0x4000
smp_stack_end:
