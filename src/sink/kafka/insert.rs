//! Messages of a statement, sent at once.

use std::time::Duration;

use super::producer::{HeaderText, Outgoing, Producer};
use crate::error::Result;
use crate::source::ANSWER_TIMEOUT;
use crate::types::KafkaConnection;

/// How long a message of a statement may take.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// One message to produce.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Produced {
    /// The key, if there is one; it decides the partition.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<HeaderText>,
}

/// Sends messages to a topic and waits until all in-sync replicas have them; gives their number. When
/// a broker vanishes while it answers, a message may be there twice.
///
/// # Errors
/// When no broker answers within five seconds, there is no such topic, or messages could not be
/// delivered (the detail says how many; the others are in the topic).
pub fn produce(connection: &KafkaConnection, topic: &str, messages: Vec<Produced>) -> Result<u64> {
    let producer = Producer::for_statement(connection, topic, DELIVERY_TIMEOUT)?;
    producer.check_topic(ANSWER_TIMEOUT)?;
    let count = messages.len() as u64;
    for message in messages {
        producer.send(Outgoing {
            key: message.key.as_deref(),
            value: message.value.as_deref(),
            headers: &message.headers,
            timestamp_ms: None,
        })?;
    }
    producer.drain()?;
    Ok(count)
}
