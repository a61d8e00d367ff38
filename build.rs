//! Embeds the maps of device-maps, so that they are there wherever the library is.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    guard();
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let maps = root.join("device-maps");
    println!("cargo::rerun-if-changed=device-maps");
    let mut files = Vec::new();
    collect(&maps, &mut files);
    files.sort();
    let mut code = String::from("static LIBRARY: &[(&str, &str)] = &[\n");
    for file in &files {
        let name = file.strip_prefix(&maps).expect("found below it").display().to_string();
        writeln!(code, "    ({name:?}, include_str!({:?})),", file.display().to_string())
            .expect("to a string");
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("library.rs"), code).expect("cargo's folder is writable");
}

/// Whether accesses are guarded against faults: on the architectures we have assembly for.
fn guard() {
    println!("cargo::rustc-check-cfg=cfg(guarded, traps)");
    let is = |key: &str, values: &[&str]| env::var(key).is_ok_and(|value| values.contains(&value.as_str()));
    if is("CARGO_CFG_TARGET_OS", &["linux"])
        && is("CARGO_CFG_TARGET_ARCH", &["x86_64", "aarch64", "arm", "riscv64"])
        && is("CARGO_CFG_TARGET_ENDIAN", &["little"])
        && env::var_os("CARGO_FEATURE_UNGUARDED").is_none()
    {
        println!("cargo::rustc-cfg=guarded");
        // Single steps from user space.
        if is("CARGO_CFG_TARGET_ARCH", &["x86_64"]) {
            println!("cargo::rustc-cfg=traps");
        }
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            println!("cargo::rerun-if-changed={}", path.display());
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
}
