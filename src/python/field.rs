//! `Field`: a descriptor in its register's class.

use std::sync::{Arc, OnceLock};

use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::errors::Failed;
use super::handle;
use super::members::Members;
use super::register::{PyRegister, Use, access_name, field_bits};
use crate::device::{Refusal, Register, RegisterClass};
use crate::error::Error;
use crate::map::{Field, OnRead, OnWrite, mask};

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
        if self.members.get(py).is_none() {
            // Made without a lock, for that runs Python code; where two threads make them, the first has it.
            let _ = self.members.set(py, Members::new(py, self.info())?);
        }
        Ok(self.members.get(py))
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
    fn values(&self, py: Python<'_>) -> PyResult<Option<Py<PyType>>> {
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

    fn __richcmp__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
        let (register, field) = (&slf.get().class.info().name, &slf.get().info().name);
        let how = || format!("read the field of a register, {register}.{field}, or ask for its .name");
        handle::no_value(other, &format!("the field {register}.{field}"), how)?;
        match other.cast::<PyField>() {
            Ok(other) => Ok(handle::same(other.py(), op, slf.is(other))),
            Err(_) => Ok(other.py().NotImplemented()),
        }
    }

    fn __hash__(slf: &Bound<'_, Self>) -> usize {
        slf.as_ptr().addr() >> 4
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle(format_args!("the field {}.{}", self.class.info().name, self.info().name)))
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
