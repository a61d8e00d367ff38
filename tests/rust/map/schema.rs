//! The JSON schemas name the keys and words that the reader knows: no more, no fewer.

use std::collections::BTreeSet;

use super::{HEAD, parse};
use devregs::map::{BoardMap, Diagnostic, Map};
use serde_json::Value;

fn schema(name: &str) -> Value {
    let path = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn keys(schema: &Value, pointer: &str) -> BTreeSet<String> {
    let properties = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in the schema"));
    properties.as_object().unwrap().keys().cloned().collect()
}

/// How many keys the reader knows where it met `zzzzzzzzzzzz`.
fn known(errors: &[Diagnostic]) -> (usize, BTreeSet<String>) {
    let found = errors
        .iter()
        .find(|error| error.message.contains("has no key \"zzzzzzzzzzzz\""))
        .expect("it was met");
    let help = found.help.as_deref().unwrap();
    match help.strip_prefix("there is ") {
        Some(list) => {
            let keys: BTreeSet<_> = list.split(", ").map(String::from).collect();
            (keys.len(), keys)
        }
        None => {
            let (count, some) = help.strip_prefix("there are ").unwrap().split_once(": ").unwrap();
            (count.parse().unwrap(), some.trim_end_matches(", …").split(", ").map(String::from).collect())
        }
    }
}

#[test]
fn the_schema_has_the_keys_of_the_reader() {
    let schema = schema("device-map");
    let errors_of = |text: &str| Map::parse(text, "x.toml").unwrap_err().0;
    let field = "/definitions/field/anyOf/1/properties";
    for (pointer, before, after) in [
        ("/definitions/region/properties", "", ""),
        ("/definitions/behaviour/properties", "[[behaviour]]\n", ""),
        ("/definitions/register/properties", "registers.A = { offset = 0, ", "}"),
        ("/definitions/group/properties", "groups.G = { offset = 0, registers.A = { offset = 0 }, ", "}"),
        (field, "registers.A = { offset = 0, fields.F = { bits = 0, ", "} }"),
        (
            "/definitions/values/additionalProperties/anyOf/1/properties",
            "registers.A = { offset = 0, fields.F = { bits = 0, values.V = { value = 0, ",
            "} } }",
        ),
        (
            "/definitions/register/properties/expect/anyOf/1/properties",
            "registers.A = { offset = 0, expect = { value = 0, ",
            "} }",
        ),
    ] {
        let keys = keys(&schema, pointer);
        let (count, some) = known(&parse(&format!("{before}zzzzzzzzzzzz = 0{after}")).unwrap_err());
        assert!(some.is_subset(&keys), "{pointer}: {some:?} and {keys:?}");
        assert_eq!(
            count,
            keys.len(),
            "{pointer}: the reader knows {count} keys, {some:?}; the schema {keys:?}"
        );
    }
    let device = errors_of("device.zzzzzzzzzzzz = 0\nregions = 1");
    assert_eq!(known(&device).1, keys(&schema, "/properties/device/properties"));
    let mut top = known(&errors_of("zzzzzzzzzzzz = 0")).1;
    top.insert("include".into());
    assert_eq!(top, keys(&schema, "/properties"));
}

#[test]
fn the_schema_has_the_words_of_the_reader() {
    let schema = schema("device-map");
    for (pointer, body) in [
        ("/definitions/access/enum", "registers.A = { offset = 0, access = WORD }"),
        ("/definitions/access/enum", "registers.A = { offset = 0, fields.F = { bits = 0, access = WORD } }"),
        ("/definitions/on-read/enum", "registers.A = { offset = 0, on-read = WORD }"),
        ("/definitions/on-read/enum", "on-read = WORD"),
        ("/definitions/on-write/enum", "registers.A = { offset = 0, on-write = WORD }"),
        ("/definitions/byte-order/enum", "byte-order = WORD"),
        ("/definitions/width/enum", "registers.A = { offset = 0, width = WORD }"),
        ("/definitions/region/properties/access/enum", "access = WORD"),
        (
            "/definitions/register/properties/split/enum",
            "registers.A = { offset = 0, width = 64, split = WORD }",
        ),
        ("/definitions/register/properties/reserved/enum", "registers.A = { offset = 0, reserved = WORD }"),
    ] {
        let words = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")).as_array().unwrap();
        for word in words {
            let read = parse(&body.replace("WORD", &word.to_string()));
            let accepted =
                read.err().unwrap_or_default().iter().all(|error| !error.message.contains("is not \""));
            assert!(accepted, "{body}: {word}");
        }
        if words[0].is_string() {
            let errors = parse(&body.replace("WORD", "'zzzzzzzzzzzz'")).unwrap_err();
            let help = errors[0].help.as_deref().unwrap().strip_prefix("there is ").unwrap();
            let known = help.split(", ").count();
            assert_eq!(known, words.len(), "{pointer}: {help}");
        }
    }
}

#[test]
fn the_board_schema_has_the_keys_of_the_reader() {
    let schema = schema("board-map");
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("x.toml"), HEAD).unwrap();
    let path = folder.path().join("board.toml");
    let errors_of = |text: &str| {
        std::fs::write(&path, text).unwrap();
        BoardMap::load(&path).unwrap_err().0
    };
    let device = errors_of("[devices.a]\nmap = 'x.toml'\nsource = 'mock:'\nzzzzzzzzzzzz = 0\n");
    assert_eq!(known(&device).1, keys(&schema, "/definitions/device/properties"));
    let mut top = known(&errors_of("zzzzzzzzzzzz = 0\n[devices.a]\nmap = 'x.toml'\nsource = 'mock:'\n")).1;
    top.insert("include".into());
    assert_eq!(top, keys(&schema, "/properties"));
}
