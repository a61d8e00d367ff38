//! `Region`, and the memoryviews over it.
#![allow(unsafe_code)] // The buffer protocol is raw pointers by nature.

use std::ffi::{c_int, c_void};
use std::os::raw::c_char;
use std::ptr;
use std::sync::Arc;

use pyo3::exceptions::{PyAttributeError, PyBufferError, PyKeyError, PyOverflowError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyIterator, PyList, PyMemoryView, PyString};
use pyo3::{PyTraverseError, PyVisit};

use super::classes::attributes;
use super::errors::Failed;
use super::handle;
use super::keep::Keep;
use super::register::access_name;
use super::{PYBUF_READ, PYBUF_WRITE, names, notice, values};
use crate::device::Region;
use crate::error::Error;
use crate::map::{ByteOrder, Holder, Width};

/// A span of a device with one access right.
#[pyclass(name = "Region", module = "devregs", frozen)]
pub(crate) struct PyRegion {
    region: Arc<Region>,
    keep: Keep,
}

impl PyRegion {
    pub fn new(region: Arc<Region>, keep: Keep) -> PyRegion {
        PyRegion { region, keep }
    }

    /// Where a block begins, and the width of its words.
    fn block(
        &self,
        offset: Option<&Bound<'_, PyAny>>,
        width: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(u64, Option<Width>)> {
        let at = || self.region.at();
        let offset = offset.map_or(Ok(0), |offset| values::offset(offset, &at))?;
        Ok((offset, values::width(width, &at)?))
    }
}

#[pymethods]
impl PyRegion {
    #[getter]
    fn name(&self) -> &str {
        &self.region.info().name
    }

    #[getter]
    fn offset(&self) -> u64 {
        self.region.info().offset
    }

    #[getter]
    fn size(&self) -> u64 {
        self.region.info().size
    }

    #[getter]
    fn access(&self) -> &'static str {
        access_name(self.region.info().access)
    }

    #[getter]
    fn width(&self) -> u32 {
        self.region.info().width.bits()
    }

    #[getter]
    fn byte_order(&self) -> &'static str {
        match self.region.info().byte_order {
            ByteOrder::Little => "little",
            ByteOrder::Big => "big",
        }
    }

    #[getter]
    fn address(&self) -> Option<u64> {
        self.region.physical()
    }

    #[getter]
    fn doc(&self) -> Option<&str> {
        self.region.info().doc.as_deref()
    }

    /// A memoryview over the region, or over `size` bytes of it from `offset`.
    #[pyo3(signature = (flags = None, *, offset = None, size = None), text_signature = "($self, flags=None, *, offset=0, size=None)")]
    fn view<'py>(
        &self,
        py: Python<'py>,
        flags: Option<c_int>,
        offset: Option<&Bound<'py, PyAny>>,
        size: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyMemoryView>> {
        let at = || self.region.at();
        let offset = offset.map_or(Ok(0), |offset| values::offset(offset, &at))?;
        let size = size.map(|size| values::offset(size, &at)).transpose()?;
        let span = self.region.check_view(offset, size).map_err(Failed)?;
        let writable = self.region.info().access.writable();
        let writable = match flags {
            None => writable,
            Some(PYBUF_READ) => false,
            Some(PYBUF_WRITE) if writable => true,
            Some(PYBUF_WRITE) => {
                let reason = "is read-only: a flag narrows what a view may do, and never widens it; ask for PyBUF_READ";
                return Err(Failed(Error::Refused { at: at(), reason: reason.into() }).into());
            }
            Some(flags) => {
                let problem = format!("view flags are PyBUF_READ or PyBUF_WRITE, not {flags:#x}");
                return Err(Failed(Error::Value { at: at(), problem }).into());
            }
        };
        let width = self.region.info().width;
        let window = Bound::new(
            py,
            Window {
                region: self.region.clone(),
                keep: self.keep.clone_ref(py),
                start: span.start,
                writable,
                format: format(width),
                shape: [(span.len() / width.bytes()) as ffi::Py_ssize_t],
                strides: [width.bytes() as ffi::Py_ssize_t],
            },
        )?;
        let view = PyMemoryView::from(window.as_any())?;
        notice::warn(py)?;
        Ok(view)
    }

    #[pyo3(signature = (offset, *, width = None))]
    fn read(&self, offset: &Bound<'_, PyAny>, width: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let at = || self.region.at();
        let (offset, width) = (values::offset(offset, &at)?, values::width(width, &at)?);
        Ok(self.region.read(offset, width).map_err(Failed)?)
    }

    #[pyo3(signature = (offset, value, *, width = None))]
    fn write(
        &self,
        offset: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        width: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let at = || self.region.at();
        let (offset, width) = (values::offset(offset, &at)?, values::width(width, &at)?);
        let bits = width.unwrap_or(self.region.info().width).bits();
        let value = values::number(value, bits, &|| format!("{}+{offset:#x}", self.region.at()))?;
        Ok(self.region.write(offset, value, width).map_err(Failed)?)
    }

    #[pyo3(signature = (buffer, offset = None, *, width = None, fixed = None), text_signature = "($self, buffer, offset=0, *, width=None, fixed=None)")]
    fn read_into(
        &self,
        py: Python<'_>,
        buffer: &Bound<'_, PyAny>,
        offset: Option<&Bound<'_, PyAny>>,
        width: Option<&Bound<'_, PyAny>>,
        fixed: Option<bool>,
    ) -> PyResult<usize> {
        let (offset, width) = self.block(offset, width)?;
        let buffer = Host::of(buffer, true)?;
        // SAFETY: the buffer is writable and contiguous, and stays exported until `buffer` is dropped. Another
        // thread that writes to it meanwhile races with us as it would with any reader of a bytearray.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.start(), buffer.length()) };
        let done = py.detach(|| self.region.read_into(bytes, offset, width, fixed)).map_err(Failed)?;
        notice::warn(py)?;
        Ok(done)
    }

    #[pyo3(signature = (buffer, offset = None, *, width = None, fixed = None), text_signature = "($self, buffer, offset=0, *, width=None, fixed=None)")]
    fn write_from(
        &self,
        py: Python<'_>,
        buffer: &Bound<'_, PyAny>,
        offset: Option<&Bound<'_, PyAny>>,
        width: Option<&Bound<'_, PyAny>>,
        fixed: Option<bool>,
    ) -> PyResult<usize> {
        let (offset, width) = self.block(offset, width)?;
        let buffer = Host::of(buffer, false)?;
        // SAFETY: the buffer is contiguous and stays exported until `buffer` is dropped.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.start(), buffer.length()) };
        let done = py.detach(|| self.region.write_from(bytes, offset, width, fixed)).map_err(Failed)?;
        notice::warn(py)?;
        Ok(done)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.keep.traverse(&visit)
    }

    fn __len__(&self) -> PyResult<usize> {
        usize::try_from(self.size()).map_err(|_| {
            PyOverflowError::new_err("the region is longer than this machine counts: ask for .size")
        })
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: CompareOp) -> Py<PyAny> {
        match other.cast::<PyRegion>() {
            Ok(other) => handle::same(other.py(), op, Arc::ptr_eq(&self.region, &other.get().region)),
            Err(_) => other.py().NotImplemented(),
        }
    }

    fn __hash__(&self) -> usize {
        Arc::as_ptr(&self.region).addr() >> 4
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle(self.region.at()))
    }

    fn __repr__(&self) -> String {
        let at = match self.region.physical() {
            Some(address) => format!(" at {address:#x}"),
            None => String::new(),
        };
        let (size, width) = (self.size(), self.width());
        format!("<{} {size:#x} bytes, {width}-bit, {}{at}>", self.region.at(), self.access())
    }
}

/// A contiguous buffer of the caller's, items of any format taken as bytes.
struct Host(ffi::Py_buffer);

impl Host {
    fn of(object: &Bound<'_, PyAny>, writable: bool) -> PyResult<Host> {
        let flags = if writable { ffi::PyBUF_WRITABLE } else { ffi::PyBUF_SIMPLE };
        let mut buffer = Host(ffi::Py_buffer::new());
        // SAFETY: a live object and a buffer to fill; on success it is released when dropped.
        if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &mut buffer.0, flags) } == 0 {
            return Ok(buffer);
        }
        let error = PyErr::fetch(object.py());
        if writable && error.is_instance_of::<PyBufferError>(object.py()) {
            return Err(PyTypeError::new_err(format!(
                "the buffer to read into is read-only or not contiguous ({error}); use a bytearray or array.array"
            )));
        }
        Err(error)
    }

    fn start(&self) -> *mut u8 {
        match self.0.len {
            // An empty slice needs an address all the same.
            0 => ptr::NonNull::dangling().as_ptr(),
            _ => self.0.buf.cast(),
        }
    }

    fn length(&self) -> usize {
        self.0.len as usize
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: filled by PyObject_GetBuffer, or empty, which is released without effect; the methods that make
        // one hold the interpreter when it is dropped.
        unsafe { ffi::PyBuffer_Release(&mut self.0) };
    }
}

/// What a view keeps: the region, and the part of it that the view shows.
#[pyclass(frozen, module = "devregs")]
struct Window {
    region: Arc<Region>,
    keep: Keep,
    start: usize,
    writable: bool,
    format: *const c_char,
    shape: [ffi::Py_ssize_t; 1],
    strides: [ffi::Py_ssize_t; 1],
}

// SAFETY: `format` points at a static string.
unsafe impl Send for Window {}
// SAFETY: as above, and nothing in it changes.
unsafe impl Sync for Window {}

/// The native one-letter format of an item: memoryview cannot index one with a byte-order mark.
fn format(width: Width) -> *const c_char {
    match width {
        Width::W8 => c"B",
        Width::W16 => c"H",
        Width::W32 => c"I",
        Width::W64 => c"Q",
    }
    .as_ptr()
}

#[pymethods]
impl Window {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no place to put the buffer"));
        }
        // SAFETY: the caller passes a Py_buffer to fill; on error its `obj` must be NULL.
        unsafe { (*view).obj = ptr::null_mut() };
        let this = slf.get();
        if flags & ffi::PyBUF_WRITABLE != 0 && !this.writable {
            return Err(PyBufferError::new_err("this view of the region is read-only"));
        }
        let asked = |flag: c_int| flags & flag == flag;
        if asked(ffi::PyBUF_FORMAT) && !asked(ffi::PyBUF_ND) {
            return Err(PyBufferError::new_err("a format without a shape: ask for PyBUF_ND too"));
        }
        this.region.export().map_err(Failed)?;
        let start = this.region.view_start().inspect_err(|_| this.region.release()).map_err(Failed)?;
        let (shape, strides, format) = (
            if asked(ffi::PyBUF_ND) { this.shape.as_ptr().cast_mut() } else { ptr::null_mut() },
            if asked(ffi::PyBUF_STRIDES) { this.strides.as_ptr().cast_mut() } else { ptr::null_mut() },
            if asked(ffi::PyBUF_FORMAT) { this.format.cast_mut() } else { ptr::null_mut() },
        );
        // SAFETY: as above. `shape`, `strides` and `format` live as long as `slf`, which `obj` keeps; consumers do
        // not write to them (PEP 3118). The address range belongs to the mapping, which the region keeps.
        unsafe {
            *view = ffi::Py_buffer {
                buf: start.wrapping_add(this.start).cast::<c_void>(),
                len: this.shape[0] * this.strides[0],
                itemsize: this.strides[0],
                readonly: c_int::from(!this.writable),
                ndim: 1,
                format,
                shape,
                strides,
                suboffsets: ptr::null_mut(),
                internal: ptr::null_mut(),
                obj: slf.into_ptr(),
            };
        }
        Ok(())
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.region.release();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.keep.traverse(&visit)
    }

    /// memoryview asks its owner before it hashes: registers change, so there is no hash.
    fn __hash__(&self) -> PyResult<isize> {
        Err(PyTypeError::new_err("a view of registers is not hashable: they change"))
    }

    fn __repr__(&self) -> String {
        format!("<view of {}>", self.region.at())
    }
}

/// The regions of a device, by attribute, by name, or in turn.
#[pyclass(name = "Regions", module = "devregs", frozen)]
pub(crate) struct PyRegions(pub Vec<Py<PyRegion>>);

impl PyRegions {
    /// What each is called as an attribute.
    fn attributes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Option<Bound<'py, PyString>>>> {
        attributes(py, Holder::Regions, &self.keys())
    }

    fn find(&self, py: Python<'_>, name: &str) -> Result<Py<PyRegion>, String> {
        let all = || self.0.iter().map(|region| region.get().name());
        match self.0.iter().find(|region| region.get().name() == name) {
            Some(region) => Ok(region.clone_ref(py)),
            None => Err(format!("no region {name:?}; there are {}", all().collect::<Vec<_>>().join(", "))),
        }
    }
}

#[pymethods]
impl PyRegions {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.iter().try_for_each(|region| visit.call(region))
    }

    fn __getattr__(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyRegion>> {
        let found = self.find(py, name);
        if found.is_err() {
            for (region, attribute) in self.0.iter().zip(self.attributes(py)?) {
                if attribute.is_some_and(|attribute| attribute == name) {
                    return Ok(region.clone_ref(py));
                }
            }
        }
        found.map_err(PyAttributeError::new_err)
    }

    fn __getitem__(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyRegion>> {
        self.find(py, name).map_err(PyKeyError::new_err)
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        let name = handle::name(name, "the regions of a device")?;
        Ok(self.keys().contains(&name))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.keys())?.try_iter()
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __bool__(&self) -> bool {
        true
    }

    /// The names, in the order of the map.
    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|region| region.get().name()).collect()
    }

    /// The regions, in the order of the map.
    fn values(&self, py: Python<'_>) -> Vec<Py<PyRegion>> {
        self.0.iter().map(|region| region.clone_ref(py)).collect()
    }

    /// Pairs of name and region, in the order of the map.
    fn items(&self, py: Python<'_>) -> Vec<(&str, Py<PyRegion>)> {
        self.0.iter().map(|region| (region.get().name(), region.clone_ref(py))).collect()
    }

    fn _ipython_key_completions_(&self) -> Vec<&str> {
        self.keys()
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __reduce_ex__(&self, _protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(handle::no_pickle("the regions of a device"))
    }

    fn __dir__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let own = slf.get().attributes(slf.py())?.into_iter().flatten();
        names(slf.py(), slf.as_any(), own.map(|attribute| attribute.to_string()))
    }

    fn __repr__(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|region| region.get().name()).collect();
        format!("<regions {}>", names.join(", "))
    }
}
