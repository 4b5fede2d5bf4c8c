// Where exceptions 0 to 31 arrive until hv has its own table.
//
// True on entry: long mode, the CPU has pushed SS, RSP, RFLAGS, CS, RIP and, for some, an error
// code. Owed: rom_fault(pointer to: vector, error code if there is one, RIP, …), which does not
// return. Stubs are {STUB} bytes apart.

    .text
    .balign {STUB}
    .global fault_stubs
fault_stubs:
    .set vector, 0
    .rept {VECTORS}
    .balign {STUB}
    pushq $vector
    jmp fault
    .set vector, vector + 1
    .endr
fault:
    movq %rsp, %rdi
    andq $~15, %rsp
    call rom_fault
