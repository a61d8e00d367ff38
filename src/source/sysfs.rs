//! Small files of sysfs and procfs.

use std::fs;
use std::path::Path;

/// The file's text without the newline at its end; None where it cannot be read. Drivers may write any bytes.
pub(super) fn text(path: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).trim_end().to_string())
}

/// A number as sysfs writes it: `0x…`.
pub(super) fn hex(path: &Path) -> Option<u64> {
    parse_hex(&text(path)?)
}

pub(super) fn parse_hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// The names in a folder that begin with `prefix` and end in a number, in the order of the numbers.
pub(super) fn numbered(folder: &Path, prefix: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The name of what a symbolic link points at.
pub(super) fn link_name(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_string_lossy().into_owned())
}
