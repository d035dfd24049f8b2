//! A query's rows to a topic, at least once.
//!
//! Invariant: rows that a commit has confirmed are on all in-sync replicas; rows of an epoch that is
//! run again may be there twice.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::producer::{Outgoing, Producer};
use super::record::Records;
use crate::error::Result;
use crate::sink::Sink;
use crate::source::ANSWER_TIMEOUT;
use crate::types::KafkaConnection;

/// How long a message may take before its epoch has failed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// Where a query's rows go, and how they are written.
#[derive(Debug, Clone)]
pub struct KafkaSinkOptions {
    /// The cluster.
    pub connection: KafkaConnection,
    /// The topic; it must exist.
    pub topic: String,
    /// The columns that make the key.
    pub key_columns: Vec<String>,
    /// The columns that are headers.
    pub headers: Vec<String>,
}

/// Writes rows to a topic.
pub struct KafkaSink {
    records: Records,
    producer: Producer,
}

impl KafkaSink {
    /// Connects a sink for rows of this schema.
    ///
    /// # Errors
    /// When no broker answers in time, there is no such topic, a named column is not in the schema, a
    /// column has no form in JSON, or a property under `kafka.` is unknown or invalid.
    pub fn open(options: &KafkaSinkOptions, schema: &SchemaRef) -> Result<Self> {
        let records = Records::try_new(schema, &options.key_columns, &options.headers)?;
        let producer = Producer::connect(&options.connection, &options.topic, DELIVERY_TIMEOUT)?;
        producer.check_topic(ANSWER_TIMEOUT)?;
        Ok(Self { records, producer })
    }
}

impl Sink for KafkaSink {
    fn stage(&mut self, rows: &RecordBatch) -> Result<()> {
        let encoded = self.records.encode(rows)?;
        for row in 0..rows.num_rows() {
            let headers = encoded.headers(row);
            let value = Some(encoded.values.row(row));
            self.producer.send(Outgoing {
                key: encoded.key(row),
                value,
                headers: &headers,
                timestamp_ms: None,
            })?;
        }
        self.producer.check()
    }

    fn commit(&mut self, _epoch: u64) -> Result<()> {
        self.producer.drain()
    }

    fn abort(&mut self) -> Result<()> {
        self.producer.abort();
        Ok(())
    }
}
