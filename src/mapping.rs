//! One mmap with one protection, and checked windows of it.
#![allow(unsafe_code)] // mmap, and the address arithmetic of a window.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};
use nix::unistd::{SysconfVar, sysconf};

/// What a mapping allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// `PROT_READ`.
    ReadOnly,
    /// `PROT_READ | PROT_WRITE`.
    ReadWrite,
}

/// A window of a file or device, mapped shared.
#[derive(Debug)]
pub struct Mapping {
    raw: MmapRaw,
    skip: usize,
    size: usize,
    sealed: AtomicBool,
}

impl Mapping {
    /// Maps `size` bytes that begin `skip` bytes after `offset` of the file.
    ///
    /// `offset` says which page to begin at and `skip` how far behind it: a UIO device takes the number of a map in
    /// place of an offset, so that what is skipped must be mapped as well. Neither needs to be a multiple of a page.
    ///
    /// # Errors
    /// What mmap says; `InvalidInput` where the window does not fit the address space.
    pub fn new(
        file: &File,
        offset: u64,
        skip: u64,
        size: u64,
        protection: Protection,
    ) -> io::Result<Mapping> {
        let too_large =
            || io::Error::new(io::ErrorKind::InvalidInput, "the window does not fit the address space");
        let skip = usize::try_from(skip).map_err(|_| too_large())?;
        let size = usize::try_from(size).map_err(|_| too_large())?;
        let length = skip.checked_add(size).filter(|&n| n <= isize::MAX as usize).ok_or_else(too_large)?;
        // mmap's offset is signed; on a 32-bit machine memmap2 uses mmap64, so all of it is reachable.
        if offset.checked_add(length as u64).is_none_or(|end| end > i64::MAX as u64) {
            return Err(too_large());
        }
        let mut options = MmapOptions::new();
        options.offset(offset).len(length);
        let raw = match protection {
            Protection::ReadOnly => options.map_raw_read_only(file)?,
            Protection::ReadWrite => options.map_raw(file)?,
        };
        Ok(Mapping { raw, skip, size, sealed: AtomicBool::new(false) })
    }

    /// The first byte of the window.
    pub fn start(&self) -> *mut u8 {
        self.raw.as_mut_ptr().wrapping_add(self.skip)
    }

    /// The window's size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Makes all its pages 0, and gives their memory back. For shared memory and files, mapped for writing.
    ///
    /// # Errors
    /// What madvise says.
    pub(crate) fn zero(&self) -> io::Result<()> {
        let page = page_size();
        let address = self.raw.as_mut_ptr() as usize;
        let first = address - address % page;
        let length = (address + self.raw.len()).next_multiple_of(page) - first;
        let Some(start) = NonNull::new(first as *mut _) else { return Ok(()) };
        // SAFETY: the pages are this object's own mapping, whose bytes nobody has a reference to.
        unsafe { madvise(start, length, MmapAdvise::MADV_REMOVE)? };
        Ok(())
    }

    /// Gives the device back but keeps the address range reserved, without any access, until the last owner of this
    /// object is gone: a thread that is inside an access meets a fault, never somebody else's memory.
    ///
    /// # Errors
    /// What mmap says; the mapping is then as it was.
    pub fn seal(&self) -> io::Result<()> {
        if self.sealed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let page = page_size();
        let address = self.raw.as_mut_ptr() as usize;
        let first = address - address % page;
        let length = (address + self.raw.len()).next_multiple_of(page) - first;
        let (Some(at), Some(length)) = (NonZeroUsize::new(first), NonZeroUsize::new(length)) else {
            return Ok(());
        };
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED | MapFlags::MAP_NORESERVE;
        // SAFETY: the range is exactly the pages this object's own mapping covers, so nothing else is replaced.
        let done: nix::Result<NonNull<_>> =
            unsafe { mmap_anonymous(Some(at), length, ProtFlags::PROT_NONE, flags) };
        if let Err(errno) = done {
            self.sealed.store(false, Ordering::Release);
            return Err(errno.into());
        }
        Ok(())
    }
}

/// The size of a page in bytes, as the kernel says: 4, 16 or 64 KiB.
pub fn page_size() -> usize {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    usize::try_from(size.unwrap_or(4096)).unwrap_or(4096)
}
