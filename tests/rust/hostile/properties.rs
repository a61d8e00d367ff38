//! What must hold of every input of a form: of all names, all numbers, all maps made of the right words.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use devregs::map::{Map, Path};
use devregs::source::{Source, UioName};
use proptest::prelude::*;

use super::{count, entry};

fn config(usual: usize) -> ProptestConfig {
    // Failures are shown in full, which is enough to repeat them: nothing is written beside the sources.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count(usual) as u32) }
}

/// Characters that a name can have, and some that matter to paths and sources.
const TEXT: &str = "[a-zA-Z0-9_.:\\[\\]+ x-]{0,24}";

/// A key of the format, or a name.
fn key() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "offset",
        "size",
        "width",
        "access",
        "count",
        "stride",
        "reset",
        "reset-mask",
        "expect",
        "volatile",
        "on-read",
        "on-write",
        "split",
        "fifo",
        "reserved",
        "set-alias",
        "clear-alias",
        "derive-from",
        "overlaps",
        "doc",
        "uio-map",
        "pci-bar",
        "byte-order",
        "fields",
        "registers",
        "groups",
        "F",
        "G",
        "A",
        "B",
        "bits",
        "values",
        "write-values",
        "self-clear",
        "mask",
        "value",
    ])
}

/// A value in the notation of TOML.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u64..0x200).prop_map(|number| number.to_string()),
        2 => any::<u64>().prop_map(|number| format!("'{number:#x}'")),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        2 => (0u32..70, 0u32..70).prop_map(|(msb, lsb)| format!("'{msb}:{lsb}'")),
        3 => proptest::sample::select(vec![
            "'rw'", "'ro'", "'wo'", "'w1c'", "'w0t'", "'rc'", "'wo-once'", "'clear'", "'one-to-set'", "'none'",
            "'low-first'", "'big'", "'zero'", "'A'", "'B'", "'G'", "'G.A'", "true", "false", "8", "16", "32", "64", "{}",
            "[]", "1.5", "1979-05-27", "''",
        ]).prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn maps_of_the_right_words_never_panic(
        lines in proptest::collection::vec((proptest::collection::vec(key(), 0..5), key(), value()), 0..12),
    ) {
        let mut text = String::from("[device]\nname = 'x'\n[regions.r]\nsize = 0x1000\n\
            registers.A = { offset = 0 }\nregisters.B = { offset = 8 }\ngroups.G.registers.A = { offset = 0 }\n\
            groups.G.offset = 0x100\n");
        for (path, last, value) in lines {
            let before = path.iter().map(|key| format!("{key}.")).collect::<String>();
            let line = format!("{before}{last} = {value}\n");
            // A key that is there already spoils the whole file, so that nothing else of it would be read.
            if toml::from_str::<toml::Table>(&format!("{text}{line}")).is_ok() {
                text.push_str(&line);
            }
        }
        entry::map(text.as_bytes());
    }

    #[test]
    fn numbers_are_taken_as_they_are(number in any::<u64>()) {
        let head = "[device]\nname = 'x'\nwidth = 64\n[regions.r]\nsize = 8\nregisters.A = { offset = 0, reset = ";
        for written in [format!("'{number}'"), format!("'{number:#x}'"), format!("'{number:#o}'"), format!("'{number:#b}'")] {
            let loaded = Map::parse(&format!("{head}{written} }}"), "x.toml").map_err(|error| TestCaseError::fail(error.to_string()))?;
            let found = loaded.map.resolve("A").map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(found.register.reset.map(|reset| reset.value), Some(number));
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused(over in any::<u64>(), negative in 1..=i64::MAX) {
        let head = "[device]\nname = 'x'\nwidth = 64\n[regions.r]\nsize = 8\nregisters.A = { offset = 0, reset = ";
        let above = u128::from(u64::MAX) + 1 + u128::from(over);
        for written in [format!("'{above}'"), format!("{above}"), format!("'{above:#x}'"), format!("-{negative}"), format!("'-{negative}'")] {
            prop_assert!(Map::parse(&format!("{head}{written} }}"), "x.toml").is_err(), "{}", written);
        }
    }
}

/// A word of an expression, or what is nearly one.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => proptest::sample::select(vec!["+", "-", "*", "&", "|", "^", "<<", ">>", "==", "<", "and", "or"]),
        2 => proptest::sample::select(vec!["~", "not", "(", ")", "if", "else", "index", "written", "old"]),
        4 => proptest::sample::select(vec!["A", "A.F", "A.F == ON", "G[*].A", "G[1].A", "`a-b`", "`A`.F", "0x1_0", "7"]),
        1 => proptest::sample::select(vec!["&&", "=", "/", "é", "`", ".", "[", "A.", "G[", "G[9].A", "08", "1.5", "\u{202e}", "$"]),
    ]
    .prop_map(String::from)
}

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn words_in_any_order_are_an_expression_or_are_refused(
        words in proptest::collection::vec((word(), prop_oneof![Just(" "), Just("")]), 0..16),
    ) {
        let expression: String = words.into_iter().map(|(word, space)| word + space).collect();
        let text = format!("[device]\nname = 'x'\n[regions.r]\nsize = 0x100\n\
            registers.A = {{ offset = 0, fields.F = {{ bits = 0, values.ON = 1 }} }}\nregisters.a-b = {{ offset = 4 }}\n\
            groups.G = {{ offset = 8, count = 4, stride = 4, registers.A = {{ offset = 0 }} }}\n\
            [[behaviour]]\non-write = 'A'\nset = {{ A = '{expression}' }}\n");
        entry::map(text.as_bytes());
        if let Err(errors) = Map::parse(&text, "x.toml") {
            let width = expression.chars().count();
            for error in errors.0 {
                prop_assert!(error.line == 10 && (13..=15 + width).contains(&error.column), "{}", error);
            }
        }
    }

    #[test]
    fn any_text_is_a_path_or_is_refused(text in prop_oneof![".{0,40}", TEXT]) {
        entry::path(text.as_bytes());
    }

    #[test]
    fn paths_come_back_as_they_were(
        parts in proptest::collection::vec(("[A-Za-z_é/+-]{1,8}", proptest::option::of(any::<u64>())), 1..6),
    ) {
        let shown: Vec<_> = parts.iter().map(|(name, index)| match index {
            Some(index) => format!("{name}[{index}]"),
            None => name.clone(),
        }).collect();
        let path = Path::parse(&shown.join(".")).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let again: Vec<_> = path.segments().iter().map(|part| (part.name.clone(), part.index)).collect();
        prop_assert_eq!(again, parts);
    }

    #[test]
    fn any_text_is_a_source_or_is_refused(
        text in prop_oneof![".{0,40}", TEXT, ("(mem|ram|uio|pci|file|mock|MEM| mem):", TEXT).prop_map(|(kind, rest)| kind + &rest)],
    ) {
        entry::source(text.as_bytes());
    }

    #[test]
    fn addresses_of_sources_come_back(address in any::<u64>()) {
        for text in [format!("mem:{address:#x}"), format!("mem:{address:#X}"), Source::Mem(address).to_string()] {
            prop_assert_eq!(text.parse::<Source>().ok(), Some(Source::Mem(address)));
        }
        let above = format!("mem:{:#x}", u128::from(u64::MAX) + 1 + u128::from(address));
        prop_assert!(above.parse::<Source>().is_err());
        // Digits alone are hexadecimal to some: both readings are told.
        for text in [format!("{address}"), format!("{address:x}")] {
            let error = format!("mem:{text}").parse::<Source>().unwrap_err().to_string();
            prop_assert!(u64::from_str_radix(&text, 16).is_err() || error.contains(&format!("mem:0x{text}")), "{}", error);
            prop_assert!(text.parse::<u64>().map_or(true, |decimal| error.contains(&format!("mem:{decimal:#x}"))), "{}", error);
        }
    }

    #[test]
    fn names_of_sources_come_back(
        name in prop_oneof![any::<String>(), "(uio|/dev/uio)?[0-9]{1,3}", "[0-9a-f]{2,8}:[0-9a-f]{2}:[01][0-9a-f].[0-7]", "[a-z+%@ ]{0,4}@0x[0-9a-f]{1,4}"],
        address in any::<u64>(),
        path in proptest::collection::vec(1..=u8::MAX, 1..40),
    ) {
        let path = PathBuf::from(OsString::from_vec(path));
        for source in [
            Source::Uio(UioName::Name(name.clone())),
            Source::Uio(UioName::At(name.clone(), address)),
            Source::File(path.clone()),
            Source::Replay(path),
        ] {
            if source == Source::Uio(UioName::Name(String::new())) {
                continue;
            }
            let text = source.to_string();
            prop_assert!(!text.contains(char::is_whitespace) && !text.contains(char::is_control), "{}", text);
            prop_assert_eq!(text.parse::<Source>().ok(), Some(source));
        }
    }
}
