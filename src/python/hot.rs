//! The short way of the calls a script makes a million times: read, write, modify, a field read and a field write.
//!
//! pyo3's own wrappers cost more than the access (tracking the interpreter, parsing arguments, keyword dictionaries).
//! So these few are C functions, put in the place of the methods of `Register` and the slots of `Field`. Each does the
//! usual case, with checks the class has worked out before, and leaves everything else (another type of value, a closed
//! device, what the map forbids, a fault) to the long way, which is ordinary code. What is done and what is refused
//! is the same on both ways; only the nanoseconds differ.
#![allow(unsafe_code)] // Raw entry points of CPython.

use std::ffi::{CStr, c_int};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};
use pyo3::{PyClass, PyTypeInfo};

use super::errors::Failed;
use super::field::PyField;
use super::register::PyRegister;
use crate::access::Fault;
use crate::device::Register;
use crate::error::Error;

type Object = *mut ffi::PyObject;

/// Refuses every interpreter but the main one: classes and exceptions are made once per process, and an attached thread
/// of another interpreter would wait for itself.
pub(super) fn check_interpreter() -> PyResult<()> {
    // SAFETY: a module is initialized on an attached thread.
    match unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) } {
        0 => Ok(()),
        _ => Err(PyImportError::new_err(
            "devregs does not work in a subinterpreter: its classes belong to the main one; use threads or processes",
        )),
    }
}

/// A thread that waits for a lock lets the interpreter go: who holds it may be running Python code.
fn rest() {
    const SHORT: std::time::Duration = std::time::Duration::from_micros(20);
    // SAFETY: questions that any thread may ask while there is an interpreter, which the first of them is about.
    // PyGILState_Check says yes to every thread once there has been a subinterpreter; and up to CPython 3.11 the current
    // state is that of whichever thread has the interpreter, so it is compared with this thread's own.
    let attached = unsafe {
        ffi::Py_IsInitialized() != 0 && {
            let current = ffi::compat::PyThreadState_GetUnchecked();
            !current.is_null() && current == ffi::PyGILState_GetThisThreadState()
        }
    };
    if !attached {
        std::thread::sleep(SHORT);
        return;
    }
    // SAFETY: the thread is attached, as just asked.
    unsafe { Python::assume_attached() }.detach(|| std::thread::sleep(SHORT));
}

/// Puts the functions where CPython looks for them.
pub(super) fn install(py: Python<'_>) -> PyResult<()> {
    let _ = crate::access::REST.set(rest);
    add_methods(&py.get_type::<PyRegister>())?;
    let field = PyField::type_object_raw(py);
    // SAFETY: the type is ours and ready, nobody has an object of it yet, and the new functions keep the slots'
    // contract: they hand what they do not know to the functions that were there.
    unsafe {
        if let (Some(get), Some(set)) = ((*field).tp_descr_get, (*field).tp_descr_set) {
            let _ = LONG_WAY.set(py, (get, set));
            (*field).tp_descr_get = Some(field_get);
            (*field).tp_descr_set = Some(field_set);
            ffi::PyType_Modified(field);
        }
    }
    Ok(())
}

const READ: &CStr = c"read($self, /)\n--\n\nRead the register: one load.";
const WRITE: &CStr = c"write($self, value, /)\n--\n\nWrite the register: one store, no load.";
const MODIFY: &CStr = c"modify($self, fields=None, /, **kwargs)\n--\n\nWrite some fields and keep the others: one load and one store.";

/// The slots of `Field` as pyo3 made them.
static LONG_WAY: PyOnceLock<(ffi::descrgetfunc, ffi::descrsetfunc)> = PyOnceLock::new();

/// Gives a register's class its own `read`, `write` and `modify`: CPython calls a method the short way only on objects
/// of the very class that the method was made for.
pub(super) fn add_methods(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    for (name, definition) in METHODS.get_or_init(py, definitions) {
        // SAFETY: the class is alive and a Register, and the definition lives for ever.
        let descriptor = unsafe {
            let definition = ptr::from_ref(&definition.0).cast_mut();
            Bound::from_owned_ptr_or_err(py, ffi::PyDescr_NewMethod(class.as_ptr().cast(), definition))?
        };
        class.setattr(name, descriptor)?;
    }
    Ok(())
}

/// What CPython needs to know of a method for as long as the process lives.
struct Definition(ffi::PyMethodDef);

// SAFETY: it points at static strings and functions, and nobody changes it.
unsafe impl Send for Definition {}
// SAFETY: as above.
unsafe impl Sync for Definition {}

static METHODS: PyOnceLock<[(Py<PyString>, Definition); 3]> = PyOnceLock::new();

fn definitions() -> [(Py<PyString>, Definition); 3] {
    let make = |name: &'static CStr, flags, ml_meth, doc: &'static CStr| {
        let interned = Python::attach(|py| PyString::intern(py, &name.to_string_lossy()).unbind());
        let (ml_name, ml_doc) = (name.as_ptr(), doc.as_ptr());
        (interned, Definition(ffi::PyMethodDef { ml_name, ml_meth, ml_flags: flags, ml_doc }))
    };
    let modify = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: modify };
    [
        make(c"read", ffi::METH_NOARGS, ffi::PyMethodDefPointer { PyCFunction: read }, READ),
        make(c"write", ffi::METH_O, ffi::PyMethodDefPointer { PyCFunction: write }, WRITE),
        make(c"modify", ffi::METH_FASTCALL | ffi::METH_KEYWORDS, modify, MODIFY),
    ]
}

/// Fills a slot of a group or device, whose own `__setattr__` refuses everybody.
pub(super) fn set_slot(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    // SAFETY: three live objects.
    let done = unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) };
    if done == 0 { Ok(()) } else { Err(PyErr::fetch(object.py())) }
}

/// The Rust value of an object.
///
/// # Safety
/// `object` is a live instance of `T`, which outlives `'a`; the thread is attached to the interpreter.
#[inline(always)]
unsafe fn get<'a, T: PyClass<Frozen = True> + Sync>(object: Object) -> &'a T {
    // SAFETY: the caller's promise. No reference is counted, so none may be dropped.
    unsafe {
        let py = Python::assume_attached();
        let object = ManuallyDrop::new(Bound::from_owned_ptr(py, object));
        &*ptr::from_ref(object.cast_unchecked::<T>().get())
    }
}

/// The number of an exact int that fits 64 bits; None for whatever else.
///
/// # Safety
/// `value` is a live object; the thread is attached and no exception is set.
#[inline(always)]
unsafe fn number(value: Object) -> Option<u64> {
    // SAFETY: the caller's promise.
    unsafe {
        if ffi::PyLong_CheckExact(value) == 0 {
            return None;
        }
        let number = ffi::PyLong_AsUnsignedLongLong(value);
        if number == u64::MAX && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(number)
    }
}

/// Does the long way. A panic becomes an exception, as pyo3 makes it one.
#[cold]
#[inline(never)]
fn long_way<T>(failed: T, way: impl FnOnce(Python<'_>) -> PyResult<T>) -> T {
    let attached = |py: Python<'_>| {
        let done = catch_unwind(AssertUnwindSafe(|| way(py)));
        match done.unwrap_or_else(|_| Err(PanicException::new_err("devregs panicked"))) {
            Ok(value) => value,
            Err(error) => {
                error.restore(py);
                failed
            }
        }
    };
    // SAFETY: CPython calls its functions and slots on an attached thread. While it shuts down too, where a checked
    // attach() refuses by a panic: a `__del__` that turns the device off must work.
    unsafe { Python::attach_unchecked(attached) }
}

/// An access that somebody listens to, or a mock answers: the same access by ordinary code. None where an exception is
/// set.
#[inline(never)]
fn tapped<T>(access: impl FnOnce() -> Result<T, Error>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(access)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => long_way(None, |_| Err(Failed(error).into())),
        Err(_) => long_way(None, |_| Err(PanicException::new_err("devregs panicked"))),
    }
}

#[inline(always)]
fn none() -> Object {
    // SAFETY: None lives as long as the interpreter; one more reference to it is counted.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        none
    }
}

#[inline(always)]
fn int(value: u64) -> Object {
    // SAFETY: the callers are attached to the interpreter.
    unsafe {
        match std::ffi::c_long::try_from(value) {
            // Half the cost of the unsigned one, and most values fit.
            Ok(value) => ffi::PyLong_FromLong(value),
            Err(_) => ffi::PyLong_FromUnsignedLongLong(value),
        }
    }
}

/// A load that met a fault, or nobody who answered.
#[cold]
fn failed(register: &Register, fault: Option<Fault>) -> Object {
    long_way(ptr::null_mut(), |_| Err(Failed(register.fault(false, fault)).into()))
}

unsafe extern "C" fn read(slf: Object, _: Object) -> Object {
    // SAFETY: CPython has checked that `slf` is a Register.
    let this = unsafe { get::<PyRegister>(slf) };
    let register = &this.register;
    if !register.readable() || !register.single() || register.region().gated() {
        return tapped(|| register.read()).map_or(ptr::null_mut(), int);
    }
    // SAFETY: the register's place was checked against the mapping that it keeps.
    match unsafe { register.word().load() } {
        Ok(value) if register.unanswered(value) => failed(register, None),
        Ok(value) => int(value),
        Err(fault) => failed(register, Some(fault)),
    }
}

unsafe extern "C" fn write(slf: Object, value: Object) -> Object {
    // SAFETY: CPython has checked that `slf` is a Register.
    let this = unsafe { get::<PyRegister>(slf) };
    let register = &this.register;
    // SAFETY: `value` is the argument of the call.
    let number = unsafe { number(value) }.filter(|&number| number <= register.word().width.mask());
    if let Some(number) = number.filter(|_| register.region().gated() || !register.single()) {
        return tapped(|| register.write(number)).map_or(ptr::null_mut(), |()| none());
    }
    let Some(number) = number.filter(|_| register.writable()) else {
        return long_way(ptr::null_mut(), |py| {
            // SAFETY: as above.
            let value = unsafe { Bound::from_borrowed_ptr(py, value) };
            this.write(&value).map(|()| none())
        });
    };
    let held = register.region().lock.hold();
    // SAFETY: the register's place was checked against the mapping, and a writable register's mapping is writable.
    let done = unsafe { register.word().store(number) };
    drop(held);
    match done {
        Ok(()) => none(),
        Err(fault) => long_way(ptr::null_mut(), |_| Err(Failed(register.fault(true, Some(fault))).into())),
    }
}

unsafe extern "C" fn modify(
    slf: Object,
    args: *const Object,
    positional: ffi::Py_ssize_t,
    names: Object,
) -> Object {
    // SAFETY: CPython has checked that `slf` is a Register.
    let this = unsafe { get::<PyRegister>(slf) };
    // SAFETY: the arguments are as CPython's fast calls pass them: positional ones, then one for each name.
    let gathered = unsafe { gather(this, args, positional, names) };
    if let Some((mask, bits)) = gathered {
        if let Some(done) = store_fields(this, mask, bits) {
            return match done {
                true => none(),
                false => ptr::null_mut(),
            };
        }
    }
    long_way(ptr::null_mut(), |py| {
        // SAFETY: as above.
        unsafe { modify_long(py, this, args, positional, names) }.map(|()| none())
    })
}

/// The mask and bits of fields given by keyword, where each is a field of the register and a number that fits it.
///
/// # Safety
/// The arguments of a fast call with keywords.
#[inline(always)]
unsafe fn gather(
    this: &PyRegister,
    args: *const Object,
    positional: ffi::Py_ssize_t,
    names: Object,
) -> Option<(u64, u64)> {
    if positional != 0 || names.is_null() {
        return None;
    }
    let (mut mask, mut bits) = (0, 0);
    // SAFETY: `names` is a tuple of strings, and there is an argument for each.
    unsafe {
        for index in 0..ffi::PyTuple_GET_SIZE(names) {
            let name = ffi::PyTuple_GET_ITEM(names, index);
            // Names in code are interned, and so are ours: comparing addresses is enough, or the long way is taken.
            let place = this.shared.names.iter().position(|known| known.as_ptr() == name)?;
            let field = this.shared.fields[place].get();
            let value = number(*args.offset(index)).filter(|&value| value <= field.low_mask)?;
            let field_mask = field.low_mask << field.lsb;
            if !field.writable || mask & field_mask != 0 {
                return None;
            }
            mask |= field_mask;
            bits |= value << field.lsb;
        }
    }
    (mask != 0).then_some((mask, bits))
}

/// Stores fields and spares the others. None where that takes the long way; false where an exception is set.
#[inline(always)]
fn store_fields(this: &PyRegister, mask: u64, bits: u64) -> Option<bool> {
    let register = &this.register;
    if register.region().gated() || !register.single() {
        return Some(tapped(|| register.modify(mask, bits)).is_some());
    }
    if !register.writable() {
        return None;
    }
    match register.modify_short(mask, bits)? {
        Ok(()) => Some(true),
        Err((write, fault)) => Some(long_way(false, |_| Err(Failed(register.fault(write, fault)).into()))),
    }
}

/// # Safety
/// The arguments of a fast call with keywords.
#[cold]
unsafe fn modify_long(
    py: Python<'_>,
    this: &PyRegister,
    args: *const Object,
    positional: ffi::Py_ssize_t,
    names: Object,
) -> PyResult<()> {
    if positional > 1 {
        return Err(pyo3::exceptions::PyTypeError::new_err(
            "modify() takes one mapping of fields at most, and fields by keyword",
        ));
    }
    // SAFETY: the caller's promise: positional arguments first, then one for each name of the tuple.
    unsafe {
        let fields = (positional == 1).then(|| Bound::from_borrowed_ptr(py, *args));
        let kwargs = PyDict::new(py);
        let count = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        for index in 0..count {
            let name = Bound::from_borrowed_ptr(py, ffi::PyTuple_GET_ITEM(names, index));
            kwargs.set_item(name, Bound::from_borrowed_ptr(py, *args.offset(positional + index)))?;
        }
        this.modify(fields.as_ref(), Some(&kwargs))
    }
}

/// The register, if the object is one of the class that has this field.
///
/// # Safety
/// `object` is NULL or alive; the thread is attached.
#[inline(always)]
unsafe fn owned<'a>(field: &PyField, object: Object) -> Option<&'a PyRegister> {
    // SAFETY: the owner is a subclass of Register, so its instances are Registers.
    unsafe {
        let owner = field.owner.get()?.as_ptr();
        (!object.is_null() && ffi::Py_TYPE(object).cast() == owner).then(|| get(object))
    }
}

unsafe extern "C" fn field_get(slf: Object, object: Object, class: Object) -> Object {
    // SAFETY: this is the slot of Field's type, so `slf` is a Field; `object` is what it was looked up on.
    let (field, owner) = unsafe {
        let field = get::<PyField>(slf);
        (field, owned(field, object))
    };
    if let Some(this) = owner.filter(|_| field.readable) {
        let members = match field.named {
            // SAFETY: CPython calls its slots with the interpreter attached.
            true => field.members_made(unsafe { Python::assume_attached() }),
            false => None,
        };
        if members.is_some() || !field.named {
            let register = &this.register;
            let value = if register.region().gated() || !register.single() {
                match tapped(|| register.read_bits(field.low_mask << field.lsb)) {
                    Some(value) => value,
                    None => return ptr::null_mut(),
                }
            } else {
                // SAFETY: the register's place was checked against the mapping that it keeps.
                match unsafe { register.word().load() } {
                    Ok(value) if register.unanswered(value) => return failed(register, None),
                    Ok(value) => value,
                    Err(fault) => return failed(register, Some(fault)),
                }
            };
            let value = value >> field.lsb & field.low_mask;
            if let Some(member) = members.and_then(|members| members.find(value)) {
                let member = member.as_ptr();
                // SAFETY: the member lives as long as the field; one more reference is counted for the caller.
                unsafe { ffi::Py_INCREF(member) };
                return member;
            }
            return int(value);
        }
    }
    long_way(ptr::null_mut(), |py| match LONG_WAY.get(py) {
        // SAFETY: the function pyo3 put into this slot, with the slot's own arguments.
        Some((get, _)) => match unsafe { get(slf, object, class) } {
            value if value.is_null() => Err(PyErr::fetch(py)),
            value => Ok(value),
        },
        None => Err(PanicException::new_err("devregs is not installed")),
    })
}

unsafe extern "C" fn field_set(slf: Object, object: Object, value: Object) -> c_int {
    // SAFETY: this is the slot of Field's type, so `slf` is a Field; `object` is what it was looked up on.
    let (field, owner) = unsafe {
        let field = get::<PyField>(slf);
        (field, owned(field, object))
    };
    // A NULL value deletes the attribute.
    if let Some(this) = owner.filter(|_| field.writable && !value.is_null()) {
        // SAFETY: `value` is the value assigned.
        if let Some(number) = unsafe { number(value) }.filter(|&number| number <= field.low_mask) {
            if let Some(done) = store_fields(this, field.low_mask << field.lsb, number << field.lsb) {
                return if done { 0 } else { -1 };
            }
        }
    }
    if value.is_null() {
        return long_way(-1, |_| {
            Err(pyo3::exceptions::PyAttributeError::new_err(
                "a field belongs to the map and cannot be deleted",
            ))
        });
    }
    long_way(-1, |py| match LONG_WAY.get(py) {
        // SAFETY: the function pyo3 put into this slot, with the slot's own arguments.
        Some((_, set)) => match unsafe { set(slf, object, value) } {
            0 => Ok(0),
            _ => Err(PyErr::fetch(py)),
        },
        None => Err(PanicException::new_err("devregs is not installed")),
    })
}
