//! What a right map becomes: defaults, inheritance, derivation, order, warnings, JSON.

use super::{good, lines, register};
use devregs::map::{
    Access, Array, ByteOrder, Expect, Map, Node, OnRead, OnWrite, Reserved, Reset, Split, UioMap, Width,
    builtin, builtin_names,
};

/// One of everything.
const WHOLE: &str = r##"
[device]
name = "thing-1"
title = "A thing"
doc = """
More about it,
in lines."""
reference = "TM-1"
width = 16
byte-order = "big"
compatible = ["acme,thing", "thing", "pci:10ee:7021"]

[regions.regs]
size = 0x100
uio-map = "regs"
pci-bar = 2
doc = "Registers"

[regions.regs.registers.CTRL]
offset = 0x10
reset = 0x8001
reset-mask = 0x8003
reserved = "zero"
volatile = false
set-alias = "CTRL_SET"
clear-alias = "CTRL_CLR"
doc = "Control"

[regions.regs.registers.CTRL.fields]
MODE = { bits = "5:4", values = { SLOW = 0, FAST = { value = 2, doc = "Faster" } }, write-values = { GO = 3 } }
EN = 0
STAT = { bits = "15:12", access = "ro", doc = "Status" }
IRQ = { bits = "8", access = "w1c" }
GO = { bits = 9, self-clear = true }

[regions.regs.registers.CTRL_SET]
offset = 0x12
access = "wo"
on-write = "one-to-set"
[regions.regs.registers.CTRL_CLR]
offset = 0x14
access = "wo"

[regions.regs.registers.COUNT]
offset = 0x8
width = 64
split = "high-first"
byte-order = "little"
access = "ro"

[regions.regs.registers.ID]
offset = 0
width = 32
access = "ro"
expect = { value = 0x1200, mask = 0xff00 }

[regions.regs.groups.CH]
offset = 0x40
count = 3
stride = 0x20
doc = "Channels"
registers.LEVEL = { offset = 0, count = 4 }
groups.SUB = { offset = 0x10, registers.X = { offset = 2, access = "rw-once" } }

[regions.fifo]
offset = "0x1_00000000"
size = 8
width = 64
byte-order = "little"
access = "ro"
fifo = true
uio-map = 1
registers.DATA = { offset = 0, fifo = 64 }
"##;

#[test]
fn everything_a_map_can_say_is_read() {
    let loaded = Map::parse(WHOLE, "thing.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let map = &loaded.map;
    assert_eq!(lines(&loaded.warnings), [""; 0]);
    assert_eq!((map.name.as_str(), map.origin.as_str()), ("thing-1", "thing.toml"));
    assert_eq!((map.title.as_deref(), map.reference.as_deref()), (Some("A thing"), Some("TM-1")));
    assert_eq!(map.doc.as_deref(), Some("More about it,\nin lines."));
    assert_eq!((map.width, map.byte_order), (Width::W16, ByteOrder::Big));
    assert_eq!(map.compatible, ["acme,thing", "thing", "pci:10ee:7021"]);
    let [regs, fifo] = &map.regions[..] else { panic!("two regions") };

    assert_eq!(
        (regs.name.as_str(), regs.offset, regs.size, regs.access),
        ("regs", 0, 0x100, Access::ReadWrite)
    );
    assert_eq!(
        (regs.width, regs.byte_order, regs.fifo, regs.on_read),
        (Width::W16, ByteOrder::Big, false, None)
    );
    assert_eq!((&regs.uio_map, regs.pci_bar), (&Some(UioMap::Name("regs".into())), Some(2)));
    let names: Vec<_> = regs.nodes.iter().map(|node| (node.offset(), node.name())).collect();
    assert_eq!(
        names,
        [(0, "ID"), (8, "COUNT"), (0x10, "CTRL"), (0x12, "CTRL_SET"), (0x14, "CTRL_CLR"), (0x40, "CH")]
    );

    let ctrl = register(&loaded, "CTRL");
    assert_eq!((ctrl.width, ctrl.byte_order, ctrl.access), (Width::W16, ByteOrder::Big, Access::ReadWrite));
    assert_eq!(ctrl.reset, Some(Reset { value: 0x8001, mask: 0x8003 }));
    assert_eq!((ctrl.reserved, ctrl.volatile, ctrl.split, ctrl.fifo), (Reserved::Zero, false, None, None));
    assert_eq!(
        (ctrl.aliases.set.as_deref(), ctrl.aliases.clear.as_deref(), &ctrl.aliases.toggle),
        (Some("CTRL_SET"), Some("CTRL_CLR"), &None)
    );
    let fields: Vec<_> =
        ctrl.fields.iter().map(|field| (field.name.as_str(), field.msb(), field.lsb, field.access)).collect();
    let rw = Access::ReadWrite;
    assert_eq!(
        fields,
        [
            ("EN", 0, 0, rw),
            ("MODE", 5, 4, rw),
            ("IRQ", 8, 8, rw),
            ("GO", 9, 9, rw),
            ("STAT", 15, 12, Access::ReadOnly)
        ]
    );
    assert_eq!((ctrl.fields[2].on_write, ctrl.fields[3].self_clear), (Some(OnWrite::OneToClear), true));
    let values: Vec<_> = ctrl.fields[1]
        .values
        .iter()
        .map(|value| (value.name.as_str(), value.value, value.doc.as_deref()))
        .collect();
    assert_eq!(values, [("SLOW", 0, None), ("FAST", 2, Some("Faster"))]);
    assert_eq!(ctrl.fields[1].names_for_write()[0].name, "GO");
    assert_eq!(ctrl.fields[0].names_for_write(), []);

    let count = register(&loaded, "COUNT");
    assert_eq!(
        (count.width, count.split, count.byte_order),
        (Width::W64, Some(Split::HighFirst), ByteOrder::Little)
    );
    assert_eq!(count.access_bytes(), 4);
    assert_eq!(register(&loaded, "ID").expect, Some(Expect { value: 0x1200, mask: 0xff00 }));

    let Node::Group(channel) = &regs.nodes[5] else { panic!("a group") };
    assert_eq!(channel.array, Some(Array { count: 3, stride: 0x20 }));
    let Node::Register(level) = &channel.nodes[0] else { panic!("a register") };
    assert_eq!((level.array, level.width), (Some(Array { count: 4, stride: 2 }), Width::W16));
    assert_eq!(map.resolve("CH[2].SUB.X").unwrap().register.access, Access::ReadWriteOnce);

    assert_eq!((fifo.offset, fifo.access, fifo.fifo), (0x1_0000_0000, Access::ReadOnly, true));
    assert_eq!((fifo.on_read, &fifo.uio_map), (Some(OnRead::ModifyExternal), &Some(UioMap::Index(1))));
    let Node::Register(data) = &fifo.nodes[0] else { panic!("a register") };
    assert_eq!(
        (data.fifo, data.width, data.access, data.on_read),
        (Some(64), Width::W64, Access::ReadOnly, Some(OnRead::ModifyExternal))
    );
}

#[test]
fn short_names_stand_for_access_and_effect() {
    for (short, access, on_read, on_write) in [
        ("w1c", Access::ReadWrite, None, Some(OnWrite::OneToClear)),
        ("w1s", Access::ReadWrite, None, Some(OnWrite::OneToSet)),
        ("w1t", Access::ReadWrite, None, Some(OnWrite::OneToToggle)),
        ("w0c", Access::ReadWrite, None, Some(OnWrite::ZeroToClear)),
        ("w0s", Access::ReadWrite, None, Some(OnWrite::ZeroToSet)),
        ("w0t", Access::ReadWrite, None, Some(OnWrite::ZeroToToggle)),
        ("wc", Access::ReadWrite, None, Some(OnWrite::Clear)),
        ("ws", Access::ReadWrite, None, Some(OnWrite::Set)),
        ("rc", Access::ReadOnly, Some(OnRead::Clear), None),
        ("rs", Access::ReadOnly, Some(OnRead::Set), None),
        ("wo-once", Access::WriteOnce, None, None),
    ] {
        let loaded = good(&format!(
            "registers.A = {{ offset = 0, access = '{short}', fields.F = 0 }}\nregisters.B = {{ offset = 4, fields.F = {{ bits = 0, access = '{}' }} }}",
            if short == "wo-once" { "rw" } else { short }
        ));
        let whole = register(&loaded, "A");
        assert_eq!((whole.access, whole.on_read, whole.on_write), (access, on_read, on_write), "{short}");
        let field = &whole.fields[0];
        assert_eq!((field.access, field.on_read, field.on_write), (access, on_read, on_write), "{short}");
        if short != "wo-once" {
            let field = &register(&loaded, "B").fields[0];
            assert_eq!((field.access, field.on_read, field.on_write), (access, on_read, on_write), "{short}");
        }
    }
    // The same said twice is no contradiction.
    good("registers.A = { offset = 0, access = 'w1c', on-write = 'one-to-clear' }");
}

#[test]
fn fields_take_their_registers_effects_where_these_can_act() {
    let loaded = good(
        "registers.A = { offset = 0, on-read = 'clear', on-write = 'one-to-set', fields.P = 0, \
         fields.R = { bits = 1, access = 'ro' }, fields.W = { bits = 2, access = 'wo' }, \
         fields.N = { bits = 3, on-read = 'none', on-write = 'none' } }",
    );
    let effects: Vec<_> =
        register(&loaded, "A").fields.iter().map(|field| (field.on_read, field.on_write)).collect();
    let (clear, set) = (Some(OnRead::Clear), Some(OnWrite::OneToSet));
    assert_eq!(effects, [(clear, set), (clear, None), (None, set), (None, None)]);
}

#[test]
fn a_derived_register_is_its_base_with_what_it_says_itself() {
    let loaded = good(
        "registers.BASE = { offset = 0, count = 2, reset = 5, doc = 'base', reserved = 'preserve', overlaps = true, \
           fields.A = { bits = '3:0', values.X = 1 }, fields.B = 8 }\n\
         registers.SAME = { offset = 0x10, derive-from = 'BASE' }\n\
         registers.OTHER = { offset = 0x20, derive-from = 'SAME', doc = 'other', fields.B = '9:8', fields.A.values.Y = 2, fields.C = 12 }\n\
         [regions.r.groups.G]\noffset = 0x40\ncount = 2\nstride = 0x10\n\
         registers.R = { offset = 0, derive-from = 'BASE' }\nregisters.S = { offset = 4, derive-from = 'R' }\n\
         [regions.r.groups.H]\noffset = 0x60\nderive-from = 'G'\nregisters.S.access = 'ro'\nregisters.T = { offset = 8, derive-from = 'S' }\n\
         [regions.r.registers.FAR]\noffset = 0x80\nderive-from = 'H.S'\n",
    );
    let same = register(&loaded, "SAME");
    assert_eq!((same.offset, same.array, same.overlaps), (0x10, None, false));
    assert_eq!((same.reset.unwrap().value, same.doc.as_deref(), same.fields.len()), (5, Some("base"), 2));
    let other = register(&loaded, "OTHER");
    assert_eq!(other.doc.as_deref(), Some("other"));
    let fields: Vec<_> =
        other.fields.iter().map(|field| (field.name.as_str(), field.lsb, field.width)).collect();
    assert_eq!(fields, [("A", 0, 4), ("B", 8, 2), ("C", 12, 1)]);
    assert_eq!(
        other.fields[0].values.iter().map(|value| value.name.as_str()).collect::<Vec<_>>(),
        ["X", "Y"]
    );
    let far = |path: &str| loaded.map.resolve(path).unwrap().register.clone();
    assert_eq!((far("G[1].S").access, far("H.S").access), (Access::ReadWrite, Access::ReadOnly));
    // What derives from a part of a derived group gets that group's.
    assert_eq!(
        (far("H.T").access, far("FAR").access, far("FAR").fields.len()),
        (Access::ReadOnly, Access::ReadOnly, 2)
    );
    assert_eq!(loaded.map.resolve("H").unwrap_err().to_string().matches("is an array").count(), 0);
}

#[test]
fn a_name_that_leads_back_by_another_way_is_no_loop() {
    // CH.B derives from the A beside it, the outer A from CH.B: two registers called A.
    let loaded = good(
        "registers.A = { offset = 0, derive-from = 'CH.B' }\n\
         groups.CH = { offset = 8, registers.A = { offset = 0, reset = 7 }, registers.B = { offset = 4, derive-from = 'A' } }",
    );
    assert_eq!(register(&loaded, "A").reset.unwrap().value, 7);
}

#[test]
fn numbers_are_64_bits_wide_as_strings() {
    for (text, value) in [
        ("'0xffff_ffff_ffff_ffff'", u64::MAX),
        ("'18446744073709551615'", u64::MAX),
        ("'0b1_0'", 2),
        ("'0o17'", 15),
        ("'0'", 0),
        ("0x7fff_ffff_ffff_ffff", i64::MAX as u64),
        ("+5", 5),
        ("-0", 0),
    ] {
        let loaded = good(&format!("registers.A = {{ offset = 0, width = 64, reset = {text} }}"));
        assert_eq!(register(&loaded, "A").reset.unwrap().value, value, "{text}");
    }
}

#[test]
fn what_is_right_but_may_surprise_is_a_warning() {
    let warned = |body: &str| lines(&good(body).warnings);
    for (body, told) in [
        (
            "registers.class = { offset = 0 }",
            "5:11: class is a keyword of Python [it is reachable as device.class_, and as a string: device[\"class\"]]",
        ),
        (
            "registers.close = { offset = 0 }",
            "5:11: close is the name of an attribute that every such object has [it is reachable as device.close_, and as a string: device[\"close\"]]",
        ),
        (
            "groups.G = { offset = 0, registers.path = { offset = 0 } }",
            "5:36: G.path is the name of an attribute that every such object has [it is reachable as group.path_, and as a string: group[\"path\"]]",
        ),
        (
            "registers.A-B = { offset = 0 }",
            "5:11: A-B is no identifier of Python [it is reachable as a string: device[\"A-B\"]]",
        ),
        (
            "registers.1A = { offset = 0 }",
            "5:11: 1A is no identifier of Python [it is reachable as a string: device[\"1A\"]]",
        ),
        (
            "registers.__A = { offset = 0 }",
            "5:11: __A begins with two underscores, which Python keeps for itself [it is reachable as device.__A___, and as a string: device[\"__A\"]]",
        ),
        (
            "registers.A = { offset = 0, fields.read = 0 }",
            "5:36: A.read is the name of an attribute that every such object has [it is reachable as register.read_, and as a string: register[\"read\"]]",
        ),
        (
            "registers.A = { offset = 0, fields = { read = 0, read_ = 1 } }",
            "5:40: A.read is the name of an attribute that every such object has [it is reachable as register.read__, and as a string: register[\"read\"]]",
        ),
        (
            "registers.A = { offset = 0, fields.push = 0 }",
            "5:36: A.push is an attribute of every hardware side of a mock [it is reachable as hw[…].push_, and as a string: hw[…][\"push\"]]",
        ),
        (
            "registers.time = { offset = 0 }",
            "5:11: time is an attribute of every hardware side of a mock [it is reachable as hw.time_, and as a string: hw[\"time\"]]",
        ),
        (
            "registers.A = { offset = 0, reset = 0x10, fields.F = 0 }",
            "5:37: A resets bits that no field covers to 1: 0x10 [is a field missing? Otherwise say what to write there: reserved = \"preserve\"]",
        ),
        (
            "registers.A = { offset = 0, on-write = 'one-to-clear', fields.F = { bits = 0, access = 'rw' } }",
            "5:88: field A.F has its register's on-write = \"one-to-clear\" [say on-write = \"none\" for an ordinary field, or the same effect where it is meant]",
        ),
    ] {
        assert_eq!(warned(body), [told]);
    }
    for body in [
        "registers.A = { offset = 0, reset = 0x10 }",
        "registers.A = { offset = 0, reset = 0x10, reserved = 'one', fields.F = 0 }",
        "registers.A = { offset = 0, on-write = 'clear', fields.F = { bits = 0, access = 'ro' } }",
        "groups.G = { offset = 0, registers.close = { offset = 0 } }",
        "registers.Größe = { offset = 0 }".replace("Größe", "'Größe'").as_str(),
    ] {
        assert_eq!(warned(body), [""; 0], "{body}");
    }
}

#[test]
fn a_map_as_json_is_its_model_with_the_words_of_the_format() {
    let json = Map::parse(WHOLE, "thing.toml").unwrap().map.to_json();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["name"], "thing-1");
    assert_eq!(value["width"], 16);
    assert_eq!(value["byte_order"], "big");
    let region = &value["regions"][0];
    assert_eq!((&region["access"], &region["uio_map"]), (&"rw".into(), &"regs".into()));
    assert_eq!(value["regions"][1]["uio_map"], 1);
    let ctrl = &region["nodes"][2];
    assert_eq!(
        (&ctrl["kind"], &ctrl["name"], &ctrl["reset"]["mask"]),
        (&"register".into(), &"CTRL".into(), &0x8003.into())
    );
    assert_eq!(ctrl["fields"][2]["on_write"], "one-to-clear");
    assert_eq!(region["nodes"][5]["kind"], "group");
    assert_eq!(value["regions"][1]["nodes"][0]["on_read"], "modify-external");
}

#[test]
fn every_map_of_the_library_is_right_and_warns_of_nothing() {
    let mut names: Vec<&str> = builtin_names().collect();
    for name in &names {
        let loaded = builtin(name).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(
            loaded.map.origin.starts_with("builtin:")
                && loaded.map.origin.ends_with(&format!("/{name}.toml"))
        );
        assert_eq!(lines(&loaded.warnings), [""; 0], "{name}");
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "two maps of the library have one name");
}
