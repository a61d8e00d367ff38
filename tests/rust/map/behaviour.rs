//! Rules of behaviour: what is read, what is refused and in which words, and what expressions come to.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::lines;
use devregs::map::{Action, Behaviour, Delay, Map, Target, Trigger};

/// A device with a part of each kind.
const DEVICE: &str = "\
[device]
name = 'x'
[regions.r]
size = 0x1000
[regions.r.registers]
CTRL = { offset = 0, fields.START = 0, fields.MODE = { bits = '3:1', values = { OFF = 0, FAST = 2 }, write-values = { OFF = 0, FAST = 2, GO = 5 } } }
STATUS = { offset = 4, access = 'ro', fields.READY = 0, fields.CODE = '15:8', fields.MODE = { bits = '3:1', values = { OFF = 0, FAST = 2, x-fast = 3 } } }
RIS = { offset = 8, access = 'ro' }
IMSC = { offset = 12 }
MIS = { offset = 16, access = 'ro' }
DATA = { offset = 20, fifo = 16, access = 'ro', fields.LOW = '7:0' }
OUT = { offset = 24, fifo = 16, access = 'wo' }
KEY = { offset = 28, access = 'wo', fields.GO = 0 }
index = { offset = 32, fields.old = 0 }
rx-count = { offset = 36, access = 'ro', fields.N = '7:0' }
WIDE = { offset = 40, width = 64 }
FAST = { offset = 48 }
T = { offset = 0x100, count = 8, fields.EN = 0, fields.N = '2:1' }
[regions.r.groups]
CH = { offset = 0x200, count = 4, stride = 0x10, registers.CTRL = { offset = 0, fields.EN = 0 }, registers.SR = { offset = 4, access = 'ro', count = 2 } }
";

static MAP: LazyLock<Arc<Map>> =
    LazyLock::new(|| Map::parse(DEVICE, "x.toml").unwrap_or_else(|errors| panic!("{errors}")).map);

fn good(rules: &str) -> Vec<Behaviour> {
    MAP.behaviour_of(rules, "rules.toml").unwrap_or_else(|errors| panic!("{rules}\n{errors}"))
}

fn errors(rules: &str) -> String {
    let errors = MAP.behaviour_of(rules, "rules.toml").err().map_or(Vec::new(), |errors| errors.0);
    lines(&errors).join("\n")
}

/// Texts of rules, each with what is said of it: `=> LINE:COLUMN: message [help]`.
const MISTAKES: &str = include_str!("behaviour.txt");

#[test]
fn every_mistake_is_told_with_its_place_and_remedy() {
    let mut wrong = Vec::new();
    for case in MISTAKES.split("\n\n") {
        let (expected, body): (Vec<&str>, Vec<&str>) = case.lines().partition(|line| line.starts_with("=> "));
        let got = errors(&body.join("\n"));
        let got: Vec<_> = got.lines().map(|line| format!("=> {line}")).collect();
        if got != expected || got.is_empty() {
            wrong.push(format!("{}\n{}", body.join("\n"), got.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Numbers, names and what they come to; by Python's parser, see `expressions.py`.
const EXPRESSIONS: &str = include_str!("expressions.txt");

/// The one expression of a rule that sets a register.
fn worked_out(rule: &Behaviour, held: &mut dyn FnMut(&Target) -> u64, written: u64, old: u64) -> u64 {
    let [Action::Set(_, value)] = rule.actions.as_slice() else { panic!("{rule:?}") };
    value.work_out(held, written, old)
}

/// What an expression comes to, given to a register of 64 bits.
fn value(text: &str, held: &mut dyn FnMut(&Target) -> u64) -> u64 {
    worked_out(&good(&format!("[[behaviour]]\non-write = 'KEY'\nset = {{ WIDE = '{text}' }}"))[0], held, 3, 0)
}

#[test]
fn expressions_come_to_what_python_makes_of_them() {
    let mut held = |target: &Target| match target.path.as_str() {
        "CTRL" => 0x8000_0001,
        "RIS" => 0xffff_ffff,
        "WIDE" => u64::MAX - 2,
        other => panic!("{other}"),
    };
    let mut count = 0;
    for line in EXPRESSIONS.lines() {
        let (expected, text) = line.split_once(" = ").unwrap();
        assert_eq!(format!("{:#x}", value(text, &mut held)), expected, "{text}");
        count += 1;
    }
    assert!(count > 500, "only {count} expressions");
}

#[test]
fn numbers_wrap_and_shifts_end_and_nothing_fails() {
    let mut none = |_: &Target| 0;
    for (text, expected) in [
        ("0xffff_ffff_ffff_ffff + 1", 0),
        ("0 - 1", u64::MAX),
        ("-1", u64::MAX),
        ("~0", u64::MAX),
        ("0x8000_0000_0000_0000 * 2", 0),
        ("1 << 63", 1 << 63),
        ("1 << 64", 0),
        ("1 << 0xffff_ffff_ffff_ffff", 0),
        ("~0 >> 64", 0),
        ("~0 >> 63", 1),
        // Truth is 0 or 1, also where Python would keep the number.
        ("4 and 2", 1),
        ("0 or 2", 1),
        ("not 2", 0),
        ("1_000 + 0o17 + 0b11", 1018),
        ("  2\t+ 2 ", 4),
    ] {
        assert_eq!(value(text, &mut none), expected, "{text}");
    }
}

#[test]
fn what_does_not_matter_is_not_looked_at() {
    let mut looked = Vec::new();
    let mut held = |target: &Target| {
        looked.push(target.path.clone());
        u64::from(target.path == "RIS")
    };
    for text in ["RIS or MIS", "IMSC and MIS", "RIS if RIS else MIS", "MIS if IMSC else RIS"] {
        value(text, &mut held);
    }
    assert!(!looked.contains(&"MIS".to_string()), "{looked:?}");
}

#[test]
fn names_are_those_of_values_where_values_have_names_and_else_of_parts() {
    // FAST is a value of both fields called MODE, and a register, which holds 100 here; so is every other register.
    let mut held = |target: &Target| if target.path.ends_with(".MODE") { 2 } else { 100 };
    for (target, text, expected) in [
        ("STATUS.MODE", "FAST", 2),
        ("STATUS.MODE", "x-fast", 3),
        ("STATUS.MODE", "(FAST)", 100),
        ("STATUS.MODE", "FAST if 1 else OFF", 2),
        ("STATUS.MODE", "OFF if 0 else FAST", 2),
        ("STATUS.MODE", "OFF if 0 else OFF if 0 else FAST", 2),
        ("STATUS.MODE", "FAST + 0", 100),
        ("WIDE", "FAST", 100),
        ("WIDE", "STATUS.MODE == FAST", 1),
        ("WIDE", "FAST == STATUS.MODE", 1),
        ("WIDE", "STATUS.MODE == `x-fast`", 0),
        ("WIDE", "STATUS.MODE < `x-fast`", 1),
        ("WIDE", "STATUS.MODE != (FAST)", 1),
        ("WIDE", "CTRL.MODE == GO", 0),
        ("WIDE", "CTRL.MODE == STATUS.MODE", 1),
        ("WIDE", "RIS == FAST", 1),
        // The value written has the names of those written; what was there before, those read.
        ("WIDE", "written == GO", 1),
        ("WIDE", "GO == written", 1),
        ("WIDE", "old == FAST", 1),
        // A word by itself is one; in backquotes, or in a path, it is a name.
        ("WIDE", "`index`", 100),
        ("WIDE", "index.old", 100),
        ("WIDE", "`rx-count` + 1", 101),
        ("WIDE", "`rx-count`.N", 100),
        ("WIDE", "`CH[3].CTRL`.EN + CH[0x3].SR[1]", 200),
    ] {
        let rules =
            good(&format!("[[behaviour]]\non-write = 'CTRL.MODE'\nset = {{ '{target}' = '{text}' }}"));
        assert_eq!(worked_out(&rules[0], &mut held, 5, 2), expected, "{target} = {text}");
    }
}

#[test]
fn a_rule_says_what_it_says() {
    let rules = good(
        "[[behaviour]]\ndoc = 'starts'\non-write = ['CTRL.START=1', 'CTRL.MODE = GO', 'KEY']\nif = 'IMSC'\nafter = 2e-3\n\
         reset = true\ninterrupt = 'RIS'\npush = { DATA = 0x1_0 }\nset = { 'STATUS.READY' = 1, 'STATUS.CODE' = 'written' }\n\
         [[behaviour]]\non-read = 'DATA'\nafter-reads = 3\nset = { 'STATUS.READY' = 0 }\n\
         [[behaviour]]\nevery = 1\ninterrupt = true\n\
         [[behaviour]]\nassign = { MIS = 'RIS & IMSC' }\ninterrupt = 'MIS'\n\
         [[behaviour]]\non-input = ['STATUS.MODE=FAST', 'DATA']\nsend = 'OUT'\nflush = ['DATA', 'OUT']\n",
    );
    let [start, read, tick, masked, input] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!((start.doc.as_deref(), start.place.as_str()), (Some("starts"), "rules.toml:1"));
    let Trigger::Written(parts) = &start.trigger else { panic!("{start:?}") };
    let shown: Vec<_> =
        parts.iter().map(|(part, value)| (part.path.as_str(), part.lsb, part.width, *value)).collect();
    assert_eq!(shown, [("CTRL.START", 0, 1, Some(1)), ("CTRL.MODE", 1, 3, Some(5)), ("KEY", 0, 32, None)]);
    assert_eq!(start.condition.as_ref().unwrap().text, "IMSC");
    assert_eq!(start.delay, Some(Delay::Time(Duration::from_millis(2))));
    assert_eq!(
        texts(start),
        ["set STATUS.READY 1", "set STATUS.CODE written", "push DATA 0x1_0", "interrupt RIS", "reset"]
    );
    assert!(matches!(&read.trigger, Trigger::Read(parts) if parts[0].path == "DATA"));
    assert_eq!(read.delay, Some(Delay::Reads(3)));
    assert_eq!(tick.trigger, Trigger::Every(Duration::from_secs(1)));
    assert_eq!((&masked.trigger, masked.actions.len(), &masked.delay), (&Trigger::Always, 2, &None));
    let Trigger::Input(parts) = &input.trigger else { panic!("{input:?}") };
    let shown: Vec<_> = parts.iter().map(|(part, value)| (part.path.as_str(), *value)).collect();
    assert_eq!(shown, [("STATUS.MODE", Some(2)), ("DATA", None)]);
    assert_eq!(texts(input), ["send OUT", "flush DATA", "flush OUT"]);
}

fn texts(rule: &Behaviour) -> Vec<String> {
    let text = |action: &Action| match action {
        Action::Set(part, value) => format!("set {} {}", part.path, value.text),
        Action::Push(part, value) => format!("push {} {}", part.path, value.text),
        Action::Interrupt(value) => format!("interrupt {}", value.text),
        Action::Send(part) => format!("send {}", part.path),
        Action::Flush(part) => format!("flush {}", part.path),
        Action::Reset => "reset".into(),
    };
    rule.actions.iter().map(text).collect()
}

#[test]
fn a_part_is_the_register_that_its_path_leads_to() {
    let rules = good("[[behaviour]]\nevery = 1\nset = { 'CH[2].SR[1]' = 1, 'STATUS.CODE' = 2, WIDE = 3 }");
    for action in &rules[0].actions {
        let Action::Set(part, _) = action else { panic!("{action:?}") };
        let found = MAP.resolve(&part.path).unwrap();
        assert_eq!(
            (part.region, part.register, part.offset),
            (found.region, found.register.id, found.offset)
        );
        let (lsb, width) =
            found.field.map_or((0, found.register.width.bits()), |field| (field.lsb, field.width));
        assert_eq!((part.lsb, part.width), (lsb, width));
    }
}

#[test]
fn times_are_exact_to_the_nanosecond() {
    for (text, nanoseconds) in [
        ("1e-9", 1),
        ("0.000_000_001", 1),
        ("2.5e-3", 2_500_000),
        ("0.1", 100_000_000),
        ("+1.50", 1_500_000_000),
        ("1234567.123456789", 1_234_567_123_456_789),
        ("10E2", 1_000_000_000_000),
        ("0.0", 0),
        ("1", 1_000_000_000),
        ("31536000", 31_536_000_000_000_000),
    ] {
        let rules = good(&format!("[[behaviour]]\non-write = 'KEY'\nafter = {text}\ninterrupt = true"));
        assert_eq!(rules[0].delay, Some(Delay::Time(Duration::from_nanos(nanoseconds))), "{text}");
    }
}

#[test]
fn a_star_makes_a_rule_for_each_element() {
    let rules = good(
        "[[behaviour]]\non-write = 'CH[*].CTRL.EN=1'\nif = 'CH[*].SR[0] != 1 << index'\nset = { 'CH[*].SR[1]' = 'CH[*].CTRL + index' }",
    );
    assert_eq!(rules.len(), 4);
    for (index, rule) in rules.iter().enumerate() {
        let Trigger::Written(parts) = &rule.trigger else { panic!("{rule:?}") };
        assert_eq!(parts[0].0.path, format!("CH[{index}].CTRL.EN"));
        let mut looked = Vec::new();
        let mut held = |target: &Target| {
            looked.push(target.path.clone());
            0x100
        };
        assert_eq!(worked_out(rule, &mut held, 0, 0), 0x100 + index as u64);
        rule.condition.as_ref().unwrap().work_out(&mut held, 0, 0);
        assert_eq!(looked, [format!("CH[{index}].CTRL"), format!("CH[{index}].SR[0]")]);
        assert_eq!(rule.place, "rules.toml:1");
    }
    // A name in backquotes can have one too.
    assert_eq!(good("[[behaviour]]\nevery = 1\nset = { MIS = '`T[*]`' }").len(), 8);
}

#[test]
fn a_map_has_its_rules_and_more_are_read_for_it_later() {
    let text = format!("{DEVICE}[[behaviour]]\nassign = {{ MIS = 'RIS & IMSC' }}\ninterrupt = 'MIS'\n");
    let loaded = Map::parse(&text, "dir/x.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let map = loaded.map;
    assert_eq!(map.behaviour.len(), 1);
    let line = DEVICE.lines().count() + 1;
    assert_eq!(map.behaviour[0].place, format!("dir/x.toml:{line}"));
    let json: serde_json::Value = serde_json::from_str(&map.to_json()).unwrap();
    assert_eq!(json["behaviour"][0]["actions"][0]["set"][1], "RIS & IMSC");
    // Added ones are by themselves, but what is assigned is assigned.
    let added = map.behaviour_of("[[behaviour]]\nassign = { RIS = 'CTRL' }", "test").unwrap();
    assert_eq!((added.len(), added[0].place.as_str()), (1, "test:1"));
    let told = |rules: &str| lines(&map.behaviour_of(rules, "test").unwrap_err().0).join("\n");
    assert!(
        told("[[behaviour]]\nassign = { MIS = 0 }")
            .starts_with(&format!("2:12: MIS is assigned already, in dir/x.toml:{line}"))
    );
    assert!(
        told("[[behaviour]]\nassign = { RIS = 'MIS' }")
            .starts_with("2:12: RIS depends on itself: RIS <- MIS <- RIS")
    );
    assert!(map.behaviour_of("", "test").unwrap().is_empty());
    // A part that does not touch it is another.
    good("[[behaviour]]\nassign = { 'STATUS.READY' = 1, 'STATUS.CODE' = 'STATUS.READY' }");
}

#[test]
fn a_map_with_mistakes_tells_those_of_its_rules_once_the_rest_is_right() {
    let text = format!("{}[[behaviour]]\nset = {{}}\n", DEVICE.replace("RIS = { offset", "RIS = { ofset"));
    let errors = Map::parse(&text, "x.toml").unwrap_err();
    assert!(!errors.0.iter().any(|error| error.message.contains("set is empty")), "{errors}");
    let text = format!("{DEVICE}[[behaviour]]\nassign = {{ MISS = 1 }}\n");
    let errors = Map::parse(&text, "x.toml").unwrap_err().to_string();
    assert!(errors.contains("did you mean \"MIS\"?"), "{errors}");
}

#[test]
fn rules_of_included_files_come_first_and_each_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("base.toml", &format!("{DEVICE}[[behaviour]]\nassign = {{ MIS = 'RIS & IMSC' }}\n"));
    write("a.toml", "include = 'base.toml'\n[[behaviour]]\nevery = 1\nset = { RIS = 1 }\n");
    write("b.toml", "include = 'base.toml'\n[[behaviour]]\nevery = 2\nset = { RIS = 2 }\n");
    write(
        "top.toml",
        "include = ['a.toml', 'b.toml']\n[device]\nname = 'top'\n[[behaviour]]\non-write = 'KEY'\nreset = true\n",
    );
    let map = Map::load(&folder.path().join("top.toml")).unwrap_or_else(|errors| panic!("{errors}")).map;
    let places: Vec<_> =
        map.behaviour.iter().map(|rule| rule.place.rsplit('/').next().unwrap().to_string()).collect();
    let last = DEVICE.lines().count() + 1;
    assert_eq!(
        places,
        [format!("base.toml:{last}"), "a.toml:2".into(), "b.toml:2".into(), "top.toml:4".into()]
    );
    // A mistake is told where it stands.
    write("a.toml", "include = 'base.toml'\n[[behaviour]]\nevery = 1\nset = { RIX = 1 }\n");
    let errors = Map::load(&folder.path().join("top.toml")).unwrap_err();
    assert!(errors.0[0].file.ends_with("a.toml") && errors.0[0].line == 4, "{errors}");
}

#[test]
fn what_may_surprise_is_told() {
    for (rules, told) in [
        (
            "every = 1\nset = { KEY = 1 }",
            "KEY cannot be read, and no rule looks at it: nobody sees what becomes of it",
        ),
        ("every = 1\nset = { 'KEY.GO' = 1 }\n[[behaviour]]\ninterrupt = 'KEY'", ""),
        ("every = 1\nset = { DATA = 1 }", "DATA is a FIFO, and this is no word in it"),
        ("every = 1\npush = { DATA = 1 }", ""),
        ("assign = { CTRL = 'RIS' }", "CTRL can be written, and what software writes there is never seen"),
        ("every = 1\nset = { CTRL = 'RIS' }", ""),
        (
            "every = 1\nset = { 'STATUS.CODE' = 'RIS' }\n[[behaviour]]\nassign = { STATUS = 'RIS' }",
            "STATUS.CODE is assigned in x.toml:25: what is set here is never seen",
        ),
        (
            "assign = { 'CH[*].CTRL.EN' = 1 }",
            "CH[0].CTRL.EN can be written, and what software writes there is never seen",
        ),
    ] {
        let text = format!("{DEVICE}[[behaviour]]\n{rules}\n");
        let loaded = Map::parse(&text, "x.toml").unwrap_or_else(|errors| panic!("{errors}"));
        let messages = loaded.warnings.iter().map(|warning| warning.message.as_str());
        let messages: Vec<_> = messages.filter(|message| !message.starts_with("rx-count is no")).collect();
        let expected: Vec<_> = [told].into_iter().filter(|told| !told.is_empty()).collect();
        assert_eq!(messages, expected, "{rules}");
    }
}

#[test]
fn no_expression_is_too_deep_and_no_list_of_rules_too_long() {
    let told = |text: &str| errors(&format!("[[behaviour]]\nassign = {{ MIS = '{text}' }}"));
    let nested = |count: usize| format!("{}RIS{}", "(".repeat(count), ")".repeat(count));
    assert_eq!(told(&nested(63)), "");
    for text in [
        nested(64),
        nested(100_000),
        "~".repeat(100),
        "not ".repeat(100),
        "-".repeat(100_000),
        "1 if 1 else ".repeat(64) + "1",
    ] {
        let told = told(&text);
        assert!(told.contains("nested deeper than 64") || told.contains("at most 256 parts"), "{told}");
    }
    let long = |count: usize| vec!["RIS"; count].join(" + ");
    assert_eq!(told(&long(128)), "");
    assert!(told(&long(129)).contains("at most 256 parts"));
    assert!(told(&long(1_000_000)).contains("at most 256 parts"));
    let one = "[[behaviour]]\nevery = 1\nset = { 'T[*]' = 1 }\n";
    assert_eq!(good(&one.repeat(1 << 13)).len(), 1 << 16);
    let wordy =
        format!("[[behaviour]]\nevery = 1\ndoc = '{}'\nset = {{ 'T[*]' = 1 }}\n", "x".repeat(2 << 20));
    assert!(errors(&wordy).contains("8 MiB of them"));
    let huge = "[device]\nname = 'x'\n[regions.r]\nsize = '0xffff_ffff_ffff_fff0'\nregisters.A = { offset = 0, count = 0x1000_0000_0000_0000 }\n\
                [[behaviour]]\nevery = 1\nset = { 'A[*]' = 1 }";
    assert!(Map::parse(huge, "x.toml").unwrap_err().to_string().contains("more than 65536 rules"));
    let wrong = "[[behaviour]]\nevery = 1\nset = { TT = 1 }\n".repeat(200);
    assert_eq!(errors(&wrong).lines().count(), 100);
}

#[test]
fn what_is_assigned_from_what_is_assigned_is_not_endless() {
    let mut text = "[device]\nname = 'x'\n[regions.r]\nsize = 0x1000\nregisters.A = { offset = 0, count = 100, access = 'ro' }\n".to_string();
    for order in [(0..64).collect::<Vec<_>>(), (0..64).rev().collect()] {
        let mut rules = text.clone();
        order.iter().for_each(|index| {
            rules.push_str(&format!("[[behaviour]]\nassign = {{ 'A[{}]' = 'A[{index}]' }}\n", index + 1));
        });
        assert!(Map::parse(&rules, "x.toml").is_ok());
    }
    for index in 0..65 {
        text.push_str(&format!("[[behaviour]]\nassign = {{ 'A[{}]' = 'A[{index}]' }}\n", index + 1));
    }
    let errors = Map::parse(&text, "x.toml").unwrap_err().to_string();
    assert!(errors.contains("A[65] depends on too many assigned parts: more than 64 deep"), "{errors}");
    // Each looks twice at the one before: 2^12 in all.
    let doubled = |count: u32| {
        let rule = |index| {
            format!("[[behaviour]]\nassign = {{ 'T[{}].N' = 'T[{index}].N + T[{index}].N' }}\n", index + 1)
        };
        let text = DEVICE.replace("count = 8", "count = 50");
        Map::parse(&(text + &(0..count).map(rule).collect::<String>()), "x.toml")
    };
    assert!(doubled(12).is_ok());
    assert!(doubled(13).unwrap_err().to_string().contains("4096 in all"));
}

#[test]
fn the_examples_of_the_page_are_rules() {
    let page = include_str!("../../../docs/map-format.md");
    let device = "[device]\nname = 'x'\n[regions.r]\nsize = 0x100\n[regions.r.registers]\n\
        CTRL = { offset = 0, fields.START = 0, fields.GAIN = '7:4' }\nSTATUS = { offset = 4, access = 'ro', fields.READY = 0, fields.TX_FULL = 1, fields.RX_VALID = 2 }\n\
        DATA = { offset = 8, access = 'ro' }\nRIS = { offset = 12, access = 'ro', fields.RTC = 0, fields.PIN = 1 }\nMIS = { offset = 16, access = 'ro' }\n\
        IMSC = { offset = 20, fields.RX = 4 }\nCR = { offset = 24, fields.EN = 0, fields.LOOPBACK = 1 }\nDR = { offset = 28, access = 'ro' }\n\
        MR = { offset = 32 }\nTXDATA = { offset = 36, access = 'wo', fifo = 16 }\nIN = { offset = 44, fields.PIN = 0 }\nRXDATA = { offset = 40, access = 'ro', fifo = true }\n\
        [regions.r.groups]\nCH = { offset = 0x40, count = 4, stride = 8, registers.CTRL = { offset = 0, fields.EN = 0 }, \
        registers.STATUS = { offset = 4, access = 'ro', fields.ID = '3:0' } }\n";
    let map = Map::parse(device, "x.toml").unwrap_or_else(|errors| panic!("{errors}")).map;
    let start = page.find("## `[[behaviour]]`").unwrap();
    let section = &page[start..start + page[start..].find("\n## ").unwrap()];
    let code: Vec<_> = section.lines().map(|line| line.strip_prefix("    ").unwrap_or_default()).collect();
    let code: Vec<_> = code.into_iter().filter(|line| !line.starts_with("a if c else b")).collect();
    let rules = map.behaviour_of(&code.join("\n"), "page").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(rules.len(), 13, "{rules:#?}");
}
