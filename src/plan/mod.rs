//! The contract between the planner and the engine: plain data that says what to run.
//!
//! Knows neither SQL text nor a running query. Can be printed.
//!
//! ```text
//! inputs (scan, event time → row stages) ─┬→ aggregate → row stages → limit → sink
//!        in each lane                     └────────────→ row stages → limit → sink
//! ```

mod aggregate;
mod describe;
mod expr_text;
mod options;
mod output;
mod panes;
mod row_time;
mod scan;
mod source;
mod stage;
mod stream_plan;
mod successor;

pub use aggregate::{
    AggregateCall, AggregatePlan, GroupColumn, GroupingSets, WindowPlan, WindowRows,
};
pub use describe::Lanes;
pub use options::QueryOptions;
pub use output::{Numbering, OutputStage, RankPlan, TopPlan};
pub use panes::by_panes;
pub use row_time::RowTime;
pub use scan::{MaxFuture, ScanColumn, ScanOrigin, ScanSpec};
pub use source::{EventTimePlan, InputPlan, OnError, RECORD_TIME, ScanStartup, SourcePlan};
pub use stage::{RowStage, WindowColumns};
pub use stream_plan::{BatchTime, Changelog, Emission, StreamPlan, Trigger};
