//! SQL functions of ours.
//!
//! Each is a DataFusion function; knows nothing of tables or queries.

mod aggregates;
mod array_text;
mod batch_time;
mod byte_length;
mod bytea_text;
mod checked;
mod date_bin;
mod delegated;
mod interval_length;
mod interval_scale;
mod interval_text;
mod json;
mod language;
mod long_text;
mod sentiment;
mod time_text;
mod whole;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

pub use aggregates::{AggregateSpellings, IndicatorCall, aggregate_functions, check_indicator};
pub use array_text::items_of_text;
pub use batch_time::{batch_time, is_batch_time};
pub use bytea_text::bytes_of_text;
pub use checked::checked;
pub use interval_length::interval_length;
pub use interval_scale::IntervalOperators;
pub use json::JsonOperators;
pub use time_text::{with_seconds, with_units};
pub use whole::whole;

/// The functions that are called by name.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = json::json_functions();
    functions.extend(byte_length::byte_lengths());
    functions.extend(long_text::long_texts());
    functions.extend(sentiment::sentiments());
    functions.push(date_bin::date_bin());
    functions
}
