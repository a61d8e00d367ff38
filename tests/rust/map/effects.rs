//! What reads and writes do to bits, and what a write of some fields does to spare the others.

use super::{good, register};
use devregs::map::{OnRead, OnWrite, WritePlan};

const WRITES: [OnWrite; 9] = [
    OnWrite::OneToClear,
    OnWrite::OneToSet,
    OnWrite::OneToToggle,
    OnWrite::ZeroToClear,
    OnWrite::ZeroToSet,
    OnWrite::ZeroToToggle,
    OnWrite::Clear,
    OnWrite::Set,
    OnWrite::Modify,
];

/// Some values, the corners among them.
fn samples() -> Vec<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut samples = vec![0, u64::MAX, 1, 1 << 63, 0xaaaa_aaaa_aaaa_aaaa, 0x5555_5555_5555_5555];
    for _ in 0..20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        samples.push(state);
    }
    samples
}

#[test]
fn effects_follow_their_table_bit_by_bit() {
    // effect, and the bit after a write for (old, written) = 00, 01, 10, 11
    let table = [
        (OnWrite::OneToClear, [0, 0, 1, 0]),
        (OnWrite::OneToSet, [0, 1, 1, 1]),
        (OnWrite::OneToToggle, [0, 1, 1, 0]),
        (OnWrite::ZeroToClear, [0, 0, 0, 1]),
        (OnWrite::ZeroToSet, [1, 0, 1, 1]),
        (OnWrite::ZeroToToggle, [1, 0, 0, 1]),
        (OnWrite::Clear, [0, 0, 0, 0]),
        (OnWrite::Set, [1, 1, 1, 1]),
        (OnWrite::Modify, [0, 1, 0, 1]),
    ];
    for (effect, after) in table {
        for bit in [0, 31, 63] {
            for (index, expected) in after.into_iter().enumerate() {
                let (old, written) = ((index as u64 >> 1) << bit, (index as u64 & 1) << bit);
                assert_eq!(effect.apply(old, written, 1 << bit), expected << bit, "{effect:?} {index:02b}");
            }
        }
    }
    assert_eq!(table.map(|(effect, _)| effect), WRITES);
}

#[test]
fn effects_leave_other_bits_out_and_a_neutral_write_changes_nothing() {
    for effect in WRITES {
        for mask in samples() {
            for old in samples() {
                for written in samples() {
                    let after = effect.apply(old, written, mask);
                    assert_eq!(after & !mask, 0, "{effect:?}");
                    assert_eq!(
                        after,
                        effect.apply(old & mask, written & mask, mask),
                        "{effect:?} sees other bits"
                    );
                }
                if let Some(neutral) = effect.neutral() {
                    let written = if neutral { u64::MAX } else { 0 };
                    assert_eq!(effect.apply(old, written, mask), old & mask, "{effect:?}");
                }
            }
        }
    }
}

#[test]
fn a_read_clears_or_sets_its_bits_only() {
    for mask in samples() {
        for old in samples() {
            assert_eq!(OnRead::Clear.apply(old, mask), 0);
            assert_eq!(OnRead::Set.apply(old, mask), mask);
            assert_eq!(OnRead::Modify.apply(old, mask), old & mask);
            assert_eq!(OnRead::ModifyExternal.apply(old, mask), old & mask);
        }
    }
}

#[test]
fn every_effect_is_read_by_its_own_name() {
    for effect in WRITES {
        let body = format!("registers.A = {{ offset = 0, on-write = '{}' }}", effect.name());
        assert_eq!(register(&good(&body), "A").on_write, Some(effect));
    }
    for effect in [OnRead::Clear, OnRead::Set, OnRead::Modify, OnRead::ModifyExternal] {
        let body = format!("registers.A = {{ offset = 0, on-read = '{}' }}", effect.name());
        assert_eq!(register(&good(&body), "A").on_read, Some(effect));
    }
}

/// The plan for a write of the field `F`, bit 0, of an 8-bit register with `rest` beside it.
fn plan(rest: &str) -> Result<WritePlan, String> {
    let body = format!("registers.A = {{ offset = 0, width = 8, {rest} }}");
    register(&good(&body), "A").write_plan(1).map_err(|refusal| refusal.to_string())
}

#[test]
fn neighbours_are_kept_or_get_their_neutral_value() {
    let f = "fields.F = 0";
    let cases = [
        // (the rest of the register, load, keep, fixed)
        ("", true, 0xfe, 0),
        ("fields.G = '7:4'", true, 0xfe, 0),
        ("fields.G = { bits = '7:4', access = 'w1c' }", true, 0x0e, 0),
        ("fields.G = { bits = '7:4', access = 'w1s' }", true, 0x0e, 0),
        ("fields.G = { bits = '7:4', access = 'w1t' }", true, 0x0e, 0),
        ("fields.G = { bits = '7:4', access = 'w0c' }", true, 0x0e, 0xf0),
        ("fields.G = { bits = '7:4', access = 'w0s' }", true, 0x0e, 0xf0),
        ("fields.G = { bits = '7:4', access = 'w0t' }", true, 0x0e, 0xf0),
        ("fields.G = { bits = '7:4', access = 'wo', on-write = 'one-to-set' }", true, 0x0e, 0),
        ("fields.G = { bits = 7, self-clear = true }", true, 0x7e, 0),
        // a write-only field that clears itself is a trigger: 0 does nothing
        ("fields.G = { bits = 7, access = 'wo', self-clear = true }", true, 0x7e, 0),
        ("fields.G = { bits = '7:4', access = 'ro' }", true, 0xfe, 0),
        // the status to read and the bits that clear it share their place
        (
            "fields.S = { bits = '7:4', access = 'ro' }, fields.C = { bits = '7:4', access = 'wo', on-write = 'one-to-clear' }",
            true,
            0x0e,
            0,
        ),
        ("reserved = 'zero', fields.G = '7:4'", true, 0xf0, 0),
        ("reserved = 'one', fields.G = '7:4'", true, 0xf0, 0x0e),
        // reserved bits act like the register, unless it says what they get
        ("access = 'w1c'", true, 0, 0),
        ("access = 'w0c'", true, 0, 0xfe),
        ("access = 'w1c', reserved = 'one'", true, 0, 0xfe),
        ("access = 'w1c', fields.G = { bits = '7:4', on-write = 'none' }", true, 0xf0, 0),
        // any write to a register like this has its effect, whatever the bits no field covers get
        ("on-write = 'modify'", true, 0, 0),
        // no load
        ("access = 'wo'", false, 0, 0),
        ("access = 'wo', reserved = 'one'", false, 0, 0xfe),
        ("access = 'wo', fields.G = { bits = '7:4', on-write = 'zero-to-clear' }", false, 0, 0xf0),
        ("on-read = 'clear'", false, 0, 0),
        ("fields.G = { bits = '7:4', access = 'ro', on-read = 'clear' }", false, 0, 0),
        ("fields.G = { bits = '7:4', access = 'w1c', on-read = 'set' }", false, 0, 0),
        ("fifo = true", false, 0, 0),
    ];
    for (rest, load, keep, fixed) in cases {
        let comma = if rest.is_empty() { "" } else { ", " };
        assert_eq!(plan(&format!("{f}{comma}{rest}")), Ok(WritePlan { load, keep, fixed }), "{rest}");
    }
}

#[test]
fn what_cannot_be_spared_is_refused_with_its_name_reason_and_remedy() {
    let cases = [
        ("fields.G = { bits = 7, access = 'wo' }", "cannot be read"),
        ("fields.G = { bits = 7, access = 'wc' }", "any write to it has an effect"),
        ("fields.G = { bits = 7, access = 'ws' }", "any write to it has an effect"),
        ("fields.G = { bits = 7, on-write = 'modify' }", "any write to it has an effect"),
        ("fields.G = { bits = 7, access = 'rw-once' }", "written only once"),
        ("fields.G = { bits = 7, access = 'wo-once' }", "written only once"),
        ("access = 'wo', fields.G = 7", "cannot be read"),
        ("fields.G = 7, on-read = 'clear'", "a read has a side effect"),
        (
            "fields.G = 7, fields.H = { bits = 6, access = 'ro', on-read = 'modify' }",
            "a read has a side effect",
        ),
        ("fifo = true, fields.G = 7", "a read has a side effect"),
    ];
    for (rest, reason) in cases {
        let refusal = plan(&format!("fields.F = 0, {rest}")).expect_err(rest);
        for part in [" G,", reason, "modify()", "write()"] {
            assert!(refusal.contains(part), "{rest}: {refusal}");
        }
    }
}

#[test]
fn naming_what_stands_in_the_way_lets_the_write_through() {
    let register = register(
        &good("registers.A = { offset = 0, width = 8, access = 'wo', fields.F = 0, fields.G = '7:4' }"),
        "A",
    );
    assert!(register.write_plan(0x01).is_err());
    assert!(register.write_plan(0xf0).is_err());
    assert_eq!(register.write_plan(0xf1), Ok(WritePlan { load: false, keep: 0, fixed: 0 }));
}

#[test]
fn a_plan_never_touches_what_is_named_nor_what_is_not_there() {
    let rights = ["rw", "ro", "wo", "w1c", "w0c", "wc", "rc", "rw-once"];
    let mut plans = 0;
    for a in rights {
        for b in rights {
            for reserved in ["preserve", "zero", "one"] {
                let body = format!(
                    "registers.A = {{ offset = 0, width = 16, reserved = '{reserved}', fields.F = '3:0', \
                     fields.G = {{ bits = '7:4', access = '{a}' }}, fields.H = {{ bits = '12:10', access = '{b}' }} }}"
                );
                let register = register(&good(&body), "A");
                for named in [0, 0xf, 0xf0, 0xff, 0x1c00, 0x1c0f, 0xffff, 0x2] {
                    let Ok(plan) = register.write_plan(named) else { continue };
                    plans += 1;
                    assert_eq!(plan.keep & plan.fixed, 0, "{body}");
                    assert_eq!((plan.keep | plan.fixed) & (named | !0xffff), 0, "{body} {named:#x} {plan:?}");
                    assert!(plan.load || plan.keep == 0, "{body}");
                    assert_eq!(plan.load, register.read_effect().is_none());
                }
            }
        }
    }
    assert!(plans > 500, "only {plans} plans");
}

#[test]
fn the_effect_of_a_read_is_known_and_told() {
    let told = |body: &str| register(&good(&format!("registers.A = {{ offset = 0, {body} }}")), "A");
    assert_eq!(told("access = 'rw'").describe_read_effect(), None);
    assert_eq!(told("access = 'wo', fifo = 16").read_effect(), None);
    let fifo = told("fifo = 16");
    assert_eq!((fifo.fifo, fifo.read_effect()), (Some(16), Some(OnRead::ModifyExternal)));
    assert!(fifo.describe_read_effect().unwrap().contains("FIFO"));
    assert_eq!(told("fifo = true, on-read = 'none'").read_effect(), None);
    let field = told("fields.F = 0, fields.G = { bits = 1, access = 'rc' }");
    assert_eq!(field.read_effect(), Some(OnRead::Clear));
    assert!(field.describe_read_effect().unwrap().contains("(G)"));
    // A region's effect is that of all its registers, but for those that say otherwise or cannot be read.
    let loaded = good(
        "on-read = 'modify-external'\nregisters.A = { offset = 0 }\nregisters.B = { offset = 4, on-read = 'none' }\n\
         registers.C = { offset = 8, access = 'wo' }\nregisters.D = { offset = 12, on-read = 'clear' }\n\
         registers.E = { offset = 16, access = 'wo', fields.F = 0 }",
    );
    let effects = ["A", "B", "C", "D", "E"].map(|name| register(&loaded, name).read_effect());
    assert_eq!(effects, [Some(OnRead::ModifyExternal), None, None, Some(OnRead::Clear), None]);
}
