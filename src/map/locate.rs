//! From a place in a region to its registers, and back to their paths.

use std::ops::Range;

use super::behaviour::Target;
use super::model::{Array, Map, Node, Region, Register, mask};
use super::path::PathError;

impl Region {
    /// Calls `found` with each register that shares a byte with the span, and with its offset in bytes.
    pub(crate) fn each_in<'a>(&'a self, span: Range<u64>, found: &mut dyn FnMut(&'a Register, u64)) {
        each(&self.nodes, 0, &span, found);
    }
}

fn each<'a>(nodes: &'a [Node], base: u64, span: &Range<u64>, found: &mut dyn FnMut(&'a Register, u64)) {
    for node in nodes {
        let start = base + node.offset();
        let extent = match node {
            Node::Register(register) => register.width.bytes() as u64,
            Node::Group(group) => group.extent,
        };
        for index in elements(node, start, extent, span) {
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

fn trace(nodes: &[Node], base: u64, id: u32, offset: u64, path: &mut String) -> bool {
    nodes.iter().any(|node| {
        let start = base + node.offset();
        let extent = match node {
            Node::Register(register) if register.id != id => return false,
            Node::Register(_) => 1,
            Node::Group(group) => group.extent,
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
