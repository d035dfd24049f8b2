//! Bytes to Arrow columns and back: what a message means to a table, and what a row looks like to Kafka.
//!
//! Owns the formats, the reasons why a message is set aside, and what templates of texts may call. Knows nothing of Kafka, of SQL text
//! or of queries: it gets a [`MessageBatch`](crate::types::MessageBatch) and a list of columns.
//! Invariant: every message becomes either one row or one rejection, in the order of the batch.

mod jinja;
mod json;
mod reject;

pub use jinja::{json_of, unknown_call};
pub use json::{
    EncodedRows, InferredColumn, InferredType, JsonDecoder, JsonEncoder, JsonField, JsonKind, infer,
};
pub use reject::{Decoded, Rejected};
