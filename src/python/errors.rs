//! The one place where errors become Python exceptions.

use nix::libc;
use pyo3::exceptions::{
    PyAssertionError, PyBufferError, PyException, PyKeyboardInterrupt, PyOSError, PyPermissionError,
    PyTimeoutError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::error::Error;

/// An error on its way to Python.
#[derive(Debug)]
pub(crate) struct Failed(pub Error);

struct Kinds {
    base: Py<PyType>,
    map: Py<PyType>,
    access: Py<PyType>,
    bus: Py<PyType>,
    source: Py<PyType>,
    timeout: Py<PyType>,
    unexpected: Py<PyType>,
}

static KINDS: PyOnceLock<Kinds> = PyOnceLock::new();

/// Adds the exception classes to the module. There is one set of them in a process: a module that is imported anew has
/// those that the one before had, so that `except` catches what is raised by either.
pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let kinds = KINDS.get_or_try_init(py, || make(py))?;
    module.add("DevregsError", &kinds.base)?;
    module.add("MapError", &kinds.map)?;
    module.add("AccessError", &kinds.access)?;
    module.add("BusError", &kinds.bus)?;
    module.add("SourceError", &kinds.source)?;
    module.add("WaitTimeout", &kinds.timeout)?;
    module.add("ExpectationError", &kinds.unexpected)
}

fn make(py: Python<'_>) -> PyResult<Kinds> {
    let make = |name: &str, doc: &str, bases: &[&Bound<'_, PyType>]| -> PyResult<Py<PyType>> {
        let names = PyDict::new(py);
        names.set_item("__module__", "devregs")?;
        names.set_item("__doc__", doc)?;
        let made = py.get_type::<PyType>().call1((name, PyTuple::new(py, bases)?, names))?;
        Ok(made.cast_into::<PyType>()?.unbind())
    };
    let base = make("DevregsError", "Base of every error of devregs.", &[&py.get_type::<PyException>()])?;
    let make =
        |name: &str, doc: &str, standard: Bound<'_, PyType>| make(name, doc, &[base.bind(py), &standard]);
    let kinds = Kinds {
        base: base.clone_ref(py),
        map: make(
            "MapError",
            "A map is wrong, or a name, path or value does not fit the map.",
            py.get_type::<PyValueError>(),
        )?,
        access: make(
            "AccessError",
            "The map, or the state of the device object, forbids the access.",
            py.get_type::<PyPermissionError>(),
        )?,
        bus: make(
            "BusError",
            "The bus answered an access with a fault, or a PCI function that is not there with all ones.\n\nAttributes: at, offset, address, width, write; signal and code, None where there was no fault; reason, where the system tells why: 'removed', 'silent', 'asleep', 'not-decoding' or 'replaced'.",
            py.get_type::<PyOSError>(),
        )?,
        source: make(
            "SourceError",
            "A source cannot be opened, or went away. `errno` is set where the system gave one.\n\nAttributes: source, problem, remedy; each None where not known.",
            py.get_type::<PyOSError>(),
        )?,
        timeout: make("WaitTimeout", "A wait ran out of time.", py.get_type::<PyTimeoutError>())?,
        unexpected: make(
            "ExpectationError",
            "An access is not the one that was expected or recorded, or one that was did not come.",
            py.get_type::<PyAssertionError>(),
        )?,
    };
    for name in ["source", "problem", "remedy"] {
        kinds.source.bind(py).setattr(name, py.None())?;
    }
    Ok(kinds)
}

impl From<Failed> for PyErr {
    fn from(Failed(error): Failed) -> PyErr {
        Python::attach(|py| raise(py, &error).unwrap_or_else(|error| error))
    }
}

fn raise(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let text = error.to_string();
    let Some(kinds) = KINDS.get(py) else {
        return Ok(PyException::new_err(text));
    };
    let made = match error {
        Error::Map(_) | Error::Path(_) | Error::Value { .. } => kinds.map.bind(py).call1((text,))?,
        Error::Refused { .. } => kinds.access.bind(py).call1((text,))?,
        Error::Interrupted => return Ok(PyKeyboardInterrupt::new_err(())),
        Error::Exported { .. } => return Ok(PyBufferError::new_err(text)),
        Error::Timeout { .. } => kinds.timeout.bind(py).call1((text,))?,
        Error::Unexpected(_) => kinds.unexpected.bind(py).call1((text,))?,
        // What a hook raised comes out of the access it ran in.
        Error::Hook(error) => {
            return Ok(match error.downcast_ref::<PyErr>() {
                Some(raised) => raised.clone_ref(py),
                None => PyException::new_err(text),
            });
        }
        Error::Source(source) => {
            let made = match source.errno {
                Some(errno) => kinds.source.bind(py).call1((errno, text))?,
                None => kinds.source.bind(py).call1((text,))?,
            };
            made.setattr("source", &source.name)?;
            made.setattr("problem", &source.problem)?;
            made.setattr("remedy", &source.remedy)?;
            made
        }
        Error::Bus(fault) => {
            let made = kinds.bus.bind(py).call1((libc::EFAULT, text))?;
            made.setattr("at", &fault.at)?;
            made.setattr("offset", fault.offset)?;
            made.setattr("address", fault.physical)?;
            made.setattr("width", fault.width.bits())?;
            made.setattr("write", fault.write)?;
            made.setattr("signal", fault.fault.map(|fault| fault.signal))?;
            made.setattr("code", fault.fault.map(|fault| fault.code))?;
            made.setattr("reason", fault.absence.as_ref().map(|absence| absence.word))?;
            made
        }
    };
    Ok(PyErr::from_value(made))
}
