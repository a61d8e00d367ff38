//! `Map`: a device map, and the Python classes made from it.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::Model;
use super::classes::DeviceClass;
use super::errors::Failed;
use crate::map::{Diagnostic, Map};

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
