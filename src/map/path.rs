//! Paths: `CH[3].CTRL.EN`.

use std::fmt;

use super::diagnostic::{clean, suggest};
use super::model::{Field, Map, Node, Register};

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

/// One name of a path, with its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Of a group, register or field.
    pub name: String,
    /// Of an array's element.
    pub index: Option<u64>,
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    at: String,
    problem: String,
    help: Option<String>,
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The index of the region.
    pub region: usize,
    /// The register.
    pub register: &'a Register,
    /// Of the register, in bytes from the start of the region.
    pub offset: u64,
    /// Of the register, written out.
    pub path: String,
    /// The field, where the path ends in one.
    pub field: Option<&'a Field>,
}

impl Path {
    /// Takes a path apart.
    ///
    /// # Errors
    /// It is no path; the error points at the character.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        let mut segments = Vec::new();
        let mut position = 0;
        for part in text.split('.') {
            segments.push(segment(text, part, position)?);
            position += part.chars().count() + 1;
        }
        Ok(Path(segments))
    }

    /// The names, outermost first; at least one.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

fn segment(text: &str, part: &str, position: usize) -> Result<Segment, PathError> {
    let wrong = |problem: String, at: usize| PathError {
        at: clean(text),
        problem,
        help: Some(format!("at character {}; a path is like CH[3].CTRL.EN", position + at + 1)),
    };
    let (name, rest) = match part.find('[') {
        Some(bracket) => (&part[..bracket], Some(&part[bracket + 1..])),
        None => (part, None),
    };
    let length = name.chars().count();
    if name.is_empty() {
        return Err(wrong("a name is missing".into(), 0));
    }
    if let Some(at) = name.chars().position(|c| c == ']' || c.is_whitespace()) {
        return Err(wrong("a name cannot have that in it".into(), at));
    }
    let index = match rest {
        None => None,
        Some(rest) => {
            let (digits, after) =
                rest.split_once(']').ok_or_else(|| wrong("a ] is missing".into(), length))?;
            if !after.is_empty() {
                let problem = if after.starts_with('[') {
                    "an array takes one index"
                } else {
                    "only a dot can come after the ]"
                };
                return Err(wrong(problem.into(), length + digits.chars().count() + 2));
            }
            let number = match digits.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+')),
                None => digits.parse().ok().filter(|_| !digits.starts_with('+')),
            };
            let problem = || wrong(format!("{:?} is no index", clean(digits)), length + 1);
            Some(number.ok_or_else(problem)?)
        }
    };
    Ok(Segment { name: name.into(), index })
}

impl PathError {
    fn new(at: &str, problem: String, help: Option<String>) -> PathError {
        PathError { at: clean(at), problem: clean(&problem), help: help.map(|help| clean(&help)) }
    }

    /// What is wrong, and what would be right.
    pub(super) fn parts(&self) -> (String, Option<&str>) {
        (format!("{}: {}", self.at, self.problem), self.help.as_deref())
    }

    /// There is no part of this name; `names` are those there are.
    pub fn unknown<'a>(at: &str, name: &str, names: impl IntoIterator<Item = &'a str> + Clone) -> PathError {
        PathError::new(at, format!("has no register or group {name:?}"), suggest(name, names))
    }

    /// A register has no field of this name.
    pub fn unknown_field<'a>(
        at: &str,
        name: &str,
        names: impl IntoIterator<Item = &'a str> + Clone,
    ) -> PathError {
        let help = suggest(name, names).unwrap_or_else(|| "the map gives it no fields".into());
        PathError::new(at, format!("has no field {name:?}"), Some(help))
    }

    /// Something follows a field, or a field has an index.
    pub fn beyond_field(at: &str, register: &str) -> PathError {
        PathError::new(at, format!("{register} is a register: only the name of a field can follow"), None)
    }

    /// An array was named without saying which element.
    pub fn needs_index(at: &str, array: &str) -> PathError {
        PathError::new(at, format!("{array} is an array"), Some(format!("choose one: {array}[0]")))
    }

    /// An index was given to what is no array.
    pub fn no_array(at: &str, name: &str) -> PathError {
        PathError::new(at, format!("{name} is no array and takes no index"), None)
    }

    /// An index beyond the end of an array.
    pub fn no_element(at: &str, name: &str, index: u64, count: u64) -> PathError {
        let help = Some(format!("the index goes from 0 to {}", count.saturating_sub(1)));
        PathError::new(at, format!("{name} has no element {index}"), help)
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.problem)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PathError {}

/// The path of the node of a name beside the last one of `path`, and of the same index.
pub(crate) fn beside(path: &str, name: &str) -> String {
    let holder = path.rfind('.').map_or("", |dot| &path[..=dot]);
    let index = path.strip_suffix(']').and_then(|inner| inner.rfind('[')).map_or("", |at| &path[at..]);
    format!("{holder}{name}{index}")
}

impl Map {
    /// Follows a path to a register or field.
    ///
    /// # Errors
    /// It leads nowhere, or to a group or an array; the error says which names are near.
    pub fn resolve(&self, text: &str) -> Result<Found<'_>, PathError> {
        let path = Path::parse(text)?;
        let (first, rest) = match path.0.split_first() {
            Some(parts) => parts,
            None => return Err(PathError::unknown(&self.name, "", [])),
        };
        let names = || self.regions.iter().flat_map(|region| region.nodes.iter().map(Node::name));
        for (index, region) in self.regions.iter().enumerate() {
            if let Some(node) = region.nodes.named(&first.name) {
                return follow(node, first, rest, text, index);
            }
        }
        let all: Vec<_> = names().collect();
        Err(PathError::unknown(&self.name, &first.name, all))
    }
}

fn follow<'a>(
    node: &'a Node,
    segment: &Segment,
    rest: &[Segment],
    text: &str,
    region: usize,
) -> Result<Found<'a>, PathError> {
    let mut node = node;
    let mut segment = segment;
    let mut rest = rest;
    let mut offset = 0u64;
    let mut path = String::new();
    loop {
        path.push_str(node.name());
        offset += node.offset();
        match (node.array(), segment.index) {
            (None, None) => {}
            (None, Some(_)) => return Err(PathError::no_array(text, &segment.name)),
            (Some(_), None) => return Err(PathError::needs_index(text, &path)),
            (Some(array), Some(index)) if index < array.count => {
                offset += index * array.stride;
                path.push_str(&format!("[{index}]"));
            }
            (Some(array), Some(index)) => {
                return Err(PathError::no_element(text, &path, index, array.count));
            }
        }
        match node {
            Node::Register(register) => {
                let field = match rest {
                    [] => None,
                    [last] if last.index.is_none() => {
                        let names = register.fields.iter().map(|field| field.name.as_str());
                        let found = register.fields.iter().find(|field| field.name == last.name);
                        Some(found.ok_or_else(|| PathError::unknown_field(&path, &last.name, names))?)
                    }
                    _ => return Err(PathError::beyond_field(text, &path)),
                };
                return Ok(Found { region, register, offset, path, field });
            }
            Node::Group(group) => {
                let Some((next, after)) = rest.split_first() else {
                    let names: Vec<_> = group.nodes.iter().map(Node::name).collect();
                    let help = suggest("", names);
                    return Err(PathError::new(text, format!("{path} is a group, not a register"), help));
                };
                let Some(found) = group.nodes.named(&next.name) else {
                    let names = group.nodes.iter().map(Node::name);
                    return Err(PathError::unknown(&path, &next.name, names));
                };
                path.push('.');
                (node, segment, rest) = (found, next, after);
            }
        }
    }
}
