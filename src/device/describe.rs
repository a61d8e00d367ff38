//! What lies at an offset of a region, told by a signal handler: the last words of a process that met a fault through a view.

use super::region::Region;
use crate::access::{Describe, Line};
use crate::map;

impl Describe for Region {
    fn describe(&self, offset: u64, out: &mut Line) {
        out.text(self.device());
        out.text(".");
        if !describe(&self.info().nodes, offset, out) {
            out.text("regions.");
            out.text(&self.info().name);
        }
        out.text(" (region ");
        out.text(&self.info().name);
        out.text(" + 0x");
        out.number(offset, 16);
        out.text(")");
    }
}

/// Writes the path of the register at an offset, if there is one. Allocates nothing: a signal handler calls this.
fn describe(nodes: &[map::Node], offset: u64, out: &mut Line) -> bool {
    nodes.iter().any(|node| {
        let Some(within) = offset.checked_sub(node.offset()) else { return false };
        let (index, rest) = match node.array() {
            None => (0, within),
            Some(array) => {
                let index = (within / array.stride).min(array.count - 1);
                (index, within - index * array.stride)
            }
        };
        let mark = out.mark();
        out.text(node.name());
        if node.array().is_some() {
            out.text("[");
            out.number(index, 10);
            out.text("]");
        }
        let found = match node {
            map::Node::Register(register) => rest < register.width.bytes() as u64,
            map::Node::Group(group) => {
                out.text(".");
                describe(&group.nodes, rest, out)
            }
        };
        if !found {
            out.back_to(mark);
        }
        found
    })
}
