//! What the paths of behaviour rules lead to, where `[*]` stands for each element of an array.

use std::collections::HashMap;

use super::behaviour::Target;
use super::diagnostic::suggest;
use super::model::{Array, Field, Map, Node, Register, Value};
use super::path::Path;

/// What is wrong with a path or an expression, and what would be right.
#[derive(Debug)]
pub(super) struct Wrong {
    pub message: String,
    pub help: Option<String>,
}

impl Wrong {
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Wrong {
        Wrong { message: message.into(), help: Some(help.into()) }
    }
}

/// A register or field that a path leads to.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    pub target: Target,
    pub register: &'a Register,
    pub field: Option<&'a Field>,
    /// The arrays named with `[*]`: `CH[*]`, and how many elements there are.
    pub stars: Vec<(String, u64)>,
}

impl<'a> Part<'a> {
    /// Whether software may read it.
    pub fn readable(&self) -> bool {
        self.register.access.readable() && self.field.is_none_or(|field| field.access.readable())
    }

    /// Whether software may write it.
    pub fn writable(&self) -> bool {
        self.register.access.writable() && self.field.is_none_or(|field| field.access.writable())
    }

    /// The names of its numbers: of those read, and of those written.
    pub fn names(&self) -> Names<'a> {
        self.field.map_or(Names::default(), |field| Names([&field.values, field.names_for_write()]))
    }
}

/// Names for numbers; the first list that has a name decides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Names<'a>(pub [&'a [Value]; 2]);

impl Names<'_> {
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.into_iter().flatten().find(|value| value.name == name).map(|value| value.value)
    }

    /// The name that may be meant, or those there are.
    pub fn suggest(&self, name: &str) -> Option<String> {
        let [first, second] = self.0;
        let more = second.iter().filter(|value| first.iter().all(|known| known.name != value.name));
        suggest(name, first.iter().chain(more).map(|value| value.name.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|values| values.is_empty())
    }
}

/// A register, and what holds it: a name, an offset and perhaps an array for each step, the register's own last.
struct Spot<'a> {
    region: usize,
    register: &'a Register,
    steps: Vec<(u64, Option<Array>)>,
}

/// The registers of a map by their names.
pub(super) struct Parts<'a> {
    map: &'a Map,
    /// By path without indices.
    spots: HashMap<String, Spot<'a>>,
}

impl<'a> Parts<'a> {
    pub fn of(map: &'a Map) -> Parts<'a> {
        let mut spots = HashMap::new();
        for (region, inside) in map.regions.iter().enumerate() {
            collect(&inside.nodes, region, "", &mut Vec::new(), &mut spots);
        }
        Parts { map, spots }
    }

    /// A path that begins with these letters and goes on with one that an expression takes for an operator.
    pub fn with_sign(&self, start: &str) -> Option<&str> {
        let goes_on = |path: &&String| {
            let sign = path.strip_prefix(start).and_then(|rest| rest.chars().next());
            sign.is_some_and(|sign| !sign.is_alphanumeric() && sign != '_' && sign != '.')
        };
        self.spots.keys().filter(goes_on).min().map(String::as_str)
    }

    /// Follows a path. `[*]` is the element `index`.
    pub fn find(&self, text: &str, index: Option<u64>) -> Result<Part<'a>, Wrong> {
        let written = index.map_or(text.into(), |index| text.replace("[*]", &format!("[{index}]")));
        let path = Path::parse(&written).map_err(|error| wrong(&error))?;
        let segments = path.segments();
        let names: Vec<_> = segments.iter().map(|segment| segment.name.as_str()).collect();
        let (spot, last) = match (self.spots.get(&names.join(".")), names.split_last()) {
            (Some(spot), _) => (Some(spot), None),
            (None, Some((last, holders))) => (self.spots.get(&holders.join(".")), Some(*last)),
            (None, None) => (None, None),
        };
        let field = spot.and_then(|spot| {
            let last = last?;
            spot.register.fields.iter().find(|field| field.name == last)
        });
        // What leads nowhere is explained as everywhere.
        let explain = || match self.map.resolve(&written) {
            Err(error) => wrong(&error),
            Ok(_) => Wrong::new(format!("{text} leads nowhere"), "a path is like CH[3].CTRL.EN"),
        };
        let Some(spot) = spot.filter(|_| last.is_some() == field.is_some()) else { return Err(explain()) };
        let mut offset = 0;
        let mut shown = String::new();
        let mut stars = Vec::new();
        for ((segment, part), (start, array)) in segments.iter().zip(text.split('.')).zip(&spot.steps) {
            offset += start;
            shown.push_str(if shown.is_empty() { "" } else { "." });
            shown.push_str(&segment.name);
            match (array, segment.index) {
                (None, None) => {}
                (Some(array), Some(index)) if index < array.count => {
                    offset += index * array.stride;
                    shown.push_str(&format!("[{index}]"));
                    if part.ends_with("[*]") {
                        stars.push((format!("{}[*]", segment.name), array.count));
                    }
                }
                (Some(_), None) => {
                    return Err(Wrong::new(
                        format!("{shown} is an array"),
                        format!("choose one, {shown}[0], or make a rule for each: {shown}[*]"),
                    ));
                }
                _ => return Err(explain()),
            }
        }
        if let Some(field) = field {
            if segments.last().is_some_and(|segment| segment.index.is_some()) {
                return Err(explain());
            }
            shown.push_str(&format!(".{}", field.name));
        }
        let target = Target {
            path: shown,
            region: spot.region,
            register: spot.register.id,
            offset,
            lsb: field.map_or(0, |field| field.lsb),
            width: field.map_or(spot.register.width.bits(), |field| field.width),
        };
        Ok(Part { target, register: spot.register, field, stars })
    }
}

fn wrong(error: &super::path::PathError) -> Wrong {
    let (message, help) = error.parts();
    Wrong { message, help: help.map(String::from) }
}

fn collect<'a>(
    nodes: &'a [Node],
    region: usize,
    prefix: &str,
    above: &mut Vec<(u64, Option<Array>)>,
    spots: &mut HashMap<String, Spot<'a>>,
) {
    for node in nodes {
        let path = format!("{prefix}{}", node.name());
        above.push((node.offset(), node.array()));
        match node {
            Node::Register(register) => {
                spots.insert(path, Spot { region, register, steps: above.clone() });
            }
            Node::Group(group) => collect(&group.nodes, region, &format!("{path}."), above, spots),
        }
        above.pop();
    }
}
