//! The options of a sink that writes to a topic.

use super::http::{self, OutboxOptions};
use super::{Delivery, SinkRows, key_columns, names_of, needs_key};
use crate::catalog::options::{Options, invalid};
use crate::error::{Error, Result, SqlState};
use crate::sql::CreateSink;
use crate::types::KafkaConnection;

/// A topic, and how rows are written to it.
#[derive(Debug, Clone)]
pub struct KafkaSinkTarget {
    /// The cluster.
    pub connection: KafkaConnection,
    /// The topic.
    pub topic: String,
    /// How a row is written.
    pub format: SinkFormat,
    /// The columns that make the record's key.
    pub key_columns: Vec<String>,
    /// The columns that go into the record's headers.
    pub headers: Vec<String>,
    /// What is promised of a query's rows.
    pub delivery: Delivery,
    /// Under which id its transactions run, if it was given.
    pub transactional_id: Option<String>,
    /// The partitions of a topic that is made.
    pub partitions: Option<u32>,
    /// Where what alerts tell waits; `None`: the sink has a query of its own.
    pub outbox: Option<OutboxOptions>,
}

/// How a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkFormat {
    /// One JSON object a row, and no row ever changes.
    Json,
    /// The newest row of each key as a JSON object, and a key without a value when it is gone.
    Upsert,
    /// Each change in Debezium's envelope.
    Debezium,
}

/// What a sink promises that does not say it.
pub const DELIVERY_DEFAULT: Delivery = Delivery::ExactlyOnce;

const DELIVERIES: [(&str, Delivery); 2] = [
    ("exactly once", Delivery::ExactlyOnce),
    ("at least once", Delivery::AtLeastOnce),
];

const FORMATS: [(&str, SinkFormat); 3] = [
    ("json", SinkFormat::Json),
    ("upsert", SinkFormat::Upsert),
    ("debezium", SinkFormat::Debezium),
];

/// Takes the options.
pub(super) fn target(
    options: &mut Options<'_>,
    clause: &CreateSink,
    defaults: Option<&KafkaConnection>,
) -> Result<KafkaSinkTarget> {
    Ok(KafkaSinkTarget {
        topic: options.required("topic", "big-volume")?,
        connection: options.connection(defaults)?,
        format: options.word("format", &FORMATS, SinkFormat::Json)?,
        key_columns: key_columns(clause, options)?,
        headers: names_of(options.text("headers")?.as_deref()),
        delivery: options.word("delivery", &DELIVERIES, DELIVERY_DEFAULT)?,
        transactional_id: transactional_id(options)?,
        partitions: options.count("partitions")?,
        outbox: http::outbox_without_query(options, clause)?,
    })
}

impl KafkaSinkTarget {
    /// The id of a sink's transactions on the server of that id; `None` without transactions.
    pub fn transactional_id_of(&self, server_id: &str, sink: &str) -> Option<String> {
        match (self.delivery, &self.transactional_id) {
            // What comes from an outbox comes at least once.
            _ if self.outbox.is_some() => None,
            (Delivery::AtLeastOnce, _) => None,
            (Delivery::ExactlyOnce, Some(given)) => Some(given.clone()),
            (Delivery::ExactlyOnce, None) => Some(format!("headwater-{server_id}-{sink}")),
        }
    }

    pub(super) fn rows(&self) -> SinkRows {
        match self.format {
            SinkFormat::Json => SinkRows::Added,
            SinkFormat::Upsert => SinkRows::Newest,
            SinkFormat::Debezium => SinkRows::Changes,
        }
    }

    pub(super) fn check(&self, clause: &CreateSink) -> Result<()> {
        let mut given = clause.options.iter();
        if let Some(given) = given.find(|option| option.name == "transactional_id")
            && self.delivery == Delivery::AtLeastOnce
        {
            let text = "a sink that delivers at least once has no transactions";
            return Err(Error::user(SqlState::InvalidTableDefinition, text)
                .hint("Say delivery = 'exactly once', or leave transactional_id out.")
                .at(Some(given.position)));
        }
        match self.format == SinkFormat::Upsert && self.key_columns.is_empty() {
            true => Err(needs_key(clause, "format 'upsert'")),
            false => Ok(()),
        }
    }
}

/// The id as it was given: Kafka takes any text that is not empty.
fn transactional_id(options: &mut Options<'_>) -> Result<Option<String>> {
    let id = options.text("transactional_id")?;
    if id.as_ref().is_some_and(String::is_empty)
        && let Some(clause) = options.given("transactional_id")
    {
        return Err(invalid(clause, "a text that is not empty"));
    }
    Ok(id)
}
