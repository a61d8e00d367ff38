//! `Interrupt`.

use std::os::fd::RawFd;
use std::sync::Arc;

use pyo3::prelude::*;

use super::errors::Failed;
use super::values;
use crate::error::Error;
use crate::source::Interrupt;

/// The interrupt of a UIO device.
#[pyclass(name = "Interrupt", module = "devregs", frozen)]
pub(crate) struct PyInterrupt(pub Arc<Interrupt>);

#[pymethods]
impl PyInterrupt {
    #[getter]
    fn count(&self) -> u32 {
        self.0.count()
    }

    #[getter]
    fn missed(&self) -> u64 {
        self.0.missed()
    }

    #[pyo3(signature = (timeout = None, *, rearm = true))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>, rearm: bool) -> PyResult<u32> {
        let timeout = values::seconds(timeout, "irq.wait: timeout")?;
        interruptible(py, |go_on| self.0.wait(timeout, rearm, go_on))
    }

    fn enable(&self) -> PyResult<()> {
        Ok(self.0.enable(true).map_err(Failed)?)
    }

    fn disable(&self) -> PyResult<()> {
        Ok(self.0.enable(false).map_err(Failed)?)
    }

    fn fileno(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    fn __aiter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("devregs._aio")?.call_method1("events", (slf,))
    }
}

/// Runs a wait without the interpreter, and lets Ctrl-C end it.
pub(super) fn interruptible<T: Send>(
    py: Python<'_>,
    wait: impl FnOnce(&mut dyn FnMut() -> Result<(), Error>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let mut signal = None;
    let done = py.detach(|| {
        wait(&mut || {
            Python::attach(|py| py.check_signals()).map_err(|error| {
                signal = Some(error);
                Error::Interrupted
            })
        })
    });
    match signal {
        Some(error) => Err(error),
        None => Ok(done.map_err(Failed)?),
    }
}
