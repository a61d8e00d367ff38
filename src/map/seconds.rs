//! Times of behaviour rules: seconds, exact to the nanosecond.

use std::time::Duration;

use super::diagnostic::Report;
use super::tree::{Tree, Value};

/// A year. A rule that waits longer is a slip of the pen.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Seconds as an integer or a float.
pub(super) fn seconds(tree: &Tree, name: &str, report: &mut Report) -> Option<Duration> {
    let form = format!("{name} is in seconds, such as 2e-3 or 1, in whole nanoseconds, at most a year");
    let problem = match &tree.value {
        Value::Integer(Some(seconds)) if *seconds < 0 => format!("{name} is negative"),
        Value::Integer(seconds) => match seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
            Some(seconds) if seconds <= LONGEST.as_secs() => return Some(Duration::from_secs(seconds)),
            _ => format!("{name} is longer than a year"),
        },
        Value::Float(text) if text.starts_with('-') => format!("{name} is negative"),
        Value::Float(text) => match nanoseconds(text) {
            Some(time) if time <= LONGEST => return Some(time),
            Some(_) => format!("{name} is longer than a year"),
            None => format!("{text} seconds are no whole number of nanoseconds"),
        },
        _ => format!("{name} is a number of seconds, not {}", tree.kind()),
    };
    report.error(&tree.place, problem).help(form);
    None
}

/// The decimal number of a TOML float, exactly; a very long time where it is longer than that.
fn nanoseconds(text: &str) -> Option<Duration> {
    let text = text.trim_start_matches('+').replace('_', "");
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{part}");
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let last = digits.trim_end_matches('0');
    let Some(first) = last.find(|digit| digit != '0') else { return Some(Duration::ZERO) };
    // The places between the last digit that counts and one nanosecond.
    let dropped = (digits.len() - last.len()) as i64;
    let places = exponent.parse::<i32>().map_or(i64::MAX / 2, i64::from) + 9 - part.len() as i64 + dropped;
    if exponent.starts_with('-') && places > 1000 || places < 0 {
        return None;
    }
    let significant = &last[first..];
    if significant.len() as i64 + places > 18 {
        return Some(Duration::MAX);
    }
    let number: u64 = significant.parse().ok()?;
    Some(Duration::from_nanos(number * 10u64.pow(places as u32)))
}
