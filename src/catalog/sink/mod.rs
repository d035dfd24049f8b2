//! Sinks: where rows go, and mostly a query whose rows they are.
//!
//! Each connector's options have a file of their own here. A sink without a query is a destination
//! that others name.

mod file;
mod http;
mod kafka;
mod plain;
mod postgres;
mod slack;
mod webhook;

pub use file::{
    FileSinkCompression, FileSinkFormat, FileSinkPartition, FileSinkPlace, FileSinkTarget,
    FileSinkUnit,
};
pub use http::{DeliveryOptions, OutboxOptions};
pub use kafka::{DELIVERY_DEFAULT, KafkaSinkTarget, SinkFormat};
pub use postgres::{PostgresMode, PostgresSinkTarget};
pub use slack::{SlackSinkTarget, SlackWay};
pub use webhook::{HttpMethod, WebhookSinkTarget};

use super::depends::names_in;
use super::options::{Options, masked, secrets_in};
use super::query_options;
use crate::error::{Error, Result, SqlState};
use crate::plan::QueryOptions;
use crate::sql::{CreateSink, StreamQuery};
use crate::types::KafkaConnection;

/// Where rows go.
#[derive(Debug, Clone)]
pub struct SinkDefinition {
    /// Its name.
    pub name: String,
    /// What goes out; `None`: what others bring.
    pub query: Option<StreamQuery>,
    /// Where to.
    pub target: SinkTarget,
    /// How its query runs.
    pub query_options: QueryOptions,
    /// The names that it reads.
    pub depends_on: Vec<String>,
    /// The secrets that it names.
    pub secrets: Vec<String>,
    /// The CREATE statement, secrets masked.
    pub sql: String,
    /// The CREATE statement as written.
    pub(super) statement: String,
}

/// Where a sink's rows go, and how they are written: one for each connector.
#[derive(Debug, Clone)]
pub enum SinkTarget {
    /// Nowhere.
    Blackhole,
    /// Files.
    File(FileSinkTarget),
    /// A topic.
    Kafka(KafkaSinkTarget),
    /// A table of PostgreSQL.
    Postgres(PostgresSinkTarget),
    /// The server's log.
    Print,
    /// A channel of Slack, or several.
    Slack(SlackSinkTarget),
    /// A URL.
    Webhook(WebhookSinkTarget),
}

/// Which rows a sink takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkRows {
    /// Rows that never change.
    Added,
    /// The newest row of each key.
    Newest,
    /// Every change.
    Changes,
}

/// What a sink promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// No row is lost; after a crash some may come twice.
    AtLeastOnce,
    /// Who reads what was committed sees each row once.
    ExactlyOnce,
}

impl Delivery {
    /// As the option `delivery` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at least once",
            Self::ExactlyOnce => "exactly once",
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Connector {
    Blackhole,
    File,
    Kafka,
    Postgres,
    Print,
    Slack,
    Webhook,
}

const CONNECTORS: [(&str, Connector); 7] = [
    ("blackhole", Connector::Blackhole),
    ("file", Connector::File),
    ("kafka", Connector::Kafka),
    ("postgres", Connector::Postgres),
    ("print", Connector::Print),
    ("slack", Connector::Slack),
    ("webhook", Connector::Webhook),
];

impl SinkDefinition {
    /// A sink as declared.
    ///
    /// # Errors
    /// Unknown options, each with its place.
    pub fn try_new(clause: &CreateSink, defaults: Option<&KafkaConnection>) -> Result<Self> {
        let mut options = Options::new(&clause.options);
        let connector = options.word("connector", &CONNECTORS, Connector::Kafka)?;
        let target = match connector {
            Connector::Blackhole => plain::target(clause, SinkTarget::Blackhole)?,
            Connector::File => SinkTarget::File(file::target(&mut options, clause)?),
            Connector::Kafka => SinkTarget::Kafka(kafka::target(&mut options, clause, defaults)?),
            Connector::Postgres => SinkTarget::Postgres(postgres::target(&mut options, clause)?),
            Connector::Print => plain::target(clause, SinkTarget::Print)?,
            Connector::Slack => SinkTarget::Slack(slack::target(&mut options, clause)?),
            Connector::Webhook => SinkTarget::Webhook(webhook::target(&mut options, clause)?),
        };
        let query_options = match &clause.query {
            Some(_) => query_options::take(&mut options)?,
            None => QueryOptions::default(),
        };
        options.finish(&format!("a {} sink", target.connector()))?;
        target.check(clause)?;
        let query = clause.query.as_ref();
        Ok(Self {
            name: clause.name.name.clone(),
            query: clause.query.clone(),
            target,
            query_options,
            depends_on: query.map_or_else(Vec::new, |query| names_in(&query.query)),
            secrets: secrets_in(&clause.options),
            sql: masked(&clause.text)?,
            statement: clause.text.clone(),
        })
    }

    /// Its target, if that is a topic.
    pub fn kafka(&self) -> Option<&KafkaSinkTarget> {
        match &self.target {
            SinkTarget::Kafka(target) => Some(target),
            SinkTarget::Blackhole
            | SinkTarget::File(_)
            | SinkTarget::Postgres(_)
            | SinkTarget::Print
            | SinkTarget::Slack(_)
            | SinkTarget::Webhook(_) => None,
        }
    }

    /// What it promises. An alert may tell the same twice after a crash.
    pub fn delivery(&self) -> Delivery {
        match self.query {
            Some(_) => self.target.delivery(),
            None => Delivery::AtLeastOnce,
        }
    }

    /// The id of its transactions on the server of that id; `None` without transactions.
    pub fn transactional_id(&self, server_id: &str) -> Option<String> {
        self.kafka()?.transactional_id_of(server_id, &self.name)
    }
}

impl SinkTarget {
    /// The connector, as the option has it.
    pub fn connector(&self) -> &'static str {
        match self {
            Self::Blackhole => "blackhole",
            Self::File(_) => "file",
            Self::Kafka(_) => "kafka",
            Self::Postgres(_) => "postgres",
            Self::Print => "print",
            Self::Slack(_) => "slack",
            Self::Webhook(_) => "webhook",
        }
    }

    /// What it writes to, without secrets; `None`: there is only one.
    pub fn place(&self) -> Option<String> {
        match self {
            Self::File(target) => Some(target.place()),
            Self::Kafka(target) => Some(target.topic.clone()),
            Self::Postgres(target) => Some(target.place()),
            Self::Slack(target) => Some(target.place()),
            Self::Webhook(target) => Some(target.place()),
            Self::Blackhole | Self::Print => None,
        }
    }

    /// What it promises of a query's rows.
    fn delivery(&self) -> Delivery {
        match self {
            Self::Kafka(target) => target.delivery,
            Self::File(_) | Self::Postgres(_) => Delivery::ExactlyOnce,
            Self::Blackhole | Self::Print | Self::Slack(_) | Self::Webhook(_) => {
                Delivery::AtLeastOnce
            }
        }
    }

    /// Which rows it takes.
    pub fn rows(&self) -> SinkRows {
        match self {
            Self::Kafka(target) => target.rows(),
            Self::Postgres(target) => target.rows(),
            Self::Blackhole | Self::Print => SinkRows::Changes,
            Self::File(_) | Self::Slack(_) | Self::Webhook(_) => SinkRows::Added,
        }
    }

    /// The columns that tell its rows apart.
    pub fn key_columns(&self) -> &[String] {
        match self {
            Self::Kafka(target) => &target.key_columns,
            Self::Postgres(target) => &target.key_columns,
            Self::Blackhole | Self::File(_) | Self::Print | Self::Slack(_) | Self::Webhook(_) => {
                &[]
            }
        }
    }

    /// The options that name columns, each with these.
    pub fn named_columns(&self) -> Vec<(&'static str, &[String])> {
        match self {
            Self::Kafka(target) => vec![
                ("key_columns", &target.key_columns),
                ("headers", &target.headers),
            ],
            Self::File(target) => vec![("partition_by", &target.partition_columns)],
            Self::Postgres(target) => vec![("key_columns", &target.key_columns)],
            Self::Slack(target) => vec![
                ("channel_column", target.channel_column()),
                ("thread_columns", &target.thread_columns),
            ],
            Self::Webhook(target) => vec![("key_column", target.key_column.as_slice())],
            Self::Blackhole | Self::Print => Vec::new(),
        }
    }

    /// What cannot be together.
    fn check(&self, clause: &CreateSink) -> Result<()> {
        match self {
            Self::Kafka(target) => target.check(clause),
            Self::Postgres(target) => target.check(clause),
            Self::Blackhole | Self::File(_) | Self::Print | Self::Slack(_) | Self::Webhook(_) => {
                Ok(())
            }
        }
    }
}

/// The names in a list such as `'a, b'`.
fn names_of(list: Option<&str>) -> Vec<String> {
    list.iter()
        .flat_map(|text| text.split(','))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The key's columns, by the clause or by the option.
fn key_columns(clause: &CreateSink, options: &mut Options<'_>) -> Result<Vec<String>> {
    let option = names_of(options.text("key_columns")?.as_deref());
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

/// The error of a sink whose rows need a key and have none. `what`: the option that needs it.
fn needs_key(clause: &CreateSink, what: &str) -> Error {
    Error::user(
        SqlState::InvalidTableDefinition,
        format!("a sink of {what} needs a key"),
    )
    .hint("Say which columns tell its rows apart: WITH (.., key_columns = 'a, b').")
    .at(Some(clause.name.position))
}
