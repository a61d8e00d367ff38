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

/// Marks the registers that share bytes with another one that is read: each has a value of its own beside the memory.
pub(super) fn find_shared(region: &Region, kinds: &mut [Kind]) {
    for id in region.read_in_one_place() {
        kinds[id as usize].backed = false;
    }
}
