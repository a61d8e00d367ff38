//! `derive-from`: a register or group that is like another.

use super::diagnostic::{Place, Report, suggest};
use super::tree::{Tree, Value};

/// What a derived one does not take over: where it stands.
const OWN: [&str; 5] = ["offset", "count", "stride", "derive-from", "overlaps"];

/// Variants of variants of variants deeper than this are a mistake.
const DEEPEST: usize = 16;

/// The tree with everything it derives laid under it. None after an error.
pub(super) fn derived(
    tree: &Tree,
    name: &str,
    kind: &str,
    holder: &Tree,
    region: &Tree,
    report: &mut Report,
) -> Option<Tree> {
    let mut whole = tree.clone();
    let mut chain = vec![name.to_string()];
    let mut next = parent(tree, report)?;
    // Paths lead from where the one that names them stands; a path with a dot from the region.
    let mut beside = holder;
    while let Some((path, place)) = next {
        if chain.contains(&path) || chain.len() > DEEPEST {
            report.error(&place, format!("{} derives from itself: {} -> {path}", name, chain.join(" -> ")));
            return None;
        }
        let Some((base, holder)) = find(&path, kind, beside, region) else {
            let names = beside.get(kind).map(Tree::table).unwrap_or_default();
            let error = report.error(&place, format!("there is no {path:?} to derive from"));
            if let Some(help) = suggest(&path, names.iter().map(|(key, _)| key.name.as_str())) {
                error.help(help);
            }
            return None;
        };
        beside = holder;
        chain.push(path);
        next = parent(base, report)?;
        let mut below = base.clone();
        if let Value::Table(entries) = &mut below.value {
            entries.retain(|(key, _)| !OWN.contains(&key.name.as_str()));
        }
        below.overlay(whole);
        whole = below;
    }
    Some(whole)
}

/// The name after `derive-from`. The outer None is an error.
fn parent(tree: &Tree, report: &mut Report) -> Option<Option<(String, Place)>> {
    match tree.get("derive-from") {
        None => Some(None),
        Some(Tree { value: Value::Text(path), place }) => Some(Some((path.clone(), place.clone()))),
        Some(other) => {
            report.error(&other.place, format!("derive-from is a name, not {}", other.kind()));
            None
        }
    }
}

/// What a path means, and what holds it.
fn find<'a>(
    path: &str,
    kind: &str,
    beside: &'a Tree,
    region: &'a Tree,
) -> Option<(&'a Tree, &'a Tree)> {
    if let Some(found) = beside.get(kind).and_then(|tables| tables.get(path)) {
        return Some((found, beside));
    }
    let mut holder = region;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return Some((holder.get(kind)?.get(part)?, holder));
        }
        holder = holder.get("groups")?.get(part)?;
    }
    None
}
