//! What a device does by itself: rules that a mock plays, `[[behaviour]]` in a map.

use std::time::Duration;

use serde::Serialize;

use super::expression::Expression;

/// One rule. Arrays are written out: a rule for `CH[*]` is one for each element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Behaviour {
    /// What it is for.
    pub doc: Option<String>,
    /// What sets it off.
    pub trigger: Trigger,
    /// Looked at when it is set off: 0 and nothing happens.
    pub condition: Option<Expression>,
    /// How long after.
    pub delay: Option<Delay>,
    /// What then happens, in order; at least one.
    pub actions: Vec<Action>,
    /// Where it stands, `file:line`, for messages.
    pub place: String,
}

impl Behaviour {
    /// All formulas of the rule.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let values = self.actions.iter().filter_map(|action| match action {
            Action::Set(_, value) | Action::Push(_, value) | Action::Interrupt(value) => Some(value),
            Action::Send(_) | Action::Flush(_) | Action::Reset => None,
        });
        self.condition.iter().chain(values)
    }
}

/// What sets a rule off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// Nothing: what it says is always so. `assign`, and `interrupt` as a level.
    Always,
    /// Software writes the register of one of these, and, where a value is given, this value.
    Written(Vec<(Target, Option<u64>)>),
    /// Software has read the register of one of these.
    Read(Vec<Target>),
    /// The world outside changes one of these, or a word comes into this FIFO; where a value is given, this value.
    Input(Vec<(Target, Option<u64>)>),
    /// Time: each time so much has passed since the mock began.
    Every(Duration),
}

/// How long after its trigger a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delay {
    /// Time.
    Time(Duration),
    /// So many reads of the register that the first action changes still see what was there before.
    Reads(u64),
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The register or field becomes this.
    Set(Target, Expression),
    /// A word comes into a FIFO, for software to read.
    Push(Target, Expression),
    /// The words that software wrote to a FIFO have left it.
    Send(Target),
    /// A FIFO is empty: what waits in it, either way, is lost.
    Flush(Target),
    /// The interrupt comes where this is not 0: once under a trigger, as a level without one.
    Interrupt(Expression),
    /// The whole device is as after its reset.
    Reset,
}

/// A register, or a field of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// `CH[3].CTRL.EN`.
    pub path: String,
    /// Index of the region.
    #[serde(skip)]
    pub region: usize,
    /// The register's number in the map.
    #[serde(skip)]
    pub register: u32,
    /// Of the register, in bytes from the start of its region.
    #[serde(skip)]
    pub offset: u64,
    /// The lowest bit meant.
    #[serde(skip)]
    pub lsb: u32,
    /// How many bits are meant.
    #[serde(skip)]
    pub width: u32,
}
