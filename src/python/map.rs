//! `Map`: a device map, and the Python classes made from it.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use super::Model;
use super::classes::DeviceClass;
use super::errors::Failed;
use super::handle;
use super::register::access_name;
use crate::error::Error;
use crate::map::{Diagnostic, Map, OnWrite, Reserved};

/// A device map: what a device looks like. No hardware behind it.
#[pyclass(name = "Map", module = "devregs", frozen)]
pub(crate) struct PyMap {
    model: Model,
    warnings: Vec<Diagnostic>,
    classes: PyOnceLock<Arc<DeviceClass>>,
}

impl PyMap {
    pub fn new(model: Model, warnings: Vec<Diagnostic>) -> PyMap {
        PyMap { model, warnings, classes: PyOnceLock::new() }
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The Python classes of its devices, made once.
    pub fn classes(&self, py: Python<'_>) -> PyResult<&Arc<DeviceClass>> {
        self.classes.get_or_try_init(py, || DeviceClass::new(py, &self.model).map(Arc::new))
    }
}

#[pymethods]
impl PyMap {
    #[getter]
    fn name(&self) -> &str {
        &self.model.name
    }

    #[getter]
    fn title(&self) -> Option<&str> {
        self.model.title.as_deref()
    }

    #[getter]
    fn origin(&self) -> &str {
        &self.model.origin
    }

    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(ToString::to_string).collect()
    }

    fn to_json(&self) -> PyResult<String> {
        serde_json::to_string(&*self.model).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }

    /// What the map says of the register at a path.
    fn describe<'py>(&self, py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyDict>> {
        let found = self.model.resolve(path).map_err(|error| Failed(error.into()))?;
        let register = found.register;
        if let Some(field) = found.field {
            let (at, problem) = (path.to_string(), format!("{} is a field, not a register", field.name));
            return Err(Failed(Error::Value { at, problem }).into());
        }
        let reserved = match register.reserved {
            Reserved::Preserve => "preserve",
            Reserved::Zero => "zero",
            Reserved::One => "one",
        };
        let said = PyDict::new(py);
        said.set_item("path", &found.path)?;
        said.set_item("region", &self.model.regions[found.region].name)?;
        said.set_item("offset", found.offset)?;
        said.set_item("width", register.width.bits())?;
        said.set_item("access", access_name(register.access))?;
        said.set_item("read_effect", register.describe_read_effect())?;
        said.set_item("on_write", register.on_write.map(OnWrite::name))?;
        said.set_item("fifo", register.fifo)?;
        said.set_item("reserved", reserved)?;
        said.set_item("fields", PyTuple::new(py, self.classes(py)?.fields(&self.model, &found.path))?)?;
        Ok(said)
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle(format_args!(
            "the map {}, which devregs.load({:?}) makes there",
            self.model.name, self.model.origin
        )))
    }

    fn __repr__(&self) -> String {
        format!("<devregs.Map {} from {}>", self.model.name, self.model.origin.escape_debug())
    }
}

/// A map that was loaded already, or one by name or path.
pub(super) fn find<'py>(map: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyMap>> {
    if let Ok(map) = map.cast::<PyMap>() {
        return Ok(map.clone());
    }
    let py = map.py();
    let loaded = match map.extract::<String>() {
        Ok(name) => py.detach(|| Map::find(&name)),
        Err(_) => {
            let path = map.extract::<PathBuf>()?;
            py.detach(|| Map::load(&path))
        }
    }
    .map_err(|errors| Failed(errors.into()))?;
    Bound::new(py, PyMap::new(loaded.map, loaded.warnings))
}
