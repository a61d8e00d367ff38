//! The Python classes of a map: one per register and group, with their parts as attributes.
//!
//! They are made once per map. A register's fields are descriptors of its class; a group's or device's registers are
//! slots of theirs, filled when it is made: CPython's fastest attributes.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::device::PyDevice;
use super::field::PyField;
use super::group::PyGroup;
use super::hot;
use super::register::{PyRegister, Shared};
use crate::device::RegisterClass;
use crate::map::{self, Array, Holder, Map, Node};

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
        let regions = map.regions.iter().enumerate();
        let nodes =
            || regions.clone().flat_map(|(index, region)| region.nodes.iter().map(move |n| (index, n)));
        let names: Vec<_> = nodes().map(|(_, node)| node.name()).collect();
        let mut parts = Vec::with_capacity(names.len());
        for ((index, node), attribute) in nodes().zip(attributes(py, Holder::Device, &names)?) {
            parts.push((index, shape(py, node, attribute)?));
        }
        let doc = map.title.as_deref().or(map.doc.as_deref());
        let ty = slotted(py, &map.name, &base, parts.iter().map(|(_, shape)| &**shape), doc)?;
        Ok(DeviceClass { ty, parts })
    }

    /// The fields of the register at a path that the map has; indices do not matter.
    pub fn fields(&self, map: &Map, path: &str) -> &[Py<PyField>] {
        self.find(map, path).map_or(&[], |shared| &shared.fields)
    }

    fn find(&self, map: &Map, path: &str) -> Option<&Arc<Shared>> {
        let mut names = path.split('.').filter_map(|segment| segment.split('[').next());
        let first = names.next()?;
        // Shapes are in the order of the map's nodes.
        let mut before = 0;
        let (mut node, mut shape) = map.regions.iter().find_map(|region| {
            let found = region.nodes.position(first).map(|index| (&region.nodes[index], before + index));
            before += region.nodes.len();
            found.map(|(node, index)| (node, &self.parts[index].1))
        })?;
        loop {
            match (node, &shape.kind) {
                (_, Kind::Register(shared)) => return Some(shared),
                (Node::Group(group), Kind::Group(parts)) => {
                    let index = group.nodes.position(names.next()?)?;
                    (node, shape) = (&group.nodes[index], &parts[index]);
                }
                (Node::Register(_), Kind::Group(_)) => return None,
            }
        }
    }
}

fn shape(py: Python<'_>, node: &Node, attribute: Option<Bound<'_, PyString>>) -> PyResult<Arc<Shape>> {
    let (ty, kind) = match node {
        Node::Register(info) => {
            let (ty, shared) = register_class(py, info)?;
            (ty, Kind::Register(shared))
        }
        Node::Group(info) => {
            let base = py.get_type::<PyGroup>();
            let names: Vec<_> = info.nodes.iter().map(Node::name).collect();
            let attributes = attributes(py, Holder::Group, &names)?;
            let parts = info.nodes.iter().zip(attributes).map(|(node, attribute)| shape(py, node, attribute));
            let parts = parts.collect::<PyResult<Vec<_>>>()?;
            let ty = slotted(py, &info.name, &base, parts.iter().map(|p| &**p), info.doc.as_deref())?;
            (ty, Kind::Group(parts))
        }
    };
    Ok(Arc::new(Shape {
        name: node.name().into(),
        attribute: attribute.map(Bound::unbind),
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
    let called: Vec<_> = info.fields.iter().map(|field| field.name.as_str()).collect();
    for (field, attribute) in fields.iter().zip(attributes(py, Holder::Register, &called)?) {
        if let Some(attribute) = attribute {
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

/// The parts of a holder as its attributes, None for one that only a string reaches: what is no identifier, or what
/// Python would bring into normal form.
pub(super) fn attributes<'py>(
    py: Python<'py>,
    holder: Holder,
    names: &[&str],
) -> PyResult<Vec<Option<Bound<'py, PyString>>>> {
    // Worth its making only where a name cannot stay as it is.
    let beside: OnceCell<HashSet<&str>> = OnceCell::new();
    let taken = |name: &str| beside.get_or_init(|| names.iter().copied().collect()).contains(name);
    let reachable = |attribute: &Bound<'py, PyString>| -> PyResult<bool> {
        if attribute.to_str()?.is_ascii() {
            return Ok(true);
        }
        let normal = py.import("unicodedata")?.call_method1("normalize", ("NFKC", attribute))?;
        Ok(attribute.call_method0("isidentifier")?.extract()? && normal.eq(attribute)?)
    };
    let attribute = |name: &&str| {
        let Some(attribute) = holder.attribute(name, taken) else { return Ok(None) };
        let attribute = PyString::intern(py, &attribute);
        Ok(reachable(&attribute)?.then_some(attribute))
    };
    names.iter().map(attribute).collect()
}
