//! SQL functions of ours.
//!
//! Each is a DataFusion function; knows nothing of tables or queries.

mod aggregates;
mod batch_time;
mod checked;
mod json;

pub use aggregates::{AggregateSpellings, aggregate_functions};
pub use batch_time::{batch_time, is_batch_time};
pub use checked::checked;
pub use json::{JsonOperators, json_functions};
