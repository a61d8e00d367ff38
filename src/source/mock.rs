//! `mock:`: a private memory that starts with the map's reset values.
//!
//! It is a memfd, mapped region by region with each region's protection, as a real source is.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{Attached, Source, Span};
use crate::error::SourceError;
use crate::map::{ByteOrder, Map, Node, Region, Register};
use crate::mapping::page_size;

/// Reset values that take more memory than this fill the machine and model no device. What is 0 takes none.
const MOST_BYTES: u64 = 64 << 20;

/// As many take a second or two to write.
const MOST_WORDS: u64 = 1 << 21;

#[derive(Debug)]
pub(super) struct Mock {
    file: File,
    /// Each region's name and where it begins in the file. Every region has pages of its own.
    starts: Vec<(String, u64)>,
}

impl Mock {
    pub fn new(map: &Map) -> Result<Mock, SourceError> {
        let failed = |error: std::io::Error| {
            SourceError::new(Source::Mock, format!("cannot make the memory: {error}")).errno(&error)
        };
        let memory = memfd_create(c"devregs-mock", MFdFlags::MFD_CLOEXEC);
        let file = File::from(memory.map_err(|errno| failed(errno.into()))?);
        let page = page_size() as u64;
        let mut starts = Vec::new();
        let mut end = 0u64;
        for region in &map.regions {
            // As far into a page as the real one is.
            let start = end + region.offset % page;
            starts.push((region.name.clone(), start));
            let next = start
                .checked_add(region.size)
                .and_then(|end| end.checked_next_multiple_of(page))
                .filter(|&end| end <= i64::MAX as u64);
            end = next.ok_or_else(|| {
                SourceError::new(Source::Mock, format!("region {} is too large for a mock", region.name))
            })?;
        }
        file.set_len(end).map_err(failed)?;
        let mut budget = Budget { words: MOST_WORDS, pages: MOST_BYTES / page, last: None };
        for (region, (_, start)) in map.regions.iter().zip(&starts) {
            fill(&file, *start, &region.nodes, &mut budget).map_err(failed)?;
        }
        Ok(Mock { file, starts })
    }

    pub fn span(&self, attached: &Attached, region: &Region) -> Result<Span, SourceError> {
        let failed = |problem: String| SourceError::new(attached, problem);
        let (_, start) =
            self.starts.iter().find(|(name, _)| *name == region.name).ok_or_else(|| {
                failed(format!("the mock was made from a map without region {}", region.name))
            })?;
        let file = self.file.try_clone().map_err(|error| failed(error.to_string()).errno(&error))?;
        Ok(Span {
            path: "/proc/self/fd".into(),
            file: Some(file),
            flags: 0,
            offset: *start,
            skip: 0,
            physical: None,
        })
    }
}

/// Writes the reset values of these registers and of those in these groups.
fn fill(file: &File, base: u64, nodes: &[Node], budget: &mut Budget) -> std::io::Result<()> {
    for node in nodes {
        let (count, stride) = node.array().map_or((1, 0), |array| (array.count, array.stride));
        for index in 0..count {
            let start = base + node.offset() + index * stride;
            match node {
                Node::Register(register) => {
                    let value = initial(register);
                    if value == 0 {
                        break;
                    }
                    budget.spend(start)?;
                    let bytes = register.width.bytes();
                    match register.byte_order {
                        ByteOrder::Little => file.write_all_at(&value.to_le_bytes()[..bytes], start)?,
                        ByteOrder::Big => file.write_all_at(&value.to_be_bytes()[8 - bytes..], start)?,
                    }
                }
                Node::Group(group) => {
                    if !has_value(&group.nodes) {
                        break;
                    }
                    fill(file, start, &group.nodes, budget)?;
                }
            }
        }
    }
    Ok(())
}

/// What a register holds at the start: its reset value, and what the map expects of the device.
fn initial(register: &Register) -> u64 {
    let reset = register.reset.map_or(0, |reset| reset.value);
    match register.expect {
        Some(expect) => reset & !expect.mask | expect.value,
        None => reset,
    }
}

fn has_value(nodes: &[Node]) -> bool {
    nodes.iter().any(|node| match node {
        Node::Register(register) => initial(register) != 0,
        Node::Group(group) => has_value(&group.nodes),
    })
}

/// What the reset values may take of the machine's memory.
struct Budget {
    words: u64,
    pages: u64,
    last: Option<u64>,
}

impl Budget {
    /// Counts a word, and the page that it lies in unless that is the one before.
    fn spend(&mut self, place: u64) -> std::io::Result<()> {
        self.words = self.words.checked_sub(1).ok_or_else(|| {
            std::io::Error::other(format!("the map has more than {MOST_WORDS} reset values that are not 0"))
        })?;
        let page = place / page_size() as u64;
        if self.last == Some(page) {
            return Ok(());
        }
        self.last = Some(page);
        self.pages = self.pages.checked_sub(1).ok_or_else(|| {
            let limit = MOST_BYTES >> 20;
            std::io::Error::other(format!("the reset values of the map would fill more than {limit} MiB"))
        })?;
        Ok(())
    }
}
