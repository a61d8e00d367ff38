//! Files that are broken, huge or meant to harm: an error or a map, soon, and never a panic.

use std::time::{Duration, Instant};

use super::{HEAD, lines};
use devregs::map::Map;

/// A map with something of everything in it.
const SEED: &str = "include = []\n[device]\nname = 'x'\nwidth = 32\ncompatible = ['a,b']\n[regions.r]\nsize = 0x1000\naccess = 'rw'\n\
    registers.A = { offset = 0, reset = '0xff', fields.EN = 0, fields.M = { bits = '3:1', values = { A = 0, B = { value = 1 } } } }\n\
    registers.B = { offset = 8, count = 4, stride = 8, derive-from = 'A' }\n\
    registers.C = { offset = 4, access = 'ro', expect = { value = 1, mask = 3 } }\n\
    [regions.r.groups.G]\noffset = 0x100\ncount = 4\nstride = 0x40\nregisters.R = { offset = 0, fifo = 4 }\n\
    groups.H = { offset = 0x10, registers.S = { offset = 0, derive-from = 'A' } }\n\
    [regions.r.groups.K]\noffset = 0x400\nderive-from = 'G'\n";

/// Reads a text; checks what must hold of any outcome.
fn read(text: &str) {
    match Map::parse(text, "x.toml") {
        Ok(loaded) => drop(loaded.map.to_json()),
        Err(errors) => {
            assert!(!errors.0.is_empty(), "no map and no error: {text:?}");
            for error in &errors.0 {
                let count = text.split('\n').count();
                assert!(error.line >= 1 && error.line <= count && error.column >= 1, "{error}\n{text:?}");
                let line = text.split('\n').nth(error.line - 1).unwrap();
                assert!(error.column <= line.chars().count() + 2, "{error}\n{text:?}");
                assert!(!error.to_string().chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
            }
        }
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % below
    }
}

#[test]
fn no_change_of_a_map_makes_it_panic() {
    Map::parse(SEED, "x.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let pieces = [
        "",
        "0",
        "-1",
        "'0xffff_ffff_ffff_ffff'",
        "0x7fff_ffff_ffff_ffff",
        "{",
        "}",
        "[",
        "]",
        "=",
        ".",
        ",",
        "\n",
        "'",
        "\"",
        "\\",
        "\u{0}",
        "\u{1b}",
        "\u{202e}",
        "é",
        "derive-from = 'G'",
        "count = 3\n",
        "stride = 1\n",
        "[regions.r]\n",
        "true",
        "1.5",
        "'7:9'",
        "'64'",
        "A",
        "include = ['a']\n",
        "width = 64\n",
        "split = 'low-first'\n",
        "access = 'wo'\n",
        "access = 'rc'\n",
    ];
    let mut dice = Dice(7);
    for _ in 0..6000 {
        let mut text: Vec<char> = SEED.chars().collect();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(text.len());
            let end = (at + dice.roll(12)).min(text.len());
            text.splice(at..end, pieces[dice.roll(pieces.len())].chars());
        }
        read(&text.into_iter().collect::<String>());
    }
}

#[test]
fn lines_of_a_map_in_any_order_do_not_make_it_panic() {
    let mut dice = Dice(11);
    let lines: Vec<&str> = SEED.lines().collect();
    for _ in 0..2000 {
        let text: Vec<&str> =
            (0..dice.roll(lines.len() * 2)).map(|_| lines[dice.roll(lines.len())]).collect();
        read(&text.join("\n"));
    }
}

/// The error of a text, which must come soon.
fn soon(text: &str) -> String {
    let start = Instant::now();
    let told = Map::parse(text, "x.toml")
        .map(|_| String::new())
        .unwrap_or_else(|errors| lines(&errors.0).join("\n"));
    // Debug builds on busy machines are slow; what this catches takes minutes.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    told
}

#[test]
fn tables_within_tables_end() {
    assert!(soon(&format!("{}a = 1", "a.".repeat(200_000))).contains("recursion"));
    assert!(soon(&format!("[{}a]", "a.".repeat(200_000))).contains("recursion"));
    assert!(soon(&format!("a = {}{}", "[".repeat(200_000), "]".repeat(200_000))).contains("recurs"));
    assert!(soon(&format!("a = {}1{}", "{a=".repeat(200_000), "}".repeat(200_000))).contains("recurs"));
    let mut path = String::from("regions.r");
    let mut text = String::from(HEAD);
    for _ in 0..35 {
        path.push_str(".groups.G");
        text.push_str(&format!("[{path}]\noffset = 0\n"));
    }
    assert!(
        soon(&format!("{text}registers.A = {{ offset = 0 }}")).contains("groups are nested deeper than 32")
    );
}

#[test]
fn groups_of_groups_of_groups_do_not_multiply_without_end() {
    // Each level holds the one below twice: 2^20 registers.
    let (mut text, mut path) = (String::from(HEAD), String::from("regions.r"));
    for _ in 0..20 {
        text.push_str(&format!(
            "[{path}.groups.B]\nderive-from = 'A'\noffset = 0\n[{path}.groups.A]\noffset = 0\n"
        ));
        path.push_str(".groups.A");
    }
    let told = soon(&format!("{text}registers.R = {{ offset = 0, overlaps = true }}"));
    assert!(
        told.contains("registers and groups, derived ones counted"),
        "{}",
        told.lines().next().unwrap_or_default()
    );
}

#[test]
fn a_chain_of_derivations_has_an_end() {
    let chain = (1..40).fold(format!("{HEAD}size2 = 1\nregisters.R0 = {{ offset = 0 }}\n"), |text, index| {
        format!("{text}registers.R{index} = {{ offset = {}, derive-from = 'R{}' }}\n", index * 4, index - 1)
    });
    assert!(soon(&chain).contains("derives through more than 16 others"));
}

#[test]
fn a_hundred_thousand_registers_are_read_and_as_many_mistakes_told() {
    let big = "[device]\nname = 'x'\n[regions.r]\nsize = 0x100_0000\n";
    let right = (0..100_000).fold(big.to_string(), |text, index| {
        text + &format!("[regions.r.registers.R{index}]\noffset = {}\nfields.F = 0\n", index * 4)
    });
    assert_eq!(soon(&right), "");
    let wrong = (0..20_000)
        .fold(big.to_string(), |text, index| text + &format!("[regions.r.registers.R{index}]\nofset = 0\n"));
    assert_eq!(soon(&wrong).lines().count(), 40_000);
    let same = (0..20_000)
        .fold(big.to_string(), |text, index| text + &format!("[regions.r.registers.R{index}]\noffset = 0\n"));
    assert_eq!(soon(&same).lines().count(), 19_999);
}

#[test]
fn arrays_woven_into_each_other_are_compared_or_said_not_to_be() {
    let woven = |count: usize| {
        let big = "[device]\nname = 'x'\n[regions.r]\nsize = 0x7fff_ffff_ffff_f000\n".to_string();
        let text = (0..count).fold(big, |text, index| {
            text + &format!(
                "registers.R{index} = {{ offset = {}, count = 0x7fff_ffff, stride = {} }}\n",
                index * 4,
                count * 4
            )
        });
        let start = Instant::now();
        let loaded = Map::parse(&text, "x.toml").unwrap_or_else(|errors| panic!("{errors}"));
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        loaded.warnings.len()
    };
    assert_eq!(woven(300), 0);
    assert_eq!(woven(6000), 1);
}

#[test]
fn mistakes_are_cut_where_nobody_reads_on() {
    let text = (0..5000).fold(HEAD.to_string(), |text, index| format!("{text}k{index} = 1\n"));
    let shown = Map::parse(&text, "x.toml").unwrap_err().to_string();
    assert!(shown.ends_with("5000 errors; the first 100 are shown"), "{}", &shown[shown.len() - 60..]);
    let garbage = "= = =\n".repeat(5000);
    assert!(Map::parse(&garbage, "x.toml").unwrap_err().0.len() <= 100);
}
