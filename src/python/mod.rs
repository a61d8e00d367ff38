//! The bindings to CPython: thin, frozen classes over the Rust API, with no logic of their own.
//!
//! The module is private; `python/devregs` is the face.

mod classes;
mod device;
mod errors;
mod field;
mod group;
mod handle;
mod hardware;
mod hot;
mod interrupt;
mod keep;
mod map;
mod members;
mod notice;
mod region;
mod register;
mod tally;
mod trace;
mod values;

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::device::{Device, Options};
use crate::error::SourceError;
use crate::map::{BoardMap, Holder, builtin_names};
use crate::mock::Backing;
use crate::source::{Source, UioName, scan as scan_sources};
use errors::Failed;

/// CPython's flags for PyMemoryView_FromMemory (Include/object.h): the words for what a view allows.
pub(crate) const PYBUF_READ: i32 = 0x100;
pub(crate) const PYBUF_WRITE: i32 = 0x200;

#[pymodule]
fn _devregs(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    hot::check_interpreter()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("GUARDED", crate::access::GUARDED)?;
    module.add("TRAPS", crate::access::TRAPS)?;
    module.add("PyBUF_READ", PYBUF_READ)?;
    module.add("PyBUF_WRITE", PYBUF_WRITE)?;
    errors::add(module)?;
    module.add_class::<map::PyMap>()?;
    module.add_class::<field::PyField>()?;
    module.add_class::<register::PyRegister>()?;
    module.add_class::<group::PyGroup>()?;
    module.add_class::<group::PyArray>()?;
    module.add_class::<region::PyRegion>()?;
    module.add_class::<region::PyRegions>()?;
    module.add_class::<interrupt::PyInterrupt>()?;
    module.add_class::<device::PyDevice>()?;
    module.add_class::<hardware::PyMock>()?;
    module.add_class::<trace::PyTrace>()?;
    module.add_class::<trace::PyAccess>()?;
    module.add_class::<tally::PyTally>()?;
    module.add_function(wrap_pyfunction!(load, module)?)?;
    module.add_function(wrap_pyfunction!(open, module)?)?;
    module.add_function(wrap_pyfunction!(mock, module)?)?;
    module.add_function(wrap_pyfunction!(_shared_mock, module)?)?;
    module.add_function(wrap_pyfunction!(_watch_opens, module)?)?;
    module.add_function(wrap_pyfunction!(_unwatch_opens, module)?)?;
    module.add_function(wrap_pyfunction!(_attributes, module)?)?;
    module.add_function(wrap_pyfunction!(builtin_maps, module)?)?;
    module.add_function(wrap_pyfunction!(scan, module)?)?;
    module.add_function(wrap_pyfunction!(_source, module)?)?;
    module.add_function(wrap_pyfunction!(_uio_source, module)?)?;
    module.add_function(wrap_pyfunction!(load_board, module)?)?;
    // It has an item by name, and no others to go through.
    py.get_type::<register::PyRegister>().setattr("__iter__", py.None())?;
    module.add_function(wrap_pyfunction!(keep_guard, module)?)?;
    module.add_function(wrap_pyfunction!(_keep_guard_on_top, module)?)?;
    hot::install(py)
}

/// A map by name (of the library) or file.
#[pyfunction]
#[pyo3(signature = (map, /))]
fn load<'py>(map: &Bound<'py, PyAny>) -> PyResult<Bound<'py, map::PyMap>> {
    map::find(map)
}

/// Open a device: lay a map over a source.
#[pyfunction]
#[pyo3(signature = (map, source, *, verify = true, shared = false, root = None), text_signature = "(map, source, *, verify=True, shared=False, root='/')")]
fn open<'py>(
    map: &Bound<'py, PyAny>,
    source: &Bound<'py, PyAny>,
    verify: bool,
    shared: bool,
    root: Option<PathBuf>,
) -> PyResult<Bound<'py, PyAny>> {
    let map = map::find(map)?;
    let source = source_of(source)?;
    let root = root.unwrap_or_else(|| PathBuf::from("/"));
    open_with(map, source, Options { verify, shared, root, ..Options::default() })
}

/// Open a device over memory that behaves as the map says.
#[pyfunction]
#[pyo3(signature = (map, *, clock = "real", access_time = 1e-7, trap = true))]
fn mock<'py>(
    map: &Bound<'py, PyAny>,
    clock: &str,
    access_time: f64,
    trap: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let options = Options { pace: hardware::pace(clock, access_time)?, trap, ..Options::default() };
    open_with(map::find(map)?, Source::Mock, options)
}

/// A mock over a file that other processes map. `starts`: where each region of the map begins in it, in bytes.
#[pyfunction]
fn _shared_mock<'py>(
    map: &Bound<'py, PyAny>,
    path: PathBuf,
    starts: Vec<u64>,
    mark: bool,
) -> PyResult<Bound<'py, PyAny>> {
    // Stores through views are seen as those of others are.
    let options =
        Options { backing: Some(Backing { path, starts, mark }), trap: false, ..Options::default() };
    open_with(map::find(map)?, Source::Mock, options)
}

fn open_with<'py>(
    map: Bound<'py, map::PyMap>,
    source: Source,
    options: Options,
) -> PyResult<Bound<'py, PyAny>> {
    let py = map.py();
    notice::install(py)?;
    let model = map.get().model().clone();
    // Opening may ask udev, sysfs and the bus: others may run meanwhile.
    let opened = py.detach(|| Device::open(model, &source, &options)).map_err(Failed)?;
    notice::warn(py)?;
    let device = device::wrap(map, opened)?;
    // A list that nobody holds while the functions run: they may open devices and go, too.
    let list = WATCHERS.get(py).map(|list| list.bind(py).to_tuple());
    for watcher in list.into_iter().flatten() {
        watcher.call1((&device,))?;
    }
    Ok(device)
}

/// Called with each device that is opened.
static WATCHERS: PyOnceLock<Py<PyList>> = PyOnceLock::new();

/// Has a function called with each device that is opened from now on, for tools that look at all of them.
#[pyfunction]
fn _watch_opens(py: Python<'_>, function: &Bound<'_, PyAny>) -> PyResult<()> {
    WATCHERS.get_or_init(py, || PyList::empty(py).unbind()).bind(py).append(function)
}

/// Has it called no more. Harmless where it was not called.
#[pyfunction]
fn _unwatch_opens(py: Python<'_>, function: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(list) = WATCHERS.get(py).map(|list| list.bind(py)) else { return Ok(()) };
    if list.contains(function)? {
        list.as_any().call_method1("remove", (function,)).map(drop)
    } else {
        Ok(())
    }
}

/// A source by name; a path object is a file.
fn source_of(source: &Bound<'_, PyAny>) -> PyResult<Source> {
    match source.cast::<PyString>() {
        Ok(name) => parse_source(name),
        Err(_) => Ok(Source::File(source.extract::<PathBuf>()?)),
    }
}

fn parse_source(name: &Bound<'_, PyString>) -> PyResult<Source> {
    let parse = |text: &str| text.parse::<Source>().map_err(|error| PyErr::from(Failed(error.into())));
    if let Ok(text) = name.to_str() {
        return parse(text);
    }
    // Bytes of a command line or a file's name that are no UTF-8 come as surrogates.
    let bytes: std::ffi::OsString = name.extract().map_err(|_| {
        let shown = name.to_string_lossy().escape_debug().to_string();
        PyErr::from(Failed(SourceError::new(shown, "has characters that are none: lone surrogates").into()))
    })?;
    let text = bytes.as_encoded_bytes().utf8_chunks().map(|chunk| {
        chunk.valid().to_string()
            + &chunk.invalid().iter().map(|byte| format!("%{byte:02X}")).collect::<String>()
    });
    parse(&text.collect::<String>())
}

/// A source as it is printed, and what its place is: a UIO device's number or name, an address, a path; None of others.
#[pyfunction]
fn _source<'py>(source: &Bound<'py, PyString>) -> PyResult<(String, Option<Bound<'py, PyAny>>)> {
    let py = source.py();
    let source = parse_source(source)?;
    let place = match &source {
        Source::Mem(address) | Source::Ram(address) => Some(address.into_bound_py_any(py)?),
        Source::Uio(UioName::Number(number)) => Some(number.into_bound_py_any(py)?),
        Source::Uio(UioName::Name(name)) => Some(name.into_bound_py_any(py)?),
        Source::File(path) | Source::Replay(path) => Some(path.as_os_str().into_bound_py_any(py)?),
        Source::Uio(_) | Source::Pci(_) | Source::Mock => None,
    };
    Ok((source.to_string(), place))
}

/// The source of the UIO device of a name, which may have any characters.
#[pyfunction]
fn _uio_source(name: String) -> String {
    Source::Uio(UioName::Name(name)).to_string()
}

/// Leave signal handlers as they are, or no longer: for a tracer of accesses, which must see faults before the guard does.
#[pyfunction]
fn _keep_guard_on_top(on: bool) {
    crate::access::set_keeping(on);
}

/// Put the guard against bad accesses back above the signal handlers of others, and let its signals through in this
/// thread. Where that is done by itself, see the access contract.
#[pyfunction]
fn keep_guard(py: Python<'_>) -> PyResult<()> {
    crate::access::keep_guard()?;
    // Asked for: there is nothing to warn of.
    let _ = crate::access::displaced();
    notice::install(py)
}

/// The names of the maps in the library.
#[pyfunction]
fn builtin_maps() -> Vec<String> {
    builtin_names().map(String::from).collect()
}

/// UIO devices and PCI functions of this machine, and the maps of the library that fit each.
#[pyfunction]
#[pyo3(signature = (root = None), text_signature = "(root='/')")]
fn scan(py: Python<'_>, root: Option<PathBuf>) -> PyResult<Bound<'_, PyAny>> {
    let root = root.unwrap_or_else(|| PathBuf::from("/"));
    let found = py.detach(|| serde_json::to_string(&scan_sources(&root)));
    let text = found.map_err(|error| pyo3::exceptions::PyRuntimeError::new_err(error.to_string()))?;
    py.import("json")?.call_method1("loads", (text,))
}

/// The devices of a board map: name to `map`, `source` and `doc`.
#[pyfunction]
#[pyo3(signature = (path, /))]
fn load_board(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyDict>> {
    let board = BoardMap::load(&path).map_err(|error| Failed(error.into()))?;
    let devices = PyDict::new(py);
    for device in board.devices {
        let entry = PyDict::new(py);
        entry.set_item("map", Bound::new(py, map::PyMap::new(device.map, device.warnings))?)?;
        entry.set_item("source", device.source)?;
        entry.set_item("doc", device.doc)?;
        devices.set_item(device.name, entry)?;
    }
    Ok(devices)
}

/// What parts of these names are called as attributes of such a holder, and the names; without names, the attributes
/// that every such holder has.
#[pyfunction]
#[pyo3(signature = (holder, names = None, /))]
fn _attributes<'py>(
    py: Python<'py>,
    holder: &str,
    names: Option<Vec<String>>,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(holder) = Holder::ALL.into_iter().find(|known| known.word() == holder) else {
        return Err(PyKeyError::new_err(holder.to_string()));
    };
    let Some(names) = names else { return Ok(PyTuple::new(py, holder.attributes())?.into_any()) };
    let called = PyDict::new(py);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for (attribute, name) in classes::attributes(py, holder, &names)?.into_iter().zip(names) {
        if let Some(attribute) = attribute {
            called.set_item(attribute, name)?;
        }
    }
    Ok(called.into_any())
}

/// A list of strings, for `__dir__`.
fn names<'py>(
    py: Python<'py>,
    own: &Bound<'py, PyAny>,
    more: impl Iterator<Item = String>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for name in py.import("builtins")?.getattr("object")?.call_method1("__dir__", (own,))?.try_iter()? {
        list.append(name?)?;
    }
    for name in more {
        list.append(name)?;
    }
    Ok(list)
}

/// A model, shared by its map and the devices opened with it.
pub(crate) type Model = Arc<crate::map::Map>;
