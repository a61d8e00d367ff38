//! Files: what can be read, includes, the library, board maps.

use std::fs;
use std::path::{Path, PathBuf};

use devregs::map::{BoardMap, Map, MapErrors, Severity};
use tempfile::TempDir;

use super::{HEAD, lines};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn load(folder: &TempDir, name: &str) -> Result<std::sync::Arc<Map>, MapErrors> {
    Map::load(&folder.path().join(name)).map(|loaded| loaded.map)
}

/// `FILE:LINE:COLUMN: message` for each error, without the folder.
fn told(folder: &TempDir, errors: &MapErrors) -> Vec<String> {
    let here = format!("{}/", folder.path().display());
    let one = |error: &devregs::map::Diagnostic| {
        format!("{}:{}:{}: {}", error.file, error.line, error.column, error.message).replace(&here, "")
    };
    errors.0.iter().map(one).collect()
}

#[test]
fn what_is_no_map_is_told_without_a_line() {
    let folder = folder(&[("empty.toml", ""), ("dir/x", "")]);
    fs::write(folder.path().join("latin1.toml"), b"[device]\nname = \"x\" # \xe9\n").unwrap();
    fs::write(folder.path().join("nul.toml"), b"[device]\nname = \"x\0\"\n").unwrap();
    let told = |name: &str| told(&folder, &load(&folder, name).unwrap_err()).remove(0);
    assert_eq!(told("none.toml"), "none.toml:0:0: there is no such file");
    assert_eq!(told("dir"), "dir:0:0: this is a directory, not a file");
    assert_eq!(
        told("latin1.toml"),
        "latin1.toml:0:0: this is not UTF-8, as TOML is: byte 22 is wrong, in line 2"
    );
    assert!(told("nul.toml").starts_with("nul.toml:2:"), "{}", told("nul.toml"));
    assert_eq!(told("empty.toml"), "empty.toml:1:1: a device map needs a [device] table");
    let error = load(&folder, "none.toml").unwrap_err();
    assert!(error.to_string().ends_with("none.toml: error: there is no such file"), "{error}");
    assert_eq!(error.0[0].severity, Severity::Error);
    // It never ends.
    let error = Map::load(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(error.contains("/dev/zero: error: this is longer than 64 MiB"), "{error}");
}

#[test]
fn a_file_is_laid_over_those_it_includes_key_by_key() {
    let folder = folder(&[
        (
            "top.toml",
            "include = ['parts/base.toml', './second.toml']\n[device]\nname = 'top'\ncompatible = ['c']\n\
           [regions.r]\nsize = 0x40\nregisters.A.reset = 3\nregisters.NEW = { offset = 0x10 }\n",
        ),
        (
            "parts/base.toml",
            "include = ['deeper.toml']\n[device]\nname = 'base'\ntitle = 'from base'\ncompatible = ['a', 'b']\n[regions.r]\nsize = 0x20\n",
        ),
        (
            "parts/deeper.toml",
            "[regions.r]\naccess = 'ro'\nregisters.A = { offset = 4, reset = 1, fields.F = 0, fields.G = 1 }\n",
        ),
        ("second.toml", "[regions.r.registers.A]\nreset = 2\nfields.G = { bits = '3:2' }\n"),
    ]);
    let map = load(&folder, "top.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        (map.name.as_str(), map.title.as_deref(), &map.compatible[..]),
        ("top", Some("from base"), &["c".to_string()][..])
    );
    assert_eq!((map.regions[0].size, map.regions[0].nodes.len()), (0x40, 2));
    let a = map.resolve("A").unwrap().register;
    assert_eq!((a.reset.unwrap().value, a.fields[0].lsb, a.fields[1].lsb), (3, 0, 2));
    assert!(!a.access.writable());
    // One part need not be whole by itself, and says what it lacks if asked.
    assert!(load(&folder, "second.toml").is_err());
}

#[test]
fn a_mistake_in_an_included_file_is_told_there() {
    let folder = folder(&[
        (
            "top.toml",
            "include = ['base.toml', 'broken.toml']\n[device]\nname = 'x'\n[regions.r]\nsize = 8\nregisters.A.reset = -1\n",
        ),
        ("base.toml", "# one\n[regions.r.registers.A]\noffset = 1\n"),
        ("broken.toml", "= 1\n"),
    ]);
    let told = told(&folder, &load(&folder, "top.toml").unwrap_err());
    assert_eq!(told.len(), 3, "{told:#?}");
    assert_eq!(told[0], "top.toml:6:21: reset is negative");
    assert!(told[1].starts_with("base.toml:3:10: the offset 0x1 of register A"), "{told:#?}");
    assert!(told[2].starts_with("broken.toml:1:"), "{told:#?}");
}

#[test]
fn an_include_reaches_no_file_outside_its_folder() {
    let folder = folder(&[("outside.toml", HEAD), ("in/inside.toml", HEAD)]);
    let link = folder.path().join("in/link.toml");
    std::os::unix::fs::symlink("../outside.toml", link).unwrap();
    std::os::unix::fs::symlink("inside.toml", folder.path().join("in/near.toml")).unwrap();
    for (include, problem) in [
        ("['../outside.toml']", "2:12: \"../outside.toml\" lies outside the folder of this file"),
        ("['x/../../outside.toml']", "2:12: \"x/../../outside.toml\" lies outside the folder of this file"),
        ("['/etc/passwd']", "2:12: \"/etc/passwd\" lies outside the folder of this file"),
        (
            "['link.toml']",
            "2:12: cannot include link.toml: it lies outside the folder of this file, through a symbolic link",
        ),
        ("['']", "2:12: the name of a file to include is empty"),
        ("['.']", "2:12: cannot include .: this is a directory, not a file"),
        ("['gone.toml']", "2:12: cannot include gone.toml: there is no such file"),
        ("[1]", "2:12: include takes file names, not an integer"),
        ("{}", "2:11: include takes file names, not a table"),
    ] {
        fs::write(folder.path().join("in/top.toml"), format!("\ninclude = {include}\n{HEAD}")).unwrap();
        let told = told(&folder, &load(&folder, "in/top.toml").unwrap_err());
        assert_eq!(told, [format!("in/top.toml:{problem}")]);
    }
    fs::write(folder.path().join("in/top.toml"), "include = 'near.toml'\n").unwrap();
    load(&folder, "in/top.toml").unwrap_or_else(|errors| panic!("{errors}"));
}

#[test]
fn an_include_loop_ends() {
    let folder = folder(&[
        ("self.toml", "include = ['./self.toml']\n"),
        ("a.toml", "include = ['b.toml']\n"),
        ("b.toml", "include = ['sub/../a.toml', 'a.toml']\n"),
    ]);
    let told_of = |name: &str| told(&folder, &load(&folder, name).unwrap_err());
    assert_eq!(told_of("self.toml").len(), 1);
    assert!(
        told_of("self.toml")[0].starts_with("self.toml:1:12: ./self.toml includes itself"),
        "{:?}",
        told_of("self.toml")
    );
    assert!(
        told_of("a.toml").iter().any(|line| line.starts_with("b.toml:1:29: a.toml includes itself")),
        "{:?}",
        told_of("a.toml")
    );
    // Each file includes the next twice: 2^40 files in all.
    for index in 0..40 {
        let text = format!("include = ['f{0}.toml', 'f{0}.toml']\n", index + 1);
        fs::write(folder.path().join(format!("f{index}.toml")), text).unwrap();
    }
    fs::write(folder.path().join("f40.toml"), HEAD).unwrap();
    assert!(told_of("f0.toml").iter().any(|line| line.contains("more than 256 files")));
}

#[test]
fn a_map_is_found_by_name_or_as_a_file() {
    let folder = folder(&[("here.toml", HEAD)]);
    let path = folder.path().join("here.toml").display().to_string();
    assert_eq!(Map::find(&path).unwrap().map.origin, path);
    for name in ["no-such-map", "", "NO\u{1b}", "here"] {
        let error = Map::find(name).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains("there is no map of this name in the library"), "{shown}");
        assert!(shown.contains(".toml"), "says how a file is named: {shown}");
        assert!(!shown.contains('\u{1b}'));
        assert_eq!(error.0.len(), 1);
    }
    assert!(Map::find("./here").unwrap_err().to_string().contains("no such file"));
    assert!(Map::find("gone.toml").unwrap_err().to_string().contains("no such file"));
}

#[test]
fn a_text_has_no_folder_to_include_from() {
    let errors = Map::parse("include = ['x.toml']\n", "text").unwrap_err();
    assert_eq!(lines(&errors.0)[0], "1:12: cannot include x.toml: there is no such file in the library");
}

fn board(folder: &TempDir, text: &str) -> Result<BoardMap, Vec<String>> {
    let path: PathBuf = folder.path().join("boards/board.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    BoardMap::load(&path).map_err(|errors| told(folder, &errors))
}

#[test]
fn a_board_lists_devices_with_maps_beside_it() {
    let folder = folder(&[("boards/maps/x.toml", HEAD), ("y.toml", &HEAD.replace("\"x\"", "\"y\""))]);
    let board = board(
        &folder,
        "[devices.two]\nmap = 'maps/x.toml'\nsource = 'mem:0x1000'\ndoc = 'second'\n\
         [devices.one]\nmap = '../y.toml'\nsource = 'mock:'\n",
    )
    .unwrap();
    let devices: Vec<_> = board
        .devices
        .iter()
        .map(|device| {
            (device.name.as_str(), device.map.name.as_str(), device.source.as_str(), device.doc.as_deref())
        })
        .collect();
    assert_eq!(devices, [("two", "x", "mem:0x1000", Some("second")), ("one", "y", "mock:", None)]);
}

#[test]
fn a_boards_mistakes_are_told_with_those_of_its_maps() {
    let folder = folder(&[
        ("boards/bad.toml", "[device]\nname = 'x'\n[regions.r]\nsise = 4\n"),
        ("boards/good.toml", HEAD),
    ]);
    let told = |text: &str| board(&folder, text).expect_err(text);
    assert_eq!(told(""), ["boards/board.toml:1:1: a board map lists its devices"]);
    assert_eq!(
        told(
            "[devices.a]\n[devices.b]\nmap = 'good.toml'\nsource = 'mock:'\nsuorce = ''\n[devices.'c d']\nmap = 1\nsource = 2\n"
        ),
        [
            "boards/board.toml:1:10: device a needs \"map\"",
            "boards/board.toml:1:10: device a needs \"source\"",
            "boards/board.toml:5:1: device b has no key \"suorce\"",
            "boards/board.toml:6:10: the name of a device cannot have ' ' in it",
            "boards/board.toml:7:7: map is a string, not an integer",
            "boards/board.toml:8:10: source is a string, not an integer",
        ]
    );
    assert_eq!(
        told(
            "[devices.a]\nmap = 'bad.toml'\nsource = 'mock:'\n[devices.b]\nmap = 'gone.toml'\nsource = 'mock:'\n"
        ),
        [
            "boards/board.toml:2:7: the map \"bad.toml\" cannot be used",
            "boards/board.toml:5:7: the map \"gone.toml\" cannot be used",
            "boards/bad.toml:3:10: region r needs \"size\"",
            "boards/bad.toml:4:1: region r has no key \"sise\"",
            "boards/gone.toml:0:0: there is no such file",
        ]
    );
    assert!(
        told("[devices.a]\nmap = 'good.toml'\nsource = 'men:0'\n")[0].starts_with("boards/board.toml:3:10: ")
    );
    assert!(told("[devices]\n[device]\nname = 'x'\n").len() == 2);
}

#[test]
fn a_missing_include_is_not_told_again_as_what_it_would_have_given() {
    let folder = folder(&[(
        "top.toml",
        "include = ['gone.toml']\n[regions.r.registers.A]\nreset = 1\nfields.F.doc = ''\nset-alias = 'B'\nvolatile = 0\n",
    )]);
    let told = told(&folder, &load(&folder, "top.toml").unwrap_err());
    assert_eq!(
        told,
        [
            "top.toml:1:12: cannot include gone.toml: there is no such file",
            "top.toml:6:12: volatile is true or false, not an integer"
        ]
    );
}

#[test]
fn a_board_map_is_no_device_map_and_says_so() {
    let devices = folder(&[("x.toml", HEAD)]);
    let error = BoardMap::load(&devices.path().join("x.toml")).unwrap_err().to_string();
    assert!(error.contains("this is a device map"), "{error}");
    let folder = folder(&[("board.toml", "[devices.a]\nmap = 'x'\nsource = 'mock:'\n")]);
    let told = load(&folder, "board.toml").unwrap_err().to_string();
    assert!(told.contains("this is a board map"), "{told}");
}
