//! Recordings as JSON lines: a head, then one access in each line.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read};
use std::time::UNIX_EPOCH;

use serde_json::{Map as Object, Value, json};

use super::text::{Part, fields, path};
use super::{Op, Record, Trace};
use crate::access::Fault;
use crate::map::{BusAccess, Map, Width};

/// The version of the format: the first one has one record for a register that takes several accesses.
const VERSION: u64 = 2;
const FIRST: u64 = 1;

/// A longer line is no recording.
const LONGEST: u64 = 1 << 20;

/// A recording read back.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The device of the map it was made with.
    pub map: String,
    /// The source it was made at.
    pub source: String,
    /// Whether the source had an interrupt.
    pub interrupts: bool,
    /// In the order they were made.
    pub records: Vec<Record>,
}

impl Trace {
    /// The recording as JSON lines.
    pub fn to_json_lines(&self) -> String {
        let begun = self.begun.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        let head = json!({
            "devregs-trace": VERSION, "map": self.map.name, "source": self.source, "begun": begun,
            "irq": self.interrupts, "dropped": self.dropped(),
        });
        let mut text = format!("{head}\n");
        for record in self.records() {
            let _ = writeln!(text, "{}", Value::Object(object(&self.map, &record)));
        }
        text
    }
}

/// One access. What it is comes first, then what it means, for people.
pub(super) fn object(map: &Map, record: &Record) -> Object<String, Value> {
    let mut object = Object::new();
    let mut put = |key: &str, value: Value| object.insert(key.into(), value);
    put("t", json!(record.time as f64 / 1e9));
    put("op", json!(name(record.op)));
    if record.op == Op::Interrupt {
        put("count", json!(record.value));
        return object;
    }
    let region = map.regions.get(record.region).map_or("?", |region| region.name.as_str());
    match record.register {
        Some(_) => put("path", json!(path(map, record))),
        None => put("region", json!(region)),
    };
    if let Some(part) = Part::of(map, record).filter(|part| part.is_some_of(record)) {
        put("bits", json!(part.bits(record)));
    }
    if record.register.is_none() {
        put("offset", json!(format!("{:#x}", record.offset)));
        put("width", json!(record.width.bits()));
    }
    if let Some(fault) = record.fault {
        put("signal", json!(fault.signal));
        put("code", json!(fault.code));
        return object;
    }
    put("value", json!(format!("{:#x}", record.value)));
    if record.mask != record.width.mask() {
        put("mask", json!(format!("{:#x}", record.mask)));
    }
    let decoded: Object<_, _> = fields(map, record)
        .into_iter()
        .map(|(field, value, name, _)| {
            (field.name.clone(), name.map_or_else(|| json!(value), |name| json!(name)))
        })
        .collect();
    if !decoded.is_empty() {
        put("fields", Value::Object(decoded));
    }
    object
}

/// Reads a recording of a device with this map.
///
/// # Errors
/// It cannot be read; the line that is wrong, and how; it is of another map.
pub fn load(map: &Map, from: impl Read) -> Result<Recording, String> {
    let mut lines = BufReader::new(from);
    let mut recording =
        Recording { map: String::new(), source: String::new(), interrupts: false, records: Vec::new() };
    for number in 1.. {
        let mut text = String::new();
        let read = lines.by_ref().take(LONGEST).read_line(&mut text);
        let wrong = |problem: String| format!("line {number}: {problem}");
        match read {
            Ok(0) if number == 1 => {
                return Err("is empty: a recording begins with a line that says of what".into());
            }
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(wrong("is not text".into()));
            }
            Err(error) => return Err(format!("cannot be read: {error}")),
        }
        if text.trim().is_empty() {
            continue;
        }
        let value: Value =
            serde_json::from_str(&text).map_err(|error| wrong(format!("is no JSON: {error}")))?;
        let Value::Object(object) = value else { return Err(wrong("is no JSON object".into())) };
        match number {
            1 => head(map, &object, &mut recording).map_err(wrong)?,
            _ => recording.records.extend(record(map, &object).map_err(wrong)?),
        }
    }
    Ok(recording)
}

fn head(map: &Map, object: &Object<String, Value>, recording: &mut Recording) -> Result<(), String> {
    match object.get("devregs-trace").and_then(Value::as_u64) {
        Some(FIRST..=VERSION) => {}
        Some(other) => {
            return Err(format!(
                "is of format {other}, and this devregs reads the formats {FIRST} to {VERSION}: play it with the devregs that made it, or a later one"
            ));
        }
        None => return Err("does not say \"devregs-trace\": this is no recording".into()),
    }
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
    (recording.map, recording.source) = (text("map"), text("source"));
    recording.interrupts = object.get("irq").and_then(Value::as_bool).unwrap_or(false);
    if recording.map != map.name {
        return Err(format!("the recording is of a {:?}, and the map is of a {:?}", recording.map, map.name));
    }
    match object.get("dropped").and_then(Value::as_u64).unwrap_or(0) {
        0 => Ok(()),
        dropped => {
            Err(format!("the recording lacks its first {dropped} accesses, which were over its limit"))
        }
    }
}

/// The records of a line: one, or those of a whole register that takes several accesses.
fn record(map: &Map, object: &Object<String, Value>) -> Result<Vec<Record>, String> {
    let op = object.get("op").and_then(Value::as_str).unwrap_or_default();
    let op = match op {
        "read" => Op::Read,
        "write" => Op::Write,
        "irq" => Op::Interrupt,
        other => return Err(format!("\"op\" is \"read\", \"write\" or \"irq\", not {other:?}")),
    };
    let seconds = object.get("t").and_then(Value::as_f64).unwrap_or(0.0);
    let mut record = Record {
        time: (seconds * 1e9) as u64,
        op,
        region: 0,
        offset: 0,
        width: Width::W32,
        register: None,
        value: 0,
        mask: 0,
        fault: None,
    };
    if op == Op::Interrupt {
        record.value = object.get("count").and_then(Value::as_u64).ok_or("has no \"count\"")?;
        return Ok(vec![record]);
    }
    let mut accesses = Vec::new();
    if let Some(path) = object.get("path").and_then(Value::as_str) {
        let found = map.resolve(path).map_err(|error| error.to_string())?;
        (record.region, record.offset) = (found.region, found.offset);
        (record.register, record.width) = (Some(found.register.id), found.register.width);
        accesses = found.register.accesses();
        if let Some(bits) = object.get("bits").and_then(Value::as_str) {
            let of =
                |access: &BusAccess| format!("{}:{}", access.shift + access.width.bits() - 1, access.shift);
            let access = accesses.iter().find(|access| of(access) == bits).ok_or_else(|| {
                let known: Vec<_> = accesses.iter().map(of).collect();
                format!(
                    "no access of {path} carries the bits {bits}: its accesses are {}",
                    known.join(" and ")
                )
            })?;
            (record.offset, record.width) = (record.offset + access.offset, access.width);
            accesses.clear();
        }
    } else {
        let region =
            object.get("region").and_then(Value::as_str).ok_or("has neither \"path\" nor \"region\"")?;
        let known = map.regions.iter().position(|known| known.name == region);
        record.region = known.ok_or_else(|| format!("the map has no region {region:?}"))?;
        record.offset = hex(object, "offset")?.ok_or("has no \"offset\"")?;
        let bits = object.get("width").and_then(Value::as_u64).unwrap_or(32);
        record.width = Width::from_bits(bits).ok_or_else(|| format!("no access is {bits} bits wide"))?;
    }
    if let Some(signal) = object.get("signal").and_then(Value::as_i64) {
        let code = object.get("code").and_then(Value::as_i64).unwrap_or(0);
        record.fault = Some(Fault { signal: signal as i32, code: code as i32 });
        // Which of several accesses met it is not known: the first one ends a read or a write just as well.
        return Ok(match accesses.first() {
            Some(first) => vec![part(&record, first)],
            None => vec![record],
        });
    }
    record.value = hex(object, "value")?.ok_or("has no \"value\"")?;
    record.mask = hex(object, "mask")?.unwrap_or(record.width.mask());
    match record.value > record.width.mask() {
        true => Err(format!("{:#x} does not fit {} bits", record.value, record.width.bits())),
        false if accesses.is_empty() => Ok(vec![record]),
        false => Ok(accesses.iter().map(|access| part(&record, access)).collect()),
    }
}

/// One access of those that a whole register takes.
fn part(whole: &Record, access: &BusAccess) -> Record {
    Record {
        offset: whole.offset + access.offset,
        width: access.width,
        value: access.cut(whole.value),
        mask: access.cut(whole.mask),
        ..*whole
    }
}

/// A number as `"0x1f"`, or as a JSON number.
fn hex(object: &Object<String, Value>, key: &str) -> Result<Option<u64>, String> {
    let Some(value) = object.get(key) else { return Ok(None) };
    let number = match value {
        Value::String(text) => {
            let text = text.replace('_', "");
            match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            }
        }
        other => other.as_u64(),
    };
    number.map(Some).ok_or_else(|| format!("{key:?} is no number: {value}"))
}

pub(super) fn name(op: Op) -> &'static str {
    match op {
        Op::Read => "read",
        Op::Write => "write",
        Op::Interrupt => "irq",
    }
}
