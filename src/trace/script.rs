//! Accesses that are expected: a list a test gives, or a recording that is played back.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::text::{Part, line, side_by_side};
#[cfg(feature = "python")]
use super::text::{decoded, number};
use super::{Op, Record};
use crate::access::Fault;
#[cfg(feature = "python")]
use crate::map::Found;
use crate::map::Map;

/// What a step waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// None for any.
    pub op: Option<Op>,
    /// Region, offset in bytes, and the register's number if one is meant; None for any place.
    pub place: Option<(usize, u64, Option<u32>)>,
    /// A mask, and what the bits under it are; a mask of 0 takes any value.
    pub bits: (u64, u64),
    /// What a read gives, in place of what the device would.
    pub answer: Option<u64>,
}

/// Where in the steps the accesses so far have led.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    step: usize,
    /// How often the step came, this time included.
    count: u64,
    /// How many accesses of this time were made; 0 where all were.
    made: usize,
}

impl State {
    /// The access that leads here.
    fn access<'a>(&self, steps: &'a [Step]) -> &'a Expected {
        let accesses = &steps[self.step].accesses;
        &accesses[self.made.checked_sub(1).unwrap_or(accesses.len() - 1)]
    }

    /// What a fault ends has no more accesses.
    fn after(self, record: &Record) -> State {
        if record.fault.is_some() { State { made: 0, ..self } } else { self }
    }
}

/// What is expected, and how often it may come in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The accesses it takes, in their order: several for a register that the bus carries in as many.
    pub accesses: Vec<Expected>,
    /// How a person calls it.
    pub text: String,
    /// At least so often.
    pub least: u64,
    /// At most so often; None is without end.
    pub most: Option<u64>,
}

/// What an expected read gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the device says. Never where a recording is played.
    Device,
    /// This value.
    Value(u64),
    /// This fault.
    Fault(Fault),
}

/// Expected accesses, and how many of them were made.
#[derive(Debug)]
pub struct Script {
    map: Arc<Map>,
    kind: Kind,
    /// The last accesses made, each with what was expected of it.
    made: VecDeque<(String, String)>,
    count: usize,
    /// The first deviation from the steps: who made it may have caught the error, and gone on.
    failed: Option<String>,
}

#[derive(Debug)]
enum Kind {
    /// A pattern, and where in it the accesses so far may have led.
    Steps { steps: Vec<Step>, at: Vec<State> },
    /// A recording, and the next of its records.
    Replay { records: Vec<Record>, next: usize },
}

/// How many accesses a message shows.
const SHOWN: usize = 8;

impl Script {
    /// Expects these steps in their order, and nothing else.
    pub fn expect(map: Arc<Map>, steps: Vec<Step>) -> Script {
        Script::new(map, Kind::Steps { steps, at: vec![State { step: 0, count: 0, made: 0 }] })
    }

    /// Plays a recording back. A register that was read several times in a row may be read more often or less, for a
    /// loop that polls does not take the same time twice: it gets the last value again, or the rest is passed over.
    pub fn replay(map: Arc<Map>, records: Vec<Record>) -> Script {
        Script::new(map, Kind::Replay { records, next: 0 })
    }

    fn new(map: Arc<Map>, kind: Kind) -> Script {
        Script { map, kind, made: VecDeque::new(), count: 0, failed: None }
    }

    /// Whether it plays a recording.
    pub fn is_replay(&self) -> bool {
        matches!(self.kind, Kind::Replay { .. })
    }

    /// What a read, or a wait for the interrupt, gives: asked before it is made. Its value is not known yet.
    pub fn answer(&mut self, asked: &Record) -> Answer {
        match &mut self.kind {
            Kind::Steps { steps, at } => {
                let mut ways = at.iter().flat_map(|state| ways(steps, *state)).map(|way| way.access(steps));
                let answer = ways.find(|what| what.fits(asked, true)).and_then(|what| what.answer);
                answer.map_or(Answer::Device, Answer::Value)
            }
            Kind::Replay { records, next } => match recorded(&self.map, records, *next, asked) {
                // It is not the one recorded, and the check will say so: until then there is no device to ask.
                None => Answer::Value(0),
                Some(index) => match records[index].fault {
                    Some(fault) => Answer::Fault(fault),
                    None => Answer::Value(records[index].value),
                },
            },
        }
    }

    /// Checks an access, which is one more made: a write before it is made, a read when its value is known.
    ///
    /// # Errors
    /// It is not the one expected: both, side by side, with what came before.
    pub fn check(&mut self, made: &Record) -> Result<(), String> {
        let expected = match &mut self.kind {
            Kind::Steps { steps, at } => {
                let (mut to, mut seen) = (Vec::new(), HashSet::new());
                for state in at.iter() {
                    for way in ways(steps, *state) {
                        let after = way.after(made);
                        if way.access(steps).fits(made, false) && seen.insert(after) {
                            to.push(after);
                        }
                    }
                }
                if to.is_empty() {
                    let wanted = wanted(steps, at);
                    return Err(self.deviation(wanted, line(&self.map, made)));
                }
                *at = to;
                steps[at[0].step].text.clone()
            }
            Kind::Replay { records, next } => {
                let found = recorded(&self.map, records, *next, made);
                let fits = |index: &usize| made.op != Op::Write || records[*index].value == made.value;
                let Some(index) = found.filter(fits) else {
                    let wanted = match records.get(*next) {
                        Some(record) => line(&self.map, record),
                        None => "the end of the recording".into(),
                    };
                    return Err(self.deviation(wanted, line(&self.map, made)));
                };
                *next = (*next).max(index + 1);
                line(&self.map, &records[index])
            }
        };
        self.note(expected, line(&self.map, made));
        Ok(())
    }

    /// # Errors
    /// Accesses are still expected, or an access was another one and the error got lost.
    pub fn finish(&mut self) -> Result<(), String> {
        if let Some(text) = &self.failed {
            return Err(text.clone());
        }
        let wanted = match &self.kind {
            Kind::Steps { steps, at } => {
                let done = |&State { step, count, made }: &State| {
                    let rest = steps.get(step + 1..).unwrap_or_default();
                    made == 0
                        && steps.get(step).is_none_or(|step| count >= step.least)
                        && rest.iter().all(|step| step.least == 0)
                };
                if at.iter().any(done) {
                    return Ok(());
                }
                wanted(steps, at)
            }
            Kind::Replay { records, next } => match records.get(*next) {
                None => return Ok(()),
                Some(record) => line(&self.map, record),
            },
        };
        Err(self.deviation(wanted, "nothing more".into()))
    }

    fn note(&mut self, expected: String, made: String) {
        if self.made.len() == SHOWN {
            self.made.pop_front();
        }
        self.made.push_back((expected, made));
        self.count += 1;
    }

    fn deviation(&mut self, expected: String, made: String) -> String {
        let number = self.count + 1;
        let what = if self.is_replay() { "the recording" } else { "what is expected" };
        self.note(expected, made);
        let (expected, made): (Vec<_>, Vec<_>) = self.made.iter().cloned().unzip();
        let first = self.count + 1 - self.made.len();
        let sides = side_by_side(&expected, &made, first);
        let text = format!("{}: access {number} is not that of {what}\n{sides}", self.map.name);
        self.failed.get_or_insert_with(|| text.clone());
        text
    }
}

impl Expected {
    /// The accesses that a read or a write of a register takes. `bits` and `answer` are of all of it.
    #[cfg(feature = "python")]
    pub(crate) fn of_register(
        op: Option<Op>,
        found: &Found<'_>,
        bits: (u64, u64),
        answer: Option<u64>,
    ) -> Vec<Expected> {
        let accesses = found.register.accesses().into_iter();
        accesses
            .map(|access| {
                let place = Some((found.region, found.offset + access.offset, Some(found.register.id)));
                Expected {
                    op,
                    place,
                    bits: (access.cut(bits.0), access.cut(bits.1)),
                    answer: answer.map(|value| access.cut(value)),
                }
            })
            .collect()
    }

    /// `ahead`: the access is not made yet, and the value of a read not known.
    fn fits(&self, made: &Record, ahead: bool) -> bool {
        let place = |(region, offset, register): (usize, u64, Option<u32>)| {
            region == made.region && offset == made.offset && register == made.register
        };
        self.op.is_none_or(|op| op == made.op)
            && self.place.is_none_or(place)
            && (ahead || self.bits.0 == 0 || made.fault.is_none() && made.value & self.bits.0 == self.bits.1)
    }
}

/// The states one more access may lead to: the rest of this step, or it once more, or the next that must come and those
/// optional before it.
fn ways(steps: &[Step], State { step, count, made }: State) -> Vec<State> {
    let mut ways = Vec::new();
    let Some(now) = steps.get(step) else { return ways };
    let next = |made: usize, of: &Step| if made + 1 == of.accesses.len() { 0 } else { made + 1 };
    if made > 0 {
        ways.push(State { step, count, made: next(made, now) });
        return ways;
    }
    let again = match now.most {
        Some(most) if count < most => Some(count + 1),
        Some(_) => None,
        // Without end, it counts no further than matters: or else there were ever more states to be in.
        None => Some((count + 1).min(now.least.max(1))),
    };
    ways.extend(again.map(|count| State { step, count, made: next(0, now) }));
    if count >= now.least {
        for (index, later) in steps.iter().enumerate().skip(step + 1) {
            if later.most != Some(0) {
                ways.push(State { step: index, count: 1, made: next(0, later) });
            }
            if later.least > 0 {
                break;
            }
        }
    }
    ways
}

/// What may come next, in words.
fn wanted(steps: &[Step], at: &[State]) -> String {
    let mut texts: Vec<&str> = Vec::new();
    for state in at {
        for way in ways(steps, *state) {
            if !texts.contains(&steps[way.step].text.as_str()) {
                texts.push(&steps[way.step].text);
            }
        }
    }
    if texts.is_empty() { "nothing more".into() } else { texts.join(" | ") }
}

/// The record that answers an access: the next one, or, in a row of reads of one register, the last read again or what
/// is behind the row.
fn recorded(map: &Map, records: &[Record], next: usize, made: &Record) -> Option<usize> {
    let same = |record: &Record| record.op == made.op && (record.op == Op::Interrupt || alike(record, made));
    if records.get(next).is_some_and(same) {
        return Some(next);
    }
    let last = next.checked_sub(1).map(|last| &records[last])?;
    if last.op != Op::Read || !repeatable(map, last) {
        return None;
    }
    // A read may be several accesses.
    let read = accesses(map, last);
    let begin =
        next.checked_sub(read).filter(|begin| records[*begin..next].iter().all(|one| beside(map, one, last)));
    let begin = begin.unwrap_or(next - 1);
    if let Some(again) = (begin..next).find(|index| same(&records[*index])) {
        return Some(again);
    }
    let skipped = records[next..].iter().take_while(|record| beside(map, record, last)).count();
    records.get(next + skipped).filter(|record| same(record)).map(|_| next + skipped)
}

/// How many accesses a read takes that one of them is of.
fn accesses(map: &Map, record: &Record) -> usize {
    match Part::of(map, record) {
        Some(part) if part.is_some_of(record) => part.register.accesses().len(),
        _ => 1,
    }
}

/// Whether two accesses are reads of one place, or of one register that takes several.
fn beside(map: &Map, one: &Record, other: &Record) -> bool {
    let whole = |record: &Record| Part::of(map, record).map(|part| (part.register.id, part.start));
    let parts = || one.region == other.region && one.register.is_some() && whole(one) == whole(other);
    one.op == Op::Read && other.op == Op::Read && (alike(one, other) || parts())
}

/// Whether two accesses are of one place.
fn alike(one: &Record, other: &Record) -> bool {
    one.region == other.region
        && one.offset == other.offset
        && one.register == other.register
        && one.width == other.width
}

/// Whether reading it once more changes nothing.
fn repeatable(map: &Map, record: &Record) -> bool {
    let Some(region) = map.regions.get(record.region) else { return false };
    let mut pure = region.on_read.is_none();
    let end = record.offset + record.width.bytes() as u64;
    region.each_in(record.offset..end, &mut |register, _| pure &= register.read_effect().is_none());
    pure
}

/// How a person calls an expected access: `write  CTRL  EN=1 MODE=FAST`. `bits` as in [`Expected`].
#[cfg(feature = "python")]
pub(crate) fn describe(map: &Map, op: Option<Op>, found: &Found<'_>, bits: (u64, u64)) -> String {
    let what = match op {
        Some(Op::Read) => "read ",
        Some(Op::Write) => "write",
        Some(Op::Interrupt) => "irq  ",
        None => "any  ",
    };
    let (mask, value) = bits;
    let width = found.register.width;
    let record = Record {
        time: 0,
        op: op.unwrap_or(Op::Read),
        region: found.region,
        offset: found.offset,
        width,
        register: Some(found.register.id),
        value,
        mask,
        fault: None,
    };
    let words = match mask {
        0 => String::new(),
        mask if mask == width.mask() => format!("  {}{}", number(value, width.bits()), decoded(map, &record)),
        _ => decoded(map, &record),
    };
    format!("{what}  {}{words}", found.path)
}
