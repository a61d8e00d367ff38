//! Names of sources, one a line.
#![no_main]
#![allow(dead_code)] // Each target uses one of the entries.

#[path = "../../rust/hostile/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    data.split(|byte| *byte == b'\n').for_each(|line| drop(entry::source(line)));
});
