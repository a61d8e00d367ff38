//! The named values of a field, as an enumeration of Python's.
#![allow(unsafe_code)] // A slot of a class, which only CPython's own structure reaches.

use std::collections::HashMap;
use std::ffi::c_int;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::map::{Field, Value};

/// A field's values as an IntEnum.
pub(crate) struct Members {
    pub class: Py<PyType>,
    /// Of the small values, by value: a look at a table is all a read can afford.
    small: Vec<Option<Py<PyAny>>>,
    large: HashMap<u64, Py<PyAny>>,
}

/// Values below this are looked up in a table.
const SMALL: usize = 256;

impl Members {
    /// Names that an enum cannot have stay reachable by value only.
    pub fn new(py: Python<'_>, field: &Field) -> PyResult<Members> {
        let names = PyDict::new(py);
        for Value { name, value, .. } in &field.values {
            names.set_item(name, value)?;
        }
        let kwargs = PyDict::new(py);
        kwargs.set_item("module", "devregs")?;
        let base = py.import("devregs._values")?.getattr("NamedValue")?;
        let class = base.call((&field.name, names), Some(&kwargs))?.cast_into::<PyType>()?;
        never_equals_text(&class);
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

/// Members are compared as ints are, at the cost of ints: a method written in Python would cost ten times as much.
fn never_equals_text(class: &Bound<'_, PyType>) {
    // SAFETY: the class was just made and nobody else has it; the function keeps the contract of the slot.
    unsafe {
        let class = class.as_type_ptr();
        (*class).tp_richcompare = Some(compare);
        ffi::PyType_Modified(class);
    }
}

/// The slot: what int says, unless the other is text.
unsafe extern "C" fn compare(
    slf: *mut ffi::PyObject,
    other: *mut ffi::PyObject,
    op: c_int,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls its slots on an attached thread with two live objects, and int always has this slot.
    unsafe {
        if ffi::PyUnicode_Check(other) == 0 {
            return match ffi::PyLong_Type.tp_richcompare {
                Some(of_int) => of_int(slf, other, op),
                None => ffi::Py_NewRef(ffi::Py_NotImplemented()),
            };
        }
        let py = Python::assume_attached();
        let member = Bound::from_borrowed_ptr(py, slf);
        let field = member.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        PyTypeError::new_err(format!(
            "a value of the field {field} is a number, and never equals text: compare its .name"
        ))
        .restore(py);
        std::ptr::null_mut()
    }
}
