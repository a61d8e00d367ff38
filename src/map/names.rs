//! Which names there can be, and which of them Python can reach as attributes.

use std::collections::HashMap;

use super::diagnostic::{Place, Report, hidden};

/// What has named parts, which Python reaches as attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A board, of devices.
    Board,
    /// A device, of registers and groups.
    Device,
    /// The regions of a device.
    Regions,
    /// A group, of registers and groups.
    Group,
    /// A register, of fields.
    Register,
    /// The hardware side of a mocked device, of registers and groups.
    Hardware,
    /// The hardware side of a group or register.
    HardwarePart,
}

impl Holder {
    /// All of them.
    pub const ALL: [Holder; 7] = [
        Holder::Board,
        Holder::Device,
        Holder::Regions,
        Holder::Group,
        Holder::Register,
        Holder::Hardware,
        Holder::HardwarePart,
    ];

    /// As messages call it.
    pub const fn word(self) -> &'static str {
        match self {
            Holder::Board => "board",
            Holder::Device => "device",
            Holder::Regions => "regions",
            Holder::Group => "group",
            Holder::Register => "register",
            Holder::Hardware => "hw",
            Holder::HardwarePart => "hw[…]",
        }
    }

    /// The attributes that every such object has, whatever its map. Names of two underscores at both ends are Python's,
    /// and not among them.
    pub const fn attributes(self) -> &'static [&'static str] {
        match self {
            Holder::Board => &[
                "_devices",
                "_ipython_key_completions_",
                "_path",
                "close",
                "closed",
                "items",
                "keys",
                "values",
            ],
            Holder::Device => &[
                "_expect",
                "_finish",
                "_ipython_key_completions_",
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
                "verify",
            ],
            Holder::Regions => &["_ipython_key_completions_", "items", "keys", "values"],
            Holder::Group => &["_ipython_key_completions_", "path", "registers"],
            Holder::Register => &[
                "_ipython_key_completions_",
                "_repr_html_",
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
                "region",
                "reset",
                "wait",
                "width",
                "writable",
                "write",
            ],
            Holder::Hardware => &[
                "_device",
                "_mock",
                "advance",
                "heal",
                "interrupt",
                "remove_hooks",
                "reset",
                "rule",
                "time",
                "vanish",
            ],
            Holder::HardwarePart => &[
                "_holds", "_mock", "_part", "_path", "_soft", "fail", "lost", "on_read", "on_write", "pop",
                "pop_all", "push", "read", "sent", "stick", "waiting", "write",
            ],
        }
    }

    /// The part's name as an attribute: the name itself where it can be one, else with underscores behind it until it
    /// can and no other part has that name. None where it is no identifier, and only a string reaches it. What is not
    /// ASCII is left to Python, which knows what may be in an identifier.
    pub fn attribute(self, name: &str, other: impl Fn(&str) -> bool) -> Option<String> {
        if !could_be_identifier(name) {
            return None;
        }
        let mut attribute = String::from(name);
        while self.why_not(&attribute).is_some() || (attribute != name && other(&attribute)) {
            attribute.push('_');
        }
        Some(attribute)
    }

    /// Why a part of this name has another one as an attribute.
    fn why_not(self, name: &str) -> Option<&'static str> {
        if self.attributes().contains(&name) {
            Some(match self {
                Holder::Hardware | Holder::HardwarePart => "is an attribute of every hardware side of a mock",
                _ => "is the name of an attribute that every such object has",
            })
        } else if KEYWORDS.contains(&name) {
            Some("is a keyword of Python")
        } else if name.starts_with("__") && !name.ends_with("___") {
            // Python changes the one inside classes, and keeps names with two at both ends for itself.
            Some("begins with two underscores, which Python keeps for itself")
        } else {
            None
        }
    }
}

fn could_be_identifier(name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(part)
}

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

/// What a part is an attribute of, first of all and on the hardware side.
pub(super) type Holders = [Holder; 2];
pub(super) const DEVICE: Holders = [Holder::Device, Holder::Hardware];
pub(super) const GROUP: Holders = [Holder::Group, Holder::HardwarePart];
pub(super) const REGISTER: Holders = [Holder::Register, Holder::HardwarePart];

/// Warns of a name that is not the name of the attribute too. `prefix` is the path of its holder, with its dot,
/// and `beside` are all names there.
pub(super) fn warn(
    prefix: &str,
    name: &str,
    holders: impl IntoIterator<Item = Holder>,
    beside: &[&str],
    place: &Place,
    report: &mut Report,
) {
    for holder in holders {
        let word = holder.word();
        let Some(attribute) = holder.attribute(name, |other| beside.contains(&other)) else {
            report
                .warn(place, format!("{prefix}{name} is no identifier of Python"))
                .help(format!("it is reachable as a string: {word}[{name:?}]"));
            return;
        };
        if let Some(why) = holder.why_not(name) {
            report
                .warn(place, format!("{prefix}{name} {why}"))
                .help(format!("it is reachable as {word}.{attribute}, and as a string: {word}[{name:?}]"));
            return;
        }
    }
}
