//! `Group` and `Array`: registers under names and indices.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{PyAttributeError, PyIndexError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PySlice};
use pyo3::{PyTraverseError, PyVisit};

use super::classes::{Kind, Shape};
use super::errors::Failed;
use super::handle;
use super::hot::set_slot;
use super::keep::{Keep, visit_all};
use super::names;
use super::register::{PyRegister, RegisterSeed};
use crate::device::{Region, Register};
use crate::map::{Path, PathError, Segment};

/// What a group's class is made an object from. Not to be had from Python.
#[pyclass(frozen)]
pub(crate) struct GroupSeed {
    /// For messages: the path, or the device's name.
    pub label: String,
    pub path: String,
    pub parts: Vec<(String, Py<PyAny>)>,
}

/// A cluster of registers: its registers and groups are attributes.
#[pyclass(name = "Group", module = "devregs", frozen, subclass, weakref)]
pub(crate) struct PyGroup {
    label: String,
    path: String,
    parts: Vec<(String, Py<PyAny>)>,
}

impl PyGroup {
    pub fn from_seed(py: Python<'_>, seed: &Bound<'_, PyAny>) -> PyResult<PyGroup> {
        let seed = seed.cast::<GroupSeed>().map_err(|_| {
            PyTypeError::new_err("devices are made by opening them: devregs.open(map, source)")
        })?;
        let seed = seed.get();
        let parts = seed.parts.iter().map(|(name, part)| (name.clone(), part.clone_ref(py)));
        let (label, path) = (seed.label.clone(), seed.path.clone());
        Ok(PyGroup { label, path, parts: parts.collect() })
    }

    pub fn part<'py>(&self, py: Python<'py>, name: &str) -> Option<Bound<'py, PyAny>> {
        self.parts.iter().find(|(known, _)| known == name).map(|(_, part)| part.bind(py).clone())
    }

    /// The part at a path; a field at its end is not followed but returned as its name.
    fn walk<'py>(slf: &Bound<'py, Self>, text: &str) -> PyResult<(Bound<'py, PyAny>, Option<String>)> {
        let py = slf.py();
        let path = Path::parse(text).map_err(|error| Failed(error.into()))?;
        let mut here = slf.clone().into_any();
        let mut segments = path.segments().iter();
        while let Some(Segment { name, index }) = segments.next() {
            if let Ok(register) = here.cast::<PyRegister>() {
                if index.is_some() || segments.next().is_some() {
                    let register = register.get().register.path();
                    return Err(Failed(PathError::beyond_field(text, register).into()).into());
                }
                return Ok((here, Some(name.to_string())));
            }
            let Ok(group) = here.cast::<PyGroup>() else {
                let at = here.cast::<PyArray>().map(|array| array.get().path.clone());
                let at = at.unwrap_or_default();
                return Err(Failed(PathError::needs_index(text, &at).into()).into());
            };
            let group = group.get();
            let Some(part) = group.part(py, name) else {
                let names = group.parts.iter().map(|(name, _)| name.as_str());
                return Err(Failed(PathError::unknown(&group.label, name, names).into()).into());
            };
            here = match index {
                None => part,
                Some(index) => match part.cast::<PyArray>() {
                    Ok(array) => array.get().element(py, *index)?,
                    Err(_) => return Err(Failed(PathError::no_array(text, name).into()).into()),
                },
            };
        }
        Ok((here, None))
    }
}

/// Walks the registers of a group, one at a time: an array may be longer than memory.
#[pyclass(frozen, module = "devregs")]
struct Registers(Mutex<Vec<(Py<PyAny>, u64)>>);

#[pymethods]
impl Registers {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit_all(&self.0, |path| path.iter().try_for_each(|(holder, _)| visit.call(holder)))
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        // The groups and arrays we are in, outermost first, each with the index of what comes next.
        let mut path = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((holder, next)) = path.last_mut() {
            let index = *next;
            *next += 1;
            let holder = holder.bind(py);
            let part = if let Ok(group) = holder.cast::<PyGroup>() {
                usize::try_from(index)
                    .ok()
                    .and_then(|index| group.get().parts.get(index))
                    .map(|(_, part)| part.bind(py).clone())
            } else {
                let array = holder.cast::<PyArray>()?.get();
                if index < array.count() { Some(array.element(py, index)?) } else { None }
            };
            match part {
                None => {
                    path.pop();
                }
                Some(part) if part.is_instance_of::<PyRegister>() => return Ok(Some(part)),
                Some(part) => path.push((part.unbind(), 0)),
            }
        }
        Ok(None)
    }
}

#[pymethods]
impl PyGroup {
    #[new]
    fn new(py: Python<'_>, seed: &Bound<'_, PyAny>) -> PyResult<PyGroup> {
        PyGroup::from_seed(py, seed)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.parts.iter().try_for_each(|(_, part)| visit.call(part))
    }

    #[getter]
    fn path(&self) -> &str {
        &self.path
    }

    fn __getitem__<'py>(slf: &Bound<'py, Self>, path: &str) -> PyResult<Bound<'py, PyAny>> {
        match PyGroup::walk(slf, path)? {
            (part, None) => Ok(part),
            (register, Some(field)) => register.get_item(field),
        }
    }

    fn __setitem__(slf: &Bound<'_, Self>, path: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match PyGroup::walk(slf, path)? {
            (register, Some(field)) => register.set_item(field, value),
            (part, None) => match part.cast::<PyRegister>() {
                Ok(register) => register.get().write(value),
                Err(_) => Err(PyTypeError::new_err(format!("{path} is no register and no field"))),
            },
        }
    }

    /// Every register in it, arrays element by element, in the order of the map.
    fn registers(slf: Py<Self>) -> Registers {
        Registers(Mutex::new(vec![(slf.into_any(), 0)]))
    }

    fn __setattr__(&self, name: &str, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        let known = self.parts.iter().any(|(known, _)| known == name);
        Err(PyAttributeError::new_err(match known {
            true => format!(
                "a register is not assigned to but written: {name}.write(value), or {name}.FIELD = value"
            ),
            false => format!("{} has no part {name:?} to set", self.label),
        }))
    }

    fn __delattr__(&self, name: &str) -> PyResult<()> {
        Err(PyAttributeError::new_err(format!("{name} belongs to the map and cannot be deleted")))
    }

    fn __dir__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        // The slots are in the class; parts that are no attributes are reached as group["name"].
        names(slf.py(), slf.as_any(), std::iter::empty())
    }

    fn __repr__(&self) -> String {
        format!(
            "<{} with {}>",
            self.label,
            self.parts.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(", ")
        )
    }

    /// By name or path, a field's too; nothing is read.
    fn __contains__(slf: &Bound<'_, Self>, path: &Bound<'_, PyAny>) -> PyResult<bool> {
        match PyGroup::walk(slf, handle::name(path, &slf.get().label)?) {
            Ok((register, Some(field))) => register.contains(field),
            found => Ok(found.is_ok()),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self._ipython_key_completions_())?.try_iter()
    }

    fn __len__(&self) -> usize {
        self.parts.len()
    }

    /// One that has no registers is there, too.
    fn __bool__(&self) -> bool {
        true
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle(&self.label))
    }

    fn _ipython_key_completions_(&self) -> Vec<String> {
        self.parts.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// Registers or groups that repeat. Elements are made when asked for.
#[pyclass(name = "Array", module = "devregs", frozen)]
pub(crate) struct PyArray {
    path: String,
    shape: Arc<Shape>,
    region: Arc<Region>,
    keep: Keep,
    /// Of the first element, in bytes from the start of the region.
    offset: u64,
    made: Mutex<HashMap<u64, Py<PyAny>>>,
}

/// Elements kept once made; those of a larger array are made anew each time.
const MOST_KEPT: usize = 1 << 16;

impl PyArray {
    fn count(&self) -> u64 {
        self.shape.array.map_or(0, |array| array.count)
    }

    pub fn element<'py>(&self, py: Python<'py>, index: u64) -> PyResult<Bound<'py, PyAny>> {
        let Some(array) = self.shape.array.filter(|array| index < array.count) else {
            return Err(PyIndexError::new_err(format!(
                "{}[{index}]: the index goes from 0 to {}",
                self.path,
                self.count().saturating_sub(1)
            )));
        };
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(element) = made().get(&index) {
            return Ok(element.bind(py).clone());
        }
        let offset = self.offset + index * array.stride;
        let path = format!("{}[{index}]", self.path);
        let new = element(py, &self.shape, &self.region, &self.keep, offset, path)?;
        let mut made = made();
        if made.len() >= MOST_KEPT {
            return Ok(new);
        }
        // Another thread may have made it meanwhile: there is one.
        Ok(made.entry(index).or_insert_with(|| new.unbind()).bind(py).clone())
    }
}

#[pymethods]
impl PyArray {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.keep.traverse(&visit)?;
        visit_all(&self.made, |made| made.values().try_for_each(|element| visit.call(element)))
    }

    #[getter]
    fn path(&self) -> &str {
        &self.path
    }

    #[getter]
    fn stride(&self) -> u64 {
        self.shape.array.map_or(0, |array| array.stride)
    }

    fn __len__(&self) -> PyResult<usize> {
        usize::try_from(self.count())
            .map_err(|_| PyIndexError::new_err("the array is longer than this machine counts"))
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        if let Ok(slice) = index.cast::<PySlice>() {
            let length = isize::try_from(self.count()).unwrap_or(isize::MAX);
            let range = slice.indices(length)?;
            let list = PyList::empty(py);
            for step in 0..range.slicelength {
                list.append(self.element(py, (range.start + step as isize * range.step) as u64)?)?;
            }
            return Ok(list.into_any());
        }
        let at = || format!("{}[…]", self.path);
        let number = super::values::index(index, &at)?;
        let outside = || {
            let shown = super::values::shown(&number);
            let problem = format!("{}[{shown}]: the array has {} elements", self.path, self.count());
            PyIndexError::new_err(problem)
        };
        let wanted = number.extract::<i64>().map_err(|_| outside())?;
        let index = match u64::try_from(wanted) {
            Ok(index) => index,
            Err(_) => self.count().checked_sub(wanted.unsigned_abs()).ok_or_else(outside)?,
        };
        self.element(py, index)
    }

    fn __iter__(slf: Py<Self>) -> Elements {
        let end = slf.get().count();
        Elements { array: slf, span: Mutex::new(0..end), reversed: false }
    }

    fn __reversed__(slf: Py<Self>) -> Elements {
        Elements { reversed: true, ..PyArray::__iter__(slf) }
    }

    /// Whether it is one of the elements.
    fn __contains__(&self, asked: &Bound<'_, PyAny>) -> PyResult<bool> {
        let at = format!("{}.{}", self.region.device(), self.path);
        let how = || format!("compare what is read of the elements, {at}[0] and so on");
        handle::no_value(asked, &format!("the elements of {at}"), how)?;
        let path = match (asked.cast::<PyRegister>(), asked.cast::<PyGroup>()) {
            (Ok(register), _) => register.get().register.path(),
            (_, Ok(group)) => &group.get().path,
            _ => return Ok(false),
        };
        let index = path.strip_prefix(&*self.path).and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
        match index.and_then(|index| index.parse::<u64>().ok()).filter(|&index| index < self.count()) {
            Some(index) => self.element(asked.py(), index)?.eq(asked),
            None => Ok(false),
        }
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle(&self.path))
    }

    fn __repr__(&self) -> String {
        format!("<{}[0..{}], {} bytes apart>", self.path, self.count().saturating_sub(1), self.stride())
    }
}

/// Walks the elements of an array.
#[pyclass(frozen, module = "devregs")]
struct Elements {
    array: Py<PyArray>,
    /// Those to come.
    span: Mutex<Range<u64>>,
    reversed: bool,
}

#[pymethods]
impl Elements {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.array)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let index = {
            let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
            if self.reversed { span.next_back() } else { span.next() }
        };
        index.map(|index| self.array.get().element(py, index)).transpose()
    }

    fn __length_hint__(&self) -> u64 {
        let span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        span.end - span.start
    }
}

/// Lays a shape over a region: `base` is where its holder begins, `prefix` the holder's path with its dot.
pub(crate) fn place<'py>(
    py: Python<'py>,
    shape: &Arc<Shape>,
    region: &Arc<Region>,
    keep: &Keep,
    base: u64,
    prefix: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let path = format!("{prefix}{}", shape.name);
    let offset = base + shape.offset;
    if shape.array.is_none() {
        return element(py, shape, region, keep, offset, path);
    }
    let (shape, region, keep) = (shape.clone(), region.clone(), keep.clone_ref(py));
    let array = PyArray { path, shape, region, keep, offset, made: Mutex::default() };
    Ok(Bound::new(py, array)?.into_any())
}

fn element<'py>(
    py: Python<'py>,
    shape: &Arc<Shape>,
    region: &Arc<Region>,
    keep: &Keep,
    offset: u64,
    path: String,
) -> PyResult<Bound<'py, PyAny>> {
    match &shape.kind {
        Kind::Register(shared) => {
            let register = Register::new(region.clone(), shared.class.clone(), offset, path);
            let seed = RegisterSeed { register, shared: shared.clone(), keep: keep.clone_ref(py) };
            shape.ty.bind(py).call1((seed,))
        }
        Kind::Group(shapes) => {
            let prefix = format!("{path}.");
            let parts = shapes
                .iter()
                .map(|part| Ok((part.name.clone(), place(py, part, region, keep, offset, &prefix)?.unbind())))
                .collect::<PyResult<Vec<_>>>()?;
            let filled: Vec<_> = shapes
                .iter()
                .zip(&parts)
                .map(|(part, (_, object))| (part.attribute.as_ref(), object.clone_ref(py)))
                .collect();
            let label = format!("{}.{path}", region.device());
            let group = shape.ty.bind(py).call1((GroupSeed { label, path, parts },))?;
            for (attribute, object) in filled {
                if let Some(attribute) = attribute {
                    set_slot(&group, attribute.bind(py), object.bind(py))?;
                }
            }
            Ok(group)
        }
    }
}
