//! Python objects to numbers, and why not.

use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use super::errors::Failed;
use crate::error::Error;
use crate::map::Width;

/// A number of at most `bits` bits; anything with `__index__`.
pub(super) fn number(value: &Bound<'_, PyAny>, bits: u32, at: &dyn Fn() -> String) -> PyResult<u64> {
    let index = index(value, at)?;
    let max = crate::map::mask(bits);
    match index.extract::<u64>() {
        Ok(number) if number <= max => Ok(number),
        _ => Err(Failed(Error::Value {
            at: at(),
            problem: format!("{} does not fit {bits} bits: 0 to {max:#x}", shown(&index)),
        })
        .into()),
    }
}

/// An offset or size in bytes.
pub(super) fn offset(value: &Bound<'_, PyAny>, at: &dyn Fn() -> String) -> PyResult<u64> {
    let index = index(value, at)?;
    index.extract::<u64>().map_err(|_| {
        let problem = format!("{} is no offset or size in bytes", shown(&index));
        Failed(Error::Value { at: at(), problem }).into()
    })
}

/// A width in bits, if one was given.
pub(super) fn width(value: Option<&Bound<'_, PyAny>>, at: &dyn Fn() -> String) -> PyResult<Option<Width>> {
    let Some(value) = value else { return Ok(None) };
    let index = index(value, at)?;
    match index.extract::<u64>().ok().and_then(Width::from_bits) {
        Some(width) => Ok(Some(width)),
        None => {
            let problem = format!("a width is 8, 16, 32 or 64 bits, not {}", shown(&index));
            Err(Failed(Error::Value { at: at(), problem }).into())
        }
    }
}

/// A time in seconds, if one was given; infinity is none.
pub(super) fn seconds(value: Option<f64>, what: &str) -> PyResult<Option<Duration>> {
    match value {
        None => Ok(None),
        Some(seconds) if seconds == f64::INFINITY => Ok(None),
        Some(seconds) => Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| {
            let problem = format!("{seconds:?} is no time in seconds");
            Failed(Error::Value { at: what.into(), problem }).into()
        }),
    }
}

/// The integer that an object is or stands for. What its `__index__` raises comes through.
pub(super) fn index<'py>(value: &Bound<'py, PyAny>, at: &dyn Fn() -> String) -> PyResult<Bound<'py, PyAny>> {
    if value.is_instance_of::<PyInt>() {
        return Ok(value.clone());
    }
    let index = match value.get_type().getattr_opt("__index__")? {
        Some(method) => method.call1((value,))?,
        None => value.clone(),
    };
    match index.is_instance_of::<PyInt>() {
        true => Ok(index),
        false => Err(PyTypeError::new_err(format!("{}: an integer is needed, not {}", at(), kind(value)))),
    }
}

/// The value as a person reads it: hexadecimal where it is large.
pub(super) fn shown(index: &Bound<'_, PyAny>) -> String {
    let text = index.py().import("builtins").and_then(|b| b.call_method1("hex", (index,)));
    match text {
        // CPython itself limits how many digits it prints; so do we.
        Ok(text) if text.len().is_ok_and(|length| length < 80) => text.to_string(),
        _ => "this very large number".into(),
    }
}

/// The type's name, and the value where it is short text.
pub(super) fn kind(value: &Bound<'_, PyAny>) -> String {
    let name = value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
    match value.cast::<PyString>() {
        Ok(text) => format!("{name} {:?}", text.to_string_lossy()),
        Err(_) => name,
    }
}
