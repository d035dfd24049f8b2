//! The epoch that a sink has last committed, as a row of a table in its database, set in the
//! transaction that brings the epoch's rows.
//!
//! ```text
//! headwater_epochs: sink (text, key) · epoch (bigint) · writer (text) · session (text) · committed_at
//! ```
//! Invariant: who opened the sink last has its session in the row, and nobody else can commit. Whoever
//! opens it waits until a commit that is under way is over.

use postgres::Client;
use uuid::Uuid;

use super::errors::told;
use super::table::{PostgresTable, is_there};
use crate::error::{Error, Result, SqlState};

const TABLE: &str = "headwater_epochs";

/// The row of a sink.
pub(super) struct Epochs {
    /// The table's name as SQL text.
    table: String,
    id: String,
    session: String,
    committed: Option<u64>,
    committed_by: Option<u64>,
    writer: Option<u64>,
}

impl Epochs {
    /// Takes the sink's row, which is made if it is not there, beside the table that rows go into.
    ///
    /// # Errors
    /// What the database refuses; a row that is not ours.
    pub(super) fn open(client: &mut Client, beside: &PostgresTable, id: &str) -> Result<Self> {
        let table = beside.beside(TABLE);
        make(client, &table)?;
        let session = Uuid::new_v4().to_string();
        let text = format!(
            "INSERT INTO {table} AS kept (sink, session) VALUES ($1, $2) \
             ON CONFLICT (sink) DO UPDATE SET session = EXCLUDED.session \
             RETURNING kept.epoch, kept.writer"
        );
        let row = client
            .query_one(&text, &[&id, &session])
            .map_err(|error| told("cannot take the sink's epoch", &error))?;
        let damaged = |_| damaged(&table);
        let epoch: Option<i64> = row.try_get(0).map_err(damaged)?;
        let writer: Option<String> = row.try_get(1).map_err(damaged)?;
        let committed = epoch.map(u64::try_from).transpose();
        Ok(Self {
            id: id.to_owned(),
            session,
            committed: committed.map_err(|_| self::damaged(&table))?,
            committed_by: writer.and_then(|writer| writer.parse().ok()),
            writer: None,
            table,
        })
    }

    /// Forgets what an earlier sink of that id has committed: a new one begins anew.
    ///
    /// # Errors
    /// What the database refuses.
    pub(super) fn forget(client: &mut Client, beside: &PostgresTable, id: &str) -> Result<()> {
        let table = beside.beside(TABLE);
        if !is_there(client, &table)? {
            return Ok(());
        }
        let text = format!("DELETE FROM {table} WHERE sink = $1");
        let deleted = client.execute(&text, &[&id]);
        deleted
            .map(drop)
            .map_err(|error| told("cannot forget an earlier sink's epoch", &error))
    }

    /// The epoch that had been committed when this was opened.
    pub(super) fn committed(&self) -> Option<u64> {
        self.committed
    }

    /// Who had committed it, if that is known.
    pub(super) fn committed_by(&self) -> Option<u64> {
        self.committed_by
    }

    /// Whoever commits from now on has this number.
    pub(super) fn sign(&mut self, writer: u64) {
        self.writer = Some(writer);
    }

    /// Sets the epoch, in the transaction that is open, if one is.
    ///
    /// # Errors
    /// When somebody else has opened the sink; what the database refuses.
    pub(super) fn mark(&self, client: &mut Client, epoch: u64) -> Result<()> {
        let epoch = i64::try_from(epoch)
            .map_err(|_| Error::internal("an epoch's number does not fit into a bigint"))?;
        let writer = self.writer.map(|writer| writer.to_string());
        let text = format!(
            "UPDATE {} SET epoch = $1, writer = $2, committed_at = now() \
             WHERE sink = $3 AND session = $4",
            self.table
        );
        let marked = client
            .execute(&text, &[&epoch, &writer, &self.id, &self.session])
            .map_err(|error| told("cannot set the sink's epoch", &error))?;
        match marked {
            1 => Ok(()),
            _ => Err(fenced(&self.id)),
        }
    }
}

/// Two servers may do so at the same time, and one of them is then told that it is there.
fn make(client: &mut Client, table: &str) -> Result<()> {
    if is_there(client, table)? {
        return Ok(());
    }
    let text = format!(
        "CREATE TABLE IF NOT EXISTS {table} (sink text PRIMARY KEY, epoch bigint, writer text, \
         session text NOT NULL, committed_at timestamptz)"
    );
    match client.batch_execute(&text) {
        Err(error) if !is_there(client, table)? => {
            Err(told("cannot create the table of epochs", &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn fenced(id: &str) -> Error {
    let text = format!("somebody else writes to the database as \"{id}\"");
    Error::external(SqlState::ObjectInUse, false, text).hint(
        "Two servers must not run on copies of one data directory. Stop one, then ALTER QUERY .. RESUME \
         here.",
    )
}

fn damaged(table: &str) -> Error {
    let text = format!("table {table} is not as a sink has made it");
    Error::external(SqlState::DataCorrupted, false, text)
        .hint("Put the table back as it was, or drop the sink and create it again.")
}
