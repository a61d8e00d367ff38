//! Where registers lie: alignment, ends, and overlaps, compared with a search of every byte.

use std::collections::HashMap;

use super::{good, lines, parse};

/// The only error of a map.
fn error(body: &str) -> String {
    let errors = parse(body).err().unwrap_or_default();
    assert_eq!(errors.len(), 1, "{body}: {:#?}", lines(&errors));
    lines(&errors).remove(0)
}

#[test]
fn registers_that_share_a_byte_are_told_with_both_places() {
    for (body, told) in [
        (
            "registers.A = { offset = 0 }\nregisters.B = { offset = 0 }",
            "6:11: B (bytes 0x0 to 0x3) overlaps A (bytes 0x0 to 0x3, line 5)",
        ),
        (
            "registers.A = { offset = 3, width = 8 }\nregisters.B = { offset = 0 }",
            "6:11: B (bytes 0x0 to 0x3) overlaps A (bytes 0x3 to 0x3, line 5)",
        ),
        (
            "registers.A = { offset = 0, count = 4, stride = 8 }\nregisters.B = { offset = 24 }",
            "6:11: B (bytes 0x18 to 0x1b) overlaps A (bytes 0x0 to 0x1b with gaps, line 5)",
        ),
        (
            "registers.A = { offset = 0 }\ngroups.G = { offset = 0, registers.B = { offset = 0 } }",
            "6:36: G.B (bytes 0x0 to 0x3) overlaps A (bytes 0x0 to 0x3, line 5)",
        ),
        (
            "groups.G = { offset = 0, count = 2, stride = 4, registers.A = { offset = 0 }, registers.B = { offset = 4 } }",
            "5:8: with a stride of 0x4, repetitions of G.A overlap G.B",
        ),
        (
            "groups.G = { offset = 0, count = 4, stride = 8, registers.A = { offset = 0, count = 3 } }",
            "5:8: with a stride of 0x8, G.A overlaps its own repetitions",
        ),
        (
            "groups.G = { offset = 0, count = 4, stride = 8, registers.A = { offset = 0 }, groups.H = { offset = 4, registers.B = { offset = 0 }, registers.C = { offset = 0 } } }",
            "5:144: G.H.C (bytes 0x0 to 0x3) overlaps G.H.B (bytes 0x0 to 0x3, line 5)",
        ),
    ] {
        assert!(error(body).starts_with(told), "{}", error(body));
    }
}

#[test]
fn registers_share_an_address_where_they_say_so_or_do_not_meet() {
    for body in [
        "registers.A = { offset = 0 }\nregisters.B = { offset = 0, overlaps = true }",
        "registers.A = { offset = 0, overlaps = true }\nregisters.B = { offset = 0 }",
        "registers.A = { offset = 0, access = 'ro' }\nregisters.B = { offset = 0, access = 'wo' }",
        "registers.A = { offset = 0, access = 'wo-once' }\nregisters.B = { offset = 0, access = 'rc' }",
        "registers.A = { offset = 0, count = 4, stride = 8 }\nregisters.B = { offset = 4, count = 4, stride = 8 }",
        "registers.A = { offset = 0, count = 8, stride = 2, width = 8 }\nregisters.B = { offset = 1, count = 8, stride = 2, width = 8 }",
        // Columns instead of rows: the group is longer than its stride, and nothing meets.
        "groups.G = { offset = 0, count = 4, stride = 4, registers.A = { offset = 0 }, registers.B = { offset = 0x10 } }",
        "groups.G = { offset = 0, count = 4, stride = 8, registers.A = { offset = 0, count = 2, stride = 0x20 } }",
    ] {
        good(body);
    }
    assert!(
        error("registers.A = { offset = 0, access = 'ro' }\nregisters.B = { offset = 0 }")
            .contains("overlaps = true")
    );
}

#[test]
fn groups_keep_their_registers_aligned_and_inside() {
    for (body, told) in [
        (
            "groups.G = { offset = 2, registers.A = { offset = 0 } }",
            "5:8: the offset 0x2 of group G puts G.A at no multiple of 4 bytes",
        ),
        (
            "groups.G = { offset = 0, count = 2, stride = 6, registers.A = { offset = 0 } }",
            "5:8: the stride 0x6 of group G puts G.A at no multiple of 4 bytes",
        ),
        (
            "groups.G = { offset = 4, groups.H = { offset = 0, registers.A = { offset = 0, width = 64 } } }",
            "5:8: the offset 0x4 of group G puts G.H.A at no multiple of 8 bytes",
        ),
        (
            "offset = 4\nregisters.A = { offset = 0, width = 64 }",
            "3:10: region r begins at 0x4, so A is at no multiple of 8 bytes",
        ),
        ("offset = 2", "5:10: region r begins at 0x2, which no 32-bit access can reach"),
        (
            "groups.G = { offset = 0xf0, registers.A = { offset = 0x10 } }",
            "5:39: G.A is outside its region of 0x100 bytes: it would need 0x4 more",
        ),
        (
            "groups.G = { offset = 0x80, count = 5, stride = 0x20, registers.A = { offset = 0x1c } }",
            "5:8: G is outside its region of 0x100 bytes: all its repetitions would need 0x20 more",
        ),
    ] {
        assert!(error(body).starts_with(told), "{}", error(body));
    }
    good("groups.G = { offset = 2, count = 3, stride = 6, registers.A = { offset = 0, width = 16 } }");
    good("offset = 4\nregisters.A = { offset = 0, width = 64, split = 'low-first' }");
    good("groups.G = { offset = 0x80, count = 4, stride = 0x20, registers.A = { offset = 0x1c } }");
}

#[test]
fn arrays_of_any_length_cost_nothing() {
    let start = std::time::Instant::now();
    let region = "[regions.big]\noffset = 0x100\nsize = 0x7fff_ffff_ffff_f000\n";
    good(&format!(
        "{region}registers.A = {{ offset = 0, count = 0x7fff_ffff, stride = 8 }}\nregisters.B = {{ offset = 4, count = 0x7fff_ffff, stride = 8 }}"
    ));
    good(&format!("{region}registers.A = {{ offset = 0, count = 0x7fff_ffff, stride = 16 }}\nregisters.B = {{ offset = 4, count = 0x7fff_ffff, stride = 24 }}\nregisters.C = {{ offset = 0x2_0000_0000_0000 }}").replace("offset = 4, count = 0x7fff_ffff, stride = 24", "offset = 4, count = 0x7fff_ffff, stride = 32"));
    // The last of the one is the last of the other, after 2^31 that do not meet.
    let last = error(&format!(
        "{region}registers.A = {{ offset = 0, count = 0x8000_0000, stride = 8 }}\nregisters.B = {{ offset = 0x3_ffff_fff8, width = 8 }}"
    ));
    assert!(last.contains("B (bytes 0x3fffffff8 to 0x3fffffff8) overlaps A"), "{last}");
    // Nested: the sum of both counts.
    let nested = error(&format!(
        "{region}groups.G = {{ offset = 0, count = 0x4000_0000, stride = 0x1000, registers.A = {{ offset = 0, count = 0x200, stride = 8 }} }}\n\
         registers.B = {{ offset = 0x3_ffff_fff8 }}"
    ));
    assert!(nested.contains("B (bytes 0x3fffffff8 to 0x3fffffffb) overlaps G.A"), "{nested}");
    let own = error(&format!(
        "{region}groups.G = {{ offset = 0, count = 0x4000_0000, stride = 0x1000, registers.A = {{ offset = 0, count = 0x201, stride = 8 }} }}"
    ));
    assert!(own.contains("G.A overlaps its own repetitions"), "{own}");
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn overlaps_are_those_that_a_search_of_every_byte_finds() {
    let mut state = 42u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    let (mut overlapping, mut apart) = (0, 0);
    for _ in 0..4000 {
        let mut used: HashMap<u64, usize> = HashMap::new();
        let mut body = String::from("width = 8\n");
        let mut clash = false;
        for index in 0..2 + next(2) as usize {
            let bytes = 1u64 << next(3);
            let (outer, outer_stride) = (1 + next(4), 4 * (1 + next(12)));
            let (inner, inner_stride) = (1 + next(4), bytes * (1 + next(5)));
            let (base, offset) = (4 * next(8), bytes * next(4));
            body.push_str(&format!(
                "groups.G{index} = {{ offset = {base}, count = {outer}, stride = {outer_stride}, \
                 registers.A = {{ offset = {offset}, width = {}, count = {inner}, stride = {inner_stride} }} }}\n",
                bytes * 8
            ));
            for one in 0..outer {
                for two in 0..inner {
                    for byte in 0..bytes {
                        clash |= used
                            .insert(base + one * outer_stride + offset + two * inner_stride + byte, index)
                            .is_some();
                    }
                }
            }
        }
        let end = used.keys().max().unwrap() + 1;
        if end > 0x100 {
            continue;
        }
        let errors = parse(&body).err().unwrap_or_default();
        let found = errors.iter().any(|error| error.message.contains("overlap"));
        assert_eq!(found, clash, "{body}{:#?}", lines(&errors));
        if clash { overlapping += 1 } else { apart += 1 }
    }
    assert!(overlapping > 300 && apart > 300, "{overlapping} {apart}");
}
