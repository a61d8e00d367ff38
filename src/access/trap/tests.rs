//! Trapped memory as its users meet it: what they read and store, and what the watch is told.

use std::arch::asm;
use std::ffi::{c_int, c_void};
use std::io::ErrorKind;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;

use nix::libc;

use super::super::{Fault, load, store};
use super::{Trap, Watch};
use crate::map::Width;

mod instructions;
mod processes;
mod strings;

/// Traps are of x86_64, whose pages have one size.
const PAGE: usize = 4096;

/// A file in memory, mapped twice: here it is trapped, there it can be looked at.
struct Memory {
    file: c_int,
    size: usize,
    here: *mut u8,
    there: *mut u8,
}

// SAFETY: mapped memory; the tests share it on purpose.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

fn map(file: c_int, size: usize, protection: c_int) -> *mut u8 {
    // SAFETY: a new mapping, where the kernel likes.
    let start = unsafe { libc::mmap(ptr::null_mut(), size, protection, libc::MAP_SHARED, file, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    start.cast()
}

impl Memory {
    fn new(pages: usize, protection: c_int) -> Memory {
        // SAFETY: makes a file.
        let file = unsafe { libc::memfd_create(c"trapped".as_ptr(), 0) };
        let size = pages * PAGE;
        // SAFETY: the file was just made.
        assert_eq!(unsafe { libc::ftruncate(file, size as i64) }, 0);
        let here = map(file, size, protection);
        Memory { file, size, here, there: map(file, size, libc::PROT_READ | libc::PROT_WRITE) }
    }

    fn writable(pages: usize) -> Memory {
        Memory::new(pages, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn trap(&self, watch: &Arc<impl Watch + 'static>) -> Trap {
        // SAFETY: the mapping is shared, writable, and outlives the traps of a test.
        unsafe { Trap::new(self.here, self.size, true, watch.clone()) }.unwrap()
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        self.here.wrapping_add(offset).cast()
    }

    fn behind<T>(&self, offset: usize) -> *mut T {
        self.there.wrapping_add(offset).cast()
    }

    /// Fills it with bytes that tell where they are.
    fn fill(&self) {
        for offset in 0..self.size {
            // SAFETY: inside the mapping.
            unsafe { self.behind::<u8>(offset).write((offset % 251) as u8) };
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more.
        unsafe {
            libc::munmap(self.here.cast(), self.size);
            libc::munmap(self.there.cast(), self.size);
            libc::close(self.file);
        }
    }
}

/// Notes what it is told, in order. It has room for a page of single bytes, read and written.
struct Log {
    next: AtomicUsize,
    told: Box<[AtomicU64]>,
}

const ROOM: usize = 4 * PAGE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Load and store, begin and end, with the offset.
    LoadAt(usize),
    Loaded(usize),
    StoreAt(usize),
    Stored(usize),
}
use Told::{LoadAt, Loaded, StoreAt, Stored};

impl Log {
    fn new() -> Arc<Log> {
        let told = (0..ROOM).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Log { next: AtomicUsize::new(0), told })
    }

    fn note(&self, offset: usize, write: bool, done: bool) {
        let place = self.next.fetch_add(1, Relaxed);
        let note = (offset as u64) << 2 | u64::from(write) << 1 | u64::from(done);
        // Not a panic, which must not leave a signal handler: `take` has it.
        if let Some(free) = self.told.get(place) {
            free.store(note, Relaxed);
        }
    }

    /// All since the last call.
    fn take(&self) -> Vec<Told> {
        let count = self.next.swap(0, Relaxed);
        assert!(count <= ROOM, "{count} notes, and room for {ROOM}");
        let notes = self.told[..count].iter().map(|note| note.load(Relaxed));
        let told = |note: u64| match (note & 3, (note >> 2) as usize) {
            (0, offset) => LoadAt(offset),
            (1, offset) => Loaded(offset),
            (2, offset) => StoreAt(offset),
            (_, offset) => Stored(offset),
        };
        notes.map(told).collect()
    }
}

impl Watch for Log {
    fn before(&self, offset: usize, write: bool) {
        self.note(offset, write, false);
    }

    fn after(&self, offset: usize, write: bool) {
        self.note(offset, write, true);
    }
}

#[test]
fn each_width_is_told_once_and_moves_its_bytes() {
    let memory = Memory::writable(2);
    memory.fill();
    let log = Log::new();
    let _trap = memory.trap(&log);
    macro_rules! check {
        ($($word:ty, $offset:expr, $value:expr;)*) => {$(
            // SAFETY: inside the mappings, aligned.
            unsafe {
                let before = memory.behind::<$word>($offset).read_volatile();
                assert_eq!(memory.at::<$word>($offset).read_volatile(), before);
                assert_eq!(log.take(), [LoadAt($offset), Loaded($offset)]);
                memory.at::<$word>($offset).write_volatile($value);
                assert_eq!(log.take(), [StoreAt($offset), Stored($offset)]);
                assert_eq!(memory.behind::<$word>($offset).read_volatile(), $value);
            }
        )*};
    }
    check! {
        u8, 3, 0xa5;
        u16, 0x12, 0xa55a;
        u32, 0x104, 0x1234_5678;
        u64, PAGE + 8, 0x0123_4567_89ab_cdef;
    }
}

#[test]
fn the_guards_own_accesses_work_and_are_told() {
    let memory = Memory::writable(1);
    let log = Log::new();
    let trap = memory.trap(&log);
    for width in [Width::W8, Width::W16, Width::W32, Width::W64] {
        let value = 0x8182_8384_8586_8788 & width.mask();
        // SAFETY: inside the mapping, aligned.
        unsafe {
            store(memory.at(0x40), width, value).unwrap();
            assert_eq!(load(memory.at(0x40), width), Ok(value));
        }
        assert_eq!(log.take(), [StoreAt(0x40), Stored(0x40), LoadAt(0x40), Loaded(0x40)]);
    }
    // One whose memory is gone is the fault it would be without a trap, and the trap goes on.
    // SAFETY: truncates the file and back; inside the mapping, aligned.
    unsafe {
        assert_eq!(libc::ftruncate(memory.file, 0), 0);
        let gone = Fault { signal: libc::SIGBUS, code: libc::BUS_ADRERR };
        assert_eq!(load(memory.at(8), Width::W32), Err(gone));
        assert_eq!(store(memory.at(8), Width::W32, 1), Err(gone));
        assert_eq!(log.take(), [LoadAt(8), Loaded(8), StoreAt(8), Stored(8)]);
        assert_eq!(libc::ftruncate(memory.file, PAGE as i64), 0);
        assert_eq!(load(memory.at(8), Width::W32), Ok(0));
        assert_eq!(log.take(), [LoadAt(8), Loaded(8)]);
        // Without the trap the pages are as they were.
        drop(trap);
        store(memory.at(8), Width::W32, 7).unwrap();
        assert_eq!(load(memory.at(8), Width::W32), Ok(7));
        assert_eq!(log.take(), []);
    }
}

/// A register that counts its reads, and one whose bits are cleared by writing 1.
struct Behaves {
    memory: Memory,
    before: AtomicU64,
}

impl Watch for Behaves {
    fn before(&self, offset: usize, write: bool) {
        // SAFETY: inside the second mapping.
        unsafe {
            match (offset, write) {
                (0, false) => *self.memory.behind::<u32>(0) += 1,
                (4, true) => self.before.store(u64::from(*self.memory.behind::<u32>(4)), Relaxed),
                _ => {}
            }
        }
    }

    fn after(&self, offset: usize, write: bool) {
        if (offset, write) == (4, true) {
            // SAFETY: as above.
            unsafe {
                *self.memory.behind::<u32>(4) =
                    self.before.load(Relaxed) as u32 & !*self.memory.behind::<u32>(4)
            };
        }
    }
}

#[test]
fn a_watch_changes_what_is_read_and_what_was_stored() {
    let device = Arc::new(Behaves { memory: Memory::writable(1), before: AtomicU64::new(0) });
    let _trap = device.memory.trap(&device);
    // SAFETY: inside the mappings, aligned.
    unsafe {
        for count in 1..=5 {
            assert_eq!(device.memory.at::<u32>(0).read_volatile(), count);
        }
        device.memory.behind::<u32>(4).write(0xff);
        device.memory.at::<u32>(4).write_volatile(0x0f);
        assert_eq!(device.memory.at::<u32>(4).read_volatile(), 0xf0);
        device.memory.at::<u32>(4).write_volatile(0x30);
        assert_eq!(device.memory.at::<u32>(4).read_volatile(), 0xc0);
    }
}

/// Counts accesses, and those that began before the last was done.
#[derive(Default)]
struct Count {
    within: AtomicBool,
    mixed: AtomicUsize,
    loads: AtomicUsize,
    stores: AtomicUsize,
}

impl Watch for Count {
    fn before(&self, _: usize, _: bool) {
        self.mixed.fetch_add(self.within.swap(true, Relaxed).into(), Relaxed);
    }

    fn after(&self, _: usize, write: bool) {
        self.within.store(false, Relaxed);
        // Not one addition: the lock is what keeps two threads from losing one.
        let count = if write { &self.stores } else { &self.loads };
        count.store(count.load(Relaxed) + 1, Relaxed);
    }
}

#[test]
fn threads_at_one_page_miss_nothing() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 10_000;
    let memory = Memory::writable(1);
    let count = Arc::new(Count::default());
    let _trap = memory.trap(&count);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let memory = &memory;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // SAFETY: inside the mapping, aligned.
                    unsafe {
                        memory.at::<u32>(thread * 4).write_volatile(round as u32);
                        assert_eq!(memory.at::<u32>(thread * 4).read_volatile(), round as u32);
                    }
                }
            });
        }
    });
    let all = THREADS * ROUNDS;
    let seen = (count.loads.load(Relaxed), count.stores.load(Relaxed), count.mixed.load(Relaxed));
    assert_eq!(seen, (all, all, 0));
}

#[test]
fn traps_come_and_go_while_others_are_at_the_memory() {
    let memory = Memory::writable(2);
    memory.fill();
    let stop = AtomicBool::new(false);
    let log = Arc::new(Count::default());
    thread::scope(|scope| {
        for thread in 0..2 {
            let (memory, stop) = (&memory, &stop);
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    for offset in (thread * 0x100..2 * PAGE).step_by(0x200) {
                        // SAFETY: inside the mapping.
                        let byte = unsafe { memory.at::<u8>(offset).read_volatile() };
                        assert_eq!(byte, (offset % 251) as u8);
                    }
                }
            });
        }
        for _ in 0..300 {
            let trap = memory.trap(&log);
            thread::yield_now();
            drop(trap);
        }
        stop.store(true, Relaxed);
    });
    assert!(log.loads.load(Relaxed) > 0);
}

#[test]
fn many_spans_each_know_their_own() {
    let spans: Vec<_> = (0..200).map(|_| (Memory::writable(1), Log::new())).collect();
    let mut traps: Vec<_> = spans.iter().map(|(memory, log)| memory.trap(log)).collect();
    for round in 0..2 {
        for (index, (memory, log)) in spans.iter().enumerate() {
            // SAFETY: inside the mapping, aligned.
            unsafe { memory.at::<u32>(index * 4).write_volatile(index as u32) };
            let told = log.take();
            let gone = round == 1 && index % 2 == 0;
            assert_eq!(told, if gone { vec![] } else { vec![StoreAt(index * 4), Stored(index * 4)] });
            // SAFETY: as above.
            assert_eq!(unsafe { memory.behind::<u32>(index * 4).read() }, index as u32);
        }
        let mut index = 0;
        traps.retain(|_| {
            index += 1;
            index % 2 == 0
        });
    }
}

#[test]
fn a_span_inside_a_page_is_told_from_its_start_and_nothing_else_is() {
    let memory = Memory::writable(3);
    let log = Log::new();
    // SAFETY: part of a shared, writable mapping that outlives the trap.
    let _trap = unsafe { Trap::new(memory.at(PAGE + 0x100), 0x20, true, log.clone()) }.unwrap();
    // SAFETY: inside the mapping, aligned.
    unsafe {
        for offset in [0, PAGE, PAGE + 0xfc, PAGE + 0x120, 2 * PAGE] {
            memory.at::<u32>(offset).write_volatile(offset as u32);
            assert_eq!(memory.at::<u32>(offset).read_volatile(), offset as u32);
        }
        assert_eq!(log.take(), []);
        memory.at::<u32>(PAGE + 0x11c).read_volatile();
    }
    assert_eq!(log.take(), [LoadAt(0x1c), Loaded(0x1c)]);
}

#[test]
fn what_cannot_be_trapped_is_refused() {
    let memory = Memory::writable(3);
    let log = Log::new();
    let refused = |start: *mut u8, size: usize| {
        // SAFETY: part of a shared, writable mapping, or of none: then nothing is done.
        unsafe { Trap::new(start, size, true, log.clone()) }.err().map(|error| error.kind())
    };
    let trap = refused(memory.at(0), 0);
    assert_eq!(trap, Some(ErrorKind::InvalidInput));
    // SAFETY: part of a shared, writable mapping that outlives the trap.
    let first = unsafe { Trap::new(memory.at(PAGE), 8, true, log.clone()) }.unwrap();
    assert_eq!(refused(memory.at(PAGE + 64), 8), Some(ErrorKind::AddrInUse));
    assert_eq!(refused(memory.at(0), 3 * PAGE), Some(ErrorKind::AddrInUse));
    assert_eq!(refused(memory.at(0), PAGE), None);
    drop(first);
    assert_eq!(refused(memory.at(PAGE + 64), 8), None);
    // Private memory cannot be mapped a second time.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, used for nothing else and given back.
    unsafe {
        let private = libc::mmap(ptr::null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        assert_eq!(refused(private.cast(), PAGE), Some(ErrorKind::InvalidInput));
        private.cast::<u32>().write_volatile(1);
        libc::munmap(private, PAGE);
    }
}

#[test]
fn the_kernel_answers_efault() {
    let memory = Memory::writable(1);
    let log = Log::new();
    let _trap = memory.trap(&log);
    // SAFETY: the kernel checks the address.
    let read = unsafe { libc::pread(memory.file, memory.at::<c_void>(0), 4, 0) };
    let error = std::io::Error::last_os_error();
    assert_eq!((read, error.raw_os_error()), (-1, Some(libc::EFAULT)));
    assert_eq!(log.take(), []);
}
