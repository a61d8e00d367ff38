//! Where hostile input goes in. Each function takes any bytes, comes back, checks what must hold of any answer, and
//! says whether the input was accepted. The tests and the fuzzer call the same ones.

use std::path::Path as FilePath;
use std::sync::LazyLock;

use devregs::device::{Device, Options};
use devregs::map::{
    Action, Array, Behaviour, BoardMap, Expression, Loaded, Map, MapErrors, Node, Path, Region, Register,
    Target, Trigger,
};
use devregs::source::Source;

/// What messages call a text that is in no file.
const ORIGIN: &str = "hostile.toml";

/// A larger device is not mocked: there are many inputs and one machine.
const MOST_BYTES: u64 = 1 << 22;

/// Registers of a map that are looked at one by one.
const MOST_REGISTERS: usize = 64;

/// A device map from memory.
pub fn map(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    answer(Map::parse(text, ORIGIN), text)
}

/// A device map from a file, which need not be text.
pub fn map_file(data: &[u8], folder: &FilePath) -> bool {
    let path = folder.join("map.toml");
    std::fs::write(&path, data).unwrap();
    answer(Map::load(&path), "")
}

/// A board map. Its sources are parsed, and none is opened.
pub fn board_file(data: &[u8], folder: &FilePath) -> bool {
    let path = folder.join("board.toml");
    std::fs::write(&path, data).unwrap();
    match BoardMap::load(&path) {
        Ok(board) => {
            assert!(!board.devices.is_empty());
            board.devices.iter().for_each(|device| assert!(device.source.parse::<Source>().is_ok()));
            true
        }
        Err(errors) => {
            check_errors(&errors, "");
            false
        }
    }
}

/// A path into a device.
pub fn path(data: &[u8]) -> bool {
    static MAP: LazyLock<Loaded> = LazyLock::new(|| {
        let text = "[device]\nname = 'x'\n[regions.r]\nsize = 0x1000\n\
            registers.CTRL = { offset = 0, fields.EN = 0, fields.MODE = '3:1' }\n\
            registers.DATA = { offset = 8, count = 4, fields.F = 0 }\n\
            [regions.r.groups.CH]\noffset = 0x100\ncount = 8\nstride = 0x20\n\
            registers.CTRL = { offset = 0, fields.EN = 0 }\n\
            groups.DMA = { offset = 0x10, registers.'ÄDR' = { offset = 0, width = 64 } }\n";
        Map::parse(text, ORIGIN).unwrap_or_else(|errors| panic!("{errors}"))
    });
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let parsed = match Path::parse(text) {
        Ok(parsed) => parsed,
        Err(error) => {
            check_clean(&error.to_string());
            return false;
        }
    };
    let parts = parsed.segments().iter().map(|part| match part.index {
        Some(index) => format!("{}[{index}]", part.name),
        None => part.name.clone(),
    });
    assert_eq!(Path::parse(&parts.collect::<Vec<_>>().join(".")).as_ref(), Ok(&parsed));
    match MAP.map.resolve(text) {
        Ok(found) => {
            let again = MAP.map.resolve(&found.path).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(
                (again.region, again.offset, again.field.is_none()),
                (found.region, found.offset, true)
            );
        }
        Err(error) => check_clean(&error.to_string()),
    }
    true
}

/// The name of a source.
pub fn source(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match text.parse::<Source>() {
        Ok(source) => {
            let shown = source.to_string();
            check_clean(&shown);
            // Names and paths are shown with escapes where they need some, and are no sources then.
            if !shown.contains('\\') {
                assert_eq!(shown.parse::<Source>().ok(), Some(source));
            }
            true
        }
        Err(error) => {
            check_clean(&error.to_string());
            false
        }
    }
}

fn answer(loaded: Result<Loaded, MapErrors>, text: &str) -> bool {
    match loaded {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| check_clean(&warning.to_string()));
            check_map(&loaded);
            true
        }
        Err(errors) => {
            check_errors(&errors, text);
            false
        }
    }
}

/// An error is said in printable text, and its place is in the file.
fn check_errors(errors: &MapErrors, text: &str) {
    assert!(!errors.0.is_empty(), "no map and no error");
    check_clean(&errors.to_string());
    for error in &errors.0 {
        check_clean(&error.message);
        if error.file == ORIGIN {
            assert!(error.line <= text.split('\n').count(), "{error}");
        }
    }
}

/// Nothing that a terminal would act on.
fn check_clean(text: &str) {
    let hidden = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(hidden), "{text:?}");
}

fn check_map(loaded: &Loaded) {
    let map = &loaded.map;
    assert!(map.to_json().starts_with('{'));
    let mut paths = Vec::new();
    for region in &map.regions {
        assert!(region.size > 0 && region.offset.checked_add(region.size).is_some());
        for node in &region.nodes {
            walk(node, region, 0, "", &mut paths);
        }
    }
    for (path, offset) in &paths {
        let found = map.resolve(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found.offset, *offset, "{path}");
    }
    map.behaviour.iter().for_each(|rule| check_rule(rule, map));
    let small =
        map.regions.iter().all(|region| region.size <= MOST_BYTES && region.nodes.iter().all(is_small));
    if small {
        use_device(loaded, &paths);
    }
}

/// What a rule names is there, and its expressions come to something.
fn check_rule(rule: &Behaviour, map: &Map) {
    let mut targets: Vec<Target> = match &rule.trigger {
        Trigger::Written(parts) | Trigger::Input(parts) => {
            parts.iter().map(|(part, _)| part.clone()).collect()
        }
        Trigger::Read(parts) => parts.clone(),
        Trigger::Always | Trigger::Every(_) => Vec::new(),
    };
    let mut expressions: Vec<&Expression> = rule.condition.iter().collect();
    assert!(!rule.actions.is_empty());
    for action in &rule.actions {
        match action {
            Action::Set(target, value) | Action::Push(target, value) => {
                targets.push(target.clone());
                expressions.push(value);
            }
            Action::Interrupt(value) => expressions.push(value),
            Action::Send(target) | Action::Flush(target) => targets.push(target.clone()),
            Action::Reset => {}
        }
    }
    for expression in expressions {
        let mut held = |target: &Target| {
            targets.push(target.clone());
            u64::MAX
        };
        expression.work_out(&mut held, u64::MAX, 0);
    }
    for target in targets {
        let found = map.resolve(&target.path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            (found.region, found.offset, found.register.id),
            (target.region, target.offset, target.register)
        );
        assert!(
            target.width > 0 && target.lsb + target.width <= found.register.width.bits(),
            "{}",
            target.path
        );
    }
}

/// The first and last elements of everything below: their paths and offsets. Each must lie in its region.
fn walk(node: &Node, region: &Region, base: u64, prefix: &str, paths: &mut Vec<(String, u64)>) {
    let array = node.array();
    let ends = array.map_or(vec![0], |Array { count, .. }| vec![0, count - 1]);
    for index in ends {
        let stride = array.map_or(0, |array| array.stride);
        let offset = u128::from(base) + u128::from(node.offset()) + u128::from(index) * u128::from(stride);
        assert!(offset < u128::from(region.size), "{prefix}{} is outside of its region", node.name());
        let path = match array {
            Some(_) => format!("{prefix}{}[{index}]", node.name()),
            None => format!("{prefix}{}", node.name()),
        };
        check_clean(&path);
        match node {
            Node::Group(group) => {
                let prefix = format!("{path}.");
                group.nodes.iter().for_each(|node| walk(node, region, offset as u64, &prefix, paths));
            }
            Node::Register(register) => {
                check_register(register, region, offset);
                if paths.len() < MOST_REGISTERS {
                    paths.push((path, offset as u64));
                }
            }
        }
    }
}

fn check_register(register: &Register, region: &Region, offset: u128) {
    let bytes = register.width.bytes() as u128;
    assert!(offset + bytes <= u128::from(region.size), "{} is outside of its region", register.name);
    assert_eq!(offset % if register.split.is_some() { 4 } else { bytes }, 0, "{}", register.name);
    assert!(region.access.writable() || !register.access.writable());
    for field in &register.fields {
        assert!(field.width > 0 && field.msb() < register.width.bits(), "{}", field.name);
        assert!(field.values.iter().all(|value| value.value <= field.mask() >> field.lsb));
        if let Ok(plan) = register.write_plan(field.mask()) {
            assert_eq!(plan.keep & plan.fixed, 0);
            assert_eq!((plan.keep | plan.fixed) & field.mask(), 0);
            assert_eq!((plan.keep | plan.fixed) & !register.width.mask(), 0);
        }
    }
}

fn is_small(node: &Node) -> bool {
    node.array().is_none_or(|array| array.count <= 4096)
        && match node {
            Node::Group(group) => group.nodes.iter().all(is_small),
            Node::Register(_) => true,
        }
}

/// Opens the map on a mock and touches its registers: what the map forbids is an error, and nothing else happens.
fn use_device(loaded: &Loaded, paths: &[(String, u64)]) {
    let Ok(device) = Device::open(loaded.map.clone(), &Source::Mock, &Options::default()) else { return };
    for (path, _) in paths {
        let register = device.register(path).unwrap_or_else(|error| panic!("{error}"));
        let _ = register.read();
        for field in &register.info().fields {
            let _ = register.modify(field.mask(), 0);
        }
        let _ = register.write(register.info().width.mask());
    }
    device.close().unwrap();
}
