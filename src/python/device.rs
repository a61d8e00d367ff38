//! `Device`: an open device.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::errors::Failed;
use super::group::{GroupSeed, PyGroup, place};
use super::hot::set_slot;
use super::interrupt::PyInterrupt;
use super::map::PyMap;
use super::region::{PyRegion, PyRegions};
use crate::device::Device;

/// What a device's class is made an object from. Not to be had from Python.
#[pyclass(frozen)]
struct DeviceSeed {
    device: Arc<Device>,
    map: Py<PyMap>,
    group: Py<GroupSeed>,
}

/// An open device. Its registers and groups are attributes.
#[pyclass(name = "Device", module = "devregs", frozen, subclass, extends = PyGroup)]
pub(crate) struct PyDevice {
    device: Arc<Device>,
    map: Py<PyMap>,
    regions: Py<PyRegions>,
    interrupt: Py<PyInterrupt>,
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
        let regions = device.regions().iter().map(|region| Py::new(py, PyRegion(region.clone())));
        let regions = Py::new(py, PyRegions(regions.collect::<PyResult<_>>()?))?;
        let source = device.source().to_string();
        let interrupt = Py::new(py, PyInterrupt::new(device.interrupt().cloned(), source))?;
        let group = PyGroup::from_seed(py, seed.group.bind(py).as_any())?;
        let this = PyDevice { device, map: seed.map.clone_ref(py), regions, interrupt };
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

    fn close(&self) -> PyResult<()> {
        Ok(self.device.close().map_err(Failed)?)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __exit__(
        &self,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.close()
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { " (closed)" } else { "" };
        format!("<devregs.Device {} at {}{state}>", self.name(), self.source())
    }
}

/// The Python object of an open device.
pub(super) fn wrap<'py>(map: Bound<'py, PyMap>, device: Device) -> PyResult<Bound<'py, PyAny>> {
    let py = map.py();
    let classes = map.get().classes(py)?.clone();
    let mut parts = Vec::with_capacity(classes.parts.len());
    for (index, shape) in &classes.parts {
        let region = &device.regions()[*index];
        parts.push((shape.name.clone(), place(py, shape, region, 0, "")?.unbind()));
    }
    let filled: Vec<_> = parts.iter().map(|(_, object)| object.clone_ref(py)).collect();
    let group = GroupSeed { label: device.map().name.clone(), path: String::new(), parts };
    let seed = DeviceSeed { device: Arc::new(device), map: map.unbind(), group: Py::new(py, group)? };
    let device = classes.ty.bind(py).call1((seed,))?;
    for ((_, shape), object) in classes.parts.iter().zip(filled) {
        if let Some(attribute) = &shape.attribute {
            set_slot(&device, attribute.bind(py), object.bind(py))?;
        }
    }
    Ok(device)
}
