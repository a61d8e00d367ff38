//! What is wrong with a file, where, and what would be right.

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
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The line, and how many characters of it the mistake covers; None where the whole file is meant.
    snippet: Option<(String, usize)>,
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
            Some((text, width)) => {
                write!(f, "{file}:{}:{}: {severity}: {}", self.line, self.column, self.message)?;
                let number = self.line.to_string();
                let (gutter, indent) = (" ".repeat(number.len()), " ".repeat(self.column - 1));
                let carets = "^".repeat((*width).max(1));
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
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        match self.0.len() {
            0 | 1 => Ok(()),
            count => write!(f, "\n{count} errors"),
        }
    }
}

impl std::error::Error for MapErrors {}

/// A name or line of a file as a terminal may have it: control characters are spelled out.
pub(super) fn clean(text: &str) -> String {
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

/// Control characters, and the marks that change the direction or the joining of text.
pub(super) fn hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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
}

/// The files read so far and what was found in them.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub files: Vec<SourceFile>,
    found: Vec<(Place, Diagnostic)>,
}

impl Report {
    pub fn error(&mut self, place: &Place, message: impl Into<String>) -> &mut Diagnostic {
        self.add(place, Severity::Error, message.into())
    }

    pub fn warn(&mut self, place: &Place, message: impl Into<String>) -> &mut Diagnostic {
        self.add(place, Severity::Warning, message.into())
    }

    fn add(&mut self, place: &Place, severity: Severity, message: String) -> &mut Diagnostic {
        let line_number = self.line_of(place);
        let file = &self.files[place.file];
        let start = floor(&file.text, place.span.start);
        let end = floor(&file.text, place.span.end).max(start);
        let line_start = file.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = file.text[line_start..].lines().next().unwrap_or_default();
        let line_end = line_start + line.len();
        let prefix = &file.text[line_start..start.min(line_end)];
        let diagnostic = Diagnostic {
            file: file.name.clone(),
            line: line_number,
            column: clean(prefix).chars().count() + 1,
            severity,
            message: clean(&message),
            help: None,
            snippet: Some((
                clean(line),
                clean(&file.text[start.min(line_end)..end.min(line_end)]).chars().count(),
            )),
        };
        self.found.push((place.clone(), diagnostic));
        let last = self.found.len() - 1;
        &mut self.found[last].1
    }

    /// A mistake of a whole file, one that cannot be read.
    pub fn whole_file(&mut self, file: String, message: impl Into<String>) -> &mut Diagnostic {
        let (severity, message) = (Severity::Error, message.into());
        let diagnostic =
            Diagnostic { file, line: 1, column: 1, severity, message, help: None, snippet: None };
        self.found.push((Place::default(), diagnostic));
        let last = self.found.len() - 1;
        &mut self.found[last].1
    }

    /// The line of a place, from 1.
    pub fn line_of(&self, place: &Place) -> usize {
        let text = &self.files[place.file].text;
        text[..floor(text, place.span.start)].matches('\n').count() + 1
    }

    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, found)| found.severity == Severity::Error)
    }

    /// The warnings of a map without errors, or its errors.
    pub fn finish(mut self) -> Result<Vec<Diagnostic>, MapErrors> {
        self.found.sort_by_key(|(place, _)| (place.file, place.span.start));
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
pub(super) fn nearest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&folded, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= 1 + known.chars().count().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `did you mean X?`, or what there is: all of it if that is little.
pub(super) fn suggest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
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
