//! Input that is broken, huge or meant to harm: it is refused with an error or accepted, and nothing panics.
//!
//! `DEVREGS_FUZZ=100000 cargo test --test hostile -- --nocapture` tries that many inputs for each reader; without it,
//! as many as take a few seconds. `tests/fuzz` gives the same functions to a fuzzer that learns.

#[path = "hostile/entry.rs"]
mod entry;
#[path = "hostile/mutate.rs"]
mod mutate;
#[path = "hostile/properties.rs"]
mod properties;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mutate::Dice;

/// How many inputs: `DEVREGS_FUZZ`, or as many as suit a test run.
fn count(usual: usize) -> usize {
    std::env::var("DEVREGS_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The files below a folder of the project that end so.
fn files(folder: &str, end: &str) -> Vec<Vec<u8>> {
    fn collect(folder: &Path, end: &str, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => collect(&path, end, into),
                false if path.to_string_lossy().ends_with(end) => into.push(path),
                false => {}
            }
        }
    }
    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), end, &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no seeds in {folder}");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Gives each seed, and then as many changed ones, to an entry. Every panic is shown with its input.
fn bombard(name: &str, seeds: &[Vec<u8>], usual: usize, entry: impl Fn(&[u8]) -> bool) {
    let mut dice = Dice::new(name.bytes().map(u64::from).sum());
    let (mut accepted, mut refused, mut panicked) = (0, 0, 0);
    let total = seeds.len() + count(usual);
    for index in 0..total {
        let input = seeds.get(index).cloned().unwrap_or_else(|| dice.mutate(seeds));
        match catch_unwind(AssertUnwindSafe(|| entry(&input))) {
            Ok(true) => accepted += 1,
            Ok(false) => refused += 1,
            Err(_) => {
                panicked += 1;
                eprintln!(
                    "{name}: a panic; to keep the input as a seed: {}",
                    String::from_utf8_lossy(&input).escape_debug()
                );
            }
        }
    }
    println!("{name}: {total} inputs, {accepted} accepted, {refused} refused, {panicked} panics");
    assert_eq!(panicked, 0, "{name}: {panicked} of {total} inputs panicked");
    assert!(accepted > 0 && refused > 0, "{name}: the inputs are all of one kind");
}

/// The lines of the files below a folder.
fn lines(folder: &str) -> Vec<Vec<u8>> {
    let files = files(folder, ".txt");
    files.concat().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn map_seeds() -> Vec<Vec<u8>> {
    [files("device-maps", ".toml"), files("tests/fuzz/seeds/map", ".toml")].concat()
}

#[test]
fn changed_device_maps_never_panic() {
    bombard("maps", &map_seeds(), 1500, entry::map);
}

#[test]
fn changed_files_of_device_maps_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    bombard("map files", &map_seeds(), 300, |data| entry::map_file(data, folder.path()));
}

#[test]
fn changed_board_maps_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    bombard("board maps", &files("tests/fuzz/seeds/board", ".toml"), 500, |data| {
        entry::board_file(data, folder.path())
    });
}

#[test]
fn changed_paths_never_panic() {
    bombard("paths", &lines("tests/fuzz/seeds/path"), 20_000, entry::path);
}

#[test]
fn changed_names_of_sources_never_panic() {
    bombard("sources", &lines("tests/fuzz/seeds/source"), 20_000, entry::source);
}
