//! The options of a sink that writes to a table of PostgreSQL.

use super::http::{self, OutboxOptions};
use super::{SinkRows, key_columns, needs_key};
use crate::catalog::options::{Options, invalid, value_text};
use crate::error::{Error, Result, SqlState};
use crate::sql::CreateSink;
use crate::types::{PostgresConnection, PostgresTls};

/// A table, and how rows come into it.
#[derive(Debug, Clone)]
pub struct PostgresSinkTarget {
    /// The database.
    pub connection: PostgresConnection,
    /// The table's schema; `None`: where the user's tables are.
    pub schema: Option<String>,
    /// The table.
    pub table: String,
    /// Which rows it takes.
    pub mode: PostgresMode,
    /// The columns that tell its rows apart.
    pub key_columns: Vec<String>,
    /// Whether the table is made if it is not there.
    pub create_table: bool,
    /// Where what alerts tell waits; `None`: the sink has a query of its own.
    pub outbox: Option<OutboxOptions>,
}

/// How rows come into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostgresMode {
    /// Rows are added.
    Append,
    /// A row takes the place of the one with its key, and is deleted when the query's is.
    Upsert,
}

const MODES: [(&str, PostgresMode); 2] = [
    ("append", PostgresMode::Append),
    ("upsert", PostgresMode::Upsert),
];

/// `allow` would rather have none, and there is no reason to.
const TLS_MODES: [(&str, PostgresTls); 6] = [
    ("disable", PostgresTls::Disable),
    ("allow", PostgresTls::Prefer),
    ("prefer", PostgresTls::Prefer),
    ("require", PostgresTls::Require),
    ("verify ca", PostgresTls::VerifyCa),
    ("verify full", PostgresTls::VerifyFull),
];

/// Takes the options.
pub(super) fn target(options: &mut Options<'_>, clause: &CreateSink) -> Result<PostgresSinkTarget> {
    let table = options.required("table", "prices")?;
    let (schema, table) = match table.split_once('.') {
        Some((schema, table)) => (Some(schema.to_owned()), table.to_owned()),
        None => (None, table),
    };
    Ok(PostgresSinkTarget {
        connection: connection(options)?,
        schema,
        table,
        mode: options.word("mode", &MODES, PostgresMode::Append)?,
        key_columns: key_columns(clause, options)?,
        create_table: options.flag("create_table", true)?,
        outbox: http::outbox_without_query(options, clause)?,
    })
}

fn connection(options: &mut Options<'_>) -> Result<PostgresConnection> {
    let url = options.text("url")?;
    let (host, user) = match &url {
        Some(_) => (options.text("host")?, options.text("user")?),
        None => (
            Some(options.required("host", "localhost")?),
            Some(options.required("user", "postgres")?),
        ),
    };
    Ok(PostgresConnection {
        url,
        host,
        port: port(options)?,
        database: options.text("database")?,
        user,
        password: options.text("password")?,
        tls: tls(options)?,
        roots: options.text("sslrootcert")?,
    })
}

fn port(options: &mut Options<'_>) -> Result<Option<u16>> {
    let Some(clause) = options.take("port")? else {
        return Ok(None);
    };
    match value_text(clause).parse::<u16>() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(invalid(clause, "a whole number from 1 to 65535")),
    }
}

fn tls(options: &mut Options<'_>) -> Result<Option<PostgresTls>> {
    let given = options.given("sslmode").is_some();
    let mode = options.word("sslmode", &TLS_MODES, PostgresTls::Prefer)?;
    Ok(given.then_some(mode))
}

impl PostgresSinkTarget {
    /// The table as it was named.
    pub(super) fn place(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.table),
            None => self.table.clone(),
        }
    }

    pub(super) fn rows(&self) -> SinkRows {
        match self.mode {
            PostgresMode::Append => SinkRows::Added,
            PostgresMode::Upsert => SinkRows::Newest,
        }
    }

    pub(super) fn check(&self, clause: &CreateSink) -> Result<()> {
        match (self.mode, self.key_columns.is_empty()) {
            (PostgresMode::Upsert, true) => Err(needs_key(clause, "mode 'upsert'")),
            (PostgresMode::Append, false) => Err(Error::user(
                SqlState::InvalidTableDefinition,
                "a sink that only adds rows has no key",
            )
            .hint("Say mode = 'upsert', or leave the key out.")
            .at(Some(clause.name.position))),
            (PostgresMode::Append, true) | (PostgresMode::Upsert, false) => Ok(()),
        }
    }
}
