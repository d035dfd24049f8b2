//! What to read of a topic, and which columns to make of it.

use std::time::Duration;

use arrow::datatypes::{FieldRef, SchemaRef};

use crate::types::{FetchMode, JsonPath, KafkaConnection, MetadataColumn};

/// The columns that a query needs of one topic.
#[derive(Debug, Clone)]
pub struct ScanSpec {
    /// The table's name, for messages and system tables.
    pub table: String,
    /// The topic.
    pub topic: String,
    /// How to reach its cluster.
    pub connection: KafkaConnection,
    /// The columns to make, in the order of `schema`.
    pub columns: Vec<ScanColumn>,
    /// The schema of the batches that the scan gives: exactly the fields of `columns`.
    pub schema: SchemaRef,
    /// Whether records of open and aborted transactions are hidden.
    pub read_committed: bool,
    /// Who fetches the messages.
    pub fetch: FetchMode,
    /// The event-time column in `columns` and how far its value may lie after the record's own
    /// timestamp; a row beyond is rejected. `None`: not checked.
    pub max_future: Option<MaxFuture>,
}

/// The bound on event times in the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxFuture {
    /// Index in [`ScanSpec::columns`] of a timestamp column.
    pub column: usize,
    /// The greatest allowed distance from the record's timestamp.
    pub bound: Duration,
}

/// One column of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanColumn {
    /// Its name, type and nullability.
    pub field: FieldRef,
    /// Where its value lies.
    pub origin: ScanOrigin,
}

/// Where a scanned column's value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanOrigin {
    /// In the message's payload.
    Payload {
        /// The place in the JSON value.
        path: JsonPath,
        /// True for a `json` column: the value's text is kept as it is.
        raw_json: bool,
    },
    /// In the record itself.
    Metadata(MetadataColumn),
}
