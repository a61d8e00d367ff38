//! What the objects that stand for parts of an open device say to Python's general questions.
//!
//! A copy of one is the same one, for there is one device. None can be pickled: another process has another device.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

/// For `__reduce_ex__`, which pickle and multiprocessing call.
pub(super) fn no_pickle(what: impl std::fmt::Display) -> PyErr {
    PyTypeError::new_err(format!(
        "cannot pickle {what}: it belongs to this process; pass its path or name, and open the device in the other process"
    ))
}

/// Refuses to compare with a number or text what has a value only when read. `how` says how to get that.
pub(super) fn no_value(other: &Bound<'_, PyAny>, what: &str, how: impl Fn() -> String) -> PyResult<()> {
    let number = other.is_instance_of::<PyInt>() || other.is_instance_of::<PyFloat>();
    if number || other.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!(
            "comparing {what} with {} would ask for the object itself, not for what it holds: {}",
            super::values::kind(other),
            how()
        )));
    }
    Ok(())
}

/// The answer to a comparison of two of a kind, which are equal or not, and have no order.
pub(super) fn same(py: Python<'_>, op: CompareOp, same: bool) -> Py<PyAny> {
    let truth = |value: bool| PyBool::new(py, value).to_owned().into_any().unbind();
    match op {
        CompareOp::Eq => truth(same),
        CompareOp::Ne => truth(!same),
        _ => py.NotImplemented(),
    }
}

/// The text that `in` asks for where names answer.
pub(super) fn name<'a>(asked: &'a Bound<'_, PyAny>, holder: &str) -> PyResult<&'a str> {
    match asked.cast::<PyString>() {
        Ok(text) => text.to_str(),
        Err(_) => Err(PyTypeError::new_err(format!(
            "{holder} answers `in` by name: a str is needed, not {}",
            super::values::kind(asked)
        ))),
    }
}
