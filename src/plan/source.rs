//! Where a query's rows come from and how their time is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_expr::PhysicalExpr;

use super::{RowStage, ScanSpec};
use crate::types::{EventTime, Offset, PartitionId};

/// The hidden column with the record's own timestamp, the event time of tables without a
/// watermark.
pub const RECORD_TIME: &str = "kafka timestamp";

/// One topic as a query reads it.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    /// What to read. Columns beyond `visible_columns` serve the event time alone.
    pub scan: ScanSpec,
    /// How many of the scan's columns, from the first, the row stages see.
    pub visible_columns: usize,
    /// How to tell a row's time.
    pub event_time: EventTimePlan,
    /// How long a partition at its end may be silent before it no longer holds the watermark
    /// back; `None`: it always does.
    pub idle_timeout: Option<Duration>,
    /// Where a created query begins.
    pub startup: ScanStartup,
    /// What happens to a message that is no row.
    pub on_error: OnError,
    /// Whether a query that goes on fails when messages that it has not read are there no more.
    pub fails_on_data_loss: bool,
    /// Messages that are no rows are sent to this topic too.
    pub dead_letter_topic: Option<String>,
    /// Rows that came after their window had closed are sent to this topic too.
    pub late_topic: Option<String>,
    /// How far it was read is told to this consumer group; nothing reads it back.
    pub group_id: Option<String>,
    /// At most so many messages a second.
    pub max_rows_per_second: Option<u32>,
}

/// One input of a query: a topic, and what each lane does with its rows before they meet those of
/// the other inputs, or the aggregate, or the sink.
#[derive(Debug, Clone)]
pub struct InputPlan {
    /// The topic.
    pub source: SourcePlan,
    /// The steps.
    pub rows: Vec<RowStage>,
}

/// The expressions, over the scan's columns, that tell a row's time.
#[derive(Debug, Clone)]
pub struct EventTimePlan {
    /// The column's name, for messages.
    pub column: String,
    /// The event time; a timestamp in microseconds. A row for which it is null is rejected.
    pub time: Arc<dyn PhysicalExpr>,
    /// What the row says of the watermark; a timestamp in microseconds.
    pub watermark: Arc<dyn PhysicalExpr>,
}

/// Where a created query begins to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ScanStartup {
    /// At the first message that the topic holds.
    #[default]
    Earliest,
    /// After the last one.
    Latest,
    /// At the first message whose Kafka timestamp is not before this.
    Timestamp(EventTime),
    /// At these offsets; partitions that are not named begin at their first message.
    Offsets(BTreeMap<PartitionId, Offset>),
}

/// What happens to a message that is no row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// It is kept with its reason in `headwater.dead_letters`.
    #[default]
    DeadLetter,
    /// It is counted.
    Skip,
    /// It stops the query.
    Fail,
}
