//! `Mock`: the hardware's side of a mocked device.

use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::Model;
use super::errors::Failed;
use super::keep::Hooks;
use super::register::named;
use super::values;
use crate::error::{Error, SourceError};
use crate::map::{Found, Target};
use crate::mock::{Gone, Hook, HookError, LONGEST, Mock, SyncError};

/// What `devregs.Hardware` is made of: everything by path.
#[pyclass(name = "_Mock", module = "devregs._devregs", frozen)]
pub(crate) struct PyMock {
    mock: Arc<Mock>,
    map: Model,
    /// The mock has them only weakly.
    hooks: Hooks,
}

impl PyMock {
    pub fn new(mock: Arc<Mock>, map: Model) -> PyMock {
        PyMock { mock, map, hooks: Hooks::default() }
    }

    fn target(&self, path: &str) -> PyResult<Target> {
        Ok(self.map.target(path).map_err(|error| Failed(error.into()))?)
    }

    fn found(&self, path: &str) -> PyResult<Found<'_>> {
        Ok(self.map.resolve(path).map_err(|error| Failed(error.into()))?)
    }

    /// A number that fits, or a name of the field's values.
    fn number(&self, path: &str, target: &Target, value: &Bound<'_, PyAny>) -> PyResult<u64> {
        let at = || format!("{}.{path}", self.map.name);
        let Ok(name) = value.cast::<PyString>() else {
            return values::number(value, target.width, &at);
        };
        let name = name.to_str()?;
        let found = self.found(path)?;
        let known = found
            .field
            .into_iter()
            .flat_map(|field| field.values.iter().chain(field.write_values.iter().flatten()));
        named(known, name, &at)
    }

    fn fifo(&self, path: &str) -> PyResult<Target> {
        let found = self.found(path)?;
        if found.register.fifo.is_none() {
            let at = format!("{}.{path}", self.map.name);
            let problem = "is no FIFO: the map gives it no fifo".into();
            return Err(Failed(Error::Value { at, problem }).into());
        }
        self.target(path)
    }

    /// A hook that answers with numbers of so many bits.
    fn hook(&self, function: Py<PyAny>, path: &str, bits: u32) -> Hook {
        let at = format!("{}.{path}: what a hook returned", self.map.name);
        let function = self.hooks.add(function);
        Arc::new(move |value| {
            // The collector has taken it, and with it all that could make this access, or is about to.
            let Some(function) = function.upgrade() else { return Ok(None) };
            Python::attach(|py| {
                let ended = Ended;
                let number = function.bind(py).call1((value,)).and_then(|answer| match answer.is_none() {
                    true => Ok(None),
                    false => values::number(&answer, bits, &|| at.clone()).map(Some),
                });
                std::mem::forget(ended);
                number.map_err(|error| Box::new(error) as HookError)
            })
        })
    }
}

/// While Python code runs below: when the interpreter shuts down, it ends daemon threads by unwinding them, which Rust code
/// above does not survive. Such a thread stops here for good, as newer Pythons let it.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        while !std::thread::panicking() {
            std::thread::park();
        }
    }
}

#[pymethods]
impl PyMock {
    /// What the register or field holds.
    fn get(&self, path: &str) -> PyResult<u64> {
        Ok(self.mock.get(&self.target(path)?))
    }

    fn set(&self, path: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let target = self.target(path)?;
        let value = self.number(path, &target, value)?;
        self.mock.set(&target, value);
        Ok(())
    }

    fn push(&self, path: &str, word: &Bound<'_, PyAny>) -> PyResult<bool> {
        let target = self.fifo(path)?;
        let word = self.number(path, &target, word)?;
        Ok(self.mock.push(&target, word))
    }

    fn pop(&self, path: &str) -> PyResult<Option<u64>> {
        Ok(self.mock.pop(&self.fifo(path)?))
    }

    /// Words for software, words from it, words lost.
    fn level(&self, path: &str) -> PyResult<(usize, usize, u64)> {
        Ok(self.mock.level(&self.fifo(path)?))
    }

    fn on_read(&self, path: &str, hook: Py<PyAny>) -> PyResult<()> {
        let target = self.target(path)?;
        let hook = self.hook(hook, path, target.width);
        self.mock.on_read(target, hook);
        Ok(())
    }

    fn on_write(&self, path: &str, hook: Py<PyAny>) -> PyResult<()> {
        let target = self.target(path)?;
        let hook = self.hook(hook, path, target.width);
        self.mock.on_write(target, hook);
        Ok(())
    }

    pub fn remove_hooks(&self) {
        self.mock.remove_hooks();
        self.hooks.clear();
    }

    /// A rule from keyword arguments, or from the text of a map; or both.
    fn rule(&self, py: Python<'_>, text: &str, keys: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut text = text.to_string();
        if !keys.is_empty() {
            let made = py.import("devregs.hardware")?.call_method1("rule_text", (keys,))?;
            text.push_str(made.extract()?);
        }
        let rules = self.map.behaviour_of(&text, "rule()").map_err(|errors| Failed(errors.into()))?;
        self.mock.add_rules(rules);
        Ok(())
    }

    fn fail(&self, path: &str, times: Option<u64>) -> PyResult<()> {
        self.mock.fail(&self.target(path)?, times);
        Ok(())
    }

    fn stick(&self, path: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let target = self.target(path)?;
        let value = self.number(path, &target, value)?;
        self.mock.stick(&target, value);
        Ok(())
    }

    /// `"fault"`, `"ones"`, or None for there again.
    fn vanish(&self, how: Option<&str>) -> PyResult<()> {
        self.mock.vanish(match how {
            None => None,
            Some("fault") => Some(Gone::Fault),
            Some("ones") => Some(Gone::Ones),
            Some(other) => {
                return Err(PyTypeError::new_err(format!(
                    "a device vanishes by \"fault\" or by \"ones\", not {other:?}"
                )));
            }
        });
        Ok(())
    }

    fn heal(&self) {
        self.mock.heal();
    }

    fn reset(&self) {
        self.mock.reset();
    }

    fn interrupt(&self) {
        self.mock.interrupt();
    }

    /// What other processes have written since the last time, as pairs of path and value; and what is due is done.
    fn sync(&self, py: Python<'_>) -> PyResult<Vec<(String, u64)>> {
        py.detach(|| self.mock.sync()).map_err(|error| match error {
            SyncError::Hook(error) => Failed(Error::Hook(error)).into(),
            SyncError::File(error) => {
                let failed = SourceError::new("the stand-in", error.to_string()).errno(&error);
                Failed(failed.into()).into()
            }
        })
    }

    /// How many interrupts have come.
    fn interrupts(&self) -> u32 {
        self.mock.interrupts()
    }

    /// What a UIO device does when software writes 1 or 0 to it.
    fn enable_interrupt(&self, on: bool) {
        self.mock.enable_interrupt(on);
    }

    /// Seconds since the mock was made.
    fn now(&self) -> f64 {
        self.mock.now().as_secs_f64()
    }

    fn advance(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let time = passing(seconds, "advance", self.mock.now())?;
        self.mock.advance(time, || {
            py.check_signals()?;
            // Other threads want to run, too: one that is woken needs a moment.
            py.detach(|| std::thread::sleep(Duration::from_micros(20)));
            Ok(())
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.hooks.traverse(&visit)
    }

    fn __clear__(&self) {
        // The mock's own list is behind a lock, and has them only weakly.
        self.hooks.clear();
    }
}

/// The options of `devregs.mock`, for errors before anything is made.
pub(super) fn pace(clock: &str, access_time: f64) -> PyResult<crate::mock::Pace> {
    let step = passing(access_time, "mock: access_time", Duration::ZERO)?;
    match clock {
        "real" => Ok(crate::mock::Pace::Real),
        "virtual" => Ok(crate::mock::Pace::Virtual(step)),
        _ => Err(PyTypeError::new_err(format!("a mock's clock is \"real\" or \"virtual\", not {clock:?}"))),
    }
}

/// A time that can pass by a mock's clock.
fn passing(seconds: f64, what: &str, now: Duration) -> PyResult<Duration> {
    match values::seconds(Some(seconds), what)? {
        Some(time) if now.saturating_add(time) <= LONGEST => Ok(time),
        _ => {
            let problem =
                format!("{seconds:e} s is too long: the clock of a mock stops after a thousand years");
            Err(Failed(Error::Value { at: what.into(), problem }).into())
        }
    }
}
