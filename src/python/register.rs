//! `Register`: the base of every register's own class.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use super::errors::Failed;
use super::field::PyField;
use super::handle;
use super::interrupt::interruptible;
use super::keep::Keep;
use super::region::PyRegion;
use super::values;
use crate::device::{Refusal, Region, Register, RegisterClass};
use crate::error::Error;
use crate::map::{Access, Field, Value};

/// What all registers of one class share.
pub(crate) struct Shared {
    pub class: Arc<RegisterClass>,
    pub fields: Vec<Py<PyField>>,
    /// The fields' names, interned: the same objects that a call's keywords are.
    pub names: Vec<Py<PyString>>,
}

impl Shared {
    pub fn new(py: Python<'_>, class: Arc<RegisterClass>, fields: Vec<Py<PyField>>) -> Shared {
        let infos = &class.info().fields;
        let names = infos.iter().map(|field| PyString::intern(py, &field.name).unbind()).collect();
        Shared { class, fields, names }
    }
}

/// What a register's class is made an object from. Not to be had from Python.
#[pyclass(frozen)]
pub(crate) struct RegisterSeed {
    pub register: Register,
    pub shared: Arc<Shared>,
    pub keep: Keep,
}

/// A named register. Each has its own subclass with its fields as attributes.
#[pyclass(name = "Register", module = "devregs", frozen, subclass)]
pub(crate) struct PyRegister {
    pub register: Register,
    pub shared: Arc<Shared>,
    keep: Keep,
}

#[pymethods]
impl PyRegister {
    #[new]
    fn new(py: Python<'_>, seed: &Bound<'_, PyAny>) -> PyResult<PyRegister> {
        let seed = seed.cast::<RegisterSeed>().map_err(|_| {
            PyTypeError::new_err("registers are made by opening a device: devregs.open(map, source)")
        })?;
        let seed = seed.get();
        let (register, shared) = (seed.register.clone(), seed.shared.clone());
        Ok(PyRegister { register, shared, keep: seed.keep.clone_ref(py) })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.keep.traverse(&visit)
    }

    #[getter]
    fn name(&self) -> &str {
        &self.register.info().name
    }

    #[getter]
    fn path(&self) -> &str {
        self.register.path()
    }

    #[getter]
    fn offset(&self) -> u64 {
        self.register.offset()
    }

    #[getter]
    fn address(&self) -> Option<u64> {
        self.register.physical()
    }

    #[getter]
    fn region(&self, py: Python<'_>) -> PyRegion {
        PyRegion::new(self.register.region().clone(), self.keep.clone_ref(py))
    }

    #[getter]
    fn width(&self) -> u32 {
        self.register.info().width.bits()
    }

    #[getter]
    fn access(&self) -> &'static str {
        access_name(self.register.info().access)
    }

    #[getter]
    fn reset(&self) -> Option<u64> {
        self.register.info().reset.map(|reset| reset.value)
    }

    #[getter]
    fn doc(&self) -> Option<&str> {
        self.register.info().doc.as_deref()
    }

    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shared.fields)
    }

    #[getter]
    fn readable(&self) -> bool {
        self.register.info().access.readable()
    }

    #[getter]
    fn writable(&self) -> bool {
        self.register.info().access.writable()
    }

    #[getter]
    fn read_effect(&self) -> Option<String> {
        self.register.info().describe_read_effect()
    }

    #[pyo3(signature = (fields = None, /, *, timeout = None, interval = 0.0, **kwargs))]
    fn wait(
        &self,
        py: Python<'_>,
        fields: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        interval: f64,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<u64> {
        let (mask, bits) = self.gather(fields, kwargs, Use::Read)?;
        if mask == 0 {
            return Err(PyTypeError::new_err(format!(
                "{}.wait() needs a field to wait for: wait(NAME=VALUE)",
                self.register.at()
            )));
        }
        let timeout = values::seconds(timeout, "wait: timeout")?;
        let interval = values::seconds(Some(interval), "wait: interval")?.unwrap_or(Duration::MAX);
        interruptible(py, |go_on| self.register.wait(mask, bits, timeout, interval, go_on))
    }

    #[pyo3(signature = (value, /))]
    fn decode<'py>(&self, py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let value = values::number(value, self.width(), &|| self.register.at())?;
        let decoded = PyDict::new(py);
        for (field, name) in self.shared.fields.iter().zip(&self.shared.names) {
            decoded.set_item(name, field.get().value_of(py, value)?)?;
        }
        Ok(decoded)
    }

    #[pyo3(signature = (fields = None, /, **kwargs))]
    fn encode(&self, fields: Option<&Bound<'_, PyAny>>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<u64> {
        let (mask, bits) = self.gather(fields, kwargs, Use::Encode)?;
        Ok(self.register.encode(mask, bits))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, field: &str) -> PyResult<Bound<'py, PyAny>> {
        self.field(field)?.get().read(py, &self.register)
    }

    fn __setitem__(&self, field: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.field(field)?.get().write(&self.register, value)
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        let name = handle::name(name, &self.register.at())?;
        Ok(self.register.info().fields.iter().any(|field| field.name == name))
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
        let how = || format!("compare {}.read(), or one of its fields", self.register.at());
        handle::no_value(other, &format!("the register {}", self.register.at()), how)?;
        match other.cast::<PyRegister>() {
            Ok(other) => Ok(handle::same(other.py(), op, self.place() == other.get().place())),
            Err(_) => Ok(other.py().NotImplemented()),
        }
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.place().hash(&mut hasher);
        hasher.finish()
    }

    fn __bool__(&self) -> PyResult<bool> {
        let at = self.register.at();
        Err(PyTypeError::new_err(format!(
            "the register {at} is neither true nor false: ask what it holds, {at}.read() or a field, or whether it `is not None`"
        )))
    }

    /// A register of another class is another register.
    #[getter(__class__)]
    fn class<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyType> {
        slf.get_type()
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle(self.register.at()))
    }

    fn __repr__(&self) -> String {
        let address = match self.register.physical() {
            Some(address) => format!("at {address:#x}"),
            None => format!("at {}+{:#x}", self.register.region().info().name, self.register.offset()),
        };
        format!("<{} {}-bit {} {address}>", self.register.at(), self.width(), self.access())
    }

    fn __str__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("devregs.display")?.call_method1("format_register", (slf,))
    }

    fn _ipython_key_completions_(&self) -> Vec<&str> {
        self.register.info().fields.iter().map(|field| field.name.as_str()).collect()
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("devregs.display")?.call_method1("register_html", (slf,))
    }
}

/// What field values are for, which decides whose names they have.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Use {
    Read,
    Write,
    /// A value is only worked out: any field will do.
    Encode,
}

impl PyRegister {
    /// What tells it from every other register. An array may make its elements anew each time.
    fn place(&self) -> (*const Region, *const RegisterClass, u64) {
        let register = &self.register;
        (Arc::as_ptr(register.region()), Arc::as_ptr(&self.shared.class), register.offset())
    }

    pub fn write(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value = values::number(value, self.width(), &|| self.register.at())?;
        Ok(self.register.write(value).map_err(Failed)?)
    }

    pub fn modify(
        &self,
        fields: Option<&Bound<'_, PyAny>>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let (mask, bits) = self.gather(fields, kwargs, Use::Write)?;
        if mask == 0 {
            return Err(PyTypeError::new_err(format!(
                "{}.modify() needs a field to write: modify(NAME=VALUE)",
                self.register.at()
            )));
        }
        Ok(self.register.modify(mask, bits).map_err(Failed)?)
    }

    /// The mask and bits of fields given by a mapping and by keywords.
    fn gather(
        &self,
        fields: Option<&Bound<'_, PyAny>>,
        kwargs: Option<&Bound<'_, PyDict>>,
        purpose: Use,
    ) -> PyResult<(u64, u64)> {
        let (mut mask, mut bits) = (0, 0);
        let mut add = |name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>| -> PyResult<()> {
            let name = name.extract::<String>()?;
            let field = self.register.field(&name).map_err(Failed)?;
            let refused = match purpose {
                Use::Read if !field.access.readable() => Some(Refusal::WRITE_ONLY),
                Use::Write if !field.access.writable() => Some(Refusal::READ_ONLY_FIELD),
                _ => None,
            };
            if let Some(reason) = refused {
                let at = format!("{}.{name}", self.register.at());
                return Err(Failed(Error::Refused { at, reason: reason.into() }).into());
            }
            if mask & field.mask() != 0 {
                let problem = format!("{name} is given twice, or shares bits with another field given");
                return Err(Failed(Error::Value { at: self.register.at(), problem }).into());
            }
            mask |= field.mask();
            bits |= field_bits(&self.register, field, value, purpose)? << field.lsb;
            Ok(())
        };
        if let Some(fields) = fields {
            let copy = PyDict::new(fields.py());
            copy.as_any().call_method1("update", (fields,))?;
            copy.iter().try_for_each(|(name, value)| add(&name, &value))?;
        }
        if let Some(kwargs) = kwargs {
            kwargs.iter().try_for_each(|(name, value)| add(&name, &value))?;
        }
        Ok((mask, bits))
    }

    fn field(&self, name: &str) -> PyResult<&Py<PyField>> {
        let info = self.register.field(name).map_err(Failed)?;
        let found = self.shared.fields.iter().find(|field| std::ptr::eq(field.get().info(), info));
        found.ok_or_else(|| PyTypeError::new_err(format!("{} has no field {name}", self.register.at())))
    }
}

/// The number of a field's value, which is a number that fits or one of its names.
pub(crate) fn field_bits(
    register: &Register,
    field: &Field,
    value: &Bound<'_, PyAny>,
    purpose: Use,
) -> PyResult<u64> {
    let at = || format!("{}.{}", register.at(), field.name);
    let Ok(name) = value.cast::<PyString>() else {
        return values::number(value, field.width, &at);
    };
    let name = name.to_str()?;
    let known = match purpose {
        Use::Read => &field.values,
        Use::Write | Use::Encode => field.names_for_write(),
    };
    named(known.iter(), name, &at)
}

/// The number of a name among those of a field's values.
pub(crate) fn named<'a>(
    known: impl Iterator<Item = &'a Value> + Clone,
    name: &str,
    at: &dyn Fn() -> String,
) -> PyResult<u64> {
    if let Some(value) = known.clone().find(|value| value.name == name) {
        return Ok(value.value);
    }
    let names: Vec<_> = known.map(|value| value.name.as_str()).collect();
    let problem = match names.is_empty() {
        true => format!("the map gives its numbers no names, so {name:?} is none"),
        false => format!("{name:?} is none of its values: {}", names.join(", ")),
    };
    Err(Failed(Error::Value { at: at(), problem }).into())
}

/// As map files spell it.
pub(crate) fn access_name(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "ro",
        Access::WriteOnly => "wo",
        Access::ReadWrite => "rw",
        Access::ReadWriteOnce => "rw-once",
        Access::WriteOnce => "wo-once",
    }
}
