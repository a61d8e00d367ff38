//! What cannot be met on every machine, or must never be met: records made by hand.

use super::{Access, accesses, text};
use crate::record::{CODE, REGISTERS, Record};

const RANGE: u64 = 0x7000_0000;
const RIP: u64 = 0x40_0000;
const RDI: usize = libc::REG_RDI as usize;
const RSP: usize = libc::REG_RSP as usize;
const WRITE: u64 = 1 << 1;

/// An instruction whose RDI is 0x10 bytes into the range, that faulted there.
fn record(code: &[u8], error: u64) -> Record {
    let mut record = Record {
        registers: [0; REGISTERS],
        after: RIP + code.len() as u64,
        address: RANGE + 0x10,
        error,
        thread: 1,
        failed: false,
        length: code.len() as u8,
        code: [0; CODE],
    };
    record.code[..code.len()].copy_from_slice(code);
    record.registers[libc::REG_RIP as usize] = RIP;
    record.registers[RDI] = RANGE + 0x10;
    record
}

fn told(record: &Record) -> Result<String, String> {
    let (found, unclear) = accesses(&[*record], &(RANGE..RANGE + 0x1000));
    let word = |a: &Access| format!("{}{}@{:#x}", a.kind as char, a.width, a.offset);
    unclear.map_or_else(|| Ok(found.iter().map(word).collect::<Vec<_>>().join(" ")), Err)
}

#[test]
fn widths_of_512_bits() {
    // vmovdqu64 zmm0, [rdi]
    let load = record(&[0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x07], 0);
    assert_eq!(told(&load).unwrap(), "R64@0x10");
}

#[test]
fn masks_are_refused() {
    // vmovdqu8 [rdi]{k1}, zmm0: how the C library clears a few bytes on some processors.
    let store = record(&[0x62, 0xf1, 0x7f, 0x49, 0x7f, 0x07], WRITE);
    assert!(told(&store).unwrap_err().contains("a masked access"));
    // maskmovdqu xmm0, xmm1
    let store = record(&[0x66, 0x0f, 0xf7, 0xc1], WRITE);
    assert!(told(&store).unwrap_err().contains("a masked access"));
}

#[test]
fn a_pop_into_the_stack_uses_the_raised_pointer() {
    // pop qword ptr [rsp + 8], with the stack 0x20 bytes into the range
    let mut pop = record(&[0x8f, 0x44, 0x24, 0x08], 0);
    pop.registers[RSP] = RANGE + 0x20;
    pop.address = RANGE + 0x20;
    assert_eq!(told(&pop).unwrap(), "R8@0x20 W8@0x30");
}

#[test]
fn the_processors_account_must_agree() {
    // mov eax, [rdi]
    let load = [0x8b, 0x07];
    assert_eq!(told(&record(&load, 0)).unwrap(), "R4@0x10");
    assert!(told(&record(&load, WRITE)).unwrap_err().contains("the decoder does not tell"));
    let mut elsewhere = record(&load, 0);
    elsewhere.address += 4;
    assert!(told(&elsewhere).unwrap_err().contains("the decoder does not tell"));
}

#[test]
fn a_bit_string_beyond_its_operand_is_refused() {
    // bts [rdi], eax, with bit 64: the access is 8 bytes further on
    let mut set = record(&[0x0f, 0xab, 0x07], WRITE);
    set.registers[libc::REG_RAX as usize] = 64;
    set.address += 8;
    assert!(told(&set).unwrap_err().contains("the decoder does not tell"));
}

#[test]
fn a_step_over_two_instructions_is_refused() {
    // mov ss, [rdi] holds the trap back until after the next instruction.
    let mut two = record(&[0x8e, 0x17], 0);
    assert_eq!(told(&two).unwrap(), "R2@0x10");
    two.after += 1;
    assert!(told(&two).unwrap_err().contains("more than this instruction ran"));
}

#[test]
fn thread_local_memory_is_refused() {
    // mov eax, fs:[rdi]
    let load = record(&[0x64, 0x8b, 0x07], 0);
    assert!(told(&load).unwrap_err().contains("the general registers do not tell"));
}

#[test]
fn unknown_and_cut_code_is_refused() {
    for code in [&[0x0f, 0xff, 0xff][..], &[0x8b][..], &[][..]] {
        let reason = told(&record(code, 0)).unwrap_err();
        assert!(reason.contains("at offset 0x10"), "{reason}");
    }
}

#[test]
fn an_address_size_prefix_cuts_the_register() {
    // mov eax, [edi]
    let mut load = record(&[0x67, 0x8b, 0x07], 0);
    load.registers[RDI] |= 0xffff_ffff_0000_0000;
    assert_eq!(told(&load).unwrap(), "R4@0x10");
}

#[test]
fn accesses_outside_the_range_are_left_out() {
    // movsd: from below the range into it
    let mut copy = record(&[0xa5], WRITE);
    copy.registers[libc::REG_RSI as usize] = RANGE - 4;
    assert_eq!(told(&copy).unwrap(), "W4@0x10");
    assert_eq!(text(&copy), "movsd [rdi],[rsi]");
}
