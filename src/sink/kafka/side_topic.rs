//! A topic beside a query's way: messages go there as they come, and nothing waits for them for long.

use std::time::Duration;

use super::producer::{Outgoing, Producer};
use crate::error::Result;
use crate::types::KafkaConnection;

/// How long a message may take before it is given up.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// Takes messages that are worth keeping, but not worth stopping for.
pub struct SideTopic {
    producer: Producer,
}

impl SideTopic {
    /// Prepares a client; the first message connects.
    ///
    /// # Errors
    /// When a property under `kafka.` is unknown or invalid.
    pub fn open(connection: &KafkaConnection, topic: &str) -> Result<Self> {
        let producer = Producer::connect(connection, topic, DELIVERY_TIMEOUT)?;
        Ok(Self { producer })
    }

    /// Sends a message; false when there is no room for it, or it cannot be one.
    pub fn send(&self, message: Outgoing<'_>) -> bool {
        self.producer.try_send(message)
    }

    /// True when the broker has everything that was sent, or it was lost.
    pub fn is_drained(&self) -> bool {
        self.producer.in_flight() == 0
    }

    /// Waits up to `patience` until everything is confirmed; gives how many messages were lost since
    /// the last call.
    pub fn settle(&self, patience: Duration) -> u64 {
        self.producer.settle(patience)
    }
}
