//! Where a device's bytes are: memory, UIO, PCI, a file, or a mock; and what each says when it cannot be opened.
//!
//! A source is first parsed from its name, then attached (looked up, without touching the device), and then asked
//! for the span of each region. Everything is found under a root folder, `/` but in tests.

mod attach;
mod card;
mod discover;
mod file;
mod interrupt;
mod mem;
mod name;
mod pci;
mod sysfs;
mod uio;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub use attach::Attached;
pub use card::{Absence, Presence};
pub use discover::{Found, FoundBar, FoundCard, FoundMap, scan};
pub use interrupt::Interrupt;
pub use name::{PciAddress, PciName, Source, UioName};

use crate::error::SourceError;
use crate::map;
use crate::mapping::{Mapping, Protection, page_size};

/// The bytes of one region: which file, and where in it.
#[derive(Debug)]
pub struct Span {
    /// The file to map.
    pub path: PathBuf,
    /// The file itself, where it is open already and has no path worth opening.
    pub file: Option<File>,
    /// Flags of open(2) beside the access mode.
    pub flags: i32,
    /// Where mapping begins.
    pub offset: u64,
    /// How far behind `offset` the region begins.
    pub skip: u64,
    /// The physical address of the region's first byte, where known.
    pub physical: Option<u64>,
    /// The file has whole pages, whatever its length says: one of sysfs is as long as its BAR, and maps as the pages
    /// that the BAR lies in.
    pub whole_pages: bool,
}

/// What opening or mapping a span was doing when it failed.
pub(crate) enum Step {
    Open,
    Map,
}

/// A region of a source, mapped.
#[derive(Debug)]
pub struct Mapped {
    /// The region's bytes.
    pub mapping: Mapping,
    /// The physical address of the first, where known.
    pub physical: Option<u64>,
    /// What was mapped, and where in it: for a lock that other processes heed.
    pub file: File,
    /// From the start of the file, or what stands for it.
    pub place: u64,
}

/// Opens and maps one region of an attached source, with the protection the map gives it.
///
/// # Errors
/// What stood in the way, and what to do about it.
pub fn map_region(attached: &Attached, region: &map::Region) -> Result<Mapped, SourceError> {
    let protection = match region.access.writable() {
        true => Protection::ReadWrite,
        false => Protection::ReadOnly,
    };
    let mut span = attached.span(region)?;
    let file = match span.file.take() {
        Some(file) => file,
        None => open(&span.path, protection == Protection::ReadWrite, span.flags)
            .map_err(|error| attached.explain(Step::Open, &span, region, &error))?,
    };
    check_length(attached, &file, &span, region)?;
    check_alignment(attached, &span, region)?;
    let mapping = Mapping::new(&file, span.offset, span.skip, region.size, protection)
        .map_err(|error| attached.explain(Step::Map, &span, region, &error))?;
    let place = span.offset.saturating_add(span.skip);
    Ok(Mapped { mapping, physical: span.physical, file, place })
}

/// Opens for reading, and for writing if asked. The standard library adds O_CLOEXEC.
pub(crate) fn open(path: &Path, write: bool, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).write(write).custom_flags(flags).open(path)
}

/// A regular file shorter than the region would fault at the first access: say so now. Devices have no length.
fn check_length(
    attached: &Attached,
    file: &File,
    span: &Span,
    region: &map::Region,
) -> Result<(), SourceError> {
    let metadata = file.metadata().map_err(|error| attached.explain(Step::Open, span, region, &error))?;
    if metadata.is_dir() {
        return Err(SourceError::new(attached, "is a directory, not a file"));
    }
    let end = span.offset.saturating_add(span.skip).saturating_add(region.size);
    let length = match span.whole_pages {
        true => metadata.len().next_multiple_of(page_size() as u64),
        false => metadata.len(),
    };
    if metadata.is_file() && length < end {
        return Err(SourceError::new(
            attached,
            format!(
                "region {} ends at byte {end:#x}, but {} has only {:#x} bytes",
                region.name,
                span.path.display(),
                metadata.len()
            ),
        )
        .remedy("is this the right map for it?"));
    }
    Ok(())
}

/// Offsets are multiples of the width, so the region has to begin at one as well.
fn check_alignment(attached: &Attached, span: &Span, region: &map::Region) -> Result<(), SourceError> {
    let bytes = region.width.bytes() as u64;
    let start = span.physical.unwrap_or(span.offset.wrapping_add(span.skip));
    if start % bytes == 0 {
        return Ok(());
    }
    Err(SourceError::new(
        attached,
        format!("region {} would begin at {start:#x}, which is not a multiple of {bytes}", region.name),
    )
    .remedy(format!("{}-bit accesses are aligned: is the address right?", region.width.bits())))
}
