//! `Trace` and `Access`: what a device was asked, and what it answered.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyIndexError, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PySlice};
use pyo3::{PyTraverseError, PyVisit};

use super::Model;
use super::handle;
use super::keep::Keep;
use crate::device::Device;
use crate::trace::{Op, Record, Trace, fields, line, lsb, path, transcript};

/// A recording of a device's accesses: a sequence of Access.
#[pyclass(name = "Trace", module = "devregs", frozen)]
pub(crate) struct PyTrace {
    device: Arc<Device>,
    keep: Keep,
    limit: Option<usize>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trace: Option<Arc<Trace>>,
    running: bool,
}

impl PyTrace {
    pub fn new(device: Arc<Device>, keep: Keep, limit: Option<usize>) -> PyTrace {
        PyTrace { device, keep, limit, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trace(&self) -> Option<Arc<Trace>> {
        self.state().trace.clone()
    }

    fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let records = self.trace().map_or(Vec::new(), |trace| trace.records());
        PyList::new(py, records.into_iter().map(|record| self.access(record)).collect::<Vec<_>>())
    }

    fn access(&self, record: Record) -> PyAccess {
        PyAccess { record, map: self.device.map().clone() }
    }
}

#[pymethods]
impl PyTrace {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.keep.traverse(&visit)
    }

    fn start(&self) -> PyResult<()> {
        let mut state = self.state();
        if state.trace.is_some() {
            return Err(PyRuntimeError::new_err(
                "this trace was started before: make another by device.trace()",
            ));
        }
        state.trace = Some(Arc::new(self.device.start_trace(self.limit)));
        state.running = true;
        Ok(())
    }

    fn stop(&self) {
        let mut state = self.state();
        if let Some(trace) = state.trace.clone().filter(|_| state.running) {
            self.device.stop_trace(&trace);
            state.running = false;
        }
    }

    fn clear(&self) {
        if let Some(trace) = self.trace() {
            trace.clear();
        }
    }

    #[getter]
    fn running(&self) -> bool {
        self.state().running
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.trace().map_or(0, |trace| trace.dropped())
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let trace = self.trace().ok_or_else(|| {
            PyRuntimeError::new_err(
                "this trace was never started, and has nothing to save: with dev.trace() as log",
            )
        })?;
        let text = trace.to_json_lines();
        py.detach(|| std::fs::write(&path, text)).map_err(|error| {
            let problem = format!("{}: {error}", path.display());
            match error.raw_os_error() {
                Some(errno) => PyOSError::new_err((errno, problem)),
                None => PyValueError::new_err(problem),
            }
        })
    }

    fn __len__(&self) -> usize {
        self.trace().map_or(0, |trace| trace.len())
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if index.is_instance_of::<PySlice>() {
            return self.list(py)?.into_any().get_item(index);
        }
        let index: isize = index.extract()?;
        let place = match usize::try_from(index) {
            Ok(index) => Some(index),
            Err(_) => self.__len__().checked_add_signed(index),
        };
        let record = place.zip(self.trace()).and_then(|(place, trace)| trace.get(place));
        match record {
            Some(record) => Ok(Bound::new(py, self.access(record))?.into_any()),
            None => Err(PyIndexError::new_err(format!(
                "the trace has {} accesses, and no number {index}",
                self.__len__()
            ))),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.list(py)?.try_iter()
    }

    fn __enter__(slf: Py<Self>) -> PyResult<Py<Self>> {
        slf.get().start()?;
        Ok(slf)
    }

    fn __exit__(&self, _kind: &Bound<'_, PyAny>, _error: &Bound<'_, PyAny>, _trace: &Bound<'_, PyAny>) {
        self.stop();
    }

    fn __str__(&self) -> String {
        self.trace().map_or_else(String::new, |trace| transcript(self.device.map(), &trace.records()))
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle("a trace, which save() writes to a file"))
    }

    fn __repr__(&self) -> String {
        let state = if self.state().running { ", running" } else { "" };
        format!("<devregs.Trace of {}, {} accesses{state}>", self.device.map().name, self.__len__())
    }
}

/// One access.
#[pyclass(name = "Access", module = "devregs", frozen)]
pub(crate) struct PyAccess {
    record: Record,
    map: Model,
}

#[pymethods]
impl PyAccess {
    /// In seconds since the trace began.
    #[getter]
    fn time(&self) -> f64 {
        self.record.time as f64 / 1e9
    }

    #[getter]
    fn op(&self) -> &'static str {
        match self.record.op {
            Op::Read => "read",
            Op::Write => "write",
            Op::Interrupt => "irq",
        }
    }

    #[getter]
    fn path(&self) -> Option<String> {
        (self.record.op != Op::Interrupt).then(|| path(&self.map, &self.record))
    }

    #[getter]
    fn named(&self) -> bool {
        self.record.register.is_some()
    }

    #[getter]
    fn region(&self) -> Option<&str> {
        let region = self.map.regions.get(self.record.region)?;
        (self.record.op != Op::Interrupt).then_some(region.name.as_str())
    }

    #[getter]
    fn offset(&self) -> u64 {
        self.record.offset
    }

    #[getter]
    fn width(&self) -> u32 {
        self.record.width.bits()
    }

    #[getter]
    fn lsb(&self) -> u32 {
        lsb(&self.map, &self.record)
    }

    #[getter]
    fn value(&self) -> Option<u64> {
        self.record.fault.is_none().then_some(self.record.value)
    }

    #[getter]
    fn mask(&self) -> u64 {
        self.record.mask
    }

    #[getter]
    fn signal(&self) -> Option<i32> {
        self.record.fault.map(|fault| fault.signal)
    }

    /// The fields asked for or meant: each name with its value's name, or its number.
    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let decoded = PyDict::new(py);
        for (field, value, name, asked) in fields(&self.map, &self.record) {
            if !asked || self.record.fault.is_some() {
                continue;
            }
            match name {
                Some(name) => decoded.set_item(&field.name, name)?,
                None => decoded.set_item(&field.name, value)?,
            }
        }
        Ok(decoded)
    }

    fn __str__(&self) -> String {
        line(&self.map, &self.record)
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle("an access of a trace, which save() writes to a file"))
    }

    fn __repr__(&self) -> String {
        let words: Vec<_> = line(&self.map, &self.record).split_whitespace().map(String::from).collect();
        format!("<devregs.Access {}>", words.join(" "))
    }
}
