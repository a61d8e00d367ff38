//! `Field`: a descriptor in its register's class.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use super::errors::Failed;
use super::register::{PyRegister, Use, access_name, field_bits};
use crate::device::{Refusal, Register, RegisterClass};
use crate::error::Error;
use crate::map::{Field, OnRead, OnWrite, Value, mask};

/// One field of a register class.
#[pyclass(name = "Field", module = "devregs", frozen)]
pub(crate) struct PyField {
    pub lsb: u32,
    /// Of the field's width, at bit 0.
    pub low_mask: u64,
    pub readable: bool,
    pub writable: bool,
    /// The map names its numbers.
    pub named: bool,
    /// The class it belongs to.
    pub owner: OnceLock<Py<PyType>>,
    /// The members for its numbers, made when first asked for.
    members: PyOnceLock<Members>,
    class: Arc<RegisterClass>,
    index: usize,
}

/// A field's values as an IntEnum.
pub(crate) struct Members {
    class: Py<PyAny>,
    /// Of the small values, by value: a look at a table is all a read can afford.
    small: Vec<Option<Py<PyAny>>>,
    large: HashMap<u64, Py<PyAny>>,
}

/// Values below this are looked up in a table.
const SMALL: usize = 256;

impl Members {
    /// The member of a value, borrowed.
    #[inline(always)]
    pub fn find(&self, value: u64) -> Option<&Py<PyAny>> {
        match usize::try_from(value) {
            Ok(small) if small < self.small.len() => self.small[small].as_ref(),
            _ if self.large.is_empty() => None,
            _ => self.large.get(&value),
        }
    }
}

impl PyField {
    pub fn new(class: Arc<RegisterClass>, index: usize) -> PyField {
        let register = class.info();
        let field = &register.fields[index];
        PyField {
            lsb: field.lsb,
            low_mask: mask(field.width),
            readable: register.access.readable() && field.access.readable(),
            writable: register.access.writable() && field.access.writable(),
            named: !field.values.is_empty(),
            owner: OnceLock::new(),
            members: PyOnceLock::new(),
            class,
            index,
        }
    }

    pub fn set_owner(&self, py: Python<'_>, owner: &Py<PyType>) {
        let _ = self.owner.set(owner.clone_ref(py));
    }

    pub fn info(&self) -> &Field {
        &self.class.info().fields[self.index]
    }

    /// The field's part of a register's value: the member of its enum, or a plain number.
    pub fn value_of<'py>(&self, py: Python<'py>, register: u64) -> PyResult<Bound<'py, PyAny>> {
        let value = register >> self.lsb & self.low_mask;
        if let Some(members) = self.members(py)? {
            if let Some(member) = members.find(value) {
                return Ok(member.bind(py).clone());
            }
        }
        Ok(value.into_pyobject(py)?.into_any())
    }

    pub fn read<'py>(&self, py: Python<'py>, register: &Register) -> PyResult<Bound<'py, PyAny>> {
        if !self.info().access.readable() {
            return Err(self.refused(register, Refusal::WRITE_ONLY));
        }
        let value = register.read_bits(self.info().mask()).map_err(Failed)?;
        self.value_of(py, value)
    }

    pub fn write(&self, register: &Register, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let field = self.info();
        if !field.access.writable() {
            return Err(self.refused(register, Refusal::READ_ONLY_FIELD));
        }
        let bits = field_bits(register, field, value, Use::Write)? << field.lsb;
        Ok(register.modify(field.mask(), bits).map_err(Failed)?)
    }

    /// The members, where they were asked for before.
    #[inline(always)]
    pub fn members_made(&self, py: Python<'_>) -> Option<&Members> {
        self.members.get(py)
    }

    fn members(&self, py: Python<'_>) -> PyResult<Option<&Members>> {
        if !self.named {
            return Ok(None);
        }
        self.members.get_or_try_init(py, || members(py, self.info())).map(Some)
    }

    fn refused(&self, register: &Register, reason: &str) -> PyErr {
        let at = format!("{}.{}", register.at(), self.info().name);
        Failed(Error::Refused { at, reason: reason.into() }).into()
    }

    fn register<'a>(&self, object: &'a Bound<'_, PyAny>) -> PyResult<&'a PyRegister> {
        let register = object.cast::<PyRegister>().map(Bound::get);
        register.ok().filter(|register| Arc::ptr_eq(&register.shared.class, &self.class)).ok_or_else(|| {
            PyTypeError::new_err(format!("{} is a field of another register", self.info().name))
        })
    }
}

/// The IntEnum of a field. Names that an enum cannot have stay reachable by value only.
fn members(py: Python<'_>, field: &Field) -> PyResult<Members> {
    let names = PyDict::new(py);
    for Value { name, value, .. } in &field.values {
        names.set_item(name, value)?;
    }
    let kwargs = PyDict::new(py);
    kwargs.set_item("module", "devregs")?;
    let class = py.import("enum")?.getattr("IntEnum")?.call((&field.name, names), Some(&kwargs))?;
    let mut made = Members { class: class.clone().unbind(), small: Vec::new(), large: HashMap::new() };
    for &Value { value, .. } in &field.values {
        let member = class.call1((value,))?.unbind();
        match usize::try_from(value) {
            Ok(small) if small < SMALL => {
                if made.small.len() <= small {
                    made.small.resize_with(small + 1, || None);
                }
                made.small[small] = Some(member);
            }
            _ => {
                made.large.insert(value, member);
            }
        }
    }
    Ok(made)
}

#[pymethods]
impl PyField {
    #[getter]
    fn name(&self) -> &str {
        &self.info().name
    }

    #[getter]
    fn lsb(&self) -> u32 {
        self.lsb
    }

    #[getter]
    fn width(&self) -> u32 {
        self.info().width
    }

    #[getter]
    fn access(&self) -> &'static str {
        access_name(self.info().access)
    }

    #[getter]
    fn on_read(&self) -> Option<&'static str> {
        self.info().on_read.map(OnRead::name)
    }

    #[getter]
    fn on_write(&self) -> Option<&'static str> {
        self.info().on_write.map(OnWrite::name)
    }

    #[getter]
    fn self_clear(&self) -> bool {
        self.info().self_clear
    }

    #[getter]
    fn doc(&self) -> Option<&str> {
        self.info().doc.as_deref()
    }

    #[getter]
    fn values(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.members(py)?.map(|members| members.class.clone_ref(py)))
    }

    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        instance: Option<&Bound<'py, PyAny>>,
        owner: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = owner;
        let field = slf.get();
        match instance {
            Some(object) if !object.is_none() => field.read(slf.py(), &field.register(object)?.register),
            _ => Ok(slf.clone().into_any()),
        }
    }

    fn __set__(&self, instance: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.write(&self.register(instance)?.register, value)
    }

    /// Python's own completer evaluates every attribute but properties, and evaluating this one is an access.
    #[getter(__class__)]
    fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("builtins")?.getattr("property")
    }

    fn __repr__(&self) -> String {
        let field = self.info();
        let bits = match field.width {
            1 => field.lsb.to_string(),
            _ => format!("{}:{}", field.msb(), field.lsb),
        };
        format!("<devregs.Field {}.{} [{bits}] {}>", self.class.info().name, field.name, self.access())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // The class owns the field and the field its class: the collector must see the ring.
        visit.call(self.owner.get())
    }
}
