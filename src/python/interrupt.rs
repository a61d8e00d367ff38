//! `Interrupt`.

use std::os::fd::RawFd;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::errors::Failed;
use super::handle;
use super::keep::Keep;
use super::{notice, values};
use crate::device::Device;
use crate::error::Error;
use crate::source::Interrupt;

/// The interrupt of a UIO device. Every device has one, for looking at an attribute must not fail; where the source
/// has none, using it says so.
#[pyclass(name = "Interrupt", module = "devregs", frozen)]
pub(crate) struct PyInterrupt {
    device: Arc<Device>,
    keep: Keep,
}

impl PyInterrupt {
    pub fn new(device: Arc<Device>, keep: Keep) -> PyInterrupt {
        PyInterrupt { device, keep }
    }

    fn get(&self) -> Result<&Interrupt, Failed> {
        self.device.interrupt().map(Arc::as_ref).ok_or_else(|| Failed(self.device.no_interrupt()))
    }
}

#[pymethods]
impl PyInterrupt {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.keep.traverse(&visit)
    }

    #[getter]
    fn count(&self) -> u32 {
        self.device.interrupt().map_or(0, |interrupt| interrupt.count())
    }

    #[getter]
    fn missed(&self) -> u64 {
        self.device.interrupt().map_or(0, |interrupt| interrupt.missed())
    }

    #[pyo3(signature = (timeout = None, *, rearm = true))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>, rearm: bool) -> PyResult<u32> {
        let timeout = values::seconds(timeout, "irq.wait: timeout")?;
        interruptible(py, |go_on| self.device.wait_interrupt(timeout, rearm, go_on))
    }

    fn enable(&self) -> PyResult<()> {
        Ok(self.get()?.enable(true).map_err(Failed)?)
    }

    fn disable(&self) -> PyResult<()> {
        Ok(self.get()?.enable(false).map_err(Failed)?)
    }

    fn fileno(&self) -> PyResult<RawFd> {
        let interrupt = self.get()?;
        interrupt.check_open().map_err(Failed)?;
        Ok(interrupt.as_raw_fd().map_err(Failed)?)
    }

    /// Seconds until a mock does something by time alone: who waits for `fileno()` comes back by then. A recording
    /// never makes anybody wait.
    #[getter]
    fn _due(&self) -> Option<f64> {
        if self.device.replays() {
            return Some(0.0);
        }
        self.device.interrupt()?.next_due().map(|due| due.as_secs_f64())
    }

    fn __bool__(&self) -> bool {
        self.device.interrupt().is_some()
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle(format_args!("the interrupt of {}", self.device.source())))
    }

    fn __repr__(&self) -> String {
        let source = self.device.source();
        match self.device.interrupt() {
            Some(interrupt) => format!("<interrupt of {source}, count {}>", interrupt.count()),
            None => format!("<no interrupt at {source}>"),
        }
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
    let handles_signals = in_main_thread(py);
    let mut signal = None;
    let done = py.detach(|| {
        wait(&mut || {
            if !handles_signals {
                return Ok(());
            }
            Python::attach(|py| py.check_signals()).map_err(|error| {
                signal = Some(error);
                Error::Interrupted
            })
        })
    });
    if let Some(error) = signal {
        return Err(error);
    }
    let done = done.map_err(Failed)?;
    notice::warn(py)?;
    Ok(done)
}

/// Whether this is the thread that Python's signal handlers run in. No other comes back to the interpreter in the middle
/// of a wait: it may be a daemon thread, and the interpreter gone.
fn in_main_thread(py: Python<'_>) -> bool {
    let found = py.import("threading").and_then(|threading| {
        let main = threading.call_method0("main_thread")?.getattr("ident")?;
        threading.call_method0("get_ident")?.eq(main)
    });
    // An interpreter that shuts down imports nothing, and handles no signals any more.
    found.unwrap_or(false)
}
