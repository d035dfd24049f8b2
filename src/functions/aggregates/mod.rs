//! Aggregate functions of ours, and those of DataFusion that PostgreSQL has otherwise.
//!
//! Each is a DataFusion function, so that snapshots, live queries and views have the same ones. Their
//! states merge, and a value may be asked for again and again while rows come.

mod arg_extreme;
mod best;
mod counted;
mod exact_sum;
mod float_extreme;
mod indicators;
mod mode;
mod nth_value;
mod ohlc;
mod spellings;
mod string_agg;
mod top_k;
mod vwap;

use std::sync::Arc;

use datafusion::functions_aggregate::{bool_and_or, variance};
use datafusion::logical_expr::AggregateUDF;

pub use indicators::{IndicatorCall, check_indicator};
pub use spellings::AggregateSpellings;

/// The functions, in the order in which they take the place of others of their name.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let every = AggregateUDF::clone(&bool_and_or::bool_and_udaf()).with_aliases(["every"]);
    let variance = AggregateUDF::clone(&variance::var_samp_udaf()).with_aliases(["variance"]);
    let mut functions = vec![every, variance];
    functions.extend(exact_sum::functions());
    functions.extend(float_extreme::functions());
    functions.extend(arg_extreme::functions());
    functions.extend(indicators::functions());
    functions.extend([
        mode::function(),
        nth_value::function(),
        ohlc::function(),
        string_agg::function(),
        top_k::function(),
        vwap::function(),
    ]);
    functions.into_iter().map(Arc::new).collect()
}
