//! What a query must remember across a restart.
//!
//! Owns the files under `DIR/queries/`. Knows nothing of running queries.

mod position;

pub use position::{Position, PositionStore};
