//! The pages of the range: what they allow, taking it away, giving it back.

use std::fs;
use std::io::{self, Read};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use libc::{c_int, c_void};

/// A line of /proc/self/maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub start: usize,
    pub end: usize,
    pub protection: c_int,
    shared: bool,
    offset: u64,
    device: String,
    inode: u64,
}

impl Mapping {
    fn parse(line: &str) -> Option<Mapping> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let flags = words.next()?.as_bytes();
        let allows = |index: usize, bit| {
            if *flags.get(index)? == b'-' { Some(0) } else { Some(bit) }
        };
        Some(Mapping {
            start: usize::from_str_radix(start, 16).ok()?,
            end: usize::from_str_radix(end, 16).ok()?,
            protection: allows(0, libc::PROT_READ)?
                | allows(1, libc::PROT_WRITE)?
                | allows(2, libc::PROT_EXEC)?,
            shared: *flags.get(3)? == b's',
            offset: u64::from_str_radix(words.next()?, 16).ok()?,
            device: words.next()?.to_owned(),
            inode: words.next()?.parse().ok()?,
        })
    }

    /// The part of it inside `start..end`.
    fn clip(&self, start: usize, end: usize) -> Option<Mapping> {
        let (from, to) = (self.start.max(start), self.end.min(end));
        let skipped = from.wrapping_sub(self.start) as u64;
        (from < to).then(|| Mapping {
            start: from,
            end: to,
            offset: if self.inode == 0 { 0 } else { self.offset.wrapping_add(skipped) },
            ..self.clone()
        })
    }

    /// Whether both map the same memory, whatever they allow.
    fn is(&self, other: &Mapping) -> bool {
        *self == Mapping { protection: self.protection, ..other.clone() }
    }
}

fn clipped(start: usize, end: usize) -> io::Result<Vec<Mapping>> {
    // The kernel cannot write to traced pages, and the heap may lie on them; the stack does not.
    let mut buffer = [0; 4096];
    let mut file = fs::File::open("/proc/self/maps")?;
    let mut maps = Vec::new();
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => maps.extend_from_slice(&buffer[..read]),
        }
    }
    let maps = String::from_utf8_lossy(&maps);
    Ok(maps.lines().filter_map(Mapping::parse).filter_map(|m| m.clip(start, end)).collect())
}

/// What is mapped at `start..end`, without a hole.
///
/// # Errors
/// The reason, for a person, why these pages cannot be traced.
pub fn survey(start: usize, end: usize) -> Result<Vec<Mapping>, String> {
    let found = clipped(start, end).map_err(|e| format!("cannot read /proc/self/maps: {e}"))?;
    let mut next = start;
    for mapping in &found {
        if mapping.start != next {
            break;
        }
        if mapping.protection & libc::PROT_EXEC != 0 {
            return Err(format!("the memory at {:#x} is executable, and code is not traced", next));
        }
        next = mapping.end;
    }
    if next != end {
        return Err(format!("nothing is mapped at {next:#x}"));
    }
    if found.len() > SEGMENTS.len() {
        return Err(format!("the range lies in {} mappings; at most {MOST} work", found.len()));
    }
    Ok(found)
}

/// Pages to give their access back. No heap: it may lie on these very pages.
pub struct Remaining {
    parts: [(usize, usize, c_int); MOST],
    used: usize,
}

/// Which of the pages are still the pages they were. Memory that was unmapped meanwhile may have
/// become someone else's, and is left alone.
///
/// # Errors
/// The reason, for a person.
pub fn remaining(before: &[Mapping]) -> Result<Remaining, String> {
    let mut remaining = Remaining { parts: [(0, 0, 0); MOST], used: 0 };
    for old in before {
        let now = clipped(old.start, old.end).map_err(|e| format!("cannot read /proc/self/maps: {e}"))?;
        for part in now {
            let same = old.clip(part.start, part.end).is_some_and(|before| before.is(&part));
            if same && part.protection == libc::PROT_NONE {
                let place = remaining.parts.get_mut(remaining.used);
                *place.ok_or("the range fell into too many pieces during the trace")? =
                    (part.start, part.end, old.protection);
                remaining.used += 1;
            }
        }
    }
    Ok(remaining)
}

impl Remaining {
    /// Gives them back what they allowed; false where the kernel refuses.
    #[must_use]
    pub fn restore(&self) -> bool {
        let mut parts = self.parts.iter().take(self.used);
        parts.all(|(start, end, protection)| protect(*start, *end, *protection).is_ok())
    }
}

fn protect(start: usize, end: usize, protection: c_int) -> io::Result<()> {
    // SAFETY: changes what the pages allow, not what they hold. The callers pass pages whose own
    // protection this is, or take the access away with the handlers installed that give it back.
    match unsafe { libc::mprotect(start as *mut c_void, end - start, protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A run of pages with one protection, where the handlers can read it.
struct Segment {
    start: AtomicUsize,
    end: AtomicUsize,
    protection: AtomicI32,
}

const MOST: usize = 64;
static SEGMENTS: [Segment; MOST] = [const {
    Segment { start: AtomicUsize::new(0), end: AtomicUsize::new(0), protection: AtomicI32::new(0) }
}; MOST];
static USED: AtomicUsize = AtomicUsize::new(0);

/// Tells the handlers which pages these are. No trace is running; `survey` made the list.
pub fn publish(mappings: &[Mapping]) {
    for (segment, mapping) in SEGMENTS.iter().zip(mappings) {
        segment.start.store(mapping.start, Relaxed);
        segment.end.store(mapping.end, Relaxed);
        segment.protection.store(mapping.protection, Relaxed);
    }
    USED.store(mappings.len().min(MOST), Relaxed);
}

/// Gives the pages their own protection. Safe in a signal handler; false where the kernel refuses.
#[must_use]
pub fn open() -> bool {
    each(|segment| segment.protection.load(Relaxed))
}

/// Takes all access away. Safe in a signal handler; false where the kernel refuses.
#[must_use]
pub fn close() -> bool {
    each(|_| libc::PROT_NONE)
}

fn each(protection: impl Fn(&Segment) -> c_int) -> bool {
    SEGMENTS.iter().take(USED.load(Relaxed)).all(|segment| {
        let (start, end) = (segment.start.load(Relaxed), segment.end.load(Relaxed));
        protect(start, end, protection(segment)).is_ok()
    })
}
