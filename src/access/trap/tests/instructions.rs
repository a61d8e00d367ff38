//! Instruction by instruction: those whose address is moved, and those whose page is opened.

use super::*;

fn bytes(memory: &Memory, offset: usize, count: usize) -> Vec<u8> {
    // SAFETY: inside the second mapping.
    (offset..offset + count).map(|at| unsafe { memory.behind::<u8>(at).read() }).collect()
}

#[test]
fn memcpy_in_and_out() {
    let memory = Memory::writable(2);
    memory.fill();
    let log = Log::new();
    let _trap = memory.trap(&log);
    for (offset, size) in [(0x80, 64), (0x83, 61), (PAGE - 32, 64), (1, 1), (0x200, 4000)] {
        let expected = bytes(&memory, offset, size);
        let mut copy = vec![0u8; size];
        // SAFETY: inside the mapping.
        unsafe { ptr::copy_nonoverlapping(memory.at::<u8>(offset), copy.as_mut_ptr(), size) };
        assert_eq!(copy, expected);
        let told = log.take();
        assert!(told.contains(&LoadAt(offset)), "{told:?}");
        let inside =
            |told: &Told| matches!(told, LoadAt(at) | Loaded(at) if (offset..offset + size).contains(at));
        assert!(told.iter().all(inside), "{told:?}");

        copy.iter_mut().for_each(|byte| *byte = !*byte);
        // SAFETY: inside the mapping.
        unsafe { ptr::copy_nonoverlapping(copy.as_ptr(), memory.at::<u8>(offset), size) };
        assert_eq!(bytes(&memory, offset, size), copy);
        let told = log.take();
        assert!(told.contains(&StoreAt(offset)), "{told:?}");
        let inside =
            |told: &Told| matches!(told, StoreAt(at) | Stored(at) if (offset..offset + size).contains(at));
        assert!(told.iter().all(inside), "{told:?}");
    }
}

/// `rep movsb`; returns what is left of count, source and destination.
fn rep_movsb(mut to: *mut u8, mut from: *const u8, mut count: usize) -> (usize, *const u8, *mut u8) {
    // SAFETY: the callers give memory of that size.
    unsafe { asm!("rep movsb", inout("rcx") count, inout("rsi") from, inout("rdi") to, options(nostack)) };
    (count, from, to)
}

#[test]
fn string_instructions_are_told_word_by_word() {
    let memory = Memory::writable(2);
    memory.fill();
    let log = Log::new();
    let _trap = memory.trap(&log);
    let mut buffer = [0u8; 16];

    // Over the end of a page.
    let start = PAGE - 8;
    let left = rep_movsb(buffer.as_mut_ptr(), memory.at(start), 16);
    assert_eq!(left, (0, memory.at::<u8>(start + 16).cast_const(), buffer.as_mut_ptr().wrapping_add(16)));
    assert_eq!(buffer[..], bytes(&memory, start, 16));
    assert_eq!(log.take(), (start..start + 16).flat_map(|at| [LoadAt(at), Loaded(at)]).collect::<Vec<_>>());

    rep_movsb(memory.at(0x20), buffer.as_ptr(), 16);
    assert_eq!(bytes(&memory, 0x20, 16), buffer);
    assert_eq!(log.take(), (0x20..0x30).flat_map(|at| [StoreAt(at), Stored(at)]).collect::<Vec<_>>());

    // Within one page: both sides of it.
    rep_movsb(memory.at(0x40), memory.at(0x20), 4);
    assert_eq!(bytes(&memory, 0x40, 4), buffer[..4]);
    let sides = |at: usize| [LoadAt(0x20 + at), StoreAt(0x40 + at), Loaded(0x20 + at), Stored(0x40 + at)];
    assert_eq!(log.take(), (0..4).flat_map(sides).collect::<Vec<_>>());

    // SAFETY: inside the mapping.
    unsafe {
        let (mut value, mut at): (u64, *mut u8) = (0, memory.at(0x20));
        asm!("lodsw", inout("rsi") at, inout("rax") value, options(nostack));
        assert_eq!((value, at), (u64::from(buffer[1]) << 8 | u64::from(buffer[0]), memory.at(0x22)));
        asm!("stosd", inout("rdi") memory.at::<u8>(0x100) => at, in("eax") 0x0403_0201, options(nostack));
        assert_eq!((bytes(&memory, 0x100, 4), at), (vec![1, 2, 3, 4], memory.at(0x104)));
        assert_eq!(log.take(), [LoadAt(0x20), Loaded(0x20), StoreAt(0x100), Stored(0x100)]);
        memory.behind::<[u8; 4]>(0x200).write([9, 9, 9, 1]);
        memory.behind::<[u8; 4]>(0x300).write([9, 9, 9, 2]);
        let mut count = 4usize;
        let (first, second): (*mut u8, *mut u8) = (memory.at(0x200), memory.at(0x300));
        asm!("repe cmpsb", inout("rcx") count, inout("rsi") first => _, inout("rdi") second => _, options(nostack));
        assert_eq!(count, 0);
        let sides =
            |at: usize| [LoadAt(0x200 + at), LoadAt(0x300 + at), Loaded(0x200 + at), Loaded(0x300 + at)];
        assert_eq!(log.take(), (0..4).flat_map(sides).collect::<Vec<_>>());
    }
}

#[test]
fn one_instruction_over_two_spans() {
    let (one, two) = (Memory::writable(1), Memory::writable(1));
    one.fill();
    let (first, second) = (Log::new(), Log::new());
    let _traps = (one.trap(&first), two.trap(&second));
    rep_movsb(two.at(0x80), one.at(0x10), 2);
    assert_eq!(bytes(&two, 0x80, 2), [0x10, 0x11]);
    assert_eq!(first.take(), [LoadAt(0x10), Loaded(0x10), LoadAt(0x11), Loaded(0x11)]);
    assert_eq!(second.take(), [StoreAt(0x80), Stored(0x80), StoreAt(0x81), Stored(0x81)]);
}

/// One instruction, whatever a compiler makes of an unaligned load.
///
/// # Safety
/// The eight bytes may be read.
unsafe fn load_64(at: *const u64) -> u64 {
    let value;
    // SAFETY: the caller's promise.
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) at, options(nostack, readonly)) };
    value
}

/// # Safety
/// The eight bytes may be written.
unsafe fn store_64(at: *mut u64, value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov [{}], {}", in(reg) at, in(reg) value, options(nostack)) };
}

#[test]
fn over_the_end_of_a_page_and_of_a_span() {
    let memory = Memory::writable(4);
    memory.fill();
    let (first, second) = (Log::new(), Log::new());
    // SAFETY: parts of a shared, writable mapping that outlives the traps.
    let _traps = unsafe {
        (
            Trap::new(memory.at(PAGE), PAGE, true, first.clone()).unwrap(),
            Trap::new(memory.at(2 * PAGE), PAGE, true, second.clone()).unwrap(),
        )
    };
    let word = |offset| u64::from_le_bytes(bytes(&memory, offset, 8).try_into().unwrap());
    // SAFETY: inside the mapping.
    unsafe {
        // From one span into the next, then from untrapped memory and into it.
        let at = 2 * PAGE - 3;
        assert_eq!(load_64(memory.at(at)), word(at));
        assert_eq!(first.take(), [LoadAt(PAGE - 3), Loaded(PAGE - 3)]);
        assert_eq!(second.take(), [LoadAt(0), Loaded(0)]);
        store_64(memory.at(at), 0x0102_0304_0506_0708);
        assert_eq!(word(at), 0x0102_0304_0506_0708);
        assert_eq!(first.take(), [StoreAt(PAGE - 3), Stored(PAGE - 3)]);
        assert_eq!(second.take(), [StoreAt(0), Stored(0)]);
        store_64(memory.at(PAGE - 3), 0x1112_1314_1516_1718);
        assert_eq!(word(PAGE - 3), 0x1112_1314_1516_1718);
        assert_eq!(first.take(), [StoreAt(0), Stored(0)]);
        assert_eq!(load_64(memory.at(3 * PAGE - 3)), word(3 * PAGE - 3));
        assert_eq!(second.take(), [LoadAt(PAGE - 3), Loaded(PAGE - 3)]);
    }
    // Inside one span it is one access.
    let whole = Memory::writable(2);
    whole.fill();
    let log = Log::new();
    let _trap = whole.trap(&log);
    // SAFETY: inside the mapping.
    unsafe { load_64(whole.at(PAGE - 1)) };
    assert_eq!(log.take(), [LoadAt(PAGE - 1), Loaded(PAGE - 1)]);
}

#[test]
fn instructions_of_every_kind_do_what_they_do_elsewhere() {
    let memory = Memory::writable(1);
    let log = Log::new();
    let _trap = memory.trap(&log);
    const AT: usize = 0x140;
    const VALUE: u64 = 0x8182_8384_8586_8788;
    /// Runs it on trapped memory and on plain memory with the same registers; the pointer is what may differ.
    macro_rules! same {
        ($kind:ident: $($code:literal),*; $register:tt) => {{
            let run = |at: *mut u64| {
                let (mut rax, mut rcx, mut rdx) = (0x1111u64, 2u64, 0u64);
                let (mut r8, mut flags) = (0x0f0f_0f0f_u64, 0u64);
                let mut pointer = at;
                let mut vector = [0u64; 2];
                // SAFETY: each touches 8 bytes at the pointer and no other memory but the stack, and the vector.
                unsafe {
                    asm!(
                        concat!("xchg ", $register, ", r9"), "xor r10d, r10d", "sahf", "pxor xmm0, xmm0", $($code,)*
                        "pushfq", "pop r10", concat!("xchg ", $register, ", r9"),
                        "movups [r11], xmm0",
                        inout("r9") pointer, inout("rax") rax, inout("rcx") rcx, inout("rdx") rdx,
                        inout("r8") r8, out("r10") flags, in("r11") &mut vector, out("xmm0") _, out("xmm1") _,
                        out("r12") _, out("r13") _, out("rsi") _, out("rdi") _,
                    );
                }
                // Only the status flags: the trap flag is among the others, and must be off.
                assert_eq!(flags & 0x100, 0, "{:?}", [$($code),*]);
                let pointer = (pointer as u64).wrapping_sub(at as u64);
                (pointer, rax, rcx, rdx, r8, flags & 0xcd5, vector)
            };
            let mut plain = [VALUE, 0x5152_5354_5556_5758];
            // SAFETY: inside the second mapping.
            unsafe { memory.behind::<[u64; 2]>(AT).write(plain) };
            let expected = run(plain.as_mut_ptr());
            let found = run(memory.at::<u64>(AT));
            // SAFETY: as above.
            let left = unsafe { memory.behind::<[u64; 2]>(AT).read() };
            assert_eq!((found, left), (expected, plain), "{:?}", [$($code),*]);
            let told = log.take();
            same!(@ $kind told);
        }};
        (@ load $told:ident) => { assert_eq!($told, [LoadAt(AT), Loaded(AT)]) };
        (@ store $told:ident) => { assert_eq!($told, [StoreAt(AT), Stored(AT)]) };
    }
    same!(load: "mov al, [r9]"; "r9");
    same!(load: "movzx eax, byte ptr [rdi]"; "rdi");
    same!(load: "movsx rax, word ptr [rsi]"; "rsi");
    same!(load: "movsxd rax, dword ptr [r12]"; "r12");
    same!(load: "mov eax, [r13]"; "r13");
    same!(load: "mov rdx, [r13 + 8*rcx - 16]"; "r13");
    same!(load: "mov rdx, [rcx + rsi - 2]"; "rsi");
    same!(load: "add r8d, [r9]"; "r9");
    same!(load: "cmp r8b, [rdi]"; "rdi");
    same!(load: "test byte ptr [rdi], 8"; "rdi");
    same!(load: "imul r8, [rdi]"; "rdi");
    same!(load: "mul qword ptr [rdi]"; "rdi");
    same!(load: "cmovne rax, [rdi]"; "rdi");
    same!(load: "bt dword ptr [rdi], 3"; "rdi");
    same!(load: "movups xmm0, [rdi]"; "rdi");
    same!(load: "movd xmm0, [rdi]"; "rdi");
    same!(load: "vmovdqu xmm0, [rdi]"; "rdi");
    same!(load: "vpshufb xmm0, xmm0, [r12]"; "r12");
    same!(load: "movbe eax, [rdi]"; "rdi");
    same!(load: "push [rdi]", "pop rax"; "rdi");
    same!(store: "mov [r9], al"; "r9");
    same!(store: "mov [rdi], ah"; "rdi");
    same!(store: "mov word ptr [r12], 0x1234"; "r12");
    same!(store: "mov [r13], r8d"; "r13");
    same!(store: "mov [rsi], r8"; "rsi");
    same!(store: "movups [rdi], xmm0"; "rdi");
    same!(store: "movnti [rdi], eax"; "rdi");
    same!(store: "or dword ptr [rdi], 1"; "rdi");
    same!(store: "lock add [rdi], eax"; "rdi");
    same!(store: "xchg [rdi], eax"; "rdi");
    same!(store: "lock xadd [rdi], r8"; "rdi");
    same!(store: "lock cmpxchg [rdi], edx"; "rdi");
    same!(store: "shl dword ptr [rdi], cl"; "rdi");
    same!(store: "setc [rdi]"; "rdi");
}

/// Where the address is in a register that the instruction uses for something else too.
#[test]
fn addresses_that_are_operands_too() {
    let memory = Memory::writable(1);
    let log = Log::new();
    let _trap = memory.trap(&log);
    let at = memory.at::<u64>(0x80);
    let (number, there) = (at as u64, memory.behind::<u64>(0x80));
    macro_rules! run {
        ($told:expr, $register:tt, $code:literal => $expected:expr, $left:expr) => {{
            let mut register = number;
            // SAFETY: touches 8 bytes at the pointer.
            unsafe {
                there.write(0x8182_8384_8586_8788);
                asm!($code, inout($register) register, options(nostack));
                assert_eq!((register, there.read()), ($expected, $left), $code);
            }
            assert_eq!(log.take(), $told, $code);
        }};
    }
    let value = 0x8182_8384_8586_8788u64;
    let (loaded, stored) = ([LoadAt(0x80), Loaded(0x80)], [StoreAt(0x80), Stored(0x80)]);
    run!(loaded, "rax", "mov rax, [rax]" => value, value);
    run!(loaded, "rax", "mov eax, [rax]" => value & 0xffff_ffff, value);
    run!(loaded, "r9", "movzx r9d, word ptr [r9]" => 0x8788, value);
    run!(loaded, "rcx", "movsx ecx, byte ptr [rcx]" => 0xffff_ff88, value);
    run!(loaded, "rax", "mov al, [rax]" => number & !0xff | 0x88, value);
    run!(loaded, "rax", "mov ah, [rax]" => number & !0xff00 | 0x8800, value);
    run!(loaded, "rdx", "mov dx, [rdx]" => number & !0xffff | 0x8788, value);
    run!(loaded, "rdx", "add rdx, [rdx]" => number.wrapping_add(value), value);
    run!(stored, "r8", "mov [r8], r8" => number, number);
    run!(stored, "rax", "mov [rax], ah" => number, value & !0xff | (number >> 8 & 0xff));
    run!(stored, "rax", "lock cmpxchg [rax], rcx" => value, value);
    run!(stored, "rcx", "xchg [rcx], rcx" => value, number);
    run!(stored, "rax", "lock xadd [rax], rax" => value, value.wrapping_add(number));
}
