//! What a device looks like: read, check, report. Touches no hardware.
//!
//! A file becomes a tree (TOML with places, includes laid over each other), the tree a model, with every mistake
//! in a report. The format is described in `docs/map-format.md`.

mod behaviour;
mod board;
mod check;
mod derive;
mod diagnostic;
mod effects;
mod expression;
mod fields;
mod formula;
mod keys;
mod layout;
mod library;
mod locate;
mod model;
mod names;
mod nodes;
mod overlaps;
mod parts;
mod path;
mod read;
mod rules;
mod rules_check;
mod seconds;
mod strides;
mod toml10;
mod tree;
mod triggers;

pub use behaviour::{Action, Behaviour, Delay, Target, Trigger};
pub use board::{BoardDevice, BoardMap};
pub(crate) use diagnostic::clean;
pub use diagnostic::{Diagnostic, MapErrors, Severity};
pub use effects::{Refusal, WritePlan};
pub use expression::Expression;
pub(crate) use expression::Scope;
pub use library::{builtin, builtin_names};
pub use locate::Nodes;
pub use model::*;
pub use names::Holder;
pub(crate) use path::beside;
pub use path::{Found, Path, PathError, Segment};
pub use read::Loaded;
