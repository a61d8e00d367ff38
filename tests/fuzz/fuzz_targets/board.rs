//! Board maps, and with them maps that are files.
#![no_main]
#![allow(dead_code)] // Each target uses one of the entries.

use std::sync::LazyLock;

use tempfile::TempDir;

#[path = "../../rust/hostile/entry.rs"]
mod entry;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    entry::map_file(data, FOLDER.path());
    entry::board_file(data, FOLDER.path());
});
