//! The interrupt line of a mock, which behaves as `uio_pdrv_genirq` does: each event masks the interrupt until it is
//! enabled again, and a level that is still there then comes at once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

/// The line, and the pipe that tells of its events.
#[derive(Debug)]
pub(super) struct Line {
    /// The ends for reading and for writing, once somebody has asked: a read gives the count of events as 4 bytes, as a
    /// UIO device's does.
    pipe: Option<(File, File)>,
    count: u32,
    enabled: bool,
    level: bool,
    /// An event came while the interrupt was disabled.
    pending: bool,
}

impl Line {
    pub fn new() -> Line {
        Line { pipe: None, count: 0, enabled: true, level: false, pending: false }
    }

    /// What becomes readable when an event has come.
    pub fn file(&mut self) -> io::Result<File> {
        if let Some((read, _)) = &self.pipe {
            return read.try_clone();
        }
        let (read, write): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let read = File::from(read);
        let copy = read.try_clone()?;
        self.pipe = Some((read, write.into()));
        if self.count != 0 {
            self.tell();
        }
        Ok(copy)
    }

    /// How many events there were.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The device drives the line.
    pub fn drive(&mut self, level: bool) {
        self.level = level;
        if level && self.enabled {
            self.fire();
        }
    }

    /// The device asks for one interrupt.
    pub fn pulse(&mut self) {
        match self.enabled {
            true => self.fire(),
            false => self.pending = true,
        }
    }

    /// Software enables the interrupt, or disables it.
    pub fn enable(&mut self, on: bool) {
        self.enabled = on;
        if on && (self.pending || self.level) {
            self.fire();
        }
    }

    fn fire(&mut self) {
        self.enabled = false;
        self.pending = false;
        self.count = self.count.wrapping_add(1);
        self.tell();
    }

    /// The count takes the place of one that nobody has read. The pipe never blocks and has room for one.
    fn tell(&mut self) {
        if let Some((read, write)) = &mut self.pipe {
            let _ = read.read(&mut [0; 64]);
            let _ = write.write_all(&self.count.to_ne_bytes());
        }
    }
}
