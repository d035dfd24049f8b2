//! A connection as sqllogictest's runner wants it.
//!
//! Invariants: what a value looks like does not depend on the protocol; NULL is `NULL`, an empty text is `(empty)`.
//! After a crash a connection has the session variables that it had set before.

use std::sync::Arc;

use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};

use crate::bench::Bench;
use crate::script::Way;
use crate::support::client::{Answer, Client, Failure};

/// One named connection of a file. It connects when it is first used, and again when the server was started again.
pub(crate) struct Database {
    bench: Arc<Bench>,
    way: Way,
    client: Option<(Client, u64)>,
    /// The `SET` statements that succeeded.
    settings: Vec<String>,
}

impl Database {
    /// A connection that is not open yet.
    pub(crate) fn new(bench: Arc<Bench>, way: Way) -> Self {
        Self {
            bench,
            way,
            client: None,
            settings: Vec::new(),
        }
    }

    async fn client(&mut self) -> Result<&Client, Failure> {
        let starts = self.bench.starts().await;
        let usable = self
            .client
            .take()
            .filter(|(client, start)| *start == starts && client.is_open());
        let client = match usable {
            Some(client) => client,
            None => {
                let (client, start) = self.bench.connect().await?;
                for setting in &self.settings {
                    client.simple(setting).await?;
                }
                (client, start)
            }
        };
        Ok(&self.client.insert(client).0)
    }
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let sql = self.bench.filled(sql);
        let way = self.way;
        let client = self.client().await?;
        let answer = match way {
            Way::Simple | Way::Restart => client.simple(&sql).await,
            Way::Extended => client.extended(&sql).await,
        };
        match answer {
            Ok(Answer::Done(count)) => {
                if sql
                    .get(..4)
                    .is_some_and(|head| head.eq_ignore_ascii_case("set "))
                {
                    self.settings.push(sql);
                }
                Ok(DBOutput::StatementComplete(count))
            }
            Ok(Answer::Rows(rows)) => {
                let columns = rows.first().map_or(0, Vec::len);
                let rows = rows
                    .into_iter()
                    .map(|row| row.into_iter().map(shown).collect());
                Ok(DBOutput::Rows {
                    types: vec![DefaultColumnType::Text; columns],
                    rows: rows.collect(),
                })
            }
            Err(failure) => {
                let text = failure.against_the_rules().unwrap_or(failure.text);
                Err(Failure {
                    state: failure.state,
                    text: self.bench.named(&text),
                })
            }
        }
    }

    async fn shutdown(&mut self) {
        self.client = None;
    }

    fn error_sql_state(failure: &Failure) -> Option<String> {
        Some(failure.state.clone())
    }
}

fn shown(value: Option<String>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "(empty)".to_owned(),
        Some(text) => text.replace('\n', "\\n"),
    }
}
