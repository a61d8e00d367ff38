//! Every error of devregs, in one enum. The bindings turn each kind into one Python exception.

use std::fmt;
use std::io;
use std::time::Duration;

use nix::libc;

use crate::access::Fault;
use crate::map::{MapErrors, PathError, Width, clean};
use crate::mock::HookError;

/// What went wrong.
#[derive(Debug)]
pub enum Error {
    /// A map is wrong: every mistake in it.
    Map(MapErrors),
    /// A path does not name a part of the device.
    Path(PathError),
    /// A value, offset or option does not fit what it was given to.
    Value {
        /// The device and the path in it.
        at: String,
        /// What does not fit, and what would.
        problem: String,
    },
    /// The map, or the state of the device, forbids the access.
    Refused {
        /// The device and the path in it.
        at: String,
        /// Why, and what to do instead.
        reason: String,
    },
    /// The bus answered an access with a fault.
    Bus(BusFault),
    /// A source cannot be opened, or went away.
    Source(SourceError),
    /// A wait ran out of time.
    Timeout {
        /// What was waited for.
        at: String,
        /// How long.
        after: Duration,
        /// What was seen last.
        last: String,
    },
    /// Whoever waited was called away, for instance by Ctrl-C.
    Interrupted,
    /// An access is not the one that was expected, or one that was did not come.
    Unexpected(String),
    /// Code of a test that ran in the middle of an access failed.
    Hook(HookError),
    /// Views of the device are alive, so it cannot be unmapped.
    Exported {
        /// The device.
        at: String,
        /// How many views.
        views: usize,
    },
}

/// Why anything of a closed device is refused.
pub(crate) const CLOSED: &str = "the device is closed; open it again with devregs.open()";

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Where and how an access failed on the bus.
#[derive(Clone, Debug)]
pub struct BusFault {
    /// The device and the path in it.
    pub at: String,
    /// In bytes from the start of the region.
    pub offset: u64,
    /// The physical address, where known.
    pub physical: Option<u64>,
    /// The width of the access.
    pub width: Width,
    /// A store, not a load.
    pub write: bool,
    /// What the processor said; None where the access gave all ones, because nothing answered.
    pub fault: Option<Fault>,
    /// Why the device does not answer, where the system tells.
    pub absence: Option<Box<Absent>>,
}

/// Why a device does not answer.
#[derive(Clone, Debug)]
pub struct Absent {
    /// In one word: see [`crate::source::Absence::word`].
    pub word: &'static str,
    /// As a sentence.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// Why a source cannot be opened, and what would make it.
#[derive(Debug)]
pub struct SourceError {
    /// The source, as the user named it.
    pub name: String,
    /// What happened.
    pub problem: String,
    /// What to do.
    pub remedy: Option<String>,
    /// What the system said.
    pub errno: Option<i32>,
}

impl SourceError {
    pub(crate) fn new(name: impl fmt::Display, problem: impl Into<String>) -> SourceError {
        SourceError { name: name.to_string(), problem: problem.into(), remedy: None, errno: None }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> SourceError {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn errno(mut self, error: &io::Error) -> SourceError {
        self.errno = error.raw_os_error();
        self
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `mock:` ends in a colon already.
        // Names of files and devices are not ours: none reaches a terminal raw.
        write!(f, "{}: {}", clean(self.name.trim_end_matches(':')), clean(&self.problem))?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {}", clean(remedy)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for BusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, bits) = (&self.at, self.width.bits());
        let access = if self.write { "write" } else { "read" };
        match self.fault {
            Some(fault) => {
                let signal = match fault.signal {
                    libc::SIGBUS => "SIGBUS",
                    libc::SIGSEGV => "SIGSEGV",
                    _ => "a fault",
                };
                write!(
                    f,
                    "{at}: the bus answered a {bits}-bit {access} with {signal} (code {})",
                    fault.code
                )?;
            }
            None => write!(f, "{at}: a {bits}-bit {access} gave all ones")?,
        }
        write!(f, " at offset {:#x}", self.offset)?;
        if let Some(address) = self.physical {
            write!(f, ", physical address {address:#x}")?;
        }
        match &self.absence {
            Some(why) => write!(f, ": {}; {}", clean(&why.problem), clean(&why.remedy)),
            None => f.write_str("; is the block there, powered, clocked and out of reset?"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Map(errors) => errors.fmt(f),
            Error::Path(error) => error.fmt(f),
            Error::Value { at, problem } => write!(f, "{at}: {problem}"),
            Error::Refused { at, reason } => write!(f, "{at}: {reason}"),
            Error::Bus(fault) => fault.fmt(f),
            Error::Source(error) => error.fmt(f),
            Error::Timeout { at, after, last } => {
                write!(f, "{at}: nothing after {} s; {last}", after.as_secs_f64())
            }
            Error::Unexpected(text) => f.write_str(text),
            Error::Hook(error) => error.fmt(f),
            Error::Interrupted => f.write_str("the wait was interrupted"),
            Error::Exported { at, views } => write!(
                f,
                "{at}: cannot close while {views} view{} of it live; release them first: view.release()",
                if *views == 1 { "" } else { "s" }
            ),
        }
    }
}

impl std::error::Error for Error {}
impl std::error::Error for SourceError {}
impl std::error::Error for BusFault {}

macro_rules! from {
    ($($kind:ident($inner:ty);)*) => {$(
        impl From<$inner> for Error {
            fn from(error: $inner) -> Error {
                Error::$kind(error)
            }
        }
    )*};
}

from! {
    Map(MapErrors);
    Path(PathError);
    Bus(BusFault);
    Source(SourceError);
}
