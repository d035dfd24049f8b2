//! Names and types resolved, streaming rules checked: a query becomes a `StreamPlan`.
//!
//! DataFusion plans and optimises the SQL; then the optimised plan is walked from its scan upwards
//! and each node becomes a step of ours, or an error that says why not.
//!
//! Knows no running query: it meets the engine in `plan`.

mod aggregate;
mod arguments;
mod casts;
mod changelog;
mod continuous;
mod extend;
mod fields;
mod fixed_length;
mod integers;
mod interval_order;
mod keys;
mod literals;
mod lower;
mod now;
mod operands;
mod origin;
mod place;
mod ranking;
mod refused;
mod raw_rows;
mod rewriting;
mod session_condition;
mod session_rows;
mod source;
mod statement;
mod time_bucket;
mod types;
mod watched;
mod watermark_rule;
mod window;
mod window_exec;
mod window_limits;
mod window_node;
mod window_relation;

pub use changelog::Purpose;
pub use extend::extend;
pub use lower::{Request, plan_stream};
pub use place::placed;
pub use source::{check_table, table_scan};
pub use statement::plan_query;
pub use watched::check_condition;
