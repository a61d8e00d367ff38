//! Which registers share bytes with another one that is read.

use super::layout::{Part, collect};
use super::model::Region;
use super::strides::touch;

/// More pairs are not compared; what was not is taken to share bytes.
const MOST_PAIRS: usize = 1 << 20;

impl Region {
    /// The numbers of readable registers that may share a byte with another readable one, or with a repetition of their
    /// own. Where that is too intricate to find out, they are taken to do so.
    pub(crate) fn read_in_one_place(&self) -> Vec<u32> {
        let mut parts = Vec::new();
        for node in &self.nodes {
            collect(node, 0, &[], "", &mut parts);
        }
        parts.retain(|part| part.register.access.readable());
        // The map has refused others that overlap, but one that is read with one that is written.
        if !parts.iter().any(|part| part.register.overlaps) {
            return Vec::new();
        }
        parts.sort_by_key(|part| part.place.start);
        let mut found = Vec::new();
        let mut open: Vec<&Part<'_>> = Vec::new();
        let mut pairs = 0;
        for part in &parts {
            if part.register.overlaps && part.place.may_touch_itself() {
                found.push(part.register.id);
            }
            open.retain(|other| other.place.end() > part.place.start);
            for other in &open {
                if !part.register.overlaps && !other.register.overlaps {
                    continue;
                }
                pairs += 1;
                if pairs > MOST_PAIRS || touch(&part.place, &other.place, None) != Some(false) {
                    found.extend([part.register.id, other.register.id]);
                }
            }
            open.push(part);
        }
        found
    }
}
