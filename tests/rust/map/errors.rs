//! Every mistake a map can have, its place, and its words.

use super::{HEAD, lines, parse};
use devregs::map::Map;

const NUMBERS: &str = "numbers are 0 to 0xffff_ffff_ffff_ffff; those above 2^63 - 1 are written as strings";
const NAMES: &str = "names have no white space, no control characters and none of  . [ ] = , \" ' \\";

/// Parts of a map, each with what is said of it: `=> LINE:COLUMN: message [help]`. Their first line is line 5.
const MISTAKES: &str = include_str!("mistakes.txt");

#[test]
fn every_mistake_is_told_with_its_place_and_remedy() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in MISTAKES.split("\n\n") {
        let (expected, body): (Vec<&str>, Vec<&str>) = case.lines().partition(|line| line.starts_with("=> "));
        let got = lines(&parse(&body.join("\n")).err().unwrap_or_default());
        let got: Vec<_> = got
            .iter()
            .map(|line| format!("=> {}", line.replace(NUMBERS, "NUMBERS").replace(NAMES, "NAMES")))
            .collect();
        count += 1;
        if got != expected || got.is_empty() {
            wrong.push(format!("{}\n   got {got:#?}\n   not {expected:#?}", body.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(count > 130, "only {count} mistakes");
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once_in_their_order() {
    let body = "ofset = 0\n[regions.r.registers.A]\noffset = 1\nfields.F = '0:1'\nfields.G = 40\n\
                [regions.r.registers.B]\naccess = 'rx'\n[regions.s]\nsize = 'big'\n[device.more]\n";
    let errors = parse(body).unwrap_err();
    assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [5, 7, 8, 9, 10, 11, 13, 14]);
}

#[test]
fn an_error_shows_its_line_with_a_mark_and_what_would_be_right() {
    let errors = Map::parse(&format!("{HEAD}\tofset = 0  # tab\n"), "maps/x.toml").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "maps/x.toml:5:2: error: region r has no key \"ofset\"\n 5 |  ofset = 0  # tab\n   |  ^^^^^\n   help: did you mean \"offset\"?"
    );
}

#[test]
fn columns_count_characters_not_bytes() {
    let errors = parse("registers.'É' = { doc = 'éé', ofset = 0 }").unwrap_err();
    assert_eq!(errors.iter().map(|error| error.column).collect::<Vec<_>>(), [11, 31]);
    let shown = errors[1].to_string();
    let mark = shown.lines().nth(2).unwrap().find('^').unwrap();
    assert_eq!(shown.lines().nth(1).unwrap().chars().skip(mark).take(5).collect::<String>(), "ofset");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_move_no_column() {
    let text = "\u{feff}[devise]\r\nname = 'x'\r\n[regions.r]\r\nsise = 4\r\n";
    let errors = Map::parse(text, "x.toml").unwrap_err().0;
    assert_eq!(
        errors.iter().map(|error| (error.line, error.column)).collect::<Vec<_>>(),
        [(1, 1), (1, 2), (3, 10), (4, 1)]
    );
    assert!(errors.iter().all(|error| !error.to_string().contains('\r')));
}

#[test]
fn of_a_long_line_the_part_with_the_mistake_is_shown() {
    let body = format!("doc = '{}'; ofset = 0 {}", "x".repeat(5000), "y".repeat(5000));
    let shown = parse(&body).unwrap_err()[0].to_string();
    assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
    let (line, mark) = (shown.lines().nth(1).unwrap(), shown.lines().nth(2).unwrap());
    let at = mark.chars().position(|c| c == '^').unwrap();
    assert_eq!(line.chars().nth(at), Some(';'), "{shown}");
}

#[test]
fn what_is_not_printable_is_never_printed() {
    // The file name, a key, a string: each with an escape that would colour the terminal.
    let text = "\"a\\u001B[31m\" = \"\\u001B[31m\"\n[device]\nname = \"\\u001B[31m\"\nwidth = \"\\u001B[31m\"\n\
                compatible = [\"\\u001B\"]\n[regions.\"\\u009B\"]\nsize = 4\naccess = \"\\u202E\"\n\
                registers.A = { offset = 0, derive-from = \"\\u001B\", set-alias = \"\\u001B\" }\n";
    let errors = Map::parse(text, "x\u{1b}[31m\n.toml").unwrap_err();
    assert_eq!(errors.0.len(), 6, "{errors}");
    let shown = errors.to_string();
    assert!(
        !shown.chars().any(|c| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c)),
        "{shown:?}"
    );
    for error in &errors.0 {
        assert!(!error.message.chars().any(char::is_control), "{:?}", error.message);
    }
    assert!(shown.contains("x\\u{1b}[31m\\n.toml:1:1"), "{shown}");
}

#[test]
fn what_is_wrong_with_a_register_is_not_told_again_for_those_derived_from_it() {
    let errors = parse(
        "registers.A = { offset = 0, feilds = 1 }\nregisters.B = { offset = 4, derive-from = 'A' }\n\
         registers.C = { offset = 8, derive-from = 'A', reset = -1 }",
    )
    .unwrap_err();
    let told: Vec<_> = errors.iter().map(|error| (error.line, error.message.as_str())).collect();
    assert_eq!(told.iter().filter(|(line, _)| *line == 7).count(), 1, "{told:?}");
}

#[test]
fn a_map_lacks_a_device_or_regions() {
    let told = |text: &str| lines(&Map::parse(text, "x.toml").unwrap_err().0).join("\n");
    assert!(told("").starts_with("1:1: a device map needs a [device] table"));
    assert!(
        told("[regions.r]\nsise = 4").contains("did you mean \"size\"?"),
        "the regions are read all the same"
    );
    assert!(told("[device]\nname = 'x'").starts_with("1:1: a device map needs at least one region"));
    assert!(told("[device]\n[regions.r]\nsize = 4").starts_with("1:1: [device] needs a \"name\""));
    assert!(told("device = 1").starts_with("1:10: [device] is a table, not an integer"));
    for name in ["", "1x", "a b", "é", "-a", "a.b"] {
        let text = format!("[device]\nname = '{name}'\n[regions.r]\nsize = 4");
        assert!(
            told(&text).starts_with(&format!("2:8: {name:?} is no name for a device")),
            "{}",
            told(&text)
        );
    }
    for (compatible, problem) in [
        ("1", "4:14: compatible is a list of strings, not an integer"),
        ("[1]", "4:15: a compatible is a string, not an integer"),
        ("['']", "4:15: an empty string fits no device"),
        ("['pci:10EE:7021']", "4:15: \"pci:10EE:7021\" is no PCI id"),
        ("['pci:10ee']", "4:15: \"pci:10ee\" is no PCI id"),
    ] {
        let text =
            format!("[device]\nname = 'x'\nwidth = 32\ncompatible = {compatible}\n[regions.r]\nsize = 4");
        assert!(told(&text).starts_with(problem), "{}", told(&text));
    }
}
