//! From messages to a table's rows: decoding a batch of messages into the columns that a query needs,
//! and a topic as a table for snapshot queries.
//!
//! Owns what makes a message a row. Knows nothing of SQL text, of running queries or of what becomes
//! of rejected messages.
//!
//! Which messages are rows does not depend on what a query reads of them, as far as can be had
//! without decoding everything:
//!
//! - A message that is not a JSON object (a tombstone, an empty one, broken text) is never a row.
//!   This is checked for every message, also where a query reads no column of it.
//! - A row whose event time is null, or lies further in the future than the table allows, is never
//!   one, where the scan names the event-time column.
//! - A value of a wrong type, or a NULL in a NOT NULL column, is found only where the column is read:
//!   a query that does not read it counts such a message as a row.
//!
//! Invariant: every message becomes one row or one rejection with a reason.

mod bounds;
mod decode;
mod decoded_rows;
mod metadata;
mod reading;
mod topic_scan;
mod topic_table;

pub use decode::Decode;
pub use decoded_rows::DecodedRows;
pub use reading::RejectedSink;
pub use topic_scan::{Progress, TopicScanExec, progress};
pub use topic_table::TopicTable;

pub use crate::format::Rejected;
