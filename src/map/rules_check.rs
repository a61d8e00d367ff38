//! What must hold between rules of behaviour, and what is legal but may surprise.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::behaviour::{Action, Behaviour, Target, Trigger};
use super::diagnostic::{Place, Report};
use super::expression::Expression;
use super::model::{Map, mask};
use super::parts::Part;

/// Assigned parts that look at assigned parts deeper than this are a mistake, or an attack.
const DEEPEST: usize = 64;

/// What it takes to work out one assigned part, those it looks at counted as often as it looks at them.
const MOST_STEPS: usize = 4096;

/// A register or field that a rule changes.
pub(super) struct Change {
    target: Target,
    /// What the value is worked out from.
    from: Vec<Target>,
    /// By `assign`.
    always: bool,
    readable: bool,
    writable: bool,
    fifo: bool,
    place: Place,
}

impl Change {
    pub fn of(part: &Part<'_>, value: &Expression, always: bool, place: Place) -> Change {
        Change {
            target: part.target.clone(),
            from: value.parts().into_iter().cloned().collect(),
            always,
            readable: part.readable(),
            writable: part.writable(),
            fifo: part.register.fifo.is_some(),
            place,
        }
    }
}

/// One register of the device, an element of an array by itself.
type Register = (u32, u64);

fn register(target: &Target) -> Register {
    (target.register, target.offset)
}

fn bits(target: &Target) -> u64 {
    mask(target.width) << target.lsb
}

/// A part that is assigned.
struct Assigned<'a> {
    target: &'a Target,
    from: Vec<&'a Target>,
    /// None for one of the map that rules are added to.
    place: Option<&'a Place>,
    shown: String,
}

/// Checks new rules, which `changes` tells of, among those that the map has.
pub(super) fn all(map: &Map, rules: &[Behaviour], changes: &[Change], report: &mut Report) {
    let mut assigned = Vec::new();
    for rule in map.behaviour.iter().filter(|rule| rule.trigger == Trigger::Always) {
        for action in &rule.actions {
            if let Action::Set(target, value) = action {
                assigned.push(Assigned {
                    target,
                    from: value.parts(),
                    place: None,
                    shown: rule.place.clone(),
                });
            }
        }
    }
    for Change { target, from, place, .. } in changes.iter().filter(|change| change.always) {
        let shown = report.shown(place);
        assigned.push(Assigned { target, from: from.iter().collect(), place: Some(place), shown });
    }
    let mut by_register: HashMap<Register, Vec<usize>> = HashMap::new();
    for (index, this) in assigned.iter().enumerate() {
        let others = by_register.entry(register(this.target)).or_default();
        let both = others
            .iter()
            .map(|other| &assigned[*other])
            .find(|other| bits(other.target) & bits(this.target) != 0);
        if let (Some(other), Some(place)) = (both, this.place) {
            report
                .error(place, format!("{} is assigned already, in {}", this.target.path, other.shown))
                .help("what is always so has one value: make it one expression");
            return;
        }
        others.push(index);
    }
    if loops(&assigned, &by_register, report) {
        surprises(map, rules, changes, &assigned, &by_register, report);
    }
}

/// Whether no assigned part depends on itself, be it through others.
fn loops(
    assigned: &[Assigned<'_>],
    by_register: &HashMap<Register, Vec<usize>>,
    report: &mut Report,
) -> bool {
    let mut search = Search { assigned, by_register, known: vec![None; assigned.len()], trail: Vec::new() };
    for (index, this) in assigned.iter().enumerate() {
        if search.work(index).is_some() {
            continue;
        }
        let last = search.trail.last().copied().unwrap_or(index);
        let start = search.trail.iter().position(|other| *other == last).unwrap_or(0);
        // Without the last one, which is the first one again where there is a loop.
        let mut around =
            search.trail.get(start..search.trail.len().saturating_sub(1)).unwrap_or_default().to_vec();
        let first = around.iter().position(|index| assigned[*index].place.is_some()).unwrap_or(0);
        around.rotate_left(first);
        let place = around.first().and_then(|index| assigned[*index].place).or(this.place);
        let names: Vec<_> = around.iter().map(|index| assigned[*index].target.path.as_str()).collect();
        let problem = match names.as_slice() {
            [] => format!(
                "{} depends on too many assigned parts: more than {DEEPEST} deep, or {MOST_STEPS} in all",
                this.target.path
            ),
            [first, ..] => format!("{first} depends on itself: {} <- {first}", names.join(" <- ")),
        };
        if let Some(place) = place {
            report.error(place, problem).help("a trigger breaks the loop: on-write = …, set = { … }");
        }
        return false;
    }
    true
}

struct Search<'a> {
    assigned: &'a [Assigned<'a>],
    by_register: &'a HashMap<Register, Vec<usize>>,
    known: Vec<Option<Work>>,
    /// From where the search began; after a loop its last one is in it twice.
    trail: Vec<usize>,
}

/// What it takes to work out an assigned part.
#[derive(Clone, Copy)]
struct Work {
    /// How many look at each other.
    depth: usize,
    /// How many are worked out, itself included.
    steps: usize,
}

impl Search<'_> {
    /// None where it is too much, or without end.
    fn work(&mut self, index: usize) -> Option<Work> {
        if let Some(work) = self.known[index] {
            return Some(work);
        }
        let met = self.trail.contains(&index);
        self.trail.push(index);
        if met || self.trail.len() > DEEPEST {
            return None;
        }
        let mut work = Work { depth: 1, steps: 1 };
        for from in &self.assigned[index].from {
            for &other in self.by_register.get(&register(from)).into_iter().flatten() {
                if bits(self.assigned[other].target) & bits(from) != 0 {
                    let more = self.work(other)?;
                    work.depth = work.depth.max(more.depth + 1);
                    work.steps = work.steps.saturating_add(more.steps);
                }
            }
        }
        self.trail.pop();
        self.known[index] = Some(work).filter(|work| work.depth <= DEEPEST && work.steps <= MOST_STEPS);
        self.known[index]
    }
}

fn surprises(
    map: &Map,
    rules: &[Behaviour],
    changes: &[Change],
    assigned: &[Assigned<'_>],
    by_register: &HashMap<Register, Vec<usize>>,
    report: &mut Report,
) {
    let mut looked: HashMap<Register, u64> = HashMap::new();
    for expression in map.behaviour.iter().map(Arc::as_ref).chain(rules).flat_map(Behaviour::expressions) {
        for target in expression.parts() {
            *looked.entry(register(target)).or_default() |= bits(target);
        }
    }
    // What software writes to these, some rule acts on.
    let mut heard: HashMap<Register, u64> = HashMap::new();
    for rule in map.behaviour.iter().map(Arc::as_ref).chain(rules) {
        if let Trigger::Written(parts) = &rule.trigger {
            for (target, _) in parts {
                *heard.entry(register(target)).or_default() |= bits(target);
            }
        }
    }
    let mut told = HashSet::new();
    for change in changes {
        let (path, at) = (&change.target.path, register(&change.target));
        let seen = change.readable || looked.get(&at).is_some_and(|seen| seen & bits(&change.target) != 0);
        let other = by_register
            .get(&at)
            .into_iter()
            .flatten()
            .map(|index| &assigned[*index])
            .find(|other| !change.always && bits(other.target) & bits(&change.target) != 0);
        let (problem, help) = if let Some(other) = other {
            let problem = format!("{path} is assigned in {}: what is set here is never seen", other.shown);
            (problem, "assign is always so")
        } else if !seen {
            let problem =
                format!("{path} cannot be read, and no rule looks at it: nobody sees what becomes of it");
            (problem, "is another one meant?")
        } else if change.fifo && change.readable {
            (
                format!("{path} is a FIFO, and this is no word in it"),
                "push = { … } adds a word for software to read",
            )
        } else if change.always
            && change.writable
            && heard.get(&at).is_none_or(|heard| heard & bits(&change.target) == 0)
        {
            let problem = format!("{path} can be written, and what software writes there is never seen");
            (problem, "give it access = \"ro\", or set it when something triggers the rule")
        } else {
            continue;
        };
        // Once for all elements of an array.
        if told.insert((change.place.file, change.place.span.start)) {
            report.warn(&change.place, problem).help(help);
        }
    }
}
