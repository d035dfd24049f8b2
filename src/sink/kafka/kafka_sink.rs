//! A query's rows to a topic.
//!
//! Invariant: rows that a commit has confirmed are on all in-sync replicas. Rows of an epoch that is
//! run again may be there twice under "at least once"; under "exactly once" no reader of committed
//! messages has seen them before.

use std::time::Duration;

use arrow::datatypes::SchemaRef;

use super::envelope::Envelopes;
use super::producer::{Outgoing, Producer};
use super::record::{Encoded, Records};
use super::transactions::Transactions;
use crate::error::{Error, Result};
use crate::sink::outbox::{OutboxSink, Outboxes, Relayed};
use crate::sink::{Outside, Sink, Stopping};
use crate::source::ANSWER_TIMEOUT;
use crate::types::{ChangeBatch, KafkaConnection, Op, ProcessingTime};

/// How long a message may take before its epoch has failed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
/// Rows that are sent at once: a request for each few costs more than so short a wait.
const BURSTS_APART: Duration = Duration::from_micros(800);
/// How long a message may take that waits in an outbox, which is sent again then.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// Which rows become which messages.
    pub form: KafkaForm,
    /// What is promised.
    pub delivery: KafkaDelivery,
}

/// What a sink promises, and what it needs for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KafkaDelivery {
    /// No row is lost; after a failure some may come twice.
    AtLeastOnce,
    /// One transaction an epoch.
    ExactlyOnce {
        /// Whoever uses it last has the sink; an older user is kept from writing.
        transactional_id: String,
        /// How often an epoch ends: a transaction may take longer.
        interval: Duration,
    },
}

/// Which rows become which messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KafkaForm {
    /// Each row one; no row may ever change.
    Append,
    /// The newest row of a key; a key without a value when there is none.
    Upsert,
    /// Each change with the row before and after it, under the sink's name.
    Debezium(String),
}

/// Writes rows to a topic.
pub struct KafkaSink {
    records: Records,
    form: Form,
    way: Way,
}

enum Way {
    AtLeastOnce(Producer),
    ExactlyOnce(Box<Transactions>),
}

/// Either may be absent.
type KeyAndValue = (Option<Vec<u8>>, Option<Vec<u8>>);

enum Form {
    Append,
    Upsert,
    /// True if its messages have keys.
    Debezium(Envelopes, bool),
}

impl KafkaSink {
    /// Connects a sink for rows of this schema.
    ///
    /// # Errors
    /// When no broker answers in time, there is no such topic, a named column is not in the schema, a
    /// column has no form in JSON, or a property under `kafka.` is unknown or invalid.
    pub fn open(options: &KafkaSinkOptions, schema: &SchemaRef) -> Result<Self> {
        let (connection, topic) = (&options.connection, options.topic.as_str());
        let way = match &options.delivery {
            KafkaDelivery::AtLeastOnce => {
                let producer = Producer::connect(connection, topic, DELIVERY_TIMEOUT)?;
                producer.check_topic(ANSWER_TIMEOUT)?;
                Way::AtLeastOnce(producer)
            }
            KafkaDelivery::ExactlyOnce {
                transactional_id,
                interval,
            } => {
                let times = (*interval, DELIVERY_TIMEOUT);
                let opened = Transactions::open(connection, topic, transactional_id, times)?;
                Way::ExactlyOnce(Box::new(opened))
            }
        };
        Self::with(options, schema, way)
    }

    /// A sink for rows that wait in an outbox until the topic has them, at least once.
    ///
    /// # Errors
    /// A named column is not in the schema, a column has no form in JSON, or what the disk says.
    pub fn relayed(
        options: &KafkaSinkOptions,
        relayed: &Relayed<'_>,
        outboxes: &Outboxes,
    ) -> Result<OutboxSink> {
        Records::try_new(relayed.schema, &options.key_columns, &options.headers)?;
        let (own, schema) = (options.clone(), SchemaRef::clone(relayed.schema));
        let open = move |stopping: Stopping| {
            let (connection, topic) = (&own.connection, own.topic.as_str());
            let producer = Producer::connect(connection, topic, RELAY_TIMEOUT)?.heeding(stopping);
            producer.check_topic(ANSWER_TIMEOUT)?;
            let sink = Self::with(&own, &schema, Way::AtLeastOnce(producer))?;
            Ok(Box::new(sink) as Box<dyn Sink>)
        };
        relayed.open(&format!("{options:?}"), outboxes, open)
    }

    fn with(options: &KafkaSinkOptions, schema: &SchemaRef, way: Way) -> Result<Self> {
        let records = Records::try_new(schema, &options.key_columns, &options.headers)?;
        let form = match &options.form {
            KafkaForm::Append => Form::Append,
            KafkaForm::Upsert => Form::Upsert,
            KafkaForm::Debezium(name) => {
                Form::Debezium(Envelopes::new(name), !options.key_columns.is_empty())
            }
        };
        Ok(Self { records, form, way })
    }
}

impl Form {
    /// The key and the value of the message that a row becomes, if it becomes one.
    fn message(
        &mut self,
        op: Op,
        rows: &Encoded,
        row: usize,
        at: ProcessingTime,
    ) -> Result<Option<KeyAndValue>> {
        let value = rows.values.row(row);
        let key = rows.key_or_null(row).to_vec();
        Ok(match (self, op) {
            (Self::Append, Op::Insert) => {
                Some((rows.key(row).map(<[u8]>::to_vec), Some(value.to_vec())))
            }
            (Self::Append, _) => {
                return Err(Error::internal("a row changes, and the sink only adds"));
            }
            (Self::Upsert, Op::UpdateBefore) => None,
            (Self::Upsert, Op::Delete) => Some((Some(key), None)),
            (Self::Upsert, Op::Insert | Op::UpdateAfter) => Some((Some(key), Some(value.to_vec()))),
            (Self::Debezium(envelopes, keyed), op) => envelopes
                .of(op, value, at)
                .map(|value| (keyed.then_some(key), Some(value))),
        })
    }
}

impl Way {
    fn send(&mut self, message: Outgoing<'_>) -> Result<()> {
        match self {
            Self::AtLeastOnce(producer) => producer.send(message),
            Self::ExactlyOnce(transactions) => transactions.send(message),
        }
    }
}

impl Sink for KafkaSink {
    fn committed(&mut self) -> Result<Outside> {
        Ok(match &self.way {
            Way::AtLeastOnce(_) => Outside::Unknown,
            Way::ExactlyOnce(transactions) => Outside::Epoch(transactions.committed()),
        })
    }

    fn sign(&mut self, writer: u64) {
        if let Way::ExactlyOnce(transactions) = &mut self.way {
            transactions.sign(writer);
        }
    }

    fn committed_by(&self) -> Option<u64> {
        match &self.way {
            Way::AtLeastOnce(_) => None,
            Way::ExactlyOnce(transactions) => transactions.committed_by(),
        }
    }

    fn claim(&mut self, epoch: u64) -> Result<()> {
        match &mut self.way {
            Way::ExactlyOnce(transactions) if transactions.committed().is_none() => {
                transactions.commit(epoch)
            }
            Way::ExactlyOnce(_) | Way::AtLeastOnce(_) => Ok(()),
        }
    }

    fn stage(&mut self, rows: &ChangeBatch, at: ProcessingTime) -> Result<()> {
        let encoded = self.records.encode(rows.rows())?;
        for row in 0..rows.rows().num_rows() {
            let Some((key, value)) = self.form.message(rows.op(row), &encoded, row, at)? else {
                continue;
            };
            let headers = encoded.headers(row);
            self.way.send(Outgoing {
                key: key.as_deref(),
                value: value.as_deref(),
                headers: &headers,
                timestamp_ms: None,
            })?;
        }
        match &self.way {
            Way::AtLeastOnce(producer) => producer.check(),
            Way::ExactlyOnce(transactions) => transactions.check(),
        }
    }

    fn commit(&mut self, epoch: u64) -> Result<()> {
        match &mut self.way {
            Way::AtLeastOnce(producer) => producer.drain(),
            Way::ExactlyOnce(transactions) => transactions.commit(epoch),
        }
    }

    fn abort(&mut self) -> Result<()> {
        match &mut self.way {
            Way::AtLeastOnce(producer) => {
                producer.abort(Duration::ZERO);
                Ok(())
            }
            Way::ExactlyOnce(transactions) => transactions.abort(),
        }
    }

    fn backlog(&self) -> u64 {
        match &self.way {
            Way::AtLeastOnce(producer) => producer.backlog(),
            Way::ExactlyOnce(transactions) => transactions.backlog(),
        }
    }

    fn bursts_apart(&self) -> Duration {
        match &self.way {
            Way::AtLeastOnce(_) => BURSTS_APART,
            Way::ExactlyOnce(_) => Duration::ZERO,
        }
    }
}
