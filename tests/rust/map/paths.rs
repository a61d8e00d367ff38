//! Paths: `CH[3].CTRL.EN`.

use super::good;
use devregs::map::{Map, Path};

fn map() -> std::sync::Arc<Map> {
    good(
        "registers.CTRL = { offset = 0, fields.EN = 0, fields.MODE = '3:1' }\n\
         registers.BUF = { offset = 8, count = 4 }\n\
         registers.'odd-name' = { offset = 4 }\n\
         [regions.r.groups.CH]\noffset = 0x20\ncount = 3\nstride = 0x20\n\
         registers.CTRL = { offset = 4, fields.EN = 0 }\n\
         registers.DATA = { offset = 8, count = 2, stride = 8 }\n\
         groups.SUB = { offset = 0x18, registers.X = { offset = 4 } }\n\
         [regions.s]\noffset = 0x100\nsize = 4\nregisters.OTHER = { offset = 0 }\n",
    )
    .map
    .clone()
}

#[test]
fn paths_lead_to_registers_and_fields() {
    let map = map();
    for (path, region, offset, shown, field) in [
        ("CTRL", 0, 0, "CTRL", None),
        ("CTRL.EN", 0, 0, "CTRL", Some("EN")),
        ("BUF[0]", 0, 8, "BUF[0]", None),
        ("BUF[3]", 0, 20, "BUF[3]", None),
        ("BUF[0x3]", 0, 20, "BUF[3]", None),
        ("odd-name", 0, 4, "odd-name", None),
        ("CH[2].CTRL.EN", 0, 0x64, "CH[2].CTRL", Some("EN")),
        ("CH[1].DATA[1]", 0, 0x50, "CH[1].DATA[1]", None),
        ("CH[0].SUB.X", 0, 0x3c, "CH[0].SUB.X", None),
        ("OTHER", 1, 0, "OTHER", None),
    ] {
        let found = map.resolve(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((found.region, found.offset, found.path.as_str()), (region, offset, shown), "{path}");
        assert_eq!(found.field.map(|field| field.name.as_str()), field, "{path}");
    }
}

#[test]
fn a_path_that_leads_nowhere_says_where_it_ends_and_what_is_near() {
    let map = map();
    for (path, parts) in [
        ("CTLR", &["CTLR", "CTRL"][..]),
        ("CTRL.ENN", &["ENN", "\"EN\""]),
        ("CH.CTRL", &["CH is an array", "CH[0]"]),
        ("CTRL[0]", &["CTRL is no array"]),
        ("BUF", &["BUF is an array"]),
        ("BUF[4]", &["no element 4", "0 to 3"]),
        ("BUF[18446744073709551615]", &["no element", "0 to 3"]),
        ("BUF[18446744073709551616]", &["is no index", "character 5"]),
        ("CH[3].CTRL", &["no element 3", "0 to 2"]),
        ("CH[0]", &["CH[0] is a group", "CTRL"]),
        ("CH[0].CTLR", &["CTLR", "CTRL"]),
        ("CTRL.EN.X", &["only the name of a field"]),
        ("CTRL.EN[0]", &["only the name of a field"]),
        ("", &["a name is missing", "character 1"]),
        (".", &["a name is missing", "character 1"]),
        ("CTRL.", &["a name is missing", "character 6"]),
        ("CTRL..EN", &["a name is missing", "character 6"]),
        ("CH[", &["character 3"]),
        ("CH[]", &["is no index", "character 4"]),
        ("CH[1", &["] is missing", "character 3"]),
        ("CH[-1].CTRL", &["is no index", "character 4"]),
        ("CH[+1].CTRL", &["is no index", "character 4"]),
        ("CH[0x].CTRL", &["is no index"]),
        ("CH[x].CTRL", &["is no index"]),
        ("CH[1]x.CTRL", &["after the ]", "character 6"]),
        ("CH[1][2].CTRL", &["one index", "character 6"]),
        ("CH]1.CTRL", &["character 3"]),
        ("[1]", &["a name is missing"]),
        ("CTRL EN", &["character 5"]),
        ("é.É É", &["character 4"]),
    ] {
        let error = map.resolve(path).map(|found| found.path).expect_err(path).to_string();
        for part in parts {
            assert!(error.contains(part), "{path:?}: {error:?} lacks {part:?}");
        }
    }
}

#[test]
fn what_a_path_prints_can_be_shown() {
    let error = map().resolve("a\u{1b}[31m\u{202e}\n").unwrap_err().to_string();
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn no_text_makes_a_path_panic() {
    let map = map();
    let pieces = [
        "",
        ".",
        "[",
        "]",
        "CH",
        "CTRL",
        "0",
        "3",
        "-",
        "0x",
        "é",
        "\u{0}",
        "99999999999999999999",
        " ",
        "BUF",
    ];
    let mut state = 1u64;
    for _ in 0..50_000 {
        let mut text = String::new();
        for _ in 0..state % 9 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state ^= state >> 29;
        let parsed = Path::parse(&text);
        if map.resolve(&text).is_ok() {
            assert!(parsed.is_ok(), "{text}");
        }
    }
}
