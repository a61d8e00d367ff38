//! Device maps and board maps: what is read, what is refused and in which words, and what follows from a map.

#[path = "map/behaviour.rs"]
mod behaviour;
#[path = "map/effects.rs"]
mod effects;
#[path = "map/errors.rs"]
mod errors;
#[path = "map/files.rs"]
mod files;
#[path = "map/hostile.rs"]
mod hostile;
#[path = "map/layout.rs"]
mod layout;
#[path = "map/paths.rs"]
mod paths;
#[path = "map/reading.rs"]
mod reading;
#[path = "map/schema.rs"]
mod schema;

use devregs::map::{Diagnostic, Loaded, Map, Node, Register};

/// Four lines before the part that a test is about, which so begins in line 5, inside region `r`.
const HEAD: &str = "[device]\nname = \"x\"\n[regions.r]\nsize = 0x100\n";

/// A map of one region with `body` in it.
fn parse(body: &str) -> Result<Loaded, Vec<Diagnostic>> {
    Map::parse(&format!("{HEAD}{body}"), "x.toml").map_err(|errors| errors.0)
}

/// A map that must be right.
fn good(body: &str) -> Loaded {
    parse(body).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// `LINE:COLUMN: message [help]` for each.
fn lines(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics
        .iter()
        .map(|found| {
            let help = found.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
            format!("{}:{}: {}{help}", found.line, found.column, found.message)
        })
        .collect()
}

/// The register of this name at the top of the first region.
fn register(loaded: &Loaded, name: &str) -> Register {
    let nodes = &loaded.map.regions[0].nodes;
    let found = nodes.iter().find_map(|node| match node {
        Node::Register(register) if register.name == name => Some(register.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("there is no register {name}"))
}
