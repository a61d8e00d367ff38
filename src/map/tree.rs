//! TOML with places: each key and value knows its file and span, so that files can be laid over each other.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Place, Report, SourceFile};
use super::library;
use super::toml10;

/// A larger file is no map.
const MOST_BYTES: u64 = 64 << 20;

/// More files than these include each other over and over.
const MOST_FILES: usize = 256;

/// The list that included files add to.
pub(super) const RULES: &str = "behaviour";

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Table(Vec<(Key, Tree)>),
    List(Vec<Tree>),
    Text(String),
    /// None where it does not fit 128 bits.
    Integer(Option<i128>),
    Bool(bool),
    /// As it is written, without underscores.
    Float(String),
    Date,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub name: String,
    pub place: Place,
}

impl Tree {
    pub fn table(&self) -> &[(Key, Tree)] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    pub fn get(&self, name: &str) -> Option<&Tree> {
        self.table().iter().find(|(key, _)| key.name == name).map(|(_, tree)| tree)
    }

    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Table(_) => "a table",
            Value::List(_) => "a list",
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Bool(_) => "a boolean",
            Value::Float(_) => "a float",
            Value::Date => "a date",
        }
    }

    /// Lays `over` over this tree: tables key by key, everything else replaced.
    pub fn overlay(&mut self, over: Tree) {
        match (&mut self.value, over.value) {
            (Value::Table(below), Value::Table(above)) => {
                self.place = over.place;
                // Worth its making for long tables only.
                let known: Option<HashMap<String, usize>> = (above.len() > 8).then(|| {
                    below.iter().enumerate().map(|(index, (key, _))| (key.name.clone(), index)).collect()
                });
                for (key, tree) in above {
                    let index = match &known {
                        Some(known) => known.get(&key.name).copied(),
                        None => below.iter().position(|(known, _)| known.name == key.name),
                    };
                    match index {
                        Some(index) => {
                            let (known, old) = &mut below[index];
                            known.place = key.place;
                            old.overlay(tree);
                        }
                        None => below.push((key, tree)),
                    }
                }
            }
            (_, value) => *self = Tree { place: over.place, value },
        }
    }

    fn rules(&mut self) -> Option<&mut Tree> {
        let Value::Table(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|(key, _)| key.name == RULES).map(|(_, rules)| rules)
    }

    /// Lays a file over this one: rules of behaviour come after those there are, all else is overlaid.
    fn include(&mut self, mut over: Tree) {
        if let (Some(below), Some(above)) = (self.rules(), over.rules()) {
            if let (Value::List(below), Value::List(above)) = (&mut below.value, &mut above.value) {
                above.splice(..0, std::mem::take(below));
            }
        }
        self.overlay(over);
    }
}

/// Reads a file from disk and what it includes. None where it cannot be read at all, which is reported.
pub(super) fn read_file(path: &Path, name: String, report: &mut Report) -> Option<Tree> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(problem) => {
            report.whole_file(name, problem);
            return None;
        }
    };
    read_text_of(SourceFile::new(name, Some(path.into()), text), report, &mut Vec::new())
}

fn read_text(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_string(),
        ErrorKind::PermissionDenied => "no permission to read this file".to_string(),
        _ => error.to_string(),
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err("this is a directory, not a file".into());
    }
    // A device or a pipe may never end.
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("this is longer than {} MiB: too long for a map", MOST_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("this is not UTF-8, as TOML is: byte {} is wrong, in line {line}", good.len())
    })
}

/// Reads a text and what it includes. `above` are the files that include it.
pub(super) fn read_text_of(file: SourceFile, report: &mut Report, above: &mut Vec<String>) -> Option<Tree> {
    let index = report.files.len();
    let path = file.path.clone();
    let name = file.name.clone();
    // Kept whole for messages, which the parser's borrows would stand in the way of.
    let text = file.text.clone();
    report.files.push(file);
    let (table, errors) = DeTable::parse_recoverable(&text);
    /// A file that is no TOML at all has mistakes without end.
    const MOST: usize = 100;
    for error in errors.iter().take(MOST) {
        let span = error.span().unwrap_or(0..0);
        // The parser's words for a value that is not there are about strings.
        let missing =
            text.get(span.start..).is_some_and(|rest| rest.lines().next().is_none_or(str::is_empty));
        let message = match error.message() {
            message if missing && message.starts_with("string values must be quoted") => {
                "a value is missing".into()
            }
            message => first_line(message),
        };
        let found = report.error(&Place { file: index, span }, message);
        if error.message().starts_with("duplicate key") {
            found.help("each key and each [table] is given once");
        }
    }
    if !errors.is_empty() {
        return None;
    }
    for newer in toml10::newer(&text) {
        report.error(&Place { file: index, span: newer.span }, newer.problem).help(newer.help);
    }
    let span = table.span();
    let mut tree =
        Tree { place: Place { file: index, span }, value: convert_table(table.into_inner(), index) };
    let Value::Table(entries) = &mut tree.value else { return None };
    let Some(at) = entries.iter().position(|(key, _)| key.name == "include") else {
        return Some(tree);
    };
    let (_, list) = entries.remove(at);
    above.push(name);
    let mut base: Option<Tree> = None;
    for (included, place) in include_names(&list, report) {
        match (include(&included, &place, path.as_deref(), report, above), &mut base) {
            (None, _) => report.incomplete = true,
            (Some(tree), None) => base = Some(tree),
            (Some(tree), Some(base)) => base.include(tree),
        }
    }
    above.pop();
    Some(match base {
        None => tree,
        Some(mut base) => {
            base.include(tree);
            base
        }
    })
}

fn include_names(list: &Tree, report: &mut Report) -> Vec<(String, Place)> {
    let items = match &list.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(list),
    };
    let mut names = Vec::new();
    for item in items {
        match &item.value {
            Value::Text(name) => names.push((name.clone(), item.place.clone())),
            _ => {
                report
                    .error(&item.place, format!("include takes file names, not {}", item.kind()))
                    .help("include = [\"common.toml\"]");
            }
        }
    }
    names
}

/// One included file. A map is data: it reaches no file outside the folder of the file the user named.
fn include(
    name: &str,
    place: &Place,
    from: Option<&Path>,
    report: &mut Report,
    above: &mut Vec<String>,
) -> Option<Tree> {
    if name.is_empty() {
        report.error(place, "the name of a file to include is empty");
        return None;
    }
    let parts = || Path::new(name).components().filter(|part| *part != Component::CurDir);
    if !parts().all(|part| matches!(part, Component::Normal(_))) {
        report
            .error(place, format!("{name:?} lies outside the folder of this file"))
            .help("an included file lies beside the file that includes it, or in a folder below");
        return None;
    }
    if report.files.len() >= MOST_FILES {
        report.error(place, format!("more than {MOST_FILES} files are included, counting repetitions"));
        return None;
    }
    let inner: PathBuf = parts().collect();
    let (shown, path, text) = match from {
        None => match library::text(&report.files[place.file].name, &inner) {
            Some((origin, text)) => (origin, None, Ok(text.to_string())),
            None => (name.to_string(), None, Err("there is no such file in the library".to_string())),
        },
        Some(from) => {
            let folder = from.parent().unwrap_or(Path::new(""));
            let path = folder.join(inner);
            // A symbolic link could lead out of the folder all the same.
            let real = path.canonicalize();
            let home = match folder.as_os_str().is_empty() {
                true => Path::new(".").canonicalize(),
                false => folder.canonicalize(),
            };
            let text = match (real, home) {
                (Ok(real), Ok(home)) if !real.starts_with(&home) => {
                    Err("it lies outside the folder of this file, through a symbolic link".into())
                }
                // What the user names may be a pipe; what a file names must not keep the user waiting.
                _ if path.exists() && !path.is_file() && !path.is_dir() => {
                    Err("it is not a regular file".into())
                }
                _ => read_text(&path),
            };
            (path.display().to_string(), Some(path), text)
        }
    };
    if above.contains(&shown) || report.files[place.file].name == shown {
        report.error(place, format!("{name} includes itself: {} -> {shown}", above.join(" -> ")));
        return None;
    }
    match text {
        Ok(text) => read_text_of(SourceFile::new(shown, path, text), report, above),
        Err(problem) => {
            report.error(place, format!("cannot include {name}: {problem}"));
            None
        }
    }
}

fn convert_table(table: DeTable<'_>, file: usize) -> Value {
    let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        let place = Place { file, span: key.span() };
        let name: std::borrow::Cow<'_, str> = key.into_inner();
        (Key { name: name.into_owned(), place }, convert(value, file))
    };
    Value::Table(table.into_iter().map(entry).collect())
}

fn convert(value: Spanned<DeValue<'_>>, file: usize) -> Tree {
    let place = Place { file, span: value.span() };
    let value = match value.into_inner() {
        DeValue::Table(table) => convert_table(table, file),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| convert(item, file)).collect()),
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Float(number) => Value::Float(number.as_str().into()),
        DeValue::Datetime(_) => Value::Date,
    };
    Tree { place, value }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("is not TOML").to_string()
}
