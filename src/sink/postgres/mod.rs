//! Rows into a table of PostgreSQL, each once.
//!
//! An epoch is a transaction: its rows come by COPY, and the epoch's number is set in a row of the table
//! `headwater_epochs` beside them. What the database has committed therefore says which epoch counts.
//!
//! | mode | new row | changed row | row that went away |
//! |---|---|---|---|
//! | append | a row | – | – |
//! | upsert | takes the place of the row with its key | the same | the row with its key is deleted |
//!
//! Under "upsert" the changes of an epoch are copied into a temporary table, and the last of each key
//! is then applied.
//!
//! ```text
//! connect, tls ─ a client             types, copy ─ a row as COPY has it
//! table ─ is it there, does it fit    epochs ─ what counts, and whose it is
//!                        └────── postgres_sink ──────┘
//! ```
//! Invariant: only one of those who opened a sink can commit: the last.

mod connect;
mod copy;
mod epochs;
mod errors;
mod postgres_sink;
mod table;
mod tls;
mod types;

pub use postgres_sink::PostgresSink;
pub use table::PostgresTable;

use crate::types::PostgresConnection;

/// Where a query's rows go, and how they are written.
#[derive(Debug, Clone)]
pub struct PostgresSinkOptions {
    /// The database.
    pub connection: PostgresConnection,
    /// The table.
    pub table: PostgresTable,
    /// The columns by which a row takes the place of another; none: rows are added.
    pub key_columns: Vec<String>,
    /// Whether the table is made if it is not there.
    pub create_table: bool,
    /// What tells the sink from others that write to the database.
    pub id: String,
}
