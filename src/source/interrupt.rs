//! The interrupt of a UIO device: a file that counts events. That of a mock is one as well.
//!
//! `read` blocks until the count has changed and returns it, as 4 bytes; writing 1 or 0 as 4 bytes enables or disables
//! the interrupt where the driver can (Documentation/driver-api/uio-howto.rst). uio_pci_generic cannot: it masks
//! INTx in the command register of the function's configuration space, and clearing that bit is up to us.
//!
//! A stand-in's device is a plain file, which cannot tell of events: the socket beside it does, in the same words.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{CLOSED, Error, SourceError};
use crate::mock::{self, Mock};

/// The command register of PCI configuration space, and its bit that masks INTx (PCI Local Bus 3.0, 6.2.2).
const PCI_COMMAND: u64 = 4;
const PCI_INTX_DISABLE: u16 = 0x400;

/// How long a wait sleeps before it asks whether to go on.
const SLICE: Duration = Duration::from_millis(50);

/// The interrupt of an open UIO device.
#[derive(Debug)]
pub struct Interrupt {
    name: String,
    /// Opened with the device; that of a mock when it is first asked for.
    file: OnceLock<File>,
    /// The file is a stand-in's socket.
    socket: bool,
    driver: Driver,
    seen: Mutex<Seen>,
    closed: AtomicBool,
}

/// What enables the interrupt.
#[derive(Debug)]
enum Driver {
    /// The kernel's, by writes to the device's file.
    Uio {
        sysfs: PathBuf,
        /// The configuration space, where the device is a PCI function.
        config: PathBuf,
    },
    Mock(Arc<Mock>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The kernel's count at the last event; None before the first.
    count: Option<u32>,
    missed: u64,
}

impl Interrupt {
    /// None where the device is a plain file without a socket.
    pub(super) fn open(
        name: &str,
        node: &Path,
        sysfs: &Path,
        config: PathBuf,
    ) -> io::Result<Option<Interrupt>> {
        let socket = std::fs::metadata(node)?.is_file();
        let file = match socket {
            true => match socket_beside(node) {
                Ok(file) => file,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
            false => Interrupt::open_node(node)?,
        };
        let driver = Driver::Uio { sysfs: sysfs.into(), config };
        let seen = Mutex::new(Seen { count: started(sysfs), missed: 0 });
        Ok(Some(Interrupt {
            name: name.into(),
            file: file.into(),
            socket,
            driver,
            seen,
            closed: AtomicBool::new(false),
        }))
    }

    fn open_node(node: &Path) -> io::Result<File> {
        let open =
            |write| OpenOptions::new().read(true).write(write).custom_flags(libc::O_NONBLOCK).open(node);
        // Enabling needs write access; counting does not.
        open(true).or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => open(false),
            _ => Err(error),
        })
    }

    /// That of a mock.
    pub(super) fn of_mock(name: &str, mock: Arc<Mock>) -> Interrupt {
        Interrupt {
            name: name.into(),
            file: OnceLock::new(),
            socket: false,
            driver: Driver::Mock(mock),
            seen: Mutex::new(Seen { count: Some(0), missed: 0 }),
            closed: AtomicBool::new(false),
        }
    }

    fn file(&self) -> Result<&File, Error> {
        if let Driver::Mock(mock) = &self.driver {
            if self.file.get().is_none() {
                let file = mock.interrupt_file();
                let file = file.map_err(|error| self.failed("cannot make the interrupt", &error, None))?;
                let _ = self.file.set(file);
            }
        }
        self.file.get().ok_or_else(|| self.failed("is not open", &io::ErrorKind::NotFound.into(), None))
    }

    /// Waits for an event. Returns how many came since the last one waited for: 1 where none was missed.
    ///
    /// With `rearm` the interrupt is enabled first. `go_on` is asked about every 50 ms and may end the wait.
    ///
    /// # Errors
    /// [`Error::Timeout`] without an event in time; [`Error::Source`] where there is no interrupt or the device is
    /// gone; what `go_on` returns.
    pub fn wait(
        &self,
        timeout: Option<Duration>,
        rearm: bool,
        mut go_on: impl FnMut() -> Result<(), Error>,
    ) -> Result<u32, Error> {
        self.check_open()?;
        let deadline = timeout.and_then(|timeout| self.now().checked_add(timeout));
        if rearm {
            // What has come already is not served yet: enabled again, it would count once more.
            if let Some(new) = self.take()? {
                return Ok(new);
            }
            self.rearm()?;
        }
        loop {
            if let Some(new) = self.take()? {
                return Ok(new);
            }
            let left = deadline.map(|deadline| deadline.saturating_sub(self.now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::Timeout {
                    at: format!("{} interrupt", self.name),
                    after: timeout.unwrap_or_default(),
                    last: match self.count() {
                        0 => "none has come yet: is it unmasked in the device, and enabled?".into(),
                        count => format!("the count stands at {count}"),
                    },
                });
            }
            go_on()?;
            self.check_open()?;
            self.sleep(left)?;
        }
    }

    /// The time that waits go by.
    fn now(&self) -> Duration {
        mock::now(match &self.driver {
            Driver::Uio { .. } => None,
            Driver::Mock(mock) => Some(mock),
        })
    }

    /// How long until a mock does something by time alone; None where that is not known.
    pub fn next_due(&self) -> Option<Duration> {
        match &self.driver {
            Driver::Uio { .. } => None,
            Driver::Mock(mock) => mock.catch_up(),
        }
    }

    /// Events the kernel had counted at the last wait; 32 bits, so it wraps.
    pub fn count(&self) -> u32 {
        self.seen().count.unwrap_or(0)
    }

    /// Events beyond the one each wait returned for, since the device was opened.
    pub fn missed(&self) -> u64 {
        self.seen().missed
    }

    /// Refuses whatever is asked from now on, and ends the waits. The file stays until nobody can wait on it.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// The device was closed.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match self.closed.load(Ordering::Relaxed) {
            true => Err(Error::Refused { at: format!("{} interrupt", self.name), reason: CLOSED.into() }),
            false => Ok(()),
        }
    }

    /// The file that becomes readable when an event has come.
    ///
    /// # Errors
    /// That of a mock cannot be made.
    pub fn as_raw_fd(&self) -> Result<RawFd, Error> {
        Ok(self.file()?.as_raw_fd())
    }

    /// Enables the interrupt, or disables it.
    ///
    /// # Errors
    /// The driver cannot do that, and the device is no PCI function; or it was opened without write access.
    pub fn enable(&self, on: bool) -> Result<(), Error> {
        self.check_open()?;
        match self.control(on) {
            Ok(()) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                if let Some(config) = self.config() {
                    return self.mask_intx(config, !on);
                }
                Err(self.failed("its driver cannot enable or disable the interrupt", &error, None))
            }
            Err(error) => Err(self.control_failed(&error)),
        }
    }

    /// Enables the interrupt for the next wait. A driver that does not mask it needs no enabling.
    fn rearm(&self) -> Result<(), Error> {
        match self.control(true) {
            Ok(()) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => match self.config() {
                Some(config) => self.mask_intx(config, false),
                None => Ok(()),
            },
            // Without an interrupt the read that follows says so; and one who may only read may still count.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::EBADF)) => Ok(()),
            Err(error) => Err(self.control_failed(&error)),
        }
    }

    fn control(&self, on: bool) -> io::Result<()> {
        match &self.driver {
            Driver::Uio { .. } => match self.file.get() {
                Some(mut file) => file.write_all(&u32::from(on).to_ne_bytes()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            Driver::Mock(mock) => {
                mock.enable_interrupt(on);
                Ok(())
            }
        }
    }

    /// The configuration space, where the device is a PCI function.
    fn config(&self) -> Option<&Path> {
        match &self.driver {
            Driver::Uio { config, .. } if config.exists() => Some(config),
            _ => None,
        }
    }

    fn mask_intx(&self, config: &Path, masked: bool) -> Result<(), Error> {
        let done = || {
            let file = OpenOptions::new().read(true).write(true).open(config)?;
            let mut command = [0; 2];
            file.read_exact_at(&mut command, PCI_COMMAND)?;
            let before = u16::from_le_bytes(command);
            let after = if masked { before | PCI_INTX_DISABLE } else { before & !PCI_INTX_DISABLE };
            if after != before {
                file.write_all_at(&after.to_le_bytes(), PCI_COMMAND)?;
            }
            Ok(())
        };
        done().map_err(|error: io::Error| {
            let problem = format!("cannot reach the INTx mask in {}: {error}", config.display());
            self.failed(&problem, &error, Some("writing PCI configuration space needs root"))
        })
    }

    /// The events since the last call, if there are any.
    fn take(&self) -> Result<Option<u32>, Error> {
        if let Driver::Mock(mock) = &self.driver {
            mock.catch_up();
        }
        let mut bytes = [0; 4];
        let mut file = self.file()?;
        // One at a time: the counts must be taken in the order they are read.
        let mut seen = self.seen();
        match file.read(&mut bytes) {
            Ok(4) => {
                let count = u32::from_ne_bytes(bytes);
                // A socket tells once more of what came while it was opened.
                if self.socket && seen.count == Some(count) {
                    return Ok(None);
                }
                let new = seen.count.map_or(1, |before| count.wrapping_sub(before)).max(1);
                seen.count = Some(count);
                seen.missed += u64::from(new - 1);
                Ok(Some(new))
            }
            Ok(_) => Err(self.gone(&io::ErrorKind::UnexpectedEof.into())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(self.gone(&error)),
        }
    }

    /// Sleeps until the next event, or for a while: no longer than what is left.
    fn sleep(&self, left: Option<Duration>) -> Result<(), Error> {
        let mut time = left.map_or(SLICE, |left| left.min(SLICE));
        if let Driver::Mock(mock) = &self.driver {
            let due = mock.catch_up();
            if let Some(left) = left.or(due).filter(|_| mock.is_virtual()) {
                mock.sleep(left);
                return Ok(());
            }
            time = due.map_or(time, |due| time.min(due));
        }
        let mut files = [PollFd::new(self.file()?.as_fd(), PollFlags::POLLIN)];
        // Rounded up, or the last millisecond would be spent spinning.
        let milliseconds = u16::try_from(time.as_millis() + 1).unwrap_or(u16::MAX);
        match poll(&mut files, PollTimeout::from(milliseconds)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(self.failed(&format!("poll failed: {errno}"), &errno.into(), None)),
        }
    }

    /// Why reading the count failed: the kernel says EIO both for no interrupt and for no device.
    fn gone(&self, error: &io::Error) -> Error {
        // The kernel wakes readers before the files go, but the files cannot be read by then.
        let there = match &self.driver {
            Driver::Uio { sysfs, .. } => std::fs::read(sysfs.join("name")).is_ok(),
            Driver::Mock(_) => true,
        };
        if !there {
            return self.failed(
                "the UIO device is gone",
                error,
                Some("was its driver unbound, or the card removed?"),
            );
        }
        match error.raw_os_error() {
            Some(libc::EIO) => self.failed(
                "the UIO device has no interrupt",
                error,
                Some("give its device-tree node `interrupts` and `interrupt-parent`, or poll with register.wait()"),
            ),
            _ => self.failed(&format!("reading the interrupt count failed: {error}"), error, None),
        }
    }

    fn control_failed(&self, error: &io::Error) -> Error {
        match error.raw_os_error() {
            Some(libc::EBADF) => self.failed(
                "opened without write access, which enabling the interrupt needs",
                error,
                Some("give your group write access by a udev rule"),
            ),
            _ => self.gone(error),
        }
    }

    fn failed(&self, problem: &str, error: &io::Error, remedy: Option<&str>) -> Error {
        let failed = SourceError::new(&self.name, problem).errno(error);
        Error::Source(match remedy {
            Some(remedy) => failed.remedy(remedy),
            None => failed,
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket `uio0.irq` beside the file `uio0`: counts come from it, and enabling goes into it.
fn socket_beside(node: &Path) -> io::Result<File> {
    let (Some(folder), Some(name)) = (node.parent(), node.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    // The path of a socket has 107 bytes at most; that of its folder is as long as it likes.
    let folder = File::open(folder)?;
    let path = format!("/proc/self/fd/{}/{}.irq", folder.as_raw_fd(), Path::new(name).display());
    let socket = UnixStream::connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(OwnedFd::from(socket).into())
}

/// The kernel's count when the device was opened: `event` in sysfs. Only later events are waited for.
fn started(sysfs: &Path) -> Option<u32> {
    super::sysfs::text(&sysfs.join("event"))?.parse().ok()
}
