//! Which names there can be, and which of them Python can reach as attributes.

use std::collections::HashMap;

use super::diagnostic::{Place, Report, hidden};

/// Attributes of a device, which a register of the same name cannot hide.
pub const DEVICE_ATTRIBUTES: &[&str] = &[
    "close",
    "closed",
    "hw",
    "irq",
    "map",
    "name",
    "path",
    "regions",
    "registers",
    "restore",
    "snapshot",
    "source",
    "trace",
];

/// Attributes of a group.
pub const GROUP_ATTRIBUTES: &[&str] = &["path", "registers"];

/// Attributes of a register, which a field of the same name cannot hide.
pub const REGISTER_ATTRIBUTES: &[&str] = &[
    "access",
    "address",
    "decode",
    "doc",
    "encode",
    "fields",
    "modify",
    "name",
    "offset",
    "path",
    "read",
    "read_effect",
    "readable",
    "reset",
    "wait",
    "width",
    "writable",
    "write",
];

/// Python's keywords, which cannot follow a dot.
const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Names of registers and groups, by path, over all regions of a device.
#[derive(Default)]
pub(super) struct Seen {
    places: HashMap<String, Place>,
    full: bool,
}

/// More registers and groups than these come of groups that derive from groups in groups.
const MOST: usize = 1 << 18;

impl Seen {
    /// Whether there is room for one more, which it then has.
    pub fn add(&mut self, prefix: &str, name: &str, place: &Place, report: &mut Report) -> bool {
        if self.places.len() >= MOST {
            if !self.full {
                report.error(place, format!("more than {MOST} registers and groups, derived ones counted"));
                self.full = true;
            }
            return false;
        }
        let path = format!("{prefix}{name}");
        if let Some(other) = self.places.get(&path) {
            let at = report.line_of(other);
            report
                .error(place, format!("{path} is there already, in line {at}"))
                .help("names of registers and groups are unique over all regions of a device");
        }
        self.places.insert(path, place.clone());
        true
    }

    /// Where a path's name stands.
    pub fn place(&self, path: &str) -> Option<&Place> {
        self.places.get(path)
    }
}

/// A device's name is a word for file names and command lines.
pub(super) fn check_device(name: &str, place: &Place, report: &mut Report) {
    let mut characters = name.chars();
    let starts = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if !starts || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        report
            .error(place, format!("{name:?} is no name for a device"))
            .help("a device's name begins with a letter and has letters, digits, _ and - only");
    }
}

/// A name that a path can have in it.
pub(super) fn check(name: &str, what: &str, place: &Place, report: &mut Report) {
    let wrong = |c: char| hidden(c) || c.is_whitespace() || ".[]=,\"'\\".contains(c);
    if name.is_empty() {
        report.error(place, format!("a {what} needs a name"));
    } else if let Some(character) = name.chars().find(|&c| wrong(c)) {
        report
            .error(place, format!("the name of a {what} cannot have {character:?} in it"))
            .help("names have no white space, no control characters and none of  . [ ] = , \" ' \\");
    }
}

/// A name that can be a member of a Python enum as well.
pub(super) fn check_value(name: &str, place: &Place, report: &mut Report) {
    check(name, "value", place, report);
    let private = name.strip_prefix('_').is_some_and(|rest| rest.ends_with('_') || rest.contains("__"));
    if name == "mro" || name == "_" || private {
        report.error(
            place,
            format!("a value cannot be called {name:?}, which Python's enums keep for themselves"),
        );
    }
}

pub(super) fn warn_register(name: &str, in_device: bool, place: &Place, report: &mut Report) {
    match in_device {
        true => warn(name, DEVICE_ATTRIBUTES, "device", place, report),
        false => warn(name, GROUP_ATTRIBUTES, "group", place, report),
    }
}

pub(super) fn warn_field(name: &str, place: &Place, report: &mut Report) {
    warn(name, REGISTER_ATTRIBUTES, "register", place, report);
}

fn warn(name: &str, taken: &[&str], holder: &str, place: &Place, report: &mut Report) {
    let why = if taken.contains(&name) {
        "is the name of an attribute that every such object has"
    } else if KEYWORDS.contains(&name) {
        "is a keyword of Python"
    } else if name.starts_with("__") {
        "begins with two underscores, which Python changes"
    } else if name.starts_with(|c: char| c.is_ascii_digit())
        || name.contains(|c: char| c.is_ascii_punctuation() && c != '_')
    {
        "is no identifier of Python"
    } else {
        return;
    };
    report
        .warn(place, format!("{name} {why}"))
        .help(format!("it is reachable as a string: {holder}[{name:?}]"));
}
