//! The topic that messages go to. Its calls block.
//!
//! Invariant: when [`Target::deliver`] returns without error, all in-sync replicas have the messages.

use std::time::Duration;

use crate::error::{Error, Result, SqlState};
use crate::sink::kafka::{Outgoing, Producer};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::types::KafkaConnection;

/// How long a message may take before it is sent again by a new client.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outbound {
    /// It decides the partition.
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Vec<u8>,
}

/// A topic, and the client that produces to it.
pub(super) struct Target {
    connection: KafkaConnection,
    topic: String,
    producer: Producer,
}

impl Target {
    /// Makes the topic with so many partitions if that is wanted and it is not there; connects.
    ///
    /// # Errors
    /// When no broker answers, or there is no such topic.
    pub(super) fn open(
        connection: KafkaConnection,
        topic: String,
        create: Option<u32>,
    ) -> Result<Self> {
        let cluster = Cluster::connect(&connection)?;
        if let Some(partitions) = create {
            cluster.create_topic(&topic, partitions, None)?;
        }
        cluster
            .partitions(&topic, ANSWER_TIMEOUT)
            .map_err(hint_at_flag)?;
        let producer = Producer::connect(&connection, &topic, DELIVERY_TIMEOUT)?;
        Ok(Self {
            connection,
            topic,
            producer,
        })
    }

    /// Sends messages in their order and waits until they are confirmed.
    ///
    /// # Errors
    /// When one of them could not be delivered; others may be in the topic.
    pub(super) fn deliver(&self, messages: &[Outbound]) -> Result<()> {
        for message in messages {
            self.producer.send(Outgoing {
                key: message.key.as_deref(),
                value: Some(&message.payload),
                headers: &[],
                timestamp_ms: None,
            })?;
        }
        self.producer.drain()
    }

    /// Begins with a new client: one that has given up messages is not asked again.
    ///
    /// # Errors
    /// None that was not told by [`Target::open`].
    pub(super) fn reconnect(&mut self) -> Result<()> {
        self.producer = Producer::connect(&self.connection, &self.topic, DELIVERY_TIMEOUT)?;
        Ok(())
    }
}

/// A topic that is missing can be made by a flag.
fn hint_at_flag(error: Error) -> Error {
    let near = error.hint_text().filter(|hint| hint.starts_with("Did you"));
    match (error.state(), near) {
        (SqlState::UndefinedTable, None) => error.hint("Add --create-topic to make the topic."),
        (SqlState::UndefinedTable, Some(near)) => {
            let hint = format!("{near} Add --create-topic to make the topic.");
            error.hint(hint)
        }
        _ => error,
    }
}
