//! From a tree to a model: rules of behaviour.

use std::collections::HashSet;

use super::behaviour::{Action, Behaviour, Trigger};
use super::diagnostic::{Place, Report};
use super::expression::{Expression, Node};
use super::formula::{self, Surroundings};
use super::keys::{self, Keys};
use super::model::{Map, mask};
use super::parts::{Names, Part, Parts};
use super::rules_check::{self, Change};
use super::tree::{Key, Tree, Value};
use super::triggers::{self, one_or_more, tell, too_large, trigger_path};

/// More rules than these, arrays written out, model no device that a mock could play.
const MOST: usize = 1 << 16;

/// Characters of their texts, arrays written out.
const MOST_TEXT: usize = 8 << 20;

/// After so many mistakes nobody reads on.
const MOST_MISTAKES: usize = 100;

/// The rules of a list, for a map whose parts are known and right.
pub(super) fn read(list: &Tree, map: &Map, report: &mut Report) -> Vec<Behaviour> {
    let Value::List(items) = &list.value else {
        report
            .error(&list.place, format!("behaviour is a list of tables, not {}", list.kind()))
            .help("each rule begins with [[behaviour]]");
        return Vec::new();
    };
    let parts = Parts::of(map);
    let mut reader = Reader { parts: &parts, rules: Vec::new(), changes: Vec::new() };
    let before = report.count();
    let mut read = HashSet::new();
    let mut text = 0;
    for item in items {
        // A file that two others include says its rules once.
        if !read.insert((report.files[item.place.file].name.clone(), item.place.span.start)) {
            continue;
        }
        let elements = reader.elements(item, report);
        let count = elements.unwrap_or(1);
        let room = MOST.saturating_sub(map.behaviour.len() + reader.rules.len());
        text = length(item).saturating_mul(usize::try_from(count).unwrap_or(usize::MAX)).saturating_add(text);
        if count > room as u64 || text > MOST_TEXT {
            let most = MOST_TEXT >> 20;
            report
                .error(
                    &item.place,
                    format!("more than {MOST} rules, or {most} MiB of them, arrays written out"),
                )
                .help("a rule with [*] counts once for each element");
            break;
        }
        for index in 0..count {
            let found = report.count();
            let rule = reader.rule(item, elements.map(|_| index), report);
            reader.rules.extend(rule);
            // What is wrong with one element is mostly wrong with each.
            if report.count() > found {
                break;
            }
        }
        if report.count() - before >= MOST_MISTAKES {
            break;
        }
    }
    if report.count() == before {
        rules_check::all(map, &reader.rules, &reader.changes, report);
    }
    reader.rules
}

/// The characters of all keys and strings.
fn length(tree: &Tree) -> usize {
    match &tree.value {
        Value::Table(entries) => entries.iter().map(|(key, tree)| key.name.len() + length(tree)).sum(),
        Value::List(items) => items.iter().map(length).sum(),
        Value::Text(text) => text.len(),
        _ => 1,
    }
}

struct Reader<'a, 'b> {
    parts: &'b Parts<'a>,
    rules: Vec<Behaviour>,
    changes: Vec<Change>,
}

impl<'a> Reader<'a, '_> {
    /// How many elements the arrays with `[*]` in a rule have; None where there are none.
    fn elements(&self, rule: &Tree, report: &mut Report) -> Option<u64> {
        let mut paths: Vec<(String, &Place)> = Vec::new();
        let expression = |tree: &Tree| match &tree.value {
            Value::Text(text) if text.contains("[*]") => formula::paths(text),
            _ => Vec::new(),
        };
        for (key, tree) in rule.table() {
            match key.name.as_str() {
                "on-write" | "on-read" | "on-input" | "send" | "flush" => {
                    for item in one_or_more(tree) {
                        if let Value::Text(text) = &item.value {
                            paths.push((trigger_path(text).0.into(), &item.place));
                        }
                    }
                }
                "set" | "assign" | "push" => {
                    for (key, value) in tree.table() {
                        paths.push((key.name.clone(), &key.place));
                        paths.extend(expression(value).into_iter().map(|path| (path, &value.place)));
                    }
                }
                "if" | "interrupt" => {
                    paths.extend(expression(tree).into_iter().map(|path| (path, &tree.place)));
                }
                _ => {}
            }
        }
        paths.retain(|(path, _)| path.contains("[*]"));
        let mut first: Option<(String, u64)> = None;
        for (path, place) in &paths {
            let stars = self.parts.find(path, Some(0)).map_or(Vec::new(), |part| part.stars);
            for (name, count) in stars {
                match &first {
                    None => first = Some((name, count)),
                    Some((known, elements)) if *elements != count => {
                        report
                            .error(place, format!("{name} has {count} elements, and {known} has {elements}"))
                            .help("all [*] of a rule mean the same element, so their arrays are as long");
                        return Some(0);
                    }
                    Some(_) => {}
                }
            }
        }
        // Where no path leads to an array, reading the rule will say so.
        (!paths.is_empty()).then(|| first.map_or(1, |(_, count)| count))
    }

    fn rule(&mut self, tree: &Tree, index: Option<u64>, report: &mut Report) -> Option<Behaviour> {
        let mut keys = Keys::of(tree, "behaviour".into(), &tree.place, report)?;
        let doc = keys.text("doc", report);
        let cause = triggers::cause(self.parts, &mut keys, index, report)?;
        let always = cause.trigger == Trigger::Always;
        let around = Surroundings { parts: self.parts, index, written: cause.written, old: cause.old };
        let condition = keys.take("if").and_then(|tree| {
            if always {
                report
                    .error(&tree.place, "a rule without a trigger is always so, and has no \"if\"")
                    .help("put it into what is assigned: \"a if condition else b\"");
            }
            expression(tree, &around, Names::default(), report)
        });
        let found = report.count();
        let mut actions = Vec::new();
        let mut first = None;
        for (name, wanted) in [("set", !always), ("assign", always), ("push", !always)] {
            let Some(tree) = keys.take(name) else { continue };
            if !wanted {
                untriggered(name, &tree.place, report);
                continue;
            }
            for (key, value) in table(tree, name, report) {
                let Some(part) = self.target(key, value, index, report) else { continue };
                if name == "push" && !fifo(&part, &key.place, report) {
                    continue;
                }
                let Some(expression) = expression(value, &around, part.names(), report) else { continue };
                fits(&part, &expression, &value.place, report);
                first.get_or_insert_with(|| part.clone());
                let target = part.target.clone();
                match name {
                    "push" => actions.push(Action::Push(target, expression)),
                    _ => {
                        self.changes.push(Change::of(&part, &expression, always, key.place.clone()));
                        actions.push(Action::Set(target, expression));
                    }
                }
            }
        }
        for (name, make) in [("send", Action::Send as fn(_) -> _), ("flush", Action::Flush as fn(_) -> _)] {
            let Some(tree) = keys.take(name) else { continue };
            if always {
                untriggered(name, &tree.place, report);
                continue;
            }
            for part in self.emptied(name, tree, index, report) {
                first.get_or_insert_with(|| part.clone());
                actions.push(make(part.target));
            }
        }
        actions.extend(interrupt(&mut keys, always, &around, report).map(Action::Interrupt));
        if keys.bool("reset", report) == Some(true) {
            match always {
                true => untriggered("reset", &keys.place_of("reset"), report),
                false => actions.push(Action::Reset),
            }
        }
        if actions.is_empty() && report.count() == found {
            let help = match always {
                true => "without a trigger there is assign and interrupt",
                false => "there is set, push, send, flush, interrupt and reset",
            };
            report.error(&tree.place, "this rule does nothing").help(help);
        }
        let delay = triggers::delay(&mut keys, &cause.trigger, first.as_ref(), report);
        keys.finish(report);
        let place = report.shown(&tree.place);
        Some(Behaviour { doc, trigger: cause.trigger, condition, delay, actions, place })
    }

    /// The FIFOs that `send` or `flush` names.
    fn emptied(&self, name: &str, tree: &Tree, index: Option<u64>, report: &mut Report) -> Vec<Part<'a>> {
        let mut found = Vec::new();
        for item in triggers::triggers(tree, name, report) {
            let Some(path) = keys::text(item, name, report) else { continue };
            match self.parts.find(&path, index) {
                Err(wrong) => tell(&item.place, wrong, report),
                Ok(part) => {
                    let path = &part.target.path;
                    let (problem, help) = if part.register.fifo.is_none() || part.field.is_some() {
                        ("is no FIFO", "its register says so: fifo = true")
                    } else if name == "send" && !part.writable() {
                        ("cannot be written, so no word is sent from it", "flush empties what software reads")
                    } else {
                        found.push(part);
                        continue;
                    };
                    report.error(&item.place, format!("{path} {problem}")).help(help);
                }
            }
        }
        found
    }

    /// What a key of `set`, `assign` or `push` names.
    fn target(&self, key: &Key, value: &Tree, index: Option<u64>, report: &mut Report) -> Option<Part<'a>> {
        if let (Value::Table(inner), false) = (&value.value, key.name.contains('.')) {
            let below = inner.first().map_or("…", |(key, _)| key.name.as_str());
            report
                .error(&value.place, "a value is a number or an expression, not a table")
                .help(format!("a path with dots is quoted: \"{}.{below}\"", key.name));
            return None;
        }
        self.parts.find(&key.name, index).map_err(|wrong| tell(&key.place, wrong, report)).ok()
    }
}

/// The parts that an action names.
fn table<'t>(tree: &'t Tree, name: &str, report: &mut Report) -> &'t [(Key, Tree)] {
    let form = format!("{name} = {{ \"STATUS.READY\" = 1 }}");
    match &tree.value {
        Value::Table(entries) if entries.is_empty() => {
            report.error(&tree.place, format!("{name} is empty")).help(form);
            &[]
        }
        Value::Table(entries) => entries,
        _ => {
            report.error(&tree.place, format!("{name} is a table, not {}", tree.kind())).help(form);
            &[]
        }
    }
}

fn untriggered(name: &str, place: &Place, report: &mut Report) {
    let (problem, help) = match name {
        "assign" => (
            "assign is always so, and this rule has a trigger".into(),
            "set = { … } happens when it is triggered",
        ),
        "set" => (
            "set happens when a rule is triggered, and this one has no trigger".into(),
            "assign = { … } is always so; on-write, on-read, on-input and every are triggers",
        ),
        _ => (
            format!("{name} happens when a rule is triggered, and this one has no trigger"),
            "on-write, on-read, on-input and every are triggers",
        ),
    };
    report.error(place, problem).help(help);
}

/// A number, or an expression as text.
fn expression<'a>(
    tree: &Tree,
    around: &Surroundings<'a>,
    names: Names<'a>,
    report: &mut Report,
) -> Option<Expression> {
    match &tree.value {
        Value::Integer(_) => {
            let number = keys::number(tree, "a value", report)?;
            Some(Expression { text: report.text_at(&tree.place).into(), node: Node::Number(number) })
        }
        Value::Text(text) => match formula::parse(text, around, names) {
            Ok(expression) => Some(expression),
            Err((part, wrong)) => {
                tell(&report.inside(&tree.place, text, &part), wrong, report);
                None
            }
        },
        _ => {
            report
                .error(&tree.place, format!("a value is a number or an expression, not {}", tree.kind()))
                .help("an expression is a string: \"RIS & IMSC\"");
            None
        }
    }
}

/// A plain number fits; what is computed is cut when it is.
fn fits(part: &Part<'_>, expression: &Expression, place: &Place, report: &mut Report) {
    if let Node::Number(number) = expression.node {
        if number > mask(part.target.width) {
            report.error(place, too_large(number, part));
        }
    }
}

/// A word comes into a register that is a FIFO, for software to read.
fn fifo(part: &Part<'_>, place: &Place, report: &mut Report) -> bool {
    let path = &part.target.path;
    let (problem, help) = if part.field.is_some() {
        ("is a field, and a FIFO takes whole words", "push = { \"DATA\" = \"… << 8 | …\" }")
    } else if part.register.fifo.is_none() {
        ("is no FIFO", "its register says so: fifo = true; or set it")
    } else if !part.readable() {
        (
            "cannot be read, so a word would never leave it",
            "push is for what software reads; on-write sees what it writes",
        )
    } else {
        return true;
    };
    report.error(place, format!("{path} {problem}")).help(help);
    false
}

fn interrupt(
    keys: &mut Keys<'_>,
    always: bool,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Expression> {
    let tree = keys.take("interrupt")?;
    let expression = match &tree.value {
        Value::Bool(false) => return None,
        Value::Bool(true) => Expression { text: "1".into(), node: Node::Number(1) },
        Value::Text(_) => expression(tree, around, Names::default(), report)?,
        _ => {
            report
                .error(&tree.place, format!("interrupt is true or an expression, not {}", tree.kind()))
                .help("an expression is a string: \"RIS & IMSC\"");
            return None;
        }
    };
    if always && matches!(expression.node, Node::Number(_)) {
        report
            .error(
                &tree.place,
                "without a trigger this is the level of the interrupt line, which would never change",
            )
            .help("interrupt = \"RIS & IMSC\", or give the rule on-write, on-read, on-input or every");
    }
    Some(expression)
}
