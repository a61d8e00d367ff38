//! `Device`: an open device.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::errors::Failed;
use super::group::{GroupSeed, PyGroup, place};
use super::hardware::PyMock;
use super::hot::set_slot;
use super::interrupt::PyInterrupt;
use super::keep::Keep;
use super::map::PyMap;
use super::region::{PyRegion, PyRegions};
use super::trace::PyTrace;
use super::values;
use crate::device::Device;
use crate::map::Map;
use crate::trace::{Expected, Op, Script, Step, describe};

/// What a device's class is made an object from. Not to be had from Python.
#[pyclass(frozen)]
struct DeviceSeed {
    device: Arc<Device>,
    map: Py<PyMap>,
    group: Py<GroupSeed>,
    keep: Keep,
}

/// An open device. Its registers and groups are attributes.
#[pyclass(name = "Device", module = "devregs", frozen, subclass, extends = PyGroup)]
pub(crate) struct PyDevice {
    device: Arc<Device>,
    map: Py<PyMap>,
    regions: Py<PyRegions>,
    interrupt: Py<PyInterrupt>,
    keep: Keep,
}

impl PyDevice {
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }
}

#[pymethods]
impl PyDevice {
    #[new]
    fn new(py: Python<'_>, seed: &Bound<'_, PyAny>) -> PyResult<PyClassInitializer<PyDevice>> {
        let seed = seed.cast::<DeviceSeed>().map_err(|_| {
            PyTypeError::new_err("devices are made by opening them: devregs.open(map, source)")
        })?;
        let seed = seed.get();
        let device = seed.device.clone();
        let keep = || seed.keep.clone_ref(py);
        let regions = device.regions().iter();
        let regions = regions.map(|region| Py::new(py, PyRegion::new(region.clone(), keep())));
        let regions = Py::new(py, PyRegions(regions.collect::<PyResult<_>>()?))?;
        let interrupt = Py::new(py, PyInterrupt::new(device.clone(), keep()))?;
        let group = PyGroup::from_seed(py, seed.group.bind(py).as_any())?;
        let map = seed.map.clone_ref(py);
        let this = PyDevice { device, map, regions, interrupt, keep: keep() };
        Ok(PyClassInitializer::from(group).add_subclass(this))
    }

    #[getter]
    fn name(&self) -> &str {
        &self.device.map().name
    }

    #[getter]
    fn map(&self, py: Python<'_>) -> Py<PyMap> {
        self.map.clone_ref(py)
    }

    #[getter]
    fn source(&self) -> String {
        self.device.source().to_string()
    }

    #[getter]
    fn regions(&self, py: Python<'_>) -> Py<PyRegions> {
        self.regions.clone_ref(py)
    }

    #[getter]
    fn irq(&self, py: Python<'_>) -> Py<PyInterrupt> {
        self.interrupt.clone_ref(py)
    }

    /// The hardware's side. Every device has one, for looking at an attribute must not fail; where there is no mock, using
    /// it says so.
    #[getter]
    fn hw<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let mock = slf.get().keep.mock();
        slf.py().import("devregs.hardware")?.getattr("Hardware")?.call1((slf, mock))
    }

    #[pyo3(signature = (limit = None))]
    fn trace(&self, py: Python<'_>, limit: Option<&Bound<'_, PyAny>>) -> PyResult<PyTrace> {
        let at = || format!("{}.trace(): how many accesses to keep", self.name());
        let limit = limit.map(|limit| values::number(limit, usize::BITS, &at)).transpose()?;
        Ok(PyTrace::new(self.device.clone(), self.keep.clone_ref(py), limit.map(|limit| limit as usize)))
    }

    /// Only these accesses, in this order; None ends that. See `devregs.testing`.
    fn _expect(&self, steps: Option<Vec<PyStep>>) -> PyResult<()> {
        let map = self.device.map();
        let steps = steps.map(|steps| steps.into_iter().map(|step| step.made(map)).collect::<PyResult<_>>());
        let script = steps.transpose()?.map(|steps| Script::expect(map.clone(), steps));
        let expects = script.is_some();
        if let Some(before) = self.device.set_script(script).filter(|_| expects) {
            self.device.set_script(Some(before));
            let reason = "accesses are expected of it already: let that end first, or list all in one place";
            let (at, reason) = (self.name().into(), reason.into());
            return Err(Failed(crate::error::Error::Refused { at, reason }).into());
        }
        Ok(())
    }

    fn _finish(&self) -> PyResult<()> {
        Ok(self.device.finish_script().map_err(Failed)?)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.device.closed()
    }

    #[pyo3(signature = (*, only = None))]
    fn snapshot<'py>(
        slf: &Bound<'py, Self>,
        only: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("devregs.snapshot")?.call_method1("take", (slf, only))
    }

    #[pyo3(signature = (snapshot, /, *, only = None, dry_run = false, verify = true))]
    fn restore<'py>(
        slf: &Bound<'py, Self>,
        snapshot: &Bound<'py, PyAny>,
        only: Option<&Bound<'py, PyAny>>,
        dry_run: bool,
        verify: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("devregs.restore")?;
        module.call_method1("restore", (slf, snapshot, only, dry_run, verify))
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.device.verify()).map_err(Failed)?)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.device.close().map_err(Failed)?;
        if let Some(mock) = self.keep.mock() {
            mock.bind(py).get().remove_hooks();
        }
        Ok(())
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(
        &self,
        kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        // An error that is on its way already says more than a recording that was not played to its end.
        let done = if kind.is_none() && self.device.replays() { self._finish() } else { Ok(()) };
        self.close(kind.py())?;
        done
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.keep.traverse(&visit)?;
        visit.call(&self.regions)?;
        visit.call(&self.interrupt)
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { " (closed)" } else { "" };
        format!("<devregs.Device {} at {}{state}>", self.name(), self.source())
    }
}

/// A step of an expectation, as `devregs.testing` makes it.
#[derive(FromPyObject)]
struct PyStep {
    #[pyo3(item)]
    op: Option<String>,
    #[pyo3(item)]
    path: Option<String>,
    #[pyo3(item)]
    mask: u64,
    #[pyo3(item)]
    bits: u64,
    #[pyo3(item)]
    answer: Option<u64>,
    #[pyo3(item)]
    least: u64,
    #[pyo3(item)]
    most: Option<u64>,
}

impl PyStep {
    fn made(self, map: &Map) -> PyResult<Step> {
        let op = match self.op.as_deref() {
            Some("read") => Some(Op::Read),
            Some("write") => Some(Op::Write),
            Some("irq") => Some(Op::Interrupt),
            _ => None,
        };
        let bits = (self.mask, self.bits & self.mask);
        let found = self.path.as_deref().map(|path| map.resolve(path)).transpose();
        let found = found.map_err(|error| Failed(error.into()))?;
        let times = match (self.least, self.most) {
            (1, Some(1)) => String::new(),
            (0, None) => "  (any number)".into(),
            (1, None) => "  (once or more)".into(),
            (least, None) => format!("  ({least} times or more)"),
            (least, Some(most)) if least == most => format!("  ({least} times)"),
            (least, Some(most)) => format!("  ({least} to {most} times)"),
        };
        let text = match (op, &found) {
            (Some(Op::Interrupt), _) => format!("irq{times}"),
            (_, None) => format!("anything{times}"),
            (_, Some(found)) => format!("{}{times}", describe(map, op, found, bits)),
        };
        let accesses = match &found {
            None => vec![Expected { op, place: None, bits, answer: self.answer }],
            Some(found) => Expected::of_register(op, found, bits, self.answer),
        };
        Ok(Step { accesses, text, least: self.least, most: self.most })
    }
}

/// The Python object of an open device.
pub(super) fn wrap<'py>(map: Bound<'py, PyMap>, device: Device) -> PyResult<Bound<'py, PyAny>> {
    let py = map.py();
    let classes = map.get().classes(py)?.clone();
    let mock = device.mock().map(|mock| Py::new(py, PyMock::new(mock.clone(), device.map().clone())));
    let keep = Keep::new(mock.transpose()?);
    let mut parts = Vec::with_capacity(classes.parts.len());
    for (index, shape) in &classes.parts {
        let region = &device.regions()[*index];
        parts.push((shape.name.clone(), place(py, shape, region, &keep, 0, "")?.unbind()));
    }
    let filled: Vec<_> = parts.iter().map(|(_, object)| object.clone_ref(py)).collect();
    let group = GroupSeed { label: device.map().name.clone(), path: String::new(), parts };
    let seed = DeviceSeed { device: Arc::new(device), map: map.unbind(), group: Py::new(py, group)?, keep };
    let device = classes.ty.bind(py).call1((seed,))?;
    for ((_, shape), object) in classes.parts.iter().zip(filled) {
        if let Some(attribute) = &shape.attribute {
            set_slot(&device, attribute.bind(py), object.bind(py))?;
        }
    }
    Ok(device)
}
