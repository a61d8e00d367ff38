//! What a mock knows of each register before anybody touches it.

use super::cell::Cell;
use super::memory::{Shape, initial};
use crate::map::{Node, OnWrite, Region};

/// What is known of a register before anybody touches it.
pub(super) struct Kind {
    pub cell: Cell,
    pub shape: Shape,
    /// The memory holds its value. Not so for a FIFO, and where another register is read at the same address.
    pub backed: bool,
    pub initial: u64,
    /// It acts on the bits of these, each by its path's last name.
    pub aliases: Vec<(OnWrite, String)>,
}

/// Adds those of some nodes and of all below them.
pub(super) fn add(nodes: &[Node], region: usize, kinds: &mut Vec<Kind>) {
    for node in nodes {
        match node {
            Node::Register(register) => {
                let cell = Cell::new(register);
                let backed = register.access.readable() && cell.fifo.is_none();
                let shape = Shape::new(region, register);
                kinds.push(Kind { cell, shape, backed, initial: initial(register), aliases: Vec::new() });
            }
            Node::Group(group) => add(&group.nodes, region, kinds),
        }
    }
    let find = |name: &str| {
        nodes.iter().find_map(|node| match node {
            Node::Register(register) if register.name == name => Some(register.id as usize),
            _ => None,
        })
    };
    for node in nodes {
        let Node::Register(register) = node else { continue };
        let aliases = &register.aliases;
        let effects = [
            (&aliases.set, OnWrite::OneToSet),
            (&aliases.clear, OnWrite::OneToClear),
            (&aliases.toggle, OnWrite::OneToToggle),
        ];
        for (alias, effect) in effects {
            if let Some(found) = alias.as_deref().and_then(find) {
                kinds[found].aliases.push((effect, register.name.clone()));
                // A read of it gives its register, which the memory in its place does not follow.
                kinds[found].backed = false;
                kinds[found].cell.plain = false;
            }
        }
    }
}

/// Marks the registers that share an address with another one that is read.
pub(super) fn find_shared(nodes: &[Node], region: &Region, base: u64, kinds: &mut [Kind]) {
    for node in nodes {
        let start = base + node.offset();
        match node {
            // An array of groups is looked at by its first element: the others are alike.
            Node::Group(group) => find_shared(&group.nodes, region, start, kinds),
            Node::Register(register) if register.overlaps => {
                let last = register.array.map_or(0, |array| (array.count - 1) * array.stride);
                let span = start..start + last + register.width.bytes() as u64;
                let mut readable = Vec::new();
                region.each_in(span, &mut |other, _| {
                    if other.access.readable() {
                        readable.push(other.id);
                    }
                });
                if readable.iter().any(|id| *id != register.id) {
                    readable.into_iter().for_each(|id| kinds[id as usize].backed = false);
                }
            }
            Node::Register(_) => {}
        }
    }
}
