//! Exact, safe access to device registers: one call, one bus access.
//!
//! The layers, each of which imports only those before it:
//!
//! - [`map`]: what a device looks like. Read from TOML, checked; touches no hardware.
//! - [`access`]: how one word is touched: one load or store of its width.
//! - [`mapping`]: one mmap with one protection.
//! - [`mock`]: memory that behaves as a map says, in place of a device.
//! - [`source`]: where a device's bytes are, and what each failure to open them means.
//! - [`trace`]: records of accesses, and scripts of those expected.
//! - [`device`]: a map laid over its source.
//! - `python`: the bindings, with the feature of that name.
//!
//! `unsafe` is denied but in the files that say at their top why they need it; each block gives its reason.

pub mod access;
pub mod device;
pub mod error;
pub mod map;
pub mod mapping;
pub mod mock;
#[cfg(feature = "python")]
mod python;
pub mod source;
pub mod trace;
