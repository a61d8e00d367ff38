//! From a tree to a model: what sets a rule of behaviour off, and what it waits for.

use std::time::Duration;

use super::behaviour::{Delay, Trigger};
use super::diagnostic::{Place, Report};
use super::keys::{self, Keys};
use super::model::mask;
use super::parts::{Names, Part, Parts, Wrong};
use super::seconds::seconds;
use super::tree::{Tree, Value};

/// The shortest time from one act of a rule to the next: working one off takes a mock a tenth of it.
const SHORTEST: Duration = Duration::from_micros(1);

/// What sets a rule off, and what the numbers it brings are called.
pub(super) struct Cause<'a> {
    pub trigger: Trigger,
    pub written: Option<Names<'a>>,
    pub old: Option<Names<'a>>,
}

/// What sets the rule off. None after an error, which would lead to others.
pub(super) fn cause<'a>(
    parts: &Parts<'a>,
    keys: &mut Keys<'_>,
    index: Option<u64>,
    report: &mut Report,
) -> Option<Cause<'a>> {
    let (on_write, on_read, every) = (keys.take("on-write"), keys.take("on-read"), keys.take("every"));
    let on_input = keys.take("on-input");
    let given: Vec<_> = [on_write, on_read, on_input, every].into_iter().flatten().collect();
    if let [_, second, ..] = given.as_slice() {
        report
            .error(&second.place, "a rule has one trigger: on-write, on-read, on-input or every")
            .help("make a rule for each");
        return None;
    }
    let found = report.count();
    let mut names = Vec::new();
    let cause = if let Some(tree) = on_write {
        let mut written = Vec::new();
        for item in triggers(tree, "on-write", report) {
            if let Some((part, value)) = write(parts, item, "on-write", index, report) {
                names.push(part.names());
                written.push((part.target, value));
            }
        }
        let Names([read, write]) = common(&names);
        let (trigger, names) = (Trigger::Written(written), Names([write, read]));
        Cause { trigger, written: Some(names), old: Some(Names([read, write])) }
    } else if let Some(tree) = on_read {
        let mut targets = Vec::new();
        for item in triggers(tree, "on-read", report) {
            if let Some(part) = read(parts, item, index, report) {
                names.push(part.names());
                targets.push(part.target);
            }
        }
        Cause { trigger: Trigger::Read(targets), written: None, old: Some(common(&names)) }
    } else if let Some(tree) = on_input {
        let mut inputs = Vec::new();
        for item in triggers(tree, "on-input", report) {
            if let Some((part, value)) = write(parts, item, "on-input", index, report) {
                names.push(part.names());
                inputs.push((part.target, value));
            }
        }
        let names = common(&names);
        Cause { trigger: Trigger::Input(inputs), written: Some(names), old: Some(names) }
    } else if let Some(tree) = every {
        let time = seconds(tree, "every", report)?;
        if time < SHORTEST {
            report
                .error(&tree.place, "a mock cannot keep up with a rule that acts so often")
                .help("every is a microsecond, 1e-6, or more");
        }
        Cause { trigger: Trigger::Every(time), written: None, old: None }
    } else {
        Cause { trigger: Trigger::Always, written: None, old: None }
    };
    (report.count() == found).then_some(cause)
}

/// The names that all parts have; none where they differ.
fn common<'a>(names: &[Names<'a>]) -> Names<'a> {
    let agree = |one: Names<'a>, other| if one == other { one } else { Names::default() };
    names.iter().copied().reduce(agree).unwrap_or_default()
}

/// `PATH` or `PATH=VALUE`, of `on-write` or `on-input`.
fn write<'a>(
    parts: &Parts<'a>,
    tree: &Tree,
    key: &str,
    index: Option<u64>,
    report: &mut Report,
) -> Option<(Part<'a>, Option<u64>)> {
    let text = keys::text(tree, key, report)?;
    let (path, value) = trigger_path(&text);
    let part = parts.find(path, index).map_err(|wrong| tell(&tree.place, wrong, report)).ok()?;
    let shown = &part.target.path;
    if key == "on-write" && !part.writable() {
        report
            .error(&tree.place, format!("{shown} is read-only: nothing writes it"))
            .help("a rule without a trigger is always so; one with every, from time to time");
        return None;
    }
    if key == "on-input" && part.register.fifo.is_some() && (part.field.is_some() || !part.readable()) {
        report
            .error(&tree.place, format!("{shown} takes no word from outside"))
            .help("on-input is for a register, a field, or a FIFO that software reads, as a whole");
        return None;
    }
    let Some(value) = value else { return Some((part, None)) };
    let Names([read, written]) = part.names();
    let names = Names([if key == "on-write" { written } else { read }, &[]]);
    let Some(number) = names.number(value).or_else(|| keys::parse(value)) else {
        let form = || format!("PATH=VALUE, such as {shown}=1; \"if\" takes other conditions");
        let help = names.suggest(value).unwrap_or_else(form);
        report.error(&tree.place, format!("{value:?} is no number and no value of {shown}")).help(help);
        return None;
    };
    if number > mask(part.target.width) {
        report.error(&tree.place, too_large(number, &part));
        return None;
    }
    Some((part, Some(number)))
}

fn read<'a>(parts: &Parts<'a>, tree: &Tree, index: Option<u64>, report: &mut Report) -> Option<Part<'a>> {
    let text = keys::text(tree, "on-read", report)?;
    let (path, None) = trigger_path(&text) else {
        report
            .error(&tree.place, "a read brings no value to wait for")
            .help("if = \"old == 1\" looks at what was read");
        return None;
    };
    let part = parts.find(path, index).map_err(|wrong| tell(&tree.place, wrong, report)).ok()?;
    if !part.readable() {
        report
            .error(&tree.place, format!("{} is write-only: nothing reads it", part.target.path))
            .help("on-write is for what is written");
        return None;
    }
    Some(part)
}

/// The path of `PATH=VALUE`, and its value.
pub(super) fn trigger_path(text: &str) -> (&str, Option<&str>) {
    text.split_once('=').map_or((text, None), |(path, value)| (path.trim(), Some(value.trim())))
}

pub(super) fn one_or_more(tree: &Tree) -> &[Tree] {
    match &tree.value {
        Value::List(items) => items,
        _ => std::slice::from_ref(tree),
    }
}

pub(super) fn triggers<'t>(tree: &'t Tree, name: &str, report: &mut Report) -> &'t [Tree] {
    let items = one_or_more(tree);
    if items.is_empty() {
        report.error(&tree.place, format!("{name} is an empty list")).help("name a register or a field");
    }
    items
}

/// What the rule waits for. `first` is what it changes first.
pub(super) fn delay(
    keys: &mut Keys<'_>,
    trigger: &Trigger,
    first: Option<&Part<'_>>,
    report: &mut Report,
) -> Option<Delay> {
    let (after, reads) = (keys.take("after"), keys.take("after-reads"));
    let given = reads.or(after)?;
    if let (Some(_), Some(reads)) = (after, reads) {
        report
            .error(&reads.place, "a rule waits for a time or for reads, not for both")
            .help("make two rules: whichever acts first has acted");
    }
    if matches!(trigger, Trigger::Always | Trigger::Every(_)) {
        let problem = "only what an access or an input triggers can come later: this rule has no on-write, on-read or on-input";
        report.error(&given.place, problem).help("every = SECONDS acts from time to time");
        return None;
    }
    if reads.is_none() {
        return seconds(after?, "after", report).map(Delay::Time);
    }
    let count = keys.number("after-reads", report)?;
    let place = keys.place_of("after-reads");
    if count == 0 {
        report.error(&place, "after 0 reads is at once").help("leave it out, or give 1 or more");
    }
    match first {
        None => {
            report
                .error(
                    &place,
                    "after-reads counts reads of what the rule changes first, and it changes nothing",
                )
                .help("after = SECONDS waits for a time");
        }
        Some(part) if !part.register.access.readable() => {
            let problem = format!("after-reads counts reads of {}, which cannot be read", part.target.path);
            report.error(&place, problem).help("after = SECONDS waits for a time");
        }
        Some(_) => {}
    }
    Some(Delay::Reads(count))
}

/// Reports what is wrong with a path or an expression.
pub(super) fn tell(place: &Place, wrong: Wrong, report: &mut Report) {
    let error = report.error(place, wrong.message);
    if let Some(help) = wrong.help {
        error.help(help);
    }
}

pub(super) fn too_large(number: u64, part: &Part<'_>) -> String {
    format!("{number:#x} does not fit {}, which has {} bits", part.target.path, part.target.width)
}
