//! `derive-from`: a register or group that is like another.

use std::borrow::Cow;

use super::diagnostic::{Place, Report, suggest};
use super::tree::{Tree, Value};

/// What a derived one does not take over: where it stands.
const OWN: [&str; 5] = ["offset", "count", "stride", "derive-from", "overlaps"];

/// Variants of variants of variants deeper than this are a mistake.
const DEEPEST: usize = 16;

/// The tree with everything it derives laid under it. None after an error.
pub(super) fn derived<'a>(
    tree: &'a Tree,
    name: &str,
    kind: &str,
    holder: &'a Tree,
    region: &'a Tree,
    report: &mut Report,
) -> Option<Cow<'a, Tree>> {
    let Some((mut path, mut place)) = parent(tree, report)? else { return Some(Cow::Borrowed(tree)) };
    let mut whole = tree.clone();
    let mut names = vec![name.to_string()];
    let mut seen = vec![tree.place.clone()];
    // A name means one beside the register that gives it.
    let mut beside: Cow<'a, Tree> = Cow::Borrowed(holder);
    loop {
        let Some((base, holder)) = find(&path, kind, &beside, region, report) else {
            let beside = beside.get(kind).map(Tree::table).unwrap_or_default();
            let others = beside.iter().map(|(key, _)| key.name.as_str()).filter(|other| *other != name);
            let help = match path.contains('.') {
                true => Some("a path leads from the region, by the names of groups: CH.CTRL".into()),
                false => suggest(&path, others),
            };
            let error = report.missing(&place, format!("there is no {path:?} to derive from"));
            if let Some(help) = help {
                error.help(help);
            }
            return None;
        };
        names.push(path);
        if seen.contains(&base.place) {
            report.error(&place, format!("{name} derives from itself: {}", names.join(" -> ")));
            return None;
        }
        if seen.len() > DEEPEST {
            report.error(&place, format!("{name} derives through more than {DEEPEST} others"));
            return None;
        }
        seen.push(base.place.clone());
        let next = parent(&base, report)?;
        let mut below = base;
        if let Value::Table(entries) = &mut below.value {
            entries.retain(|(key, _)| !OWN.contains(&key.name.as_str()));
        }
        below.overlay(whole);
        whole = below;
        match next {
            None => return Some(Cow::Owned(whole)),
            Some(next) => (path, place) = next,
        }
        beside = holder;
    }
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

/// What a path means, and what holds it: a name beside the one that derives, or a path from the region. A group is
/// derived from one beside it only.
fn find<'a>(
    path: &str,
    kind: &str,
    beside: &Cow<'a, Tree>,
    region: &'a Tree,
    report: &mut Report,
) -> Option<(Tree, Cow<'a, Tree>)> {
    if let Some(found) = beside.get(kind).and_then(|tables| tables.get(path)) {
        return Some((found.clone(), beside.clone()));
    }
    if kind == "groups" {
        return None;
    }
    let (groups, last) = path.rsplit_once('.').map_or((None, path), |(groups, last)| (Some(groups), last));
    let mut holder = Cow::Borrowed(region);
    for name in groups.into_iter().flat_map(|groups| groups.split('.')) {
        holder = match &holder {
            Cow::Borrowed(holder) => {
                derived(holder.get("groups")?.get(name)?, name, "groups", holder, region, report)?
            }
            Cow::Owned(holder) => {
                let group = holder.get("groups")?.get(name)?;
                Cow::Owned(derived(group, name, "groups", holder, region, report)?.into_owned())
            }
        };
    }
    Some((holder.get(kind)?.get(last)?.clone(), holder))
}
