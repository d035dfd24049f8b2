//! Prepared statements, by PREPARE or by the protocol: they share their names, as in PostgreSQL.
//!
//! Invariant: a prepared statement was planned once when it was made, so what is wrong with it was
//! said then; it is planned again for each run, with the values in place of its parameters.

use std::sync::Arc;

use arrow::datatypes::FieldRef;

use super::{Columns, Session, dispatch, too_many};
use crate::error::{Error, Result, SqlState};
use crate::sql::{Parsed, Statement};

/// A statement that waits for values.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The statement; `None` for an empty text.
    pub parsed: Option<Parsed>,
    /// The types of its parameters; `None` where nothing says which.
    pub parameters: Vec<Option<FieldRef>>,
    /// The columns of its rows.
    pub columns: Columns,
    /// The whole text that was sent: places in errors count in it.
    pub text: Arc<str>,
}

impl Session {
    /// Prepares the one statement of a text under a name; the empty name may be taken again.
    /// `types` are the parameters' types as far as the client says them.
    ///
    /// # Errors
    /// 42601 for a text of several statements, 42P05 for a name that is taken, and what planning
    /// the statement reports.
    pub(crate) async fn prepare(
        &mut self,
        name: &str,
        text: &str,
        types: &[Option<FieldRef>],
    ) -> Result<()> {
        let mut statements = self.parse(text)?;
        statements.retain(|parsed| parsed.statement != Statement::Empty);
        if statements.len() > 1 {
            return Err(Error::user(
                SqlState::SyntaxError,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        self.prepare_parsed(name, statements.pop(), types, text)
            .await
    }

    /// Prepares a statement under a name.
    ///
    /// # Errors
    /// As `prepare`.
    pub(crate) async fn prepare_parsed(
        &mut self,
        name: &str,
        mut parsed: Option<Parsed>,
        types: &[Option<FieldRef>],
        text: &str,
    ) -> Result<()> {
        if name.is_empty() {
            self.statements.remove(name);
        } else if self.statements.contains_key(name) {
            return Err(Error::user(
                SqlState::DuplicatePreparedStatement,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let limit = self.services.config.limits.portals_max;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if self.statements.len() >= limit {
            return Err(too_many("prepared statements", limit));
        }
        if let Some(parsed) = &mut parsed {
            self.services
                .catalog
                .snapshot()
                .resolve_event_time(&mut parsed.statement)?;
        }
        let (parameters, columns) = match &parsed {
            None => (types.to_vec(), None),
            Some(parsed) => {
                self.transaction
                    .admit(dispatch::ends_transaction(&parsed.statement))?;
                dispatch::describe(self, &parsed.statement, types).await?
            }
        };
        let prepared = Prepared {
            parsed,
            parameters,
            columns,
            text: text.into(),
        };
        self.statements.insert(name.to_owned(), Arc::new(prepared));
        Ok(())
    }

    /// The prepared statement of a name.
    ///
    /// # Errors
    /// 26000 if there is none.
    pub(crate) fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            Error::user(SqlState::UndefinedPreparedStatement, message)
        })
    }

    /// Forgets a prepared statement; returns false if there was none.
    pub(crate) fn forget_prepared(&mut self, name: &str) -> bool {
        self.statements.remove(name).is_some()
    }

    /// Forgets all prepared statements.
    pub(crate) fn forget_all_prepared(&mut self) {
        self.statements.clear();
    }

    /// The columns that a portal over this statement has now: those of a cursor may be younger
    /// than the statement that fetches from it.
    pub(crate) fn columns_of(&self, prepared: &Prepared) -> Columns {
        match prepared.parsed.as_ref().map(|parsed| &parsed.statement) {
            Some(Statement::Fetch(fetch)) => self
                .portals
                .get(&fetch.name.name)
                .and_then(|portal| portal.columns.clone()),
            _ => prepared.columns.clone(),
        }
    }
}
