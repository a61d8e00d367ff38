//! Views of a region, for bindings that export raw memory: which are right, how many live, and what they see of a mock.
#![allow(unsafe_code)] // The pages that views of a mock see.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::region::Region;
use crate::access::{Registered, Trap, enter};
use crate::error::{Error, Result, SourceError};
use crate::map::{self, ByteOrder};
use crate::mapping::Mapping;
use crate::mock::Views;

/// What the views of a mocked region see: pages of their own, to be trapped, so that the mock behaves for them too.
#[derive(Debug)]
pub(super) struct Viewed {
    registered: OnceLock<Registered>,
    /// Before the mapping, which it needs to the last.
    trap: Mutex<Option<Trap>>,
    mapping: Mapping,
}

impl Viewed {
    pub fn new(mapping: Mapping) -> Viewed {
        Viewed { registered: OnceLock::new(), trap: Mutex::default(), mapping }
    }

    /// Lets a fault in these pages be told as one of the region's.
    pub fn enter(&self, region: &Arc<Region>) {
        let (start, size) = (self.mapping.start() as usize, self.mapping.size());
        // SAFETY: the entry is given back when the region is dropped, whose place in the Arc does not change.
        let _ = self.registered.set(unsafe { enter(start, size, &**region) });
    }

    /// Nobody has a view any more.
    pub fn close(&self) -> io::Result<()> {
        *self.trap() = None;
        self.mapping.seal()
    }

    fn trap(&self) -> MutexGuard<'_, Option<Trap>> {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Region {
    /// The first byte that a view sees.
    ///
    /// # Errors
    /// The pages of a mock cannot be trapped.
    pub(crate) fn view_start(&self) -> Result<*mut u8> {
        let (Some(viewed), Some(mock)) = (&self.viewed, &self.tap().mock) else { return Ok(self.start()) };
        let mut trap = viewed.trap();
        if trap.is_none() && mock.behaves(self.index()) {
            let info = self.info();
            let watch = Views::new(mock.clone(), self.index(), info.width, info.byte_order, info.size);
            let (start, size) = (viewed.mapping.start(), viewed.mapping.size());
            // SAFETY: the mapping is the region's own, and stays until the trap is dropped, by `close` or with both.
            let made = unsafe { Trap::new(start, size, info.access.writable(), Arc::new(watch)) };
            *trap = Some(made.map_err(|error| {
                let problem = format!("cannot watch the pages of a view: {error}");
                Error::Source(
                    SourceError::new(self.at(), problem)
                        .errno(&error)
                        .remedy("devregs.mock(map, trap=False) gives views of plain memory"),
                )
            })?);
        }
        Ok(viewed.mapping.start())
    }

    /// The span a view covers, checked: whole words, inside the region.
    ///
    /// # Errors
    /// What a view cannot do rightly is refused, with the way round.
    pub(crate) fn check_view(&self, offset: u64, size: Option<u64>) -> Result<Range<usize>> {
        let info = self.info();
        self.check_open()?;
        let refuse = |reason: String| Err(Error::Refused { at: self.at(), reason });
        if self.tap().replays {
            return refuse("no view of a recording: it plays accesses back that were made by name or by offset, and what a view reads is nowhere".into());
        }
        if !info.access.readable() {
            return refuse("no view of a write-only region: a memoryview can always be read; use region.write() or write_from()".into());
        }
        if info.byte_order != ByteOrder::NATIVE {
            return refuse("no view of a region whose byte order is not this machine's: its items would be wrong; use region.read_into(), which swaps".into());
        }
        let bytes = info.width.bytes() as u64;
        let size = size.unwrap_or(info.size.saturating_sub(offset));
        let value = |problem: String| Err(Error::Value { at: self.at(), problem });
        if offset % bytes != 0 || size % bytes != 0 {
            return value(format!(
                "a view begins and ends at a multiple of {bytes} bytes, the region's access width; {offset:#x} and {size:#x} bytes do not"
            ));
        }
        let end = match offset.checked_add(size) {
            Some(end) if end <= info.size => end,
            _ => {
                let problem =
                    format!("{size:#x} bytes from {offset:#x} go beyond the region's {:#x}", info.size);
                return value(problem);
            }
        };
        let effect = match info.on_read.is_some() || info.fifo {
            true => Some("the map says so of the whole region; use region.read() or read_into()".into()),
            false => first_effect(&info.nodes, 0, offset..end).map(|(name, at)| {
                format!("reading {name} at {at:#x} has one; use the register, or leave it out of the view with offset and size")
            }),
        };
        match effect {
            None => Ok(offset as usize..end as usize),
            Some(effect) => refuse(format!(
                "no view where a read has a side effect, for any look at the view would cause it: {effect}"
            )),
        }
    }

    /// One more view.
    ///
    /// # Errors
    /// The region is closed.
    pub(crate) fn export(&self) -> Result<()> {
        self.keep_guard()?;
        let mut views = self.views();
        self.check_open()?;
        *views += 1;
        Ok(())
    }

    /// One view fewer.
    pub(crate) fn release(&self) {
        let mut views = self.views();
        *views = views.saturating_sub(1);
    }
}

/// The first register in the span, in bytes, whose read changes something: its name and offset.
fn first_effect(nodes: &[map::Node], base: u64, span: Range<u64>) -> Option<(&str, u64)> {
    nodes.iter().filter(|node| has_effect(node)).find_map(|node| {
        let start = base + node.offset();
        let array = node.array().unwrap_or(map::Array { count: 1, stride: 1 });
        // Only the elements that may reach into the span; a map's elements do not reach beyond their stride by much.
        let before = span.start.saturating_sub(start) / array.stride;
        (before.saturating_sub(1)..array.count)
            .map(|index| start + index * array.stride)
            .take_while(|&start| start < span.end)
            .find_map(|start| match node {
                map::Node::Register(register) => {
                    let inside = start + register.width.bytes() as u64 > span.start;
                    inside.then_some((register.name.as_str(), start))
                }
                map::Node::Group(group) => first_effect(&group.nodes, start, span.clone()),
            })
    })
}

/// Whether reading some register of it changes something.
fn has_effect(node: &map::Node) -> bool {
    match node {
        map::Node::Register(register) => register.read_effect().is_some(),
        map::Node::Group(group) => group.nodes.iter().any(has_effect),
    }
}
