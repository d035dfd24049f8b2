//! Operators: what happens to a batch, and which windows close.
//!
//! Does no I/O, reads no clock, never waits: a batch and the state in, a batch and the state out.
//!
//! - `row_pipeline`: filters and projections.
//! - `aggregate`: grouped aggregation, one group table a window.
//! - `changes`: which groups must be emitted again.

mod aggregate;
mod changes;
mod row_pipeline;

pub use aggregate::{Aggregate, ClosedWindow, LateRow, Lateness};
pub use row_pipeline::{RowPipeline, Rows};
