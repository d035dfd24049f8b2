//! The contract between the planner and the engine: plain data that says what to run.
//!
//! Knows neither SQL text nor a running query. Can be printed.

mod scan;

pub use scan::{MaxFuture, ScanColumn, ScanOrigin, ScanSpec};
