//! The keys of one table, taken one by one; whatever is left at the end is a mistake.

use super::diagnostic::{Place, Report, suggest};
use super::model::{Access, ByteOrder, OnRead, OnWrite, Width};
use super::tree::{Key, Tree, Value};

/// A table being read.
pub(super) struct Keys<'a> {
    tree: &'a Tree,
    /// What it is, for messages: `register CTRL`.
    pub what: String,
    /// Where its name stands.
    pub place: Place,
    known: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    /// The keys of a table; None, and an error, where it is none.
    pub fn of(tree: &'a Tree, what: String, place: &Place, report: &mut Report) -> Option<Keys<'a>> {
        match tree.value {
            Value::Table(_) => Some(Keys { tree, what, place: place.clone(), known: Vec::new() }),
            _ => {
                report.error(&tree.place, format!("{what} is a table, not {}", tree.kind()));
                None
            }
        }
    }

    pub fn take(&mut self, name: &'static str) -> Option<&'a Tree> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.tree.get(name)
    }

    /// Where the value of a key stands, or the table's name.
    pub fn place_of(&self, name: &str) -> Place {
        self.tree.get(name).map_or_else(|| self.place.clone(), |tree| tree.place.clone())
    }

    pub fn text(&mut self, name: &'static str, report: &mut Report) -> Option<String> {
        let tree = self.take(name)?;
        text(tree, name, report)
    }

    pub fn bool(&mut self, name: &'static str, report: &mut Report) -> Option<bool> {
        let tree = self.take(name)?;
        match tree.value {
            Value::Bool(value) => Some(value),
            _ => {
                report.error(&tree.place, format!("{name} is true or false, not {}", tree.kind()));
                None
            }
        }
    }

    pub fn number(&mut self, name: &'static str, report: &mut Report) -> Option<u64> {
        let tree = self.take(name)?;
        number(tree, name, report)
    }

    /// A number that must be there.
    pub fn need(&mut self, name: &'static str, report: &mut Report) -> Option<u64> {
        if self.take(name).is_none() {
            report.missing(&self.place, format!("{} needs {name:?}", self.what));
            return None;
        }
        self.number(name, report)
    }

    pub fn width(&mut self, report: &mut Report) -> Option<Width> {
        let place = self.place_of("width");
        let bits = self.number("width", report)?;
        let width = Width::from_bits(bits);
        if width.is_none() {
            report
                .error(&place, format!("a bus access is not {bits} bits wide"))
                .help("width is 8, 16, 32 or 64, in bits");
        }
        width
    }

    pub fn byte_order(&mut self, report: &mut Report) -> Option<ByteOrder> {
        self.choice("byte-order", &[("little", ByteOrder::Little), ("big", ByteOrder::Big)], report)
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&'static str, T)],
        report: &mut Report,
    ) -> Option<T> {
        let place = self.place_of(name);
        let text = self.text(name, report)?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let error = report.error(&place, format!("{name} is not {text:?}"));
            if let Some(help) = suggest(&text, choices.iter().map(|(word, _)| *word)) {
                error.help(help);
            }
        }
        found
    }

    /// Access rights and effects, which the short names of `access` give together.
    pub fn rights(&mut self, report: &mut Report) -> Rights {
        use OnWrite::{Clear, OneToClear, OneToSet, OneToToggle, Set, ZeroToClear, ZeroToSet, ZeroToToggle};
        let plain = |access| (access, None, None);
        let write = |effect| (Access::ReadWrite, None, Some(effect));
        let read = |effect| (Access::ReadOnly, Some(effect), None);
        let access = self.choice(
            "access",
            &[
                ("rw", plain(Access::ReadWrite)),
                ("ro", plain(Access::ReadOnly)),
                ("wo", plain(Access::WriteOnly)),
                ("rw-once", plain(Access::ReadWriteOnce)),
                ("wo-once", plain(Access::WriteOnce)),
                ("w1c", write(OneToClear)),
                ("w1s", write(OneToSet)),
                ("w1t", write(OneToToggle)),
                ("w0c", write(ZeroToClear)),
                ("w0s", write(ZeroToSet)),
                ("w0t", write(ZeroToToggle)),
                ("wc", write(Clear)),
                ("ws", write(Set)),
                ("rc", read(OnRead::Clear)),
                ("rs", read(OnRead::Set)),
            ],
            report,
        );
        let on_read = self.on_read(report);
        let on_write = self.choice(
            "on-write",
            &[
                ("one-to-clear", Some(OneToClear)),
                ("one-to-set", Some(OneToSet)),
                ("one-to-toggle", Some(OneToToggle)),
                ("zero-to-clear", Some(ZeroToClear)),
                ("zero-to-set", Some(ZeroToSet)),
                ("zero-to-toggle", Some(ZeroToToggle)),
                ("clear", Some(Clear)),
                ("set", Some(Set)),
                ("modify", Some(OnWrite::Modify)),
                ("none", None),
            ],
            report,
        );
        let (short_read, short_write) = access.map_or((None, None), |(_, read, write)| (read, write));
        let contradicted = |said: bool, key: &'static str, short: bool| (said && short).then_some(key);
        let keys = [
            contradicted(on_read.is_some_and(|effect| effect != short_read), "on-read", short_read.is_some()),
            contradicted(
                on_write.is_some_and(|effect| effect != short_write),
                "on-write",
                short_write.is_some(),
            ),
        ];
        for key in keys.into_iter().flatten() {
            report
                .error(&self.place_of(key), format!("{key} contradicts the access, which gives another"))
                .help("give the access as \"rw\", \"ro\" or \"wo\" and the effect by itself");
        }
        Rights {
            access: access.map(|(access, ..)| access),
            on_read: on_read.or(short_read.map(Some)),
            on_write: on_write.or(short_write.map(Some)),
        }
    }

    /// What a read does: `Some(None)` for `"none"`.
    pub fn on_read(&mut self, report: &mut Report) -> Option<Option<OnRead>> {
        self.choice(
            "on-read",
            &[
                ("clear", Some(OnRead::Clear)),
                ("set", Some(OnRead::Set)),
                ("modify", Some(OnRead::Modify)),
                ("modify-external", Some(OnRead::ModifyExternal)),
                ("none", None),
            ],
            report,
        )
    }

    /// The tables under a key, each with its name.
    pub fn tables(&mut self, name: &'static str, report: &mut Report) -> &'a [(Key, Tree)] {
        let Some(tree) = self.take(name) else { return &[] };
        match &tree.value {
            Value::Table(entries) => entries,
            _ => {
                report.error(&tree.place, format!("{name} is a table, not {}", tree.kind()));
                &[]
            }
        }
    }

    /// Reports what nobody took.
    pub fn finish(self, report: &mut Report) {
        for (key, _) in self.tree.table() {
            if self.known.contains(&key.name.as_str()) {
                continue;
            }
            let error = report.error(&key.place, format!("{} has no key {:?}", self.what, key.name));
            if key.name == "include" {
                error.help("include stands at the top of the file, before any [table]");
            } else if let Some(help) = suggest(&key.name, self.known.iter().copied()) {
                error.help(help);
            }
        }
    }
}

/// What `access`, `on-read` and `on-write` say; None where they say nothing, `Some(None)` for `"none"`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rights {
    pub access: Option<Access>,
    pub on_read: Option<Option<OnRead>>,
    pub on_write: Option<Option<OnWrite>>,
}

/// A string.
pub(super) fn text(tree: &Tree, name: &str, report: &mut Report) -> Option<String> {
    match &tree.value {
        Value::Text(text) => Some(text.clone()),
        _ => {
            report.error(&tree.place, format!("{name} is a string, not {}", tree.kind()));
            None
        }
    }
}

/// A number of 64 bits: an integer, or a string for those above TOML's range.
pub(super) fn number(tree: &Tree, what: &str, report: &mut Report) -> Option<u64> {
    let problem = match &tree.value {
        Value::Integer(Some(number)) => match u64::try_from(*number) {
            Ok(number) if number <= i64::MAX as u64 => return Some(number),
            Ok(number) => {
                report
                    .error(
                        &tree.place,
                        format!("{what} is beyond the integers of TOML, which end at 2^63 - 1"),
                    )
                    .help(format!("write it as a string: \"{number:#x}\""));
                return None;
            }
            Err(_) if *number < 0 => format!("{what} is negative"),
            Err(_) => format!("{what} does not fit 64 bits"),
        },
        Value::Integer(None) => format!("{what} does not fit 64 bits"),
        Value::Text(text) => match parse(text) {
            Some(number) => return Some(number),
            None => format!("{what} is a number of 64 bits, not {text:?}"),
        },
        _ => format!("{what} is a number, not {}", tree.kind()),
    };
    report
        .error(&tree.place, problem)
        .help("numbers are 0 to 0xffff_ffff_ffff_ffff; those above 2^63 - 1 are written as strings");
    None
}

/// A number written as a string, as TOML would write it: underscores between digits, no decimal that begins with 0.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (digits, radix) = match text.get(..2) {
        Some("0x") => (&text[2..], 16),
        Some("0o") => (&text[2..], 8),
        Some("0b") => (&text[2..], 2),
        _ => (text, 10),
    };
    let grouped =
        digits.split('_').all(|group| !group.is_empty() && group.chars().all(|c| c.is_digit(radix)));
    if !grouped || radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), radix).ok()
}
