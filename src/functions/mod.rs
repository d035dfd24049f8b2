//! SQL functions of ours.
//!
//! Each is a DataFusion function; knows nothing of tables or queries.

mod aggregates;
mod batch_time;
mod checked;
mod json;
mod window_bound;

pub use aggregates::{AggregateSpellings, aggregate_functions};
pub use batch_time::{batch_time, is_batch_time};
pub use checked::checked;
pub use json::{JsonOperators, json_functions};
pub use window_bound::{as_window_bound, window_bound};
