//! The memory of a mock: a memfd that starts with the map's reset values.
//!
//! Software maps it region by region with each region's protection, as a real source is; the mock's own side maps it
//! once more, to change what software may only read. A given file may take the memfd's place.
#![allow(unsafe_code)] // Words of a mapping.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicUsize, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::cell::Cell;
use crate::access::{Word, single};
use crate::map::{ByteOrder, Map, Node, Region, Register, Width, mask};
use crate::mapping::{Mapping, Protection, page_size};

/// Reset values that take more memory than this fill the machine and model no device. What is 0 takes none.
const MOST_BYTES: u64 = 64 << 20;

/// As many take a second or two to write.
const MOST_WORDS: u64 = 1 << 21;

/// A file that takes the place of a mock's own memory, for other processes to map.
#[derive(Clone, Debug)]
pub struct Backing {
    /// The file. It is as long as the last region needs.
    pub path: PathBuf,
    /// Where each region of the map begins in it, in bytes.
    pub starts: Vec<u64>,
    /// Registers whose bits act when written show the highest bit that no field covers as 1: a write that leaves it 0
    /// is then seen even where all other bits are as they are shown.
    pub mark: bool,
}

/// The bytes of a mock, and the hardware's own mapping of them.
#[derive(Debug)]
pub(super) struct Memory {
    /// Until software has mapped it.
    file: Option<File>,
    /// Where each region begins in the file. Every region has pages of its own.
    starts: Vec<u64>,
    regions: Vec<Mapping>,
}

impl Memory {
    pub fn new(map: &Map) -> io::Result<Memory> {
        let file = File::from(memfd_create(c"devregs-mock", MFdFlags::MFD_CLOEXEC)?);
        let page = page_size() as u64;
        let mut starts = Vec::new();
        let mut end = 0u64;
        for region in &map.regions {
            // As far into a page as the real one is.
            let start = end + region.offset % page;
            starts.push(start);
            let next = start
                .checked_add(region.size)
                .and_then(|end| end.checked_next_multiple_of(page))
                .filter(|&end| end <= i64::MAX as u64);
            end = next
                .ok_or_else(|| io::Error::other(format!("region {} is too large for a mock", region.name)))?;
        }
        file.set_len(end)?;
        Memory::over(map, file, starts)
    }

    /// Over a file that others map too.
    pub fn shared(map: &Map, backing: &Backing) -> io::Result<Memory> {
        let file = File::options().read(true).write(true).open(&backing.path)?;
        let length = file.metadata()?.len();
        let fits = |(region, start): (&Region, &u64)| {
            start.checked_add(region.size).is_some_and(|end| end <= length)
        };
        match map.regions.len() == backing.starts.len() && map.regions.iter().zip(&backing.starts).all(fits) {
            true => Memory::over(map, file, backing.starts.clone()),
            false => Err(io::Error::other(format!(
                "{} has {length:#x} bytes, too few for the regions",
                backing.path.display()
            ))),
        }
    }

    fn over(map: &Map, file: File, starts: Vec<u64>) -> io::Result<Memory> {
        let page = page_size() as u64;
        let regions = map.regions.iter().zip(&starts).map(|(region, start)| {
            let skip = start % page;
            Mapping::new(&file, start - skip, skip, region.size, Protection::ReadWrite)
        });
        let regions = regions.collect::<io::Result<_>>()?;
        let memory = Memory { file: Some(file), starts, regions };
        memory.fill(map)?;
        Ok(memory)
    }

    /// Writes the reset values; what has none becomes 0. Regions without registers keep what they hold.
    pub fn fill(&self, map: &Map) -> io::Result<()> {
        let mut budget = Budget { words: MOST_WORDS, pages: MOST_BYTES / page_size() as u64, last: None };
        for (index, region) in map.regions.iter().enumerate().filter(|(_, region)| !region.nodes.is_empty()) {
            self.regions[index].zero()?;
            self.fill_nodes(index, 0, &region.nodes, &mut budget)?;
        }
        Ok(())
    }

    /// Writes the reset values of these registers and of those in these groups.
    fn fill_nodes(&self, region: usize, base: u64, nodes: &[Node], budget: &mut Budget) -> io::Result<()> {
        for node in nodes.iter().filter(|node| has_value(node)) {
            let (count, stride) = node.array().map_or((1, 0), |array| (array.count, array.stride));
            for index in 0..count {
                let start = base + node.offset() + index * stride;
                match node {
                    Node::Register(register) => {
                        budget.spend(self.starts[region] + start)?;
                        self.set(&Shape::new(region, register), start, shown(register));
                    }
                    Node::Group(group) => self.fill_nodes(region, start, &group.nodes, budget)?,
                }
            }
        }
        Ok(())
    }

    /// The file, and where a region begins in it.
    pub fn place(&self, region: usize) -> io::Result<(&File, u64)> {
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("software has mapped it before"))?;
        Ok((file, self.starts[region]))
    }

    /// Gives the file back: the mappings need none.
    pub fn forget_file(&mut self) {
        self.file = None;
    }

    /// Fails where the file is cut off, so that an access would fault, or gone, so that nobody can open it.
    pub fn check_file(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let there = file.metadata()?;
        let ends = self.regions.iter().zip(&self.starts).map(|(region, start)| start + region.size() as u64);
        match (there.nlink(), ends.max().unwrap_or(0)) {
            (0, _) => Err(io::Error::other("somebody has removed its file")),
            (_, end) if there.len() < end => Err(io::Error::other(format!(
                "somebody has cut its file off at {:#x} bytes of {end:#x}",
                there.len()
            ))),
            _ => Ok(()),
        }
    }

    /// What the memory shows of a register.
    pub fn get(&self, shape: &Shape, offset: u64) -> u64 {
        self.load(shape.region, offset, shape.word)
    }

    /// Lets the memory show a value of a register.
    pub fn set(&self, shape: &Shape, offset: u64, value: u64) {
        self.store(shape.region, offset, shape.word, value & shape.word.width.mask());
    }

    /// What the memory shows in the place of a word.
    pub fn load(&self, region: usize, offset: u64, word: Word) -> u64 {
        self.singles(region, offset, word).into_iter().flatten().fold(0, |value, (word, shift)| {
            // SAFETY: `word` has checked the place against the mapping, and the machine has such an access.
            value | unsafe { word.load() }.unwrap_or(0) << shift
        })
    }

    /// Lets the memory show a word.
    pub fn store(&self, region: usize, offset: u64, word: Word, value: u64) {
        for (word, shift) in self.singles(region, offset, word).into_iter().flatten() {
            // SAFETY: `word` has checked the place against the mapping, which is writable, and the machine has such an
            // access.
            let _ = unsafe { word.store(value >> shift & word.width.mask()) };
        }
    }

    /// Lets the memory show `new` in the place of a word that shows `seen`, unless another process has changed it
    /// since. Gives what is shown as far as that is known: of a register of several accesses, one part may be new.
    pub fn replace(&self, shape: &Shape, offset: u64, seen: u64, new: u64) -> u64 {
        let word = self.word(shape.region, offset, shape.word);
        let bytes = word.width.bytes();
        // Words of 64 bits are two for a 32-bit machine, whose accesses are no wider either.
        let unit = shape.unit.min(size_of::<usize>());
        let big = is_big(word);
        (0..bytes / unit).fold(seen, |shown, index| {
            let shift = 8 * unit * if big { bytes / unit - 1 - index } else { index };
            let part = mask(8 * unit as u32) << shift;
            if (shown ^ new) & part == 0 {
                return shown;
            }
            let raw = |value: u64| {
                let value = (value & part) >> shift;
                if word.swap { value.swap_bytes() >> (64 - 8 * unit) } else { value }
            };
            let place = word.address.wrapping_add(index * unit);
            // SAFETY: `word` has checked the place against the mapping, which is writable; offsets are multiples of
            // the unit.
            match unsafe { exchange(place, unit, raw(shown), raw(new)) } {
                true => shown & !part | new & part,
                false => shown,
            }
        })
    }

    /// The accesses that the machine has for a word in the hardware's own mapping, each with its lowest bit in the word.
    fn singles(&self, region: usize, offset: u64, word: Word) -> [Option<(Word, u32)>; 2] {
        let word = self.word(region, offset, word);
        // A register of two accesses is aligned for each of them only.
        if single(word.width) && word.address as usize % word.width.bytes() == 0 {
            return [Some((word, 0)), None];
        }
        let (low, high) = if is_big(word) { (4, 0) } else { (0, 4) };
        let half = |above| Word { address: word.address.wrapping_add(above), width: Width::W32, ..word };
        [Some((half(low), 0)), Some((half(high), 32))]
    }

    /// The same word in the hardware's own mapping.
    fn word(&self, region: usize, offset: u64, word: Word) -> Word {
        let mapping = &self.regions[region];
        assert!(offset + word.width.bytes() as u64 <= mapping.size() as u64);
        Word { address: mapping.start().wrapping_add(offset as usize), ..word }
    }
}

/// Whether the most significant byte is the first.
fn is_big(word: Word) -> bool {
    word.swap != (ByteOrder::NATIVE == ByteOrder::Big)
}

/// Stores `new` where `old` is; false where something else is.
///
/// # Safety
/// `place` is a multiple of `bytes`, which are 1, 2, 4 or a machine word, in a writable mapping.
unsafe fn exchange(place: *mut u8, bytes: usize, old: u64, new: u64) -> bool {
    // SAFETY: the caller's promise, for whichever width it is.
    unsafe {
        match bytes {
            1 => {
                let word = AtomicU8::from_ptr(place);
                word.compare_exchange(old as u8, new as u8, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
            2 => {
                let word = AtomicU16::from_ptr(place.cast());
                word.compare_exchange(old as u16, new as u16, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
            4 => {
                let word = AtomicU32::from_ptr(place.cast());
                word.compare_exchange(old as u32, new as u32, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
            _ => {
                let word = AtomicUsize::from_ptr(place.cast());
                word.compare_exchange(old as usize, new as usize, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
        }
    }
}

/// Where a register lies and how it is touched, whichever mapping it is touched through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub region: usize,
    /// Its address means nothing.
    pub word: Word,
    /// How many bytes software reaches in one access.
    unit: usize,
}

// SAFETY: its address is never followed, only replaced.
unsafe impl Send for Shape {}

impl Shape {
    pub fn new(region: usize, register: &Register) -> Shape {
        let word = Word::new(std::ptr::null_mut(), register.width, register.byte_order);
        Shape { region, word, unit: register.access_bytes() as usize }
    }
}

/// What a register holds at the start: its reset value, and what the map expects of the device.
pub(super) fn initial(register: &Register) -> u64 {
    let reset = register.reset.map_or(0, |reset| reset.value);
    match register.expect {
        Some(expect) => reset & !expect.mask | expect.value,
        None => reset,
    }
}

/// What a read of it shows at the start.
fn shown(register: &Register) -> u64 {
    match register.access.readable() && register.fifo.is_none() {
        true => initial(register) & Cell::new(register).shown,
        false => 0,
    }
}

fn has_value(node: &Node) -> bool {
    match node {
        Node::Register(register) => shown(register) != 0,
        Node::Group(group) => group.nodes.iter().any(has_value),
    }
}

/// What the reset values may take of the machine's memory.
struct Budget {
    words: u64,
    pages: u64,
    last: Option<u64>,
}

impl Budget {
    /// Counts a word, and the page that it lies in unless that is the one before.
    fn spend(&mut self, place: u64) -> io::Result<()> {
        self.words = self.words.checked_sub(1).ok_or_else(|| {
            io::Error::other(format!("the map has more than {MOST_WORDS} reset values that are not 0"))
        })?;
        let page = place / page_size() as u64;
        if self.last == Some(page) {
            return Ok(());
        }
        self.last = Some(page);
        self.pages = self.pages.checked_sub(1).ok_or_else(|| {
            let limit = MOST_BYTES >> 20;
            io::Error::other(format!("the reset values of the map would fill more than {limit} MiB"))
        })?;
        Ok(())
    }
}
