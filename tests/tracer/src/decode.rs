//! What the recorded instructions did to the range, worked out from their bytes and registers.

use std::ops::Range;

use iced_x86::{
    Decoder, DecoderOptions, FastFormatter, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, Register, UsedMemory,
};

use crate::record::{REGISTERS, Record};

#[cfg(test)]
mod tests;

/// One access to the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Access {
    /// From the start of the range. Below 0 where a wide access begins before it.
    pub offset: i64,
    pub rip: u64,
    /// Which record: an instruction may make several accesses.
    pub record: u32,
    pub width: u32,
    pub thread: i32,
    /// `b'R'` or `b'W'`.
    pub kind: u8,
    pub failed: u8,
}

/// The accesses of all records to `range`, in the order they were made.
///
/// # Errors
/// The reason, for a person, why one of them cannot be told for sure.
pub fn accesses(records: &[Record], range: &Range<u64>) -> (Vec<Access>, Option<String>) {
    let mut factory = InstructionInfoFactory::new();
    let mut found = Vec::new();
    for (index, record) in (0..).zip(records) {
        match touched(&mut factory, record) {
            Ok(touched) => found.extend(
                touched.into_iter().filter(|t| t.address < range.end && t.end() > range.start).map(|t| {
                    Access {
                        offset: t.address.wrapping_sub(range.start) as i64,
                        rip: record.rip(),
                        record: index,
                        width: t.width,
                        thread: record.thread,
                        kind: t.kind,
                        failed: record.failed.into(),
                    }
                }),
            ),
            Err(reason) => {
                let offset = record.address.wrapping_sub(range.start) as i64;
                let text = text(record);
                return (found, Some(format!("`{text}` at offset {offset:#x}: {reason}")));
            }
        }
    }
    (found, None)
}

/// The instruction of a record, as an assembler would take it.
pub fn text(record: &Record) -> String {
    let mut out = String::new();
    FastFormatter::new().format(&instruction(record), &mut out);
    out
}

fn instruction(record: &Record) -> Instruction {
    let code = &record.code[..usize::from(record.length).min(record.code.len())];
    Decoder::with_ip(64, code, record.rip(), DecoderOptions::NONE).decode()
}

/// One access anywhere.
struct Touched {
    address: u64,
    width: u32,
    kind: u8,
}

impl Touched {
    fn end(&self) -> u64 {
        self.address.saturating_add(self.width.into())
    }
}

fn touched(factory: &mut InstructionInfoFactory, record: &Record) -> Result<Vec<Touched>, &'static str> {
    let instruction = instruction(record);
    if instruction.is_invalid() {
        return Err("an instruction the decoder does not know");
    }
    check_step(record, &instruction)?;

    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for memory in factory.info(&instruction).used_memory() {
        let (read, write) = directions(&instruction, memory)?;
        // Of a repeated instruction the decoder gives all rounds; each is stepped by itself.
        let size = if instruction.is_string_instruction() {
            instruction.memory_size()
        } else {
            memory.memory_size()
        };
        let width = u32::try_from(size.size()).unwrap_or(0);
        if (read || write) && width == 0 {
            return Err("an access whose width depends on the processor's state");
        }
        let address = memory
            .virtual_address(0, |register, _, _| value(record, register))
            .ok_or("an address that the general registers do not tell")?;
        if read {
            reads.push(Touched { address, width, kind: b'R' });
        }
        if write {
            writes.push(Touched { address, width, kind: b'W' });
        }
    }
    check_fault(record, &reads, &writes)?;
    // An instruction reads all it needs before it writes.
    reads.append(&mut writes);
    Ok(reads)
}

/// The step let one instruction run, not more: some hold the trap back.
fn check_step(record: &Record, instruction: &Instruction) -> Result<(), &'static str> {
    let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let known = record.failed
        || instruction.flow_control() != FlowControl::Next
        || record.after == instruction.next_ip()
        || (repeated && record.after == record.rip());
    if known { Ok(()) } else { Err("more than this instruction ran while the pages were open") }
}

/// What they touch depends on a vector register.
const MASKED: [Mnemonic; 7] = [
    Mnemonic::Maskmovq,
    Mnemonic::Maskmovdqu,
    Mnemonic::Vmaskmovdqu,
    Mnemonic::Vmaskmovps,
    Mnemonic::Vmaskmovpd,
    Mnemonic::Vpmaskmovd,
    Mnemonic::Vpmaskmovq,
];

const CACHE: [Mnemonic; 4] = [Mnemonic::Clflush, Mnemonic::Clflushopt, Mnemonic::Clwb, Mnemonic::Cldemote];

/// Whether it reads and writes.
fn directions(instruction: &Instruction, memory: &UsedMemory) -> Result<(bool, bool), &'static str> {
    if instruction.is_vsib() {
        return Err("a gather or scatter, which this tracer does not take apart");
    }
    if instruction.has_op_mask() || MASKED.contains(&instruction.mnemonic()) {
        return Err("a masked access, which this tracer does not take apart");
    }
    if CACHE.contains(&instruction.mnemonic()) {
        return Err("a cache line operation, which is neither a load nor a store");
    }
    // The condition of a repeated string instruction is its count, and it got as far as touching
    // memory; a compare-and-exchange that fails writes back what it read.
    let happens = instruction.is_string_instruction()
        || matches!(instruction.mnemonic(), Mnemonic::Cmpxchg | Mnemonic::Cmpxchg8b | Mnemonic::Cmpxchg16b);
    match memory.access() {
        OpAccess::None | OpAccess::NoMemAccess => Ok((false, false)),
        OpAccess::Read => Ok((true, false)),
        OpAccess::Write => Ok((false, true)),
        OpAccess::ReadWrite => Ok((true, true)),
        OpAccess::CondRead if happens => Ok((true, false)),
        OpAccess::CondWrite if happens => Ok((false, true)),
        OpAccess::ReadCondWrite if happens => Ok((true, true)),
        _ => Err("a masked access, which this tracer does not take apart"),
    }
}

/// The processor's own account of the fault must agree with the decoder's.
fn check_fault(record: &Record, reads: &[Touched], writes: &[Touched]) -> Result<(), &'static str> {
    const WRITE: u64 = 1 << 1;
    let covers = |list: &[Touched]| list.iter().any(|t| (t.address..t.end()).contains(&record.address));
    // A read that will write the same place faults as a write.
    let agrees = if record.error & WRITE != 0 { covers(writes) } else { covers(reads) };
    if agrees { Ok(()) } else { Err("an access the decoder does not tell") }
}

/// The value an address is computed from. Segments other than FS and GS start at 0.
fn value(record: &Record, register: Register) -> Option<u64> {
    const ORDER: [Register; REGISTERS] = [
        Register::R8,
        Register::R9,
        Register::R10,
        Register::R11,
        Register::R12,
        Register::R13,
        Register::R14,
        Register::R15,
        Register::RDI,
        Register::RSI,
        Register::RBP,
        Register::RBX,
        Register::RDX,
        Register::RAX,
        Register::RCX,
        Register::RSP,
        Register::RIP,
    ];
    if matches!(register, Register::CS | Register::DS | Register::ES | Register::SS) {
        return Some(0);
    }
    let index = ORDER.iter().position(|r| *r == register.full_register())?;
    let value = record.registers[index];
    match register.size() {
        8 => Some(value),
        4 => Some(value & 0xffff_ffff),
        _ => None,
    }
}
