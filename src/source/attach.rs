//! A source that has been looked up: it knows the span of each region, and what each failure means.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Interrupt, Presence, Source, Span, Step, file, mem, pci, uio};
use crate::error::SourceError;
use crate::map;
use crate::mock::{Backing, Mock, Pace};
use crate::trace::{self, Recording};

/// A source, found. Nothing of the device is touched yet.
#[derive(Debug)]
pub struct Attached {
    source: Source,
    kind: Kind,
    presence: Option<Arc<Presence>>,
    root: PathBuf,
}

#[derive(Debug)]
enum Kind {
    Mem(mem::Mem),
    Uio(uio::Uio),
    Pci(pci::Pci),
    File(file::Plain),
    Mock(Arc<Mock>),
    /// The mock is only its memory.
    Replay(Arc<Mock>, Arc<Recording>),
}

impl Attached {
    /// Looks the source up under `root`.
    ///
    /// # Errors
    /// There is no such device; the error lists those that are there.
    pub fn new(
        source: &Source,
        map: &Arc<map::Map>,
        root: &Path,
        pace: Pace,
        backing: Option<&Backing>,
    ) -> Result<Attached, SourceError> {
        let mock = || {
            let made = match backing {
                Some(backing) => Mock::shared(map.clone(), pace, backing),
                None => Mock::new(map.clone(), pace),
            };
            made.map(Arc::new).map_err(|error| {
                SourceError::new(source, format!("cannot make the memory: {error}")).errno(&error)
            })
        };
        let kind = match source {
            Source::Mem(base) => Kind::Mem(mem::Mem::new(*base, false, root)),
            Source::Ram(base) => Kind::Mem(mem::Mem::new(*base, true, root)),
            Source::Uio(name) => Kind::Uio(uio::Uio::find(source, name, root)?),
            Source::Pci(name) => Kind::Pci(pci::Pci::find(source, name, root)?),
            Source::File(path) => Kind::File(file::Plain::new(path)),
            Source::Mock => Kind::Mock(mock()?),
            Source::Replay(path) => Kind::Replay(mock()?, Arc::new(recording(source, path, map)?)),
        };
        let presence = match &kind {
            Kind::Uio(uio) => Presence::keep(Some((uio.folder(), uio.number)), &uio.device()),
            Kind::Pci(pci) => Presence::keep(None, pci.folder()),
            _ => None,
        };
        Ok(Attached { source: source.clone(), kind, presence: presence.map(Arc::new), root: root.into() })
    }

    /// Where a region's bytes are.
    ///
    /// # Errors
    /// The source has no such place, or it is too small.
    pub fn span(&self, region: &map::Region) -> Result<Span, SourceError> {
        match &self.kind {
            Kind::Mem(mem) => mem.span(self, region),
            Kind::Uio(uio) => uio.span(self, region),
            Kind::Pci(pci) => pci.span(self, region),
            Kind::File(file) => Ok(file.span(region)),
            Kind::Mock(mock) | Kind::Replay(mock, _) => self.mock_span(mock, region),
        }
    }

    /// What tells whether the device still answers, where something does.
    pub(crate) fn presence(&self) -> Option<&Arc<Presence>> {
        self.presence.as_ref()
    }

    /// # Errors
    /// The PCI function does not answer, and why.
    pub(super) fn check_card(&self) -> Result<(), SourceError> {
        let Some(presence) = &self.presence else { return Ok(()) };
        match presence.ask_card() {
            None => Ok(()),
            Some(absence) => {
                let (problem, remedy) = presence.explain(absence);
                Err(SourceError::new(self, problem).remedy(remedy))
            }
        }
    }

    /// The source's interrupt, if it can have one.
    ///
    /// # Errors
    /// The device of the interrupt cannot be opened.
    pub fn interrupt(&self) -> Result<Option<Interrupt>, SourceError> {
        match &self.kind {
            Kind::Uio(uio) => uio.interrupt(self),
            Kind::Replay(_, recording) if !recording.interrupts => Ok(None),
            Kind::Mock(mock) | Kind::Replay(mock, _) => {
                Ok(Some(Interrupt::of_mock(&self.to_string(), mock.clone())))
            }
            _ => Ok(None),
        }
    }

    /// The mock, where the source is one.
    pub fn mock(&self) -> Option<&Arc<Mock>> {
        match &self.kind {
            Kind::Mock(mock) => Some(mock),
            _ => None,
        }
    }

    /// Every region is mapped that will be.
    pub(crate) fn mapped(&self) {
        if let Kind::Mock(mock) | Kind::Replay(mock, _) = &self.kind {
            mock.mapped();
        }
    }

    /// The recording, where the source is one.
    pub fn recording(&self) -> Option<&Recording> {
        match &self.kind {
            Kind::Replay(_, recording) => Some(recording),
            _ => None,
        }
    }

    fn mock_span(&self, mock: &Mock, region: &map::Region) -> Result<Span, SourceError> {
        let failed = |problem: String| SourceError::new(self, problem);
        let index = mock
            .region(&region.name)
            .ok_or_else(|| failed(format!("the mock was made from a map without region {}", region.name)))?;
        let (file, offset) = mock.place(index).map_err(|error| failed(error.to_string()).errno(&error))?;
        Ok(Span {
            path: "/proc/self/fd".into(),
            file: Some(file),
            flags: 0,
            offset,
            skip: 0,
            physical: None,
            whole_pages: false,
        })
    }

    pub(super) fn explain(
        &self,
        step: Step,
        span: &Span,
        region: &map::Region,
        error: &io::Error,
    ) -> SourceError {
        let known = match &self.kind {
            Kind::Mem(mem) => mem.explain(&step, span, region, error),
            Kind::Uio(uio) => uio.explain(&self.root, &step, region, span, error),
            Kind::Pci(pci) => pci.explain(&self.root, &step, region, span, error),
            Kind::File(_) | Kind::Mock(_) | Kind::Replay(..) => file::explain(span, region, error),
        };
        let (problem, remedy) = known.unwrap_or_else(|| {
            let doing = match step {
                Step::Open => "opening",
                Step::Map => "mapping",
            };
            (format!("{doing} {} failed: {error}", span.path.display()), None)
        });
        SourceError { name: self.to_string(), problem, remedy, errno: error.raw_os_error() }
    }
}

fn recording(source: &Source, path: &Path, map: &map::Map) -> Result<Recording, SourceError> {
    let file = File::open(path).map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".into(),
            _ => format!("cannot open it: {error}"),
        };
        SourceError::new(source, problem).errno(&error)
    })?;
    trace::load(map, file).map_err(|problem| {
        SourceError::new(source, problem)
            .remedy("recordings are made by Trace.save(): with dev.trace() as log")
    })
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
