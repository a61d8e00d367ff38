//! From a place in a region to its registers, and back to their paths.

use std::ops::{Deref, Range};

use serde::{Serialize, Serializer};

use super::behaviour::Target;
use super::model::{Array, Map, Node, Region, Register, mask};
use super::path::PathError;

/// Registers and groups, in the order of their offsets, which are found by place and by name without a walk through all.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    list: Vec<Node>,
    /// How far each of them and those before it reach, in bytes. An array may reach over those behind it.
    ends: Vec<u64>,
    /// Their places in the list, in the order of their names.
    named: Vec<u32>,
}

impl Nodes {
    /// Sorts them.
    pub(super) fn new(mut list: Vec<Node>) -> Nodes {
        list.sort_by_key(Node::offset);
        let mut end = 0;
        let ends = list.iter().map(|node| {
            let last = node.array().map_or(0, |array| (array.count - 1).saturating_mul(array.stride));
            end = end.max(node.offset().saturating_add(last).saturating_add(extent(node)));
            end
        });
        let ends = ends.collect();
        let mut named: Vec<u32> = (0..list.len() as u32).collect();
        named.sort_by_key(|index| list[*index as usize].name());
        Nodes { list, ends, named }
    }

    /// The end of the last register, in bytes from the start of what holds them.
    pub fn end(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The place in the list of the register or group of a name.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let name_of = |index: &u32| self.list[*index as usize].name();
        let at = self.named.binary_search_by_key(&name, name_of).ok()?;
        Some(self.named[at] as usize)
    }

    /// The register or group of a name.
    pub fn named(&self, name: &str) -> Option<&Node> {
        self.position(name).map(|index| &self.list[index])
    }

    /// Those that may reach into a span.
    fn near(&self, span: &Range<u64>) -> &[Node] {
        let first = self.ends.partition_point(|end| *end <= span.start);
        let last = self.list.partition_point(|node| node.offset() < span.end);
        self.list.get(first..last).unwrap_or(&[])
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Node> {
        self.list.iter_mut()
    }
}

impl Deref for Nodes {
    type Target = [Node];

    fn deref(&self) -> &[Node] {
        &self.list
    }
}

impl<'a> IntoIterator for &'a Nodes {
    type Item = &'a Node;
    type IntoIter = std::slice::Iter<'a, Node>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl Serialize for Nodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

/// How long one element is, in bytes.
fn extent(node: &Node) -> u64 {
    match node {
        Node::Register(register) => register.width.bytes() as u64,
        Node::Group(group) => group.nodes.end(),
    }
}

impl Region {
    /// Calls `found` with each register that shares a byte with the span, and with its offset in bytes.
    pub(crate) fn each_in<'a>(&'a self, span: Range<u64>, found: &mut dyn FnMut(&'a Register, u64)) {
        each(&self.nodes, 0, &span, found);
    }
}

fn each<'a>(nodes: &'a Nodes, base: u64, span: &Range<u64>, found: &mut dyn FnMut(&'a Register, u64)) {
    // What holds them begins at `base`, so places in it are relative to that.
    let near = nodes.near(&(span.start.saturating_sub(base)..span.end.saturating_sub(base)));
    for node in near {
        let start = base + node.offset();
        for index in elements(node, start, extent(node), span) {
            let start = start + index * stride(node);
            match node {
                Node::Register(register) => found(register, start),
                Node::Group(group) => each(&group.nodes, start, span, found),
            }
        }
    }
}

/// The elements of an array that reach into the span: each is `extent` bytes long.
fn elements(node: &Node, start: u64, extent: u64, span: &Range<u64>) -> Range<u64> {
    let Array { count, stride } = node.array().unwrap_or(Array { count: 1, stride: 1 });
    if span.end <= start {
        return 0..0;
    }
    let last = (span.end - 1 - start) / stride;
    let first = match span.start.checked_sub(start + extent - 1) {
        None => 0,
        Some(beyond) => beyond.div_ceil(stride),
    };
    first..count.min(last + 1)
}

fn stride(node: &Node) -> u64 {
    node.array().map_or(0, |array| array.stride)
}

impl Map {
    /// The path of a register by its number and its offset in bytes from the start of the region.
    pub(crate) fn path_of(&self, region: usize, register: u32, offset: u64) -> Option<String> {
        let mut path = String::new();
        trace(&self.regions.get(region)?.nodes, 0, register, offset, &mut path).then_some(path)
    }

    /// The register or field at a path, as rules name it.
    ///
    /// # Errors
    /// The path leads nowhere.
    pub fn target(&self, path: &str) -> Result<Target, PathError> {
        let found = self.resolve(path)?;
        let (lsb, width) = match found.field {
            Some(field) => (field.lsb, field.width),
            None => (0, found.register.width.bits()),
        };
        let path = match found.field {
            Some(field) => format!("{}.{}", found.path, field.name),
            None => found.path,
        };
        Ok(Target {
            path,
            region: found.region,
            register: found.register.id,
            offset: found.offset,
            lsb,
            width,
        })
    }
}

fn trace(nodes: &Nodes, base: u64, id: u32, offset: u64, path: &mut String) -> bool {
    let Some(within) = offset.checked_sub(base) else { return false };
    nodes.near(&(within..within + 1)).iter().any(|node| {
        let start = base + node.offset();
        let extent = match node {
            Node::Register(register) if register.id != id => return false,
            Node::Register(_) => 1,
            Node::Group(group) => group.nodes.end(),
        };
        let mark = path.len();
        elements(node, start, extent, &(offset..offset + 1)).any(|index| {
            path.truncate(mark);
            path.push_str(node.name());
            if node.array().is_some() {
                path.push_str(&format!("[{index}]"));
            }
            match node {
                Node::Register(_) => start + index * stride(node) == offset,
                Node::Group(group) => {
                    path.push('.');
                    trace(&group.nodes, start + index * stride(node), id, offset, path)
                }
            }
        }) || {
            path.truncate(mark);
            false
        }
    })
}

impl Target {
    /// Its bits, in place in the register.
    pub fn mask(&self) -> u64 {
        mask(self.width) << self.lsb
    }

    /// Its part of the register's value.
    pub(crate) fn cut(&self, value: u64) -> u64 {
        (value & self.mask()) >> self.lsb
    }
}
