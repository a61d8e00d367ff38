//! What a device looks like: read, check, report. Touches no hardware.

mod model;

pub use model::*;
