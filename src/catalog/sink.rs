//! Sinks: a query whose rows go out.

use super::depends::names_in;
use super::options::{Options, invalid, masked};
use super::query_options;
use crate::error::{Error, Result, SqlState};
use crate::plan::QueryOptions;
use crate::sql::{CreateSink, StreamQuery};
use crate::types::KafkaConnection;

/// A query whose rows go out.
#[derive(Debug, Clone)]
pub struct SinkDefinition {
    /// Its name.
    pub name: String,
    /// What goes out.
    pub query: StreamQuery,
    /// Where to.
    pub options: SinkOptions,
    /// How its query runs.
    pub query_options: QueryOptions,
    /// The names that it reads.
    pub depends_on: Vec<String>,
    /// The CREATE statement, secrets masked.
    pub sql: String,
    /// The CREATE statement as written.
    pub(super) statement: String,
}

/// Where a sink's rows go, and how they are written.
#[derive(Debug, Clone)]
pub struct SinkOptions {
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
    /// What is promised.
    pub delivery: Delivery,
    /// Under which id its transactions run, if it was given.
    pub transactional_id: Option<String>,
    /// The partitions of a topic that is made.
    pub partitions: Option<u32>,
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

/// What a sink promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// No row is lost; after a crash some may come twice.
    AtLeastOnce,
    /// A reader of committed messages sees each row once.
    ExactlyOnce,
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

impl SinkDefinition {
    /// A sink as declared.
    ///
    /// # Errors
    /// Unknown options, each with its place.
    pub fn try_new(clause: &CreateSink, defaults: Option<&KafkaConnection>) -> Result<Self> {
        let mut options = Options::new(&clause.options);
        options.word("connector", &[("kafka", ())], ())?;
        let list = |text: Option<String>| -> Vec<String> {
            text.iter()
                .flat_map(|text| text.split(','))
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect()
        };
        let parsed = SinkOptions {
            topic: options.required("topic", "big-volume")?,
            connection: options.connection(defaults)?,
            format: options.word("format", &FORMATS, SinkFormat::Json)?,
            key_columns: key_columns(clause, list(options.text("key_columns")?))?,
            headers: list(options.text("headers")?),
            delivery: options.word("delivery", &DELIVERIES, DELIVERY_DEFAULT)?,
            transactional_id: transactional_id(&mut options)?,
            partitions: options.count("partitions")?,
        };
        let query_options = query_options::take(&mut options)?;
        let given_id = options.given("transactional_id");
        options.finish("a kafka sink")?;
        if let Some(given) = given_id
            && parsed.delivery == Delivery::AtLeastOnce
        {
            let text = "a sink that delivers at least once has no transactions";
            return Err(Error::user(SqlState::InvalidTableDefinition, text)
                .hint("Say delivery = 'exactly once', or leave transactional_id out.")
                .at(Some(given.position)));
        }
        if parsed.format == SinkFormat::Upsert && parsed.key_columns.is_empty() {
            return Err(Error::user(
                SqlState::InvalidTableDefinition,
                "a sink of format 'upsert' needs a key",
            )
            .hint("Say which columns tell its rows apart: WITH (.., key_columns = 'a, b').")
            .at(Some(clause.name.position)));
        }
        Ok(Self {
            name: clause.name.name.clone(),
            query: clause.query.clone(),
            options: parsed,
            query_options,
            depends_on: names_in(&clause.query.query),
            sql: masked(&clause.text)?,
            statement: clause.text.clone(),
        })
    }
}

impl SinkDefinition {
    /// The id of its transactions on the server of that id; `None` without transactions.
    pub fn transactional_id(&self, server_id: &str) -> Option<String> {
        match (self.options.delivery, &self.options.transactional_id) {
            (Delivery::AtLeastOnce, _) => None,
            (Delivery::ExactlyOnce, Some(given)) => Some(given.clone()),
            (Delivery::ExactlyOnce, None) => Some(format!("headwater-{server_id}-{}", self.name)),
        }
    }
}

/// The key's columns, by the clause or by the option.
fn key_columns(clause: &CreateSink, option: Vec<String>) -> Result<Vec<String>> {
    let by_clause: Vec<String> = clause
        .primary_key
        .iter()
        .map(|column| column.name.clone())
        .collect();
    match clause.primary_key.first() {
        None => Ok(option),
        Some(_) if option.is_empty() || option == by_clause => Ok(by_clause),
        Some(first) => Err(Error::user(
            SqlState::InvalidTableDefinition,
            "PRIMARY KEY and key_columns name different columns",
        )
        .hint("Leave one of them out.")
        .at(Some(first.position))),
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
