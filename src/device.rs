//! A map laid over its source: an open device.

mod class;
mod describe;
mod region;
mod register;
mod tap;
#[cfg(feature = "python")]
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use class::RegisterClass;
#[cfg(feature = "python")]
pub(crate) use region::Refusal;
pub use region::Region;
pub use register::Register;

use tap::{Failure, Tap};

#[cfg(feature = "python")]
use crate::access::TRAPS;
use crate::access::{Lock, SharedLock, prepare};
use crate::error::{CLOSED, Error, Result, SourceError};
use crate::map::{Map, Node};
use crate::mock::{Backing, Mock, Pace};
use crate::source::{Attached, Interrupt, Source, map_region};
use crate::trace::{Script, Tally, Trace};

/// How to open a device.
#[derive(Clone, Debug)]
pub struct Options {
    /// Compare the registers that have an `expect` value with it.
    pub verify: bool,
    /// Lock a read-modify-write against other processes that open the device so, too.
    pub shared: bool,
    /// Where `dev`, `sys` and `proc` are.
    pub root: PathBuf,
    /// How the time of a mock passes.
    pub pace: Pace,
    /// The file that is a mock's memory; None for one of its own.
    pub backing: Option<Backing>,
    /// Let a mock behave for views as well, where the machine can trap their accesses.
    pub trap: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            verify: true,
            shared: false,
            root: Path::new("/").into(),
            pace: Pace::Real,
            backing: None,
            trap: true,
        }
    }
}

/// An open device: every region of its map, mapped.
#[derive(Debug)]
pub struct Device {
    map: Arc<Map>,
    source: Source,
    regions: Vec<Arc<Region>>,
    interrupt: Option<Arc<Interrupt>>,
    tap: Arc<Tap>,
}

impl Device {
    /// Lays a map over a source. Reads nothing but the registers that have an `expect` value, and writes nothing.
    ///
    /// # Errors
    /// [`Error::Source`] with the cause a user can act on; one of them: the device is another than the map's.
    pub fn open(map: Arc<Map>, source: &Source, options: &Options) -> Result<Device> {
        prepare()
            .map_err(|error| SourceError::new(source, "cannot install the fault guard").errno(&error))?;
        let attached = Attached::new(source, &map, &options.root, options.pace, options.backing.as_ref())?;
        let script = attached.recording().map(|kept| Script::replay(map.clone(), kept.records.clone()));
        let tap = Arc::new(Tap::new(attached.mock().cloned(), script, attached.presence().cloned()));
        let mut regions = Vec::with_capacity(map.regions.len());
        for (index, region) in map.regions.iter().enumerate() {
            let mapped = map_region(&attached, region)?;
            let lock = match options.shared && region.access.writable() {
                true => Lock::shared(SharedLock::new(mapped.file, mapped.place, region.size)),
                false => Lock::new(),
            };
            #[cfg(feature = "python")]
            let viewed = match TRAPS && options.trap && tap.mock.is_some() && !region.nodes.is_empty() {
                true => Some(view::Viewed::new(map_region(&attached, region)?.mapping)),
                false => None,
            };
            let region = Region::new(
                map.clone(),
                index,
                mapped.mapping,
                mapped.physical,
                lock,
                tap.clone(),
                #[cfg(feature = "python")]
                viewed,
            );
            regions.push(region);
        }
        attached.mapped();
        let interrupt = attached.interrupt()?.map(Arc::new);
        let device = Device { map, source: source.clone(), regions, interrupt, tap };
        // A recording begins behind the open.
        if options.verify && !device.replays() {
            device.verify()?;
        }
        Ok(device)
    }

    /// The map it was opened with.
    pub fn map(&self) -> &Arc<Map> {
        &self.map
    }

    /// The source it was opened from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Its regions, in the order of the map.
    pub fn regions(&self) -> &[Arc<Region>] {
        &self.regions
    }

    /// Its interrupt, where the source has one.
    pub fn interrupt(&self) -> Option<&Arc<Interrupt>> {
        self.interrupt.as_ref()
    }

    /// The hardware's side, where the source is a mock.
    pub fn mock(&self) -> Option<&Arc<Mock>> {
        self.tap.mock.as_ref()
    }

    /// Records accesses from now on, the last `limit` of them; all, where there is none. Views are not heard.
    pub fn start_trace(&self, limit: Option<usize>) -> Trace {
        let (map, source) = (self.map.clone(), self.source.to_string());
        let trace = Trace::start(self.tap.journal.clone(), map, source, self.interrupt.is_some(), limit);
        self.regions.iter().for_each(|region| region.set_tapped());
        trace
    }

    /// Ends a recording.
    pub fn stop_trace(&self, trace: &Trace) {
        trace.stop();
        self.regions.iter().for_each(|region| region.set_tapped());
    }

    /// Sums accesses up in a tally from now on, which is one of the same map. Views are not heard.
    pub fn start_tally(&self, tally: Arc<Tally>) {
        self.tap.journal.change(|listeners| listeners.tallies.push(tally));
        self.regions.iter().for_each(|region| region.set_tapped());
    }

    /// Sums up no more.
    pub fn stop_tally(&self, tally: &Arc<Tally>) {
        self.tap.journal.change(|listeners| listeners.tallies.retain(|other| !Arc::ptr_eq(tally, other)));
        self.regions.iter().for_each(|region| region.set_tapped());
    }

    /// Lets only the accesses of a script pass from now on; None ends that. Gives back the script before.
    pub fn set_script(&self, script: Option<Script>) -> Option<Script> {
        let before = self.tap.set_script(script);
        self.regions.iter().for_each(|region| region.set_tapped());
        before
    }

    /// Whether its source is a recording.
    pub fn replays(&self) -> bool {
        self.tap.replays
    }

    /// # Errors
    /// [`Error::Unexpected`]: accesses that the script expects were not made.
    pub fn finish_script(&self) -> Result<()> {
        self.tap.finish_script()
    }

    /// The register at a path such as `CH[3].CTRL`.
    ///
    /// # Errors
    /// [`Error::Path`]: there is none, and which names are near; [`Error::Value`]: the path names a field, not a register.
    pub fn register(&self, path: &str) -> Result<Register> {
        let found = self.map.resolve(path)?;
        if let Some(field) = found.field {
            return Err(Error::Value {
                at: format!("{}.{path}", self.map.name),
                problem: format!("{} is a field, not a register", field.name),
            });
        }
        let class = Arc::new(RegisterClass::new(found.register.clone()));
        let region = self.regions[found.region].clone();
        Ok(Register::new(region, class, found.offset, found.path))
    }

    /// Waits for the interrupt, as [`Interrupt::wait`] does; a script may answer instead.
    ///
    /// # Errors
    /// As for [`Interrupt::wait`]; the source has no interrupt; the script does not expect a wait here.
    pub fn wait_interrupt(
        &self,
        timeout: Option<Duration>,
        rearm: bool,
        go_on: impl FnMut() -> Result<()>,
    ) -> Result<u32> {
        let done = match self.tap.expected_interrupt() {
            Some(0) => Err(Error::Timeout {
                at: format!("{} interrupt", self.source),
                after: timeout.unwrap_or_default(),
                last: "none came here in the recording".into(),
            }),
            Some(count) => Ok(u32::try_from(count).unwrap_or(u32::MAX)),
            None => match &self.interrupt {
                Some(interrupt) => interrupt.wait(timeout, rearm, go_on),
                None => return Err(self.no_interrupt()),
            },
        };
        let count = match &done {
            Ok(count) => *count,
            Err(Error::Timeout { .. }) => 0,
            Err(_) => return done,
        };
        match self.tap.interrupted(count.into()) {
            Ok(()) => done,
            Err(Failure::Error(error)) => Err(error),
            Err(Failure::Fault(_)) => done,
        }
    }

    /// Why the interrupt cannot be used.
    pub(crate) fn no_interrupt(&self) -> Error {
        let (problem, remedy) = match self.source {
            Source::Uio(_) => {
                ("a plain file is in the device's place, which has no interrupt", "poll with register.wait()")
            }
            _ => (
                "this source has no interrupts",
                "UIO devices have: open the device by uio:, or poll with register.wait()",
            ),
        };
        SourceError::new(&self.source, problem).remedy(remedy).into()
    }

    /// Whether it was closed.
    pub fn closed(&self) -> bool {
        self.regions.iter().any(|region| region.closed())
    }

    /// Unmaps the device. Closing twice is harmless.
    ///
    /// # Errors
    /// [`Error::Exported`] while views live; the device then stays open.
    pub fn close(&self) -> Result<()> {
        // No region gives out a view until all are closed, or none is.
        let held: Vec<_> = self.regions.iter().map(|region| region.views()).collect();
        let views: usize = held.iter().map(|views| **views).sum();
        if views > 0 {
            return Err(Error::Exported { at: self.map.name.clone(), views });
        }
        self.regions.iter().try_for_each(|region| region.close())?;
        if let Some(interrupt) = &self.interrupt {
            interrupt.close();
        }
        Ok(())
    }

    /// Asks whether this is still the device that was opened, and compares what the map expects with what is there: one
    /// load of each register that has an `expect` value.
    ///
    /// # Errors
    /// [`Error::Source`]: it was removed, though it may be back by now, or does not answer; or it is another, with every
    /// difference and not the first only. [`Error::Refused`] where it is closed; [`Error::Bus`].
    pub fn verify(&self) -> Result<()> {
        if self.closed() {
            return Err(Error::Refused { at: self.map.name.clone(), reason: CLOSED.into() });
        }
        if let Some((presence, absence)) =
            self.tap.presence.as_ref().and_then(|kept| Some((kept, kept.ask()?)))
        {
            let (problem, remedy) = presence.explain(absence);
            return Err(SourceError::new(&self.source, problem).remedy(remedy).into());
        }
        let mut wrong = Vec::new();
        for (region, info) in self.regions.iter().zip(&self.map.regions) {
            self.verify_nodes(region, &info.nodes, 0, "", &mut wrong)?;
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let problem = format!("this is not a {}, or it is not powered: {}", self.map.name, wrong.join("; "));
        Err(SourceError::new(&self.source, problem)
            .remedy("check map and source, or open with verify=False")
            .into())
    }

    fn verify_nodes(
        &self,
        region: &Arc<Region>,
        nodes: &[Node],
        base: u64,
        prefix: &str,
        wrong: &mut Vec<String>,
    ) -> Result<()> {
        for node in nodes {
            // An array's elements are alike: the first one tells.
            let offset = base + node.offset();
            let path = match node.array() {
                Some(_) => format!("{prefix}{}[0]", node.name()),
                None => format!("{prefix}{}", node.name()),
            };
            match node {
                Node::Group(group) => {
                    self.verify_nodes(region, &group.nodes, offset, &format!("{path}."), wrong)?;
                }
                Node::Register(info) => {
                    let Some(expect) = info.expect else { continue };
                    let class = Arc::new(RegisterClass::new(info.clone()));
                    let value = Register::new(region.clone(), class, offset, path.clone()).read()?;
                    if value & expect.mask != expect.value {
                        let masked = match expect.mask == info.width.mask() {
                            true => String::new(),
                            false => format!(" in the bits {:#x}", expect.mask),
                        };
                        wrong.push(format!("{path} is {value:#x}, not {:#x}{masked}", expect.value));
                    }
                }
            }
        }
        Ok(())
    }
}
