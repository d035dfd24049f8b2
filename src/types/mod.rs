//! The words that several rooms share, as types, so that ideas that must not mix cannot.
//!
//! Owns no behaviour beyond conversions and arithmetic. Knows nothing of SQL, Kafka's client library or the clock.

mod array_text;
mod change;
mod columns;
mod kafka;
mod message_batch;
mod number;
mod postgres;
mod state_image;
mod time;
mod window;

pub use array_text::array_items;
pub use change::{ChangeBatch, Op};
pub use columns::{JsonPath, MetadataColumn, PathStep};
pub use kafka::{FetchMode, InputPartition, KafkaConnection, Offset, PartitionId, PartitionRange};
pub use message_batch::{Message, MessageBatch, Span};
pub use number::{ExactSum, fits, float_is_less, rounded_quotient};
pub use postgres::{PostgresConnection, PostgresTls};
pub use state_image::{StateImage, StateNote, TableId, TablePlace, TableRows};
pub use time::{EventTime, ProcessingTime, Watermark};
pub use window::{WindowBound, WindowKind, WindowSpan, length};
