//! Single instructions whose accesses are known, for the tests of the tracer itself.
//!
//! Each takes the address of the range, of other memory, and a count.

use std::arch::asm;

macro_rules! probes {
    ($($name:ident: $($line:literal),+;)+) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(range: *mut u8, other: *mut u8, count: usize) {
            // SAFETY: the caller gives memory that suits the instruction. It changes only what is
            // listed here, and leaves the stack as it was.
            unsafe {
                asm!(
                    $($line,)+
                    inout("rdi") range => _, inout("rsi") other => _, inout("rcx") count => _,
                    out("rax") _, out("rdx") _, out("r8") _, out("xmm0") _, out("xmm1") _,
                    out("xmm2") _,
                )
            }
        }
    )+};
}

probes! {
    probe_load8: "mov al, [rdi]";
    probe_load16: "mov ax, [rdi]";
    probe_load32: "mov eax, [rdi]";
    probe_load64: "mov rax, [rdi]";
    probe_load_extend8: "movzx eax, byte ptr [rdi]";
    probe_load_indexed32: "mov edx, 3", "mov eax, [rdi + 4*rdx + 8]";
    probe_store8: "mov [rdi], cl";
    probe_store16: "mov [rdi], cx";
    probe_store32: "mov [rdi], ecx";
    probe_store64: "mov [rdi], rcx";
    probe_store_constant32: "mov dword ptr [rdi], 0";
    probe_or32: "or dword ptr [rdi], 1";
    probe_test32: "test dword ptr [rdi], 1";
    probe_exchange32: "xchg [rdi], ecx";
    probe_locked_add32: "lock add dword ptr [rdi], 1";
    probe_compare_exchange32: "xor eax, eax", "lock cmpxchg [rdi], ecx";
    probe_conditional_load32: "xor eax, eax", "cmovnz eax, [rdi]";
    probe_copy_out: "xchg rdi, rsi", "rep movsd";
    probe_copy_in: "rep movsd";
    probe_copy_within: "lea rsi, [rdi + 0x40]", "movsd";
    probe_fill: "xor eax, eax", "rep stosb";
    probe_load128: "movups xmm0, [rdi]";
    probe_store128: "movups [rdi], xmm0";
    probe_load256: "vmovdqu ymm0, [rdi]", "vzeroupper";
    probe_store256: "vmovdqu [rdi], ymm0", "vzeroupper";
    probe_gather: "vpxor xmm1, xmm1, xmm1", "vpcmpeqd xmm2, xmm2, xmm2",
        "vpgatherdd xmm0, [rdi + 4*xmm1], xmm2";
    probe_masked_load: "vpcmpeqd xmm1, xmm1, xmm1", "vpmaskmovd xmm0, xmm1, [rdi]";
    probe_push: "push qword ptr [rdi]", "pop rax";
    probe_pop: "push rcx", "pop qword ptr [rdi]";
    probe_call: "lea rax, [rip + 3f]", "mov [rsi], rax", "jmp 4f", "3:", "ret", "4:",
        "call qword ptr [rdi]";
    probe_flush: "clflush [rdi]";
    probe_stack: "mov rdx, rsp", "lea rsp, [rdi + 0x80]", "push rcx", "pop rax", "mov rsp, rdx";
    probe_save: "xor eax, eax", "xor edx, edx", "xsave [rdi]";
}
