//! Rows as messages of a Kafka topic.
//!
//! How a row becomes a message:
//!
//! - The value is a JSON object of the row's columns, without those named in `headers`.
//! - The key follows from `key_columns`. None: no key, and the client spreads the messages. One of
//!   type text: its text as it is; of type bytea: its bytes; of another type: its value as JSON writes
//!   it. Several: a JSON object of them. A single key column that is NULL means no key. Key columns
//!   stay in the value.
//! - Each column named in `headers` is a header: its name and its value as text; NULL is a header
//!   without a value.
//! - The partition follows from the key as in Java's client (murmur2), so that the same key of other
//!   programs lies in the same partition.
//!
//! Which rows become messages:
//!
//! | form | new row | old form of a changed row | its new form | row that went away |
//! |---|---|---|---|---|
//! | append | a message | – | – | – |
//! | upsert | a message | none | a message | its key without a value (tombstone) |
//! | debezium | `"op":"c"` | with its new form | `"op":"u"`, with both | `"op":"d"` |
//!
//! Messages go out as they are staged, and a commit waits until the broker has confirmed each of them on
//! all in-sync replicas. Under "exactly once" they belong to a transaction, which the commit ends and
//! which carries the epoch's number; under "at least once" they are seen at once.

mod envelope;
mod insert;
mod kafka_sink;
mod marker;
mod producer;
mod record;
mod side_topic;
mod transactions;

pub use insert::{Produced, produce};
pub use kafka_sink::{KafkaDelivery, KafkaForm, KafkaSink, KafkaSinkOptions};
pub use producer::{HeaderText, Outgoing, Producer};
pub use side_topic::SideTopic;
