//! Sinks: a query whose rows go out.

use super::depends::names_in;
use super::options::{Options, masked};
use super::query_options;
use crate::error::{Error, Result, SqlState};
use crate::plan::QueryOptions;
use crate::sql::{CreateSink, StreamQuery};
use crate::types::KafkaConnection;

/// A query whose rows go out.
#[derive(Debug)]
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
}

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
            delivery: delivery(&mut options)?,
            partitions: options.count("partitions")?,
        };
        let query_options = query_options::take(&mut options)?;
        options.finish("a kafka sink")?;
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

fn delivery(options: &mut Options<'_>) -> Result<Delivery> {
    let words = [("at least once", true), ("exactly once", false)];
    if options.word("delivery", &words, true)? {
        return Ok(Delivery::AtLeastOnce);
    }
    Err(Error::user(
        SqlState::FeatureNotSupported,
        "delivery = 'exactly once' is not supported yet",
    )
    .hint("Leave it out: the sink then delivers at least once."))
}
