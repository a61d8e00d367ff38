//! The Python classes of a map: one per register and group, with their parts as attributes.
//!
//! They are made once per map. A register's fields are descriptors of its class; a group's or device's registers are
//! slots of theirs, filled when it is made: CPython's fastest attributes.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::device::PyDevice;
use super::field::PyField;
use super::group::PyGroup;
use super::hot;
use super::register::{PyRegister, Shared};
use crate::device::RegisterClass;
use crate::map::{self, Array, Map, Node};

/// The class of a whole device.
pub(crate) struct DeviceClass {
    pub ty: Py<PyType>,
    /// Each with the index of its region.
    pub parts: Vec<(usize, Arc<Shape>)>,
}

/// A register, group or array of them, without an address.
pub(crate) struct Shape {
    pub name: String,
    /// The name as an attribute, where it can be one.
    pub attribute: Option<Py<PyString>>,
    /// From the start of what holds it, in bytes.
    pub offset: u64,
    pub array: Option<Array>,
    pub ty: Py<PyType>,
    pub kind: Kind,
}

pub(crate) enum Kind {
    Register(Arc<Shared>),
    Group(Vec<Arc<Shape>>),
}

impl DeviceClass {
    pub fn new(py: Python<'_>, map: &Map) -> PyResult<DeviceClass> {
        let base = py.get_type::<PyDevice>();
        let mut parts = Vec::new();
        for (index, region) in map.regions.iter().enumerate() {
            for node in &region.nodes {
                parts.push((index, shape(py, node, &base)?));
            }
        }
        let doc = map.title.as_deref().or(map.doc.as_deref());
        let ty = slotted(py, &map.name, &base, parts.iter().map(|(_, shape)| &**shape), doc)?;
        Ok(DeviceClass { ty, parts })
    }

    /// The fields of the register at a path that the map has; indices do not matter.
    pub fn fields(&self, path: &str) -> &[Py<PyField>] {
        let mut shapes: Vec<&Arc<Shape>> = self.parts.iter().map(|(_, shape)| shape).collect();
        for segment in path.split('.') {
            let name = segment.split('[').next();
            match shapes.iter().find(|shape| Some(&*shape.name) == name).map(|shape| &shape.kind) {
                Some(Kind::Register(shared)) => return &shared.fields,
                Some(Kind::Group(parts)) => shapes = parts.iter().collect(),
                None => break,
            }
        }
        &[]
    }
}

/// The shape of a node in a holder of class `holder`, whose own attributes its name must not hide.
fn shape(py: Python<'_>, node: &Node, holder: &Bound<'_, PyType>) -> PyResult<Arc<Shape>> {
    let attribute = attribute(node.name(), holder)?.map(Bound::unbind);
    let (ty, kind) = match node {
        Node::Register(info) => {
            let (ty, shared) = register_class(py, info)?;
            (ty, Kind::Register(shared))
        }
        Node::Group(info) => {
            let base = py.get_type::<PyGroup>();
            let parts = info.nodes.iter().map(|node| shape(py, node, &base)).collect::<PyResult<Vec<_>>>()?;
            let ty = slotted(py, &info.name, &base, parts.iter().map(|p| &**p), info.doc.as_deref())?;
            (ty, Kind::Group(parts))
        }
    };
    Ok(Arc::new(Shape {
        name: node.name().into(),
        attribute,
        offset: node.offset(),
        array: node.array(),
        ty,
        kind,
    }))
}

/// A class with a slot for each part.
fn slotted<'a>(
    py: Python<'_>,
    name: &str,
    base: &Bound<'_, PyType>,
    parts: impl Iterator<Item = &'a Shape>,
    doc: Option<&str>,
) -> PyResult<Py<PyType>> {
    let slots: Vec<_> = parts.filter_map(|part| part.attribute.as_ref()).collect();
    let names = PyDict::new(py);
    names.set_item("__slots__", PyTuple::new(py, slots)?)?;
    class(name, base, names, doc)
}

fn register_class(py: Python<'_>, info: &map::Register) -> PyResult<(Py<PyType>, Arc<Shared>)> {
    let base = py.get_type::<PyRegister>();
    let class_info = Arc::new(RegisterClass::new(info.clone()));
    let fields: Vec<Py<PyField>> = (0..info.fields.len())
        .map(|index| Py::new(py, PyField::new(class_info.clone(), index)))
        .collect::<PyResult<_>>()?;
    let names = PyDict::new(py);
    names.set_item("__slots__", ())?;
    for (field, info) in fields.iter().zip(&info.fields) {
        if let Some(attribute) = attribute(&info.name, &base)? {
            names.set_item(attribute, field)?;
        }
    }
    let ty = class(&info.name, &base, names, info.doc.as_deref())?;
    for field in &fields {
        field.get().set_owner(py, &ty);
    }
    hot::add_methods(ty.bind(py))?;
    Ok((ty, Arc::new(Shared::new(py, class_info, fields))))
}

fn class(
    name: &str,
    base: &Bound<'_, PyType>,
    names: Bound<'_, PyDict>,
    doc: Option<&str>,
) -> PyResult<Py<PyType>> {
    names.set_item("__module__", "devregs")?;
    names.set_item("__doc__", doc)?;
    let made = base.get_type().call1((name, (base,), names))?;
    Ok(made.cast_into::<PyType>()?.unbind())
}

/// The name as an attribute of a class that has `base`'s attributes, unless it cannot be one: Python changes names
/// that are not in normal form or that begin with two underscores, and a method must stay reachable.
fn attribute<'py>(name: &str, base: &Bound<'py, PyType>) -> PyResult<Option<Bound<'py, PyString>>> {
    let interned = PyString::intern(base.py(), name);
    if !interned.call_method0("isidentifier")?.extract::<bool>()? || name.starts_with("__") {
        return Ok(None);
    }
    if !name.is_ascii() {
        let normal = base.py().import("unicodedata")?.call_method1("normalize", ("NFKC", &interned))?;
        if !normal.eq(&interned)? {
            return Ok(None);
        }
    }
    Ok(if base.hasattr(&interned)? { None } else { Some(interned) })
}
