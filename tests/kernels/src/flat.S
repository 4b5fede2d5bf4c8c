# The rest of the way into a 32-bit kernel, and its interrupts.

.text
.code32
begin:
    testl %ebp, %ebp
    jnz 1f
    pushl $0                            # the stack is a multiple of 16 where a function is called
    pushl $0
    pushl %esi
    pushl %edi
    call {start}
1:
    call {start_other}

.global fault_entries, interrupt_entry
.balign 16
fault_entries:                          # one every 16 bytes
.set vector, 0
.rept 32
    pushl $vector
    jmp fault
    .balign 16
    .set vector, vector + 1
.endr
fault:
    cld
    movl %esp, %eax
    andl $-16, %esp
    pushl $0
    pushl $0
    pushl $0
    pushl %eax
    call {fault}

interrupt_entry:
    pushal
    cld
    movl %esp, %ebp
    andl $-16, %esp
    call {interrupt}
    movl %ebp, %esp
    popal
    iretl
