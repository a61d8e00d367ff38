//! Notices when Python code sets signal handlers or blocks signals, so that the fault guard can be put back at once.
//!
//! Few functions of CPython do either, and none of them tells anybody. Each is an object that points to its C function;
//! it gets a pointer to one of ours, which calls the other and then looks after the guard. The objects stay the same, and
//! so do all references to them that others have taken before, their names, signatures and results.
//!
//! What C code does by itself is not seen here: that is found at the next open, view, wait or long block, and warned of.
#![allow(unsafe_code)] // Function objects of CPython.

use std::ptr;
use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeWarning;
use pyo3::ffi::{self, Py_ssize_t};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::access::{displaced, renew_guard, step_aside};

type Object = *mut ffi::PyObject;

/// The functions: module and name, and whether they remember the handler that they replace: they must see that of others.
const NOTICED: [(&str, &str, bool); 6] = [
    ("faulthandler", "enable", true),
    ("faulthandler", "disable", true),
    ("faulthandler", "register", true),
    ("faulthandler", "unregister", true),
    ("_signal", "signal", false),
    ("_signal", "pthread_sigmask", false),
];

/// What the function of this index was, once it is noticed.
static BEFORE: [OnceLock<Definition>; NOTICED.len()] = [const { OnceLock::new() }; NOTICED.len()];

/// What CPython knows of a function.
#[derive(Clone, Copy)]
struct Definition(ffi::PyMethodDef);

// SAFETY: it points at static strings and functions, and nobody changes it.
unsafe impl Send for Definition {}
// SAFETY: nothing in it can be changed through a shared reference.
unsafe impl Sync for Definition {}

/// Notices the functions from now on.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    static DONE: PyOnceLock<()> = PyOnceLock::new();
    DONE.get_or_try_init(py, || {
        notice::<0>(py)?;
        notice::<1>(py)?;
        notice::<2>(py)?;
        notice::<3>(py)?;
        notice::<4>(py)?;
        notice::<5>(py)
    })?;
    Ok(())
}

/// Warns where a handler of others was found in the place of the guard's.
pub(super) fn warn(py: Python<'_>) -> PyResult<()> {
    let Some(who) = displaced() else { return Ok(()) };
    let text = format!(
        "SIGBUS or SIGSEGV had {who} where the fault guard of devregs should be, which is back now: a bad access meanwhile would have ended this process. Call devregs.keep_guard() behind what sets such handlers\0"
    );
    let text = std::ffi::CString::from_vec_with_nul(text.into_bytes()).unwrap_or_default();
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1)
}

fn notice<const N: usize>(py: Python<'_>) -> PyResult<()> {
    let (module, name, _) = NOTICED[N];
    // An interpreter may be built without it, or somebody has put something else in its place.
    let Ok(function) = py.import(module).and_then(|module| module.getattr(name)) else { return Ok(()) };
    // SAFETY: an object of this very type has that structure. The new definition lives for ever, and calls by the same
    // convention; who reads the pointer at this moment gets one or the other.
    unsafe {
        if ffi::PyCFunction_CheckExact(function.as_ptr()) == 0 {
            return Ok(());
        }
        let object = function.as_ptr().cast::<ffi::PyCFunctionObject>();
        let definition = *(*object).m_ml;
        let ours = match definition.ml_flags {
            ffi::METH_NOARGS | ffi::METH_O | ffi::METH_VARARGS => {
                ffi::PyMethodDefPointer { PyCFunction: plain::<N> }
            }
            VARARGS_KEYWORDS => ffi::PyMethodDefPointer { PyCFunctionWithKeywords: keywords::<N> },
            ffi::METH_FASTCALL => ffi::PyMethodDefPointer { PyCFunctionFast: fast::<N> },
            FAST_KEYWORDS => ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: fast_keywords::<N> },
            _ => return Ok(()),
        };
        let before = BEFORE[N].get_or_init(|| Definition(definition));
        let made = Box::new(ffi::PyMethodDef { ml_meth: ours, ..before.0 });
        (&raw mut (*object).m_ml).write(Box::into_raw(made));
    }
    Ok(())
}

const VARARGS_KEYWORDS: i32 = ffi::METH_VARARGS | ffi::METH_KEYWORDS;
const FAST_KEYWORDS: i32 = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;

/// Calls what was there before and then looks after the guard, whether or not that failed.
#[inline(always)]
fn around<const N: usize>(call: impl FnOnce(ffi::PyMethodDefPointer) -> Object) -> Object {
    let Some(before) = BEFORE[N].get() else { return ptr::null_mut() };
    let aside = if NOTICED[N].2 { step_aside() } else { Ok(()) };
    let result = call(before.0.ml_meth);
    match aside.and(renew_guard()) {
        Err(error) if !result.is_null() => {
            // SAFETY: called by CPython, with the interpreter attached; the result is ours to give back.
            unsafe {
                ffi::Py_DECREF(result);
                PyErr::from(error).restore(Python::assume_attached());
            }
            ptr::null_mut()
        }
        // Where the call has failed, that is what is told.
        _ => result,
    }
}

unsafe extern "C" fn plain<const N: usize>(slf: Object, args: Object) -> Object {
    // SAFETY: the convention that `notice` saw in the definition, and the arguments of the call.
    around::<N>(|before| unsafe { (before.PyCFunction)(slf, args) })
}

unsafe extern "C" fn keywords<const N: usize>(slf: Object, args: Object, names: Object) -> Object {
    // SAFETY: the convention that `notice` saw in the definition, and the arguments of the call.
    around::<N>(|before| unsafe { (before.PyCFunctionWithKeywords)(slf, args, names) })
}

unsafe extern "C" fn fast<const N: usize>(slf: Object, args: *mut Object, count: Py_ssize_t) -> Object {
    // SAFETY: the convention that `notice` saw in the definition, and the arguments of the call.
    around::<N>(|before| unsafe { (before.PyCFunctionFast)(slf, args, count) })
}

unsafe extern "C" fn fast_keywords<const N: usize>(
    slf: Object,
    args: *const Object,
    count: Py_ssize_t,
    names: Object,
) -> Object {
    // SAFETY: the convention that `notice` saw in the definition, and the arguments of the call.
    around::<N>(|before| unsafe { (before.PyCFunctionFastWithKeywords)(slf, args, count, names) })
}
