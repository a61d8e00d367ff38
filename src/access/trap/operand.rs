//! Which register the address of an instruction hangs on: what must be known of it to make its access elsewhere.
//!
//! This is no decoder. It answers only where it is sure that to move the register by some bytes moves the access by as
//! much and changes nothing else; then the step behaves as the instruction would have. Numbers are those of Intel's
//! manual, volume 2: an opcode belongs to one of four maps (none, 0F, 0F38, 0F3A), and a ModRM byte behind it, with
//! perhaps a SIB byte, names a register and an address.
#![allow(unsafe_code)] // Reads code where it stands.

/// The register of an address.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    /// 0 to 15, as instructions count them: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 and so on.
    pub register: usize,
    /// What the instruction loads goes into that same register.
    pub overwritten: bool,
}

const RSI: usize = 6;
const RDI: usize = 7;

/// The register to move for the access of the instruction at `code`; none where that could change what it does.
///
/// # Safety
/// `code` is an instruction that the processor has just fetched, and that faulted at its data.
pub(super) unsafe fn of(code: *const u8, write: bool) -> Option<Operand> {
    let mut at = code;
    let mut next = || {
        // SAFETY: no byte is asked for that does not belong to the instruction.
        let byte = unsafe { at.read() };
        at = at.wrapping_add(1);
        byte
    };

    let mut byte = next();
    let mut narrow = false;
    while matches!(byte, 0x66 | 0xf0 | 0xf2 | 0xf3 | 0x26 | 0x2e | 0x36 | 0x3e) {
        narrow |= byte == 0x66;
        byte = next();
    }
    // The bits that make registers 8 to 15, in REX's places: 4 for the register, 2 for the index, 1 for the base.
    let mut high = 0;
    let mut rex = false;
    if byte & 0xf0 == 0x40 {
        (rex, high) = (true, byte & 7);
        byte = next();
    }
    let (map, vector) = match byte {
        0x0f => {
            byte = next();
            let map = match byte {
                0x38 => 2,
                0x3a => 3,
                _ => 1,
            };
            if map > 1 {
                byte = next();
            }
            (map, false)
        }
        // VEX of two bytes and of three, EVEX of four.
        0xc5 => {
            high = !next() >> 5 & 4;
            byte = next();
            (1, true)
        }
        0xc4 | 0x62 => {
            let evex = byte == 0x62;
            let first = next();
            high = !first >> 5 & 7;
            next();
            if evex {
                next();
            }
            byte = next();
            (first & 0x1f & if evex { 0x0f } else { 0x1f }, true)
        }
        _ => (0, false),
    };
    if map == 0 {
        match byte {
            0xa4 | 0xa5 if !write => return Some(Operand { register: RSI, overwritten: false }),
            0xac | 0xad => return Some(Operand { register: RSI, overwritten: false }),
            0xa4 | 0xa5 | 0xaa | 0xab | 0xae | 0xaf => {
                return Some(Operand { register: RDI, overwritten: false });
            }
            _ => {}
        }
    }
    if !has_address(map, byte, vector) {
        return None;
    }

    let modrm = next();
    let (mode, low) = (modrm >> 6, modrm & 7);
    let register = modrm >> 3 & 7 | (high & 4) << 1;
    let base = match low {
        _ if mode == 3 => return None,
        4 => {
            let sib = next();
            let (index, base) = (sib >> 3 & 7 | (high & 2) << 2, sib & 7 | (high & 1) << 3);
            // No base, or one that counts twice. An index of 4 is none.
            if (sib & 7 == 5 && mode == 0) || (index == base && index != 4) {
                return None;
            }
            base
        }
        // Relative to the instruction.
        5 if mode == 0 => return None,
        _ => low | (high & 1) << 3,
    };
    if implied(map, byte) && base < 4 {
        return None;
    }
    // Without REX, a byte's register 4 to 7 is the second byte of 0 to 3.
    let of_byte = map == 0 && byte & 1 == 0 || map == 1 && matches!(byte, 0xb0 | 0xc0);
    let named = if of_byte && !rex { register & 3 } else { register };
    let overwritten = names_register(map, byte, vector) && named == base;
    let whole = !write
        && !narrow
        && !vector
        && matches!((map, byte), (0, 0x8b | 0x63) | (1, 0xb6 | 0xb7 | 0xbe | 0xbf));
    if overwritten && !whole {
        return None;
    }
    Some(Operand { register: base.into(), overwritten })
}

/// Whether a ModRM byte with one plain address follows: not so a gather or a scatter, nor a register set apart by
/// VEX's own bits.
fn has_address(map: u8, opcode: u8, vector: bool) -> bool {
    match (map, vector) {
        (0, _) => match opcode {
            0x00..=0x3f => opcode & 7 < 4,
            0x63 | 0x69 | 0x6b | 0x80..=0x8e | 0xc0 | 0xc1 | 0xc6 | 0xc7 => true,
            0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff => true,
            _ => false,
        },
        (1, _) => !matches!(opcode, 0xa0..=0xa2 | 0xa8..=0xaa),
        (2, true) => !matches!(opcode, 0x90..=0x93 | 0xa0..=0xa3 | 0xc6 | 0xc7 | 0xf2..=0xf7),
        (2 | 3, _) => true,
        _ => false,
    }
}

/// Whether ModRM's register is a general one: it may be a vector's, or part of the opcode.
fn names_register(map: u8, opcode: u8, vector: bool) -> bool {
    match (map, vector) {
        (0, _) => matches!(opcode, 0x00..=0x3f | 0x63 | 0x69 | 0x6b | 0x84..=0x8b),
        (1, false) => matches!(opcode,
            0x02 | 0x03 | 0x2c | 0x2d | 0x40..=0x4f | 0xa3..=0xa5 | 0xab..=0xad | 0xaf..=0xb8 | 0xbb..=0xc1 | 0xc3),
        (1, true) => matches!(opcode, 0x2c | 0x2d | 0x78 | 0x79),
        (2, _) => opcode >= 0xf0,
        (_, _) => opcode == 0xf0,
    }
}

/// Whether it uses one of rax, rcx, rdx and rbx that it does not name: multiplications and divisions, shifts by cl,
/// compare-and-exchange, the mask of xsave, lengths of strings.
fn implied(map: u8, opcode: u8) -> bool {
    match map {
        0 => matches!(opcode, 0xd2 | 0xd3 | 0xf6 | 0xf7),
        1 => matches!(opcode, 0xa5 | 0xad | 0xae | 0xb0 | 0xb1 | 0xc7),
        3 => matches!(opcode, 0x60..=0x63),
        _ => false,
    }
}
