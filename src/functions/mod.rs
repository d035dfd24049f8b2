//! SQL functions of ours.
//!
//! Each is a DataFusion function; knows nothing of tables or queries.

mod aggregates;
mod batch_time;
mod checked;
mod date_bin;
mod delegated;
mod json;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub use aggregates::{AggregateSpellings, aggregate_functions};
pub use batch_time::{batch_time, is_batch_time};
pub use checked::checked;
pub use json::JsonOperators;

/// The functions that are called by name.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = json::json_functions();
    functions.push(date_bin::date_bin());
    functions
}
