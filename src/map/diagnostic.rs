//! What is wrong with a file, where, and what would be right.

use std::cell::OnceCell;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The map cannot be used.
    Error,
    /// The map can be used, but may surprise.
    Warning,
}

/// One mistake in a file.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// The file as the user named it.
    pub file: String,
    /// From 1; 0 where the whole file is meant.
    pub line: usize,
    /// In characters, from 1; 0 where the whole file is meant.
    pub column: usize,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// None where the whole file is meant.
    snippet: Option<Snippet>,
    /// It would be right if something were there.
    missing: bool,
}

/// A line, and the part of it that is wrong.
#[derive(Clone, Debug)]
struct Snippet {
    text: String,
    /// How many characters of the text come before the part.
    before: usize,
    /// How many it has.
    length: usize,
}

/// Of a longer line a part is shown: a line can be as long as a file.
const WIDEST: usize = 120;

impl Snippet {
    /// The bytes `start` to `end` of a line.
    fn new(line: &str, start: usize, end: usize) -> Snippet {
        let skipped = line[..start].chars().count().saturating_sub(WIDEST / 2);
        let from = line.char_indices().nth(skipped).map_or(0, |(at, _)| at);
        let to = line[from..].char_indices().nth(WIDEST).map_or(line.len(), |(at, _)| from + at);
        let (left, right) = (if from > 0 { "…" } else { "" }, if to < line.len() { "…" } else { "" });
        let count = |text: &str| clean(text).chars().count();
        Snippet {
            text: format!("{left}{}{right}", clean(&line[from..to])),
            before: count(left) + count(&line[from..start]),
            length: count(&line[start..end.clamp(start, to.max(start))]).max(1),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let file = clean(&self.file);
        match &self.snippet {
            None => write!(f, "{file}: {severity}: {}", self.message)?,
            Some(Snippet { text, before, length }) => {
                write!(f, "{file}:{}:{}: {severity}: {}", self.line, self.column, self.message)?;
                let number = self.line.to_string();
                let (gutter, indent) = (" ".repeat(number.len()), " ".repeat(*before));
                let carets = "^".repeat(*length);
                write!(f, "\n {number} | {text}\n {gutter} | {indent}{carets}")?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "\n   help: {help}"),
            None => Ok(()),
        }
    }
}

/// Every mistake of a map, in the order of the file.
#[derive(Clone, Debug)]
pub struct MapErrors(pub Vec<Diagnostic>);

impl fmt::Display for MapErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Nobody reads more of them at once.
        const MOST: usize = 100;
        for (index, error) in self.0.iter().take(MOST).enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        match self.0.len() {
            0 | 1 => Ok(()),
            count if count > MOST => write!(f, "\n{count} errors; the first {MOST} are shown"),
            count => write!(f, "\n{count} errors"),
        }
    }
}

impl std::error::Error for MapErrors {}

/// A name or line of a file as a terminal may have it: control characters are spelled out.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => clean.push(' '),
            character if hidden(character) => clean.extend(character.escape_default()),
            character => clean.push(character),
        }
    }
    clean
}

/// What a terminal does not print: control characters, marks that change the direction of text, and their like.
pub(super) fn hidden(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    // As a second character, for an accent alone counts as hidden.
    format!("a{character}").escape_debug().nth(1) != Some(character)
}

/// A place in one of the files being read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The index of the file.
    pub file: usize,
    /// In bytes.
    pub span: Range<usize>,
}

/// A file being read.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub name: String,
    /// Where it is on disk; None for a map of the library or a text.
    pub path: Option<PathBuf>,
    pub text: String,
    /// Where its lines begin, once someone asks.
    lines: OnceCell<Vec<usize>>,
}

impl SourceFile {
    /// A file without its byte-order mark.
    pub fn new(name: String, path: Option<PathBuf>, text: String) -> SourceFile {
        let text = match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_string(),
            None => text,
        };
        SourceFile { name, path, text, lines: OnceCell::new() }
    }

    /// The number of the line a byte lies in, from 1, and where the line begins.
    fn line(&self, at: usize) -> (usize, usize) {
        let lines = self.lines.get_or_init(|| {
            let newlines = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(newlines.map(|(newline, _)| newline + 1)).collect()
        });
        let number = lines.partition_point(|start| *start <= at);
        (number, lines[number - 1])
    }
}

/// The files read so far and what was found in them.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub files: Vec<SourceFile>,
    /// An included file could not be read: what seems to be missing may stand there.
    pub incomplete: bool,
    found: Vec<(Place, Diagnostic)>,
}

impl Report {
    pub fn error(&mut self, place: &Place, message: impl Into<String>) -> &mut Diagnostic {
        self.add(place, Severity::Error, message.into())
    }

    /// Something is missing, which is not told where a file is missing too.
    pub fn missing(&mut self, place: &Place, message: impl Into<String>) -> &mut Diagnostic {
        let found = self.add(place, Severity::Error, message.into());
        found.missing = true;
        found
    }

    pub fn warn(&mut self, place: &Place, message: impl Into<String>) -> &mut Diagnostic {
        self.add(place, Severity::Warning, message.into())
    }

    fn add(&mut self, place: &Place, severity: Severity, message: String) -> &mut Diagnostic {
        let file = &self.files[place.file];
        let start = floor(&file.text, place.span.start);
        let end = floor(&file.text, place.span.end).max(start);
        let (number, begin) = file.line(start);
        let line = file.text[begin..].lines().next().unwrap_or_default();
        let (from, to) = ((start - begin).min(line.len()), (end - begin).min(line.len()));
        let diagnostic = Diagnostic {
            file: file.name.clone(),
            line: number,
            column: line[..from].chars().count() + 1,
            severity,
            message: clean(&message),
            help: None,
            snippet: Some(Snippet::new(line, from, to)),
            missing: false,
        };
        self.found.push((place.clone(), diagnostic));
        let last = self.found.len() - 1;
        &mut self.found[last].1
    }

    /// A mistake of a whole file, one that cannot be read.
    pub fn whole_file(&mut self, file: String, message: impl Into<String>) -> &mut Diagnostic {
        let (severity, message) = (Severity::Error, message.into());
        let diagnostic = Diagnostic {
            file,
            line: 0,
            column: 0,
            severity,
            message,
            help: None,
            snippet: None,
            missing: false,
        };
        self.found.push((Place::default(), diagnostic));
        let last = self.found.len() - 1;
        &mut self.found[last].1
    }

    /// The line of a place, from 1.
    pub fn line_of(&self, place: &Place) -> usize {
        self.files[place.file].line(place.span.start).0
    }

    /// `file:line`.
    pub fn shown(&self, place: &Place) -> String {
        format!("{}:{}", self.files[place.file].name, self.line_of(place))
    }

    /// The text at a place.
    pub fn text_at(&self, place: &Place) -> &str {
        self.files[place.file].text.get(place.span.clone()).unwrap_or_default()
    }

    /// The bytes `part` of a string's content, or the whole string where escapes stand in the way.
    pub fn inside(&self, string: &Place, content: &str, part: &Range<usize>) -> Place {
        let raw = self.text_at(string);
        let quotes = raw.len() - raw.trim_start_matches(['"', '\'']).len();
        // A line break right after three quotes does not belong to the string.
        let skipped = [quotes, quotes + 1, quotes + 2].into_iter().find(|skipped| {
            let before =
                raw.get(quotes..*skipped).is_some_and(|gap| gap.chars().all(|c| c == '\r' || c == '\n'));
            before && raw.get(*skipped..raw.len().saturating_sub(quotes)) == Some(content)
        });
        let Some(skipped) = skipped else { return string.clone() };
        let start = string.span.start + skipped;
        // What is missing at the end is told of the closing quote.
        Place { file: string.file, span: start + part.start..start + part.end.max(part.start + 1) }
    }

    /// How much was found so far.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, found)| found.severity == Severity::Error)
    }

    /// The warnings of a map without errors, or its errors.
    pub fn finish(mut self) -> Result<Vec<Diagnostic>, MapErrors> {
        if self.incomplete {
            self.found.retain(|(_, found)| !found.missing);
        }
        self.found.sort_by(|(a, one), (b, other)| {
            (a.file, a.span.start, &one.message).cmp(&(b.file, b.span.start, &other.message))
        });
        // What is wrong with a register is wrong with each that derives from it: it is said once.
        self.found.dedup_by(|(a, one), (b, other)| a == b && one.message == other.message);
        let failed = self.has_errors();
        let wanted = if failed { Severity::Error } else { Severity::Warning };
        let found: Vec<_> = self.found.into_iter().map(|(_, found)| found).collect();
        let chosen = found.into_iter().filter(|found| found.severity == wanted).collect();
        if failed { Err(MapErrors(chosen)) } else { Ok(chosen) }
    }
}

impl Diagnostic {
    pub(super) fn help(&mut self, help: impl Into<String>) -> &mut Diagnostic {
        self.help = Some(clean(&help.into()));
        self
    }
}

/// The nearest start of a character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The known word nearest to one that is not, if one is near enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// A longer word is no slip of the finger, and costs time to compare.
    const LONGEST: usize = 64;
    let length = word.chars().count();
    if length > LONGEST {
        return None;
    }
    let folded = word.to_lowercase();
    known
        .into_iter()
        .filter(|known| known.chars().count().abs_diff(length) <= 1 + length / 4)
        .map(|known| (strsim::damerau_levenshtein(&folded, &known.to_lowercase()), known))
        // Of a name of one letter, another letter is no near one.
        .filter(|(distance, known)| {
            *distance <= 1 + known.chars().count().min(length) / 4 && *distance < length
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `did you mean X?`, or what there is: all of it if that is little.
pub(super) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(near) = nearest(word, known.clone()) {
        return Some(format!("did you mean {near:?}?"));
    }
    /// More names than these help nobody.
    const MOST: usize = 16;
    let names: Vec<_> = known.into_iter().collect();
    match names.len() {
        0 => None,
        count if count <= MOST => Some(format!("there is {}", names.join(", "))),
        count => Some(format!("there are {count}: {}, …", names[..MOST].join(", "))),
    }
}
