//! Exact, safe access to device registers: one call, one bus access.
pub mod map;
