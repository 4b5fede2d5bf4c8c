// The first instructions of the machine: from the reset vector to rom_main.
//
// True on entry (Intel SDM volume 3, 10.1.4; AMD APM volume 2, 14.1.3): real mode, CS selector
// 0xf000 with base 0xffff0000, IP 0xfff0, caches off (CR0.CD and CR0.NW), interrupts off, no
// stack. Flash ends at 4 GiB. The same after INIT, but for memory and caches: RAM keeps what it
// held, and CR0.CD and CR0.NW keep what they were. Nothing here relies on either.
//
// Owed to rom_main: long mode, the lowest 4 GiB mapped where they are, caches on, A20 open, the
// program copied from flash to where it is linked, .bss clear, a stack that grows down from
// {STACK_TOP} into memory that nobody uses, direction flag clear, interrupts off. There is no
// interrupt table yet: until rom_main has one, an exception resets the machine.
//
// Only the boot CPU comes through. Others wait for a SIPI after INIT and do not fetch from here; on
// a board where they do, they halt until INIT calls them. A reset of the CPU alone (INIT of the
// boot CPU: port 0x92, keyboard controller) takes the whole way again; rom_main quiets the devices
// that such a reset leaves running.

    .equ CR0_PE, 1 << 0                 // protected mode
    .equ CR0_WP, 1 << 16                // read-only pages bind ring 0 too
    .equ CR0_NW, 1 << 29                // not write-through
    .equ CR0_CD, 1 << 30                // caches off
    .equ CR0_PG, 1 << 31                // paging
    .equ CR4_PAE, 1 << 5                // 64-bit page-table entries
    .equ PAGE_PRESENT, 1 << 0
    .equ PAGE_WRITE, 1 << 1
    .equ PAGE_LARGE, 1 << 7             // 2 MiB, in a page directory
    .equ TABLE, 4096
    .equ GIB, 4                         // how many are mapped

    .equ CODE32, gdt_code32 - gdt       // selectors
    .equ DATA, gdt_data - gdt
    .equ CODE64, gdt_code64 - gdt

    .equ PORT_A20, 0x92                 // bit 1 opens A20, bit 0 resets the CPU
    .equ COM1, 0x3f8

    .section .bss.page_tables, "aw", @nobits
    .balign TABLE
page_tables:                            // root, page directory pointers, one directory per GiB
    .skip TABLE * (2 + GIB)

    .section .reset, "ax"
    .code16
reset_page:
start:
    cli
    cld
    // The offset is from CS's base, the last 64 KiB below 4 GiB. The 32-bit form loads the whole
    // address of the table.
    lgdtl %cs:(gdt_pointer - reset_page + 0xf000)
    movl %cr0, %eax
    andl $~(CR0_CD | CR0_NW), %eax
    orl $CR0_PE, %eax
    movl %eax, %cr0
    ljmpl $CODE32, $start32

    .code32
start32:
    movw $DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss

    // Only the boot CPU goes on.
    movl ${APIC_BASE}, %ecx
    rdmsr
    testl ${BOOT_CPU}, %eax
    jz park

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    movl $no_long_mode, %esi
    jb refuse
    movl $0x80000001, %eax
    cpuid
    testl ${LONG_MODE}, %edx
    movl $no_long_mode, %esi
    jz refuse

    inb $PORT_A20, %al
    orb $(1 << 1), %al
    andb $~(1 << 0), %al
    outb %al, $PORT_A20

    // Copy the program from flash to RAM and clear what follows it.
    movl ${DIRECTORY}, %ebp
    movl $no_directory, %esi
    cmpl ${MAGIC_LOW}, 0(%ebp)
    jne refuse
    cmpl ${MAGIC_HIGH}, 4(%ebp)
    jne refuse
    movl {DOOR_BASE}(%ebp), %esi
    movl {DOOR_RAM}(%ebp), %edi
    movl {DOOR_LEN}(%ebp), %ecx
    shrl $2, %ecx
    rep movsl
    movl {DOOR_CLEAR}(%ebp), %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl

    // Page tables: the lowest GIB gigabytes where they are, in pages of 2 MiB.
    movl $page_tables, %edi
    leal (TABLE + PAGE_PRESENT + PAGE_WRITE)(%edi), %eax
    movl %eax, 0(%edi)
    xorl %ecx, %ecx
1:  addl $TABLE, %eax
    movl %eax, TABLE(%edi, %ecx, 8)
    incl %ecx
    cmpl $GIB, %ecx
    jb 1b
    movl $(PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE), %eax
    xorl %ecx, %ecx
2:  movl %eax, (2 * TABLE)(%edi, %ecx, 8)
    addl $(2 << 20), %eax
    incl %ecx
    cmpl $(GIB * 512), %ecx
    jb 2b

    // Long mode: APM 2, 14.6.1.
    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl %edi, %cr3
    movl ${EFER}, %ecx
    xorl %edx, %edx
    movl ${LONG_MODE_ENABLE}, %eax
    wrmsr
    movl %cr0, %eax
    orl $(CR0_PG | CR0_WP), %eax
    movl %eax, %cr0
    movl {DOOR_ENTRY}(%ebp), %ebx
    ljmpl $CODE64, $start64

    .code64
start64:
    movl $DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movl ${STACK_TOP}, %esp
    xorl %ebp, %ebp
    pushq %rbp                          // as after a call; a walk along the frames ends here
    movl %ebx, %ebx                     // the switch left the upper half undefined
    jmp *%rbx

    // Says the sentence at ESI on COM1 (16550: data sheet, section 8) and halts.
    .code32
refuse:
    movw $(COM1 + 3), %dx
    movb $0x83, %al                     // 8N1, and the divisor in place of data
    outb %al, %dx
    movw $COM1, %dx
    movb $1, %al                        // 115 200 baud
    outb %al, %dx
    movw $(COM1 + 1), %dx
    xorb %al, %al
    outb %al, %dx
    movw $(COM1 + 3), %dx
    movb $0x03, %al                     // 8N1
    outb %al, %dx
3:  lodsb
    testb %al, %al
    jz park
    movb %al, %bl
    movl $100000, %ecx                  // where no port answers, don't wait for ever
    movw $(COM1 + 5), %dx
4:  inb %dx, %al
    testb $(1 << 5), %al                // the transmitter takes a byte
    loopz 4b
    movw $COM1, %dx
    movb %bl, %al
    outb %al, %dx
    jmp 3b

park:
    cli
    hlt
    jmp park

no_long_mode:
    .ascii "\r\n0.000000 ERROR boot.refused door=rom what=\"This processor has no 64-bit mode.\" "
    .asciz "remedy=\"Use a machine with a 64-bit x86 processor.\"\r\n"
no_directory:
    .ascii "\r\n0.000000 ERROR boot.refused door=rom what=\"The flash chip has no Hearth directory.\" "
    .asciz "remedy=\"Write hearth.rom to the flash chip again.\"\r\n"

    // Descriptors: base 0, limit 4 GiB, present, ring 0. "Accessed" is set beforehand, because
    // the CPU could not set it in flash.
    .balign 8
gdt:
    .quad 0
gdt_code32:
    .quad 0x00cf9b000000ffff            // code, readable, 32-bit
gdt_data:
    .quad 0x00cf93000000ffff            // data, writable
gdt_code64:
    .quad 0x00af9b000000ffff            // code, readable, 64-bit
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

    // The image builder writes the flash directory here.
    .org {DIRECTORY} - 0xfffff000

    // Where a CPU starts.
    .org 0xff0
    .code16
reset_vector:
    jmp start
    .org 0x1000

    .code64
    .text
